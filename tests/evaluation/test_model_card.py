"""The model card of a run."""

from dataclasses import replace

import pytest

from speech2face.evaluation.run import evaluate
from tests.evaluation.simulated import SETTINGS, simulate

QUICK = SETTINGS | {"resamples": 200}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("card")
    description = {"Corpus": "simulated | piped\n<b>bold</b>"}
    metrics = evaluate(replace(simulate(), description=description), QUICK, 0, out, out / "docs" / "model-card.md")
    return metrics, (out / "docs" / "model-card.md").read_text()


def test_says_what_the_model_cannot_do(run):
    _, card = run
    for text in (
        "never an identity",
        "Not for** identifying",
        "Uneven performance",
        "consent",
        "MIT licence",
        "synthetic",
    ):
        assert text in card


def test_numbers_are_those_of_the_run(run):
    metrics, card = run
    recall = metrics["retrieval"]["speaker_mean"]["recall_at_10_percent"]
    row = next(line for line in card.splitlines() if line.startswith("| recall at 10 %, gallery of 48"))
    assert f"{recall['value']:.3g} ({recall['low']:.3g} to {recall['high']:.3g})" in row
    assert row.endswith(f"| {recall['chance']:.3g} |")
    assert "| Test speakers, none of them in training | 48 |" in card
    text = " ".join(card.split())
    assert (
        "0 of 3 testable controls could be told from chance. 2 cannot be tested this way: accent, room (faces do"
        in text
    )
    assert "Something leaks" not in text


def test_every_table_is_whole(run):
    _, card = run
    lines = card.splitlines()
    assert "| Corpus | simulated / piped &lt;b>bold&lt;/b> |" in lines
    for number, line in enumerate(lines):
        if line.startswith("|---"):
            width = line.count("|")
            for row in lines[number + 1 :]:
                if not row.startswith("|"):
                    break
                assert row.count("|") == width, row


def test_a_leak_is_said(tmp_path):
    evaluate(simulate(audible=("skin_tone",)), QUICK, 0, tmp_path, tmp_path / "card.md")
    text = " ".join((tmp_path / "card.md").read_text().split())
    assert "1 of 3 testable controls could be told from chance (skin_tone)." in text
    assert "it has not passed. **Something leaks: do not trust the numbers above.**" in text


def test_a_corpus_of_people_names_consent(tmp_path):
    inputs = simulate()
    real = replace(inputs, attributes=inputs.attributes[["sex"]], roles={})
    evaluate(real, QUICK, 0, tmp_path, tmp_path / "card.md")
    text = " ".join((tmp_path / "card.md").read_text().split())
    assert "recordings of people" in text
    assert "names no negative controls" in text
