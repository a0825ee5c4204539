"""The front matter of model cards: read by PyYAML, as the hub's own client reads it, and held against the hub's format."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from speech2face.report.front_matter import front_matter
from tests.simulated import HOSTILE

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^(\s*---(?:\r\n|\r|\n))([\S\s]*?)((?:\r\n|\r|\n)---[ \t]*(\r\n|\n|$))")
"""How huggingface_hub finds the front matter of a card."""
TYPES = {
    "license": str,
    "license_name": str,
    "library_name": str,
    "tags": list,
    "language": list,
    "datasets": list,
    "model-index": list,
}
"""The hub's keys, as far as a card may have them (modelcard.md of huggingface/hub-docs)."""
RESULTS = {
    "recall_at_10_percent": ("retrieval", "speaker_mean", "recall_at_10_percent"),
    "one_of_two": ("matching", "all", "one_of_2"),
    "centred_cosine": ("systems", "voice", "centred_cosine"),
}
"""Where the results have each metric."""
DEFAULT = {"Corpus": "synthetic", "Face features": "dlib_resnet"}


def read(card: str) -> dict[str, Any]:
    return yaml.safe_load(BLOCK.search(card)[2])


def check_format(metadata: dict[str, Any]) -> None:
    """The hub's keys and types; in lists of names only texts."""
    assert metadata.keys() >= {"license", "library_name", "tags"}
    assert (metadata["license"] == "other") == ("license_name" in metadata)
    for key, value in metadata.items():
        assert isinstance(value, TYPES[key]), key
        if key != "model-index":
            assert all(isinstance(entry, str) for entry in value), key
    for model in metadata.get("model-index", []):
        assert model.keys() == {"name", "results"}
        for result in model["results"]:
            assert result.keys() == {"task", "dataset", "metrics"}
            assert result["task"].keys() == {"type", "name"}
            assert result["dataset"].keys() == {"type", "name", "split"}
            assert all(isinstance(value, str) for part in ("task", "dataset") for value in result[part].values())
            for metric in result["metrics"]:
                assert metric.keys() == {"type", "value", "name", "args"}
                assert isinstance(metric["type"], str) and isinstance(metric["name"], str)
                assert all(isinstance(number, float) for number in (metric["value"], *metric["args"].values()))


def check_numbers(metadata: dict[str, Any], results: dict[str, Any]) -> None:
    """The metrics are those of the results, to four decimals, with their intervals and chance in words too."""
    (model,) = metadata["model-index"]
    (result,) = model["results"]
    metrics = {metric["type"]: metric for metric in result["metrics"]}
    assert metrics.keys() == RESULTS.keys()
    for name, path in RESULTS.items():
        expected: Any = results
        for key in path:
            expected = expected[key]
        arguments = metrics[name]["args"]
        assert metrics[name]["value"] == pytest.approx(expected["value"], abs=5.001e-5)
        assert (arguments["low"], arguments["high"]) == pytest.approx((expected["low"], expected["high"]), abs=5.001e-5)
        assert arguments["chance"] == pytest.approx(expected.get("chance", 0.0), abs=5.001e-5)
        assert (
            f"95 % interval {arguments['low']:g} to {arguments['high']:g}, chance {arguments['chance']:g})"
            in metrics[name]["name"]
        )


def test_the_card_of_the_committed_run_is_for_hubs():
    metadata = read((ROOT / "docs/model-card.md").read_text("utf-8"))
    check_format(metadata)
    check_numbers(metadata, json.loads((ROOT / "results/evaluation/results.json").read_text("utf-8")))
    assert metadata["license"] == "mit" and metadata["language"] == ["en"]
    assert "datasets" not in metadata and "pipeline_tag" not in metadata


def test_the_card_of_a_run_has_its_numbers_and_then_its_text(evaluated):
    run = evaluated("plain")
    metadata = read(run.card)
    check_format(metadata)
    check_numbers(metadata, run.results)
    assert metadata["model-index"][0]["results"][0]["dataset"]["type"] == f"simulated | piped {HOSTILE}"
    assert run.card[BLOCK.search(run.card).end() :].startswith("\n# Model card\n")


@pytest.mark.parametrize(
    ("description", "synthetic", "license_id"),
    [
        (DEFAULT, True, "mit"),
        (DEFAULT | {"Face features": "vgg_face"}, True, "other"),
        ({"Corpus": "voxceleb1", "Face features": "dlib_resnet"}, False, "other"),
        ({}, True, "other"),
    ],
)
def test_weights_are_not_called_free_that_the_data_or_a_network_bind(evaluated, description, synthetic, license_id):
    metadata = read(front_matter(evaluated("plain").results, description, synthetic, 0.95))
    check_format(metadata)
    assert metadata["license"] == license_id
    assert ("language" in metadata) == synthetic


@pytest.mark.parametrize(
    ("source", "datasets"),
    [("voxceleb1+2", ["voxceleb1", "voxceleb2"]), ("avspeech", ["avspeech"]), ("videos", None), ("manifest", None)],
)
def test_public_corpora_are_named(evaluated, source, datasets):
    metadata = read(front_matter(evaluated("labelled").results, {"Corpus": source}, False, 0.95))
    check_format(metadata)
    assert metadata.get("datasets") == datasets


@pytest.mark.parametrize("corpus", ["leaking", "seen_in_training"])
def test_numbers_that_are_not_to_be_trusted_are_not_given_to_hubs(evaluated, corpus):
    metadata = read(evaluated(corpus).card)
    check_format(metadata)
    assert "model-index" not in metadata


def test_small_numbers_stay_numbers(evaluated):
    """PyYAML, and so the hub's client, takes 1e-05 for a text."""
    results = evaluated("plain").results
    tiny = {"value": 0.00004, "low": -0.00002, "high": 0.0001}
    systems = results["systems"] | {"voice": results["systems"]["voice"] | {"centred_cosine": tiny}}
    metadata = read(front_matter(results | {"systems": systems}, DEFAULT, True, 0.95))
    check_format(metadata)
    check_numbers(metadata, results | {"systems": systems})
