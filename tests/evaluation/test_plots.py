"""The plots of dvc.yaml, rendered by DVC itself from the tables of runs on different corpora."""

import json
import shutil
from contextlib import chdir
from pathlib import Path

import pytest
from dvc.render.convert import to_json
from dvc.render.match import match_defs_renderers
from dvc.repo import Repo
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
PLOTS = [
    plot
    for plot in YAML(typ="safe").load(ROOT / "dvc.yaml")["plots"]
    if "results/evaluation/" in json.dumps(plot)  # the others are of training
]


@pytest.fixture(scope="module", params=["plain", "labelled", "bare"])
def corpus(request):
    return request.param


@pytest.fixture(scope="module")
def rendered(corpus, evaluated, tmp_path_factory):
    """Each plot by its name: DVC's renderer, and its errors, for the workspace of a fresh repository."""
    root = tmp_path_factory.mktemp("repository")
    shutil.copytree(evaluated(corpus).out, root / "results/evaluation")
    YAML().dump({"plots": PLOTS}, root / "dvc.yaml")
    with chdir(root), Repo.init(no_scm=True) as repo:
        shutil.copytree(ROOT / ".dvc/plots", root / ".dvc/plots", dirs_exist_ok=True)
        found = match_defs_renderers(repo.plots.show(), templates_dir=repo.plots.templates_dir)
    return {plot.renderer.name: plot for plot in found}


def fields(specification):
    """Every column that a Vega specification names."""
    if isinstance(specification, list):
        return set().union(*map(fields, specification))
    if not isinstance(specification, dict):
        return set()
    own = {specification["field"]} if isinstance(specification.get("field"), str) else set()
    return own.union(*(fields(value) for key, value in specification.items() if key != "data"))


def test_every_definition_renders(corpus, rendered):
    assert set(rendered) == {name for plot in PLOTS for name in (plot if isinstance(plot, dict) else [plot])}
    empty = set()
    for name, plot in rendered.items():
        assert not plot.source_errors and not plot.definition_errors, name
        if not (specifications := to_json(plot.renderer)):
            empty.add(name)
        elif plot.renderer.TYPE == "vega":
            content = specifications[0]["content"]
            assert "<DVC_METRIC" not in json.dumps(content), name
            computed = {"xy_count", "percent_of_max"}  # by DVC's own templates
            assert fields(content) - computed <= set(content["data"]["values"][0]), name
    assert empty == ({"Confusions"} if corpus == "bare" else set())


def test_curves_measures_and_points_are_distinguished(corpus, rendered):
    def column(plot, name):
        return {row[name] for row in rendered[plot].renderer.datapoints}

    others = {"oracle", "ridge_mean_spectrogram", "ridge_f0"} if corpus == "plain" else set()
    assert column("Recall by rank", "system") == {"voice", "mean_feature", "chance"} | others
    assert {"color", "strokeDash"} < set(to_json(rendered["Recall by rank"].renderer)[0]["content"]["encoding"])
    assert column("Map of embeddings", "source") == {"face", "voice"}
    sections = {"plain": {"attributes", "controls"}, "labelled": {"attributes"}, "bare": set()}[corpus]
    assert column("Measures", "section") == {"similarity", "craniofacial"} | sections
    if corpus == "labelled":
        assert column("Confusions", "attribute") == {"sex", "nationality"}
