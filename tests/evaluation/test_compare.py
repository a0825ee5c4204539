"""Paired differences between two runs, and other experiments beside a run in its report and metrics."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from speech2face.evaluation.compare import OF_DECODED, REPORTED, Comparisons, _read, compare, compare_with_all
from speech2face.evaluation.inputs import align
from speech2face.evaluation.measure import measure
from speech2face.evaluation.run import evaluate, make_tables
from tests.evaluation.simulated import SETTINGS, simulate, with_pictures

MEASURES = ("cosine", "centred_cosine", "recall_at_1", "recall_at_10_percent", "reciprocal_rank", "one_of_2")
QUICK = SETTINGS | {"resamples": 200}
BETTER_IF_HIGHER = ("cosine", "centred_cosine", "recall_at_10_percent", "reciprocal_rank", "one_of_2", "decoded_cosine")


def write(path: Path, better: float = 0.0, seed: int = 0, speakers: int = 60) -> Path:
    rng = np.random.default_rng(seed)
    hard = (
        np.random.default_rng(99).normal(size=speakers).repeat(2)
    )  # what makes a speaker hard is the same in both runs
    table = pd.DataFrame({"clip_id": [f"id{i // 2:03d}/v{i % 2}/1" for i in range(2 * speakers)]})
    table["speaker_id"] = table["clip_id"].str[:5]
    for name in MEASURES:
        table[name] = hard + better + 0.1 * rng.normal(size=len(table))
    table["sex_true"] = np.where(hard > 0, "f", "m")
    table["sex_from_voice"] = np.where(rng.uniform(size=len(table)) < 0.7 + better, table["sex_true"], "x")
    table["sex_accuracy"] = (table["sex_true"] == table["sex_from_voice"]).astype(float)
    table["age_years_true"] = 40 + hard
    errors = np.random.default_rng(98).normal(size=len(table))  # the same in both runs, but for their size
    table["age_years_from_voice"] = 40 + hard + (1 - better) * errors
    table["age_years_absolute_error"] = np.abs((1 - better) * errors)
    table.to_csv(path, index=False)
    return path


def test_a_run_equals_itself(tmp_path):
    path = write(tmp_path / "a.csv")
    found = compare(path, path, SETTINGS, 0)
    assert (found[["difference", "low", "high"]] == 0).all(axis=None)
    assert (found["p_value"] == 1).all()


def test_pairs_show_a_difference_that_the_spread_of_speakers_hides(tmp_path):
    first, second = write(tmp_path / "a.csv"), write(tmp_path / "b.csv", better=0.1, seed=1)
    found = compare(first, second, SETTINGS, 0).set_index("measure")
    row = found.loc["cosine"]
    assert row["low"] < 0.1 < row["high"]
    assert row["low"] > 0
    assert row["p_value"] < 0.01
    unpaired = stats.ttest_ind(pd.read_csv(first)["cosine"], pd.read_csv(second)["cosine"]).pvalue
    assert unpaired > 0.05
    assert (
        found.loc["sex_accuracy", "first"]
        == (pd.read_csv(first)["sex_true"] == pd.read_csv(first)["sex_from_voice"]).mean()
    )
    assert found.loc["age_years_absolute_error", "difference"] < 0


def test_two_runs_of_one_quality_seldom_differ(tmp_path):
    found = [
        compare(write(tmp_path / "a.csv", seed=s), write(tmp_path / "b.csv", seed=s + 500), SETTINGS, s)
        for s in range(12)
    ]
    p_values = pd.concat(found)["p_value"]  # 84 tests, those of a run independent but for the speakers
    assert (p_values <= 0.05).mean() < 0.15


def test_other_clips_are_refused(tmp_path):
    first, second = write(tmp_path / "a.csv"), write(tmp_path / "b.csv", speakers=40)
    with pytest.raises(ValueError, match="same test clips"):
        compare(first, second, SETTINGS, 0)


def test_another_file_is_refused(tmp_path):
    (tmp_path / "recall.csv").write_text("rank,recall\n1,0.5\n")
    with pytest.raises(ValueError, match="lacks the columns clip_id"):
        compare(tmp_path / "recall.csv", write(tmp_path / "b.csv"), SETTINGS, 0)


def test_only_chosen_measures_are_compared_in_their_order(tmp_path):
    path = write(tmp_path / "a.csv")
    found = compare(path, path, SETTINGS, 0, ("sex_accuracy", "decoded_cosine", "cosine"))
    assert found["measure"].tolist() == ["sex_accuracy", "cosine"]  # neither run decoded faces


def test_faces_of_two_decoders_are_compared(tmp_path):
    paths = [write(tmp_path / name) for name in ("a.csv", "b.csv")]
    for path, cosine in zip(paths, (0.5, 0.75), strict=True):
        pd.read_csv(path).assign(decoded_cosine=cosine).to_csv(path, index=False)
    row = compare(*paths, SETTINGS, 0).set_index("measure").loc["decoded_cosine"]
    assert (row["first"], row["second"], row["difference"], row["low"], row["high"]) == (0.5, 0.75, 0.25, 0.25, 0.25)


def test_a_file_that_is_no_table_is_named(tmp_path):
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ValueError, match=r"empty\.csv is not a table"):
        compare(write(tmp_path / "a.csv"), tmp_path / "empty.csv", SETTINGS, 0)


def test_classes_and_speakers_that_look_like_other_things(tmp_path):
    """Classes that a file does not tell from truth values, gaps and numbers; speakers that differ by a nought, or are called NA."""
    names = {"True": "1", "False": "2"}
    paths, tables = [], []
    for run, noise in (("a", 0.5), ("b", 4.0)):
        inputs = simulate(noise=noise)
        sex = inputs.attributes["sex"].map({"f": "True", "m": "False"})
        attributes = pd.DataFrame(
            {"said": sex, "digit": sex.map(names), "origin": sex.map({"True": "NA", "False": "SA"})}
        )
        attributes.loc[attributes.index.str.startswith("id00003"), "said"] = None
        attributes["age_years"] = inputs.attributes["age_years"]
        inputs = replace(inputs, attributes=attributes, roles=dict.fromkeys(attributes, "linked"))
        aligned = align(inputs)
        table = make_tables(aligned, measure(inputs, aligned, QUICK, 0))["clips"]
        table["speaker_id"] = table["speaker_id"].replace({"id00000": "07", "id00001": "7", "id00002": "NA"})
        table.to_csv(tmp_path / f"{run}.csv", index=False, float_format="%.6g")
        paths.append(tmp_path / f"{run}.csv")
        tables.append(table)
    found = compare(*paths, QUICK, 0).set_index("measure")
    for place, table in zip(("first", "second"), tables, strict=True):
        for name in ("said", "digit", "origin"):
            known = table[f"{name}_true"].notna()
            right = [t == r for t, r in zip(table[f"{name}_true"], table[f"{name}_from_voice"], strict=True)]
            assert 0.6 < np.mean(np.array(right)[known]) <= 1
            assert found.loc[f"{name}_accuracy", place] == pytest.approx(np.mean(np.array(right)[known])), name
        error = (table["age_years_true"] - table["age_years_from_voice"]).abs().mean()
        assert found.loc["age_years_absolute_error", place] == pytest.approx(error, rel=1e-5)
    assert tables[0]["said_true"].isna().sum() == 2
    assert _read(paths[0])["speaker_id"].nunique() == 48
    digits = tables[0].assign(speaker_id=tables[0]["speaker_id"].replace("NA", "007").str.removeprefix("id"))
    digits.to_csv(paths[0], index=False)
    assert _read(paths[0])["speaker_id"].tolist() == digits["speaker_id"].tolist()


class TestWithAll:
    def test_each_file_is_compared_or_set_aside(self, tmp_path):
        own, others = write(tmp_path / "own.csv"), tmp_path / "others"
        others.mkdir()
        write(others / "better.csv", better=0.1, seed=1)
        write(others / "other_corpus.csv", speakers=40)
        (others / "README.md").write_text("not a table")
        found = compare_with_all(own, others, SETTINGS, 0)
        assert found.skipped == ["other_corpus"]
        entry = found.as_metrics()
        assert list(entry) == ["better"]
        assert list(entry["better"]) == [name for name in REPORTED if name not in OF_DECODED]
        whole = compare(own, others / "better.csv", SETTINGS, 0).set_index("measure")
        for name, values in entry["better"].items():
            assert values == whole.loc[name, ["difference", "low", "high", "p_value"]].to_dict()

    def test_another_table_there_is_an_error(self, tmp_path):
        (tmp_path / "others").mkdir()
        (tmp_path / "others/recall.csv").write_text("rank,recall\n1,0.5\n")
        with pytest.raises(ValueError, match=r"recall\.csv lacks the columns"):
            compare_with_all(write(tmp_path / "own.csv"), tmp_path / "others", SETTINGS, 0)

    @pytest.mark.parametrize("directory", [None, "missing"])
    def test_nothing_there_is_nothing_found(self, directory, tmp_path):
        where = None if directory is None else tmp_path / directory
        assert compare_with_all(write(tmp_path / "own.csv"), where, SETTINGS, 0) == Comparisons()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A noisy run set against a better one of the same clips, against itself, and against one of other clips."""
    root = tmp_path_factory.mktemp("runs")
    others = root / "comparisons"
    others.mkdir()
    inputs = {
        "l1_alone": with_pictures(simulate(noise=4.0)),
        "with_contrastive": with_pictures(simulate(noise=0.5)),
        "other_corpus": simulate(60),
    }
    for name, given in inputs.items():
        evaluate(given, QUICK, 0, root / name)
        (others / f"{name}.csv").write_bytes((root / name / "tables/clips.csv").read_bytes())
    metrics = evaluate(inputs["l1_alone"], QUICK, 0, root / "run", comparisons=others)
    return root, metrics


def test_a_better_run_is_reported_as_better(runs):
    _, metrics = runs
    found = metrics["comparisons"]["with_contrastive"]
    for name in BETTER_IF_HIGHER:
        assert 0 < found[name]["low"] < found[name]["difference"] < found[name]["high"], name
        assert found[name]["p_value"] == pytest.approx(1 / 201, rel=1e-4), name
    assert found["age_years_absolute_error"]["high"] < 0
    # One decoder drew both runs, so what it makes of true features cannot differ.
    assert found["decoded_true_cosine"] == {"difference": 0, "low": 0, "high": 0, "p_value": 1}


def test_a_run_does_not_differ_from_itself(runs):
    _, metrics = runs
    for entry in metrics["comparisons"]["l1_alone"].values():
        assert entry == {"difference": 0, "low": 0, "high": 0, "p_value": 1}


def test_metrics_come_last_and_are_of_the_compared_alone(runs):
    root, metrics = runs
    assert list(metrics)[-1] == "comparisons"
    assert list(metrics["comparisons"]) == ["l1_alone", "with_contrastive"]
    assert json.loads((root / "run/metrics.json").read_text()) == metrics


def test_report_shows_both_values_and_says_what_was_set_aside(runs):
    root, metrics = runs
    text = (root / "run/report.html").read_text()
    section = re.search(r'<section id="comparisons".*?</section>', text, re.DOTALL).group()
    plain = " ".join(re.sub("<[^>]+>", " ", section).split())
    assert "Settings against each other" in plain
    assert "The other: with contrastive" in plain
    assert "Set aside: other corpus was evaluated on other test clips" in plain
    own, other = (
        pd.read_csv(root / name / "tables/clips.csv")["cosine"].mean() for name in ("run", "with_contrastive")
    )
    difference = metrics["comparisons"]["with_contrastive"]["cosine"]["difference"]
    assert difference == pytest.approx(other - own, abs=1e-5)
    row = f"cosine {own:.3f} {other:.3f} {difference:.4f}"
    assert row in plain


def test_clips_alone_of_another_corpus_leave_a_line_and_no_metrics(runs, tmp_path):
    root, _ = runs
    (tmp_path / "comparisons").mkdir()
    (tmp_path / "comparisons/old.csv").write_bytes((root / "other_corpus/tables/clips.csv").read_bytes())
    metrics = evaluate(simulate(), QUICK, 0, tmp_path / "run", comparisons=tmp_path / "comparisons")
    assert "comparisons" not in metrics
    assert "Set aside: old was evaluated" in (tmp_path / "run/report.html").read_text()


def test_none_gives_no_section(tmp_path):
    (tmp_path / "comparisons").mkdir()
    (tmp_path / "comparisons/README.md").write_text("how a file gets here")
    metrics = evaluate(simulate(60), QUICK, 0, tmp_path / "run", comparisons=tmp_path / "comparisons")
    assert "comparisons" not in metrics
    assert 'id="comparisons"' not in (tmp_path / "run/report.html").read_text()


def test_decoded_faces_are_scored_clip_by_clip(runs, tmp_path):
    root, _ = runs
    clips = pd.read_csv(root / "l1_alone/tables/clips.csv")
    # The simulated face network undoes the simulated decoder, so a decoded face keeps the feature it was drawn from.
    np.testing.assert_allclose(clips["decoded_true_cosine"], 1, atol=1e-5)
    np.testing.assert_allclose(clips["decoded_cosine"], clips["cosine"], atol=1e-5)
    evaluate(replace(with_pictures(simulate(60)), embed=None), QUICK, 0, tmp_path)
    assert "decoded_cosine" not in pd.read_csv(tmp_path / "tables/clips.csv")
