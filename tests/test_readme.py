"""The README against the repository: its numbers are those of the committed run, its stages and commands exist."""

import json
import re
import xml.etree.ElementTree as ET
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from speech2face import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [README, *(path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md")))]

# Where the table's numbers lie: a row is a measure of each system, and its chance.
HEADLINES = json.loads((ROOT / "results/evaluation/metrics.json").read_text("utf-8"))
RESULTS = json.loads((ROOT / "results/evaluation/results.json").read_text("utf-8"))
SYSTEMS = {
    "this run": "systems.voice",
    "linear regression": "systems.ridge_mean_spectrogram",
    "ceiling": "systems.oracle",
}
MEASURES = {
    "recall at 10 %": ("recall_at_10_percent", "retrieval.speaker_mean.recall_at_10_percent.chance"),
    "one of two faces": ("one_of_2", "matching.all.one_of_2.chance"),
    "centred cosine": ("centred_cosine", None),
    "sex, accuracy": ("sex_accuracy", "attributes.sex.voice.majority"),
    "age, correlation": ("age_years_correlation", None),
    "vocal-tract length, correlation": ("vocal_tract_length_cm_correlation", None),
}
CONTROLS = "negative controls distinguishable from chance"
HEADLINE_OF = {
    "recall at 10 %": "recall_at_10_percent",
    "one of two faces": "one_of_two",
    "centred cosine": "centred_cosine",
    "sex, accuracy": "sex_accuracy",
    "age, correlation": "age_correlation",
}


def found(path: str) -> Any:
    return reduce(lambda results, key: results[key], path.split("."), RESULTS)


def tables(text: str) -> list[list[list[str]]]:
    """The Markdown tables of a text: rows of cells, the header first."""
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    return [[re.split(r" *\| *", line.strip().strip("|").strip()) for line in block.splitlines()] for block in blocks]


def results_table() -> dict[str, dict[str, str]]:
    (table,) = (table for table in tables(README) if "this run" in table[0])
    header = [name for name in table[0] if name]
    return {label: dict(zip(header, cells, strict=False)) for label, *cells in table[2:]}


def printed(estimate: dict[str, float]) -> str:
    """An estimate with its interval, where it has one."""
    interval = f" ({estimate['low']:.3f} to {estimate['high']:.3f})" if estimate["low"] < estimate["high"] else ""
    return f"{estimate['value']:.3f}{interval}"


def test_the_table_has_every_measure_and_nothing_else():
    assert list(results_table()) == [*MEASURES, CONTROLS]


@pytest.mark.parametrize("label", MEASURES)
def test_a_row_of_the_table_is_that_of_the_committed_results(label: str):
    measure, chance = MEASURES[label]
    expected = {name: found(f"{system}.{measure}") for name, system in SYSTEMS.items()}
    assert results_table()[label] == {
        "this run": printed(expected["this run"]),
        "chance": f"{found(chance):.3f}" if chance else "0",
        "linear regression": f"{expected['linear regression']['value']:.3f}",
        "ceiling": f"{expected['ceiling']['value']:.3f}",
    }


@pytest.mark.parametrize("label", HEADLINE_OF)
def test_the_headline_metrics_are_those_of_the_table(label: str):
    assert results_table()[label]["this run"].split()[0] == f"{HEADLINES[HEADLINE_OF[label]]:.3f}"


def test_the_row_of_negative_controls():
    controls = found("controls")
    cell = results_table()[CONTROLS]["this run"]
    assert cell == f"{controls['distinguishable']} of {controls['testable']} that can be tested"


def beside_regression(measure: str) -> str:
    """How much more or less this run reaches than linear regression, with its interval, in words."""
    less = found(f"systems.ridge_mean_spectrogram.{measure}.difference")
    sign, word, ends = (1, "less", ("low", "high")) if less["value"] > 0 else (-1, "more", ("high", "low"))
    low, high = (sign * less[end] for end in ends)
    return f"{sign * less['value']:.3f} {word}, {low:.3f} to {high:.3f}"


def test_the_numbers_of_the_text_are_those_of_the_committed_results():
    text = " ".join(README.split())
    speakers = json.loads((ROOT / "results/corpus/counts.json").read_text("utf-8"))["speakers"]
    for words in (
        f"`make repro` makes {sum(speakers.values())} speakers who do not exist",
        f"It uses {speakers['test']} speakers whom the networks never saw, with two recordings each",
        f"Sort the faces of the {found('retrieval.speaker_mean.gallery_size')} by",
        f"With {speakers['train']} speakers to learn from",
        f"(one of two faces: {beside_regression('one_of_2')})",
        f"(centred cosine: {beside_regression('centred_cosine')})",
    ):
        assert words in text


def test_the_picture_and_the_table_show_the_stages():
    stages = {"code", *YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]}
    texts = ET.parse(ROOT / "docs" / "pipeline.svg").iter("{http://www.w3.org/2000/svg}text")
    pictured = [(text.text or "").removesuffix(" ●") for text in texts if text.get("class") == "stage"]
    assert len(pictured) == len(stages) and set(pictured) == stages
    (table,) = (table for table in tables(README) if table[0][0] == "stage")
    assert [row[0].strip("`") for row in table[2:]] == pictured


@pytest.mark.parametrize(
    "command", sorted({name for page in PAGES for name in re.findall(r"(?<!from )\bspeech2face ([a-z]+)", page)})
)
def test_a_command_that_a_page_names_exists(command: str):
    with pytest.raises(SystemExit) as done:
        cli.main([command, "--help"])
    assert done.value.code == 0


def test_the_targets_of_make_that_a_page_names_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert {name for page in PAGES for name in re.findall(r"(?:^|`)make ([a-z-]+)", page, re.MULTILINE)} <= targets


def test_the_files_that_a_page_shows_exist():
    for name in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / name).is_file(), name
