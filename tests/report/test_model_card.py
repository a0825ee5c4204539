"""The model card of a run."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from speech2face.evaluation.run import evaluate
from tests.evaluation.simulated import SETTINGS, simulate
from tests.measures.test_leaks import add_training_speaker, without_faces

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
    systems = metrics["systems"]
    assert row.split(" | ")[2:] == [
        f"{recall['chance']:.3g}",
        "–",
        f"{systems['oracle']['recall_at_10_percent']['value']:.3g} |",
    ]
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


def test_results_stand_beside_mean_face_best_simple_baseline_and_ceiling(tmp_path):
    inputs = simulate()
    clips = inputs.attributes.index
    rng = np.random.default_rng(0)
    linked = inputs.attributes[["age_years", "vocal_tract_length_cm"]]
    voices = {"mean_spectrogram": linked, "f0": pd.DataFrame(rng.normal(size=(len(clips), 2)), clips)}
    metrics = evaluate(replace(inputs, voices=voices), QUICK, 0, tmp_path, tmp_path / "card.md")
    card = (tmp_path / "card.md").read_text()
    systems, keys = metrics["systems"], ("cosine", "centred_cosine", "recall_at_1", "recall_at_10_percent", "one_of_2")
    starts = ("| cosine |", "| centred cosine |", "| recall at 1,", "| recall at 10 %,", "| choosing one of two")
    for key, start in [*zip(keys, starts, strict=True), ("age_years_correlation", "| age years, correlation")]:
        chance, best, ceiling = next(line for line in card.splitlines() if line.startswith(start)).split(" | ")[2:]
        ridges = [systems[name][key]["value"] for name in ("ridge_mean_spectrogram", "ridge_f0")]
        winner = "ridge mean spectrogram" if ridges[0] > ridges[1] else "ridge f0"
        assert best == f"{max(ridges):.3g} ({winner})", key
        assert ceiling == f"{systems['oracle'][key]['value']:.3g} |", key
        if "cosine" in key:
            assert chance == f"{systems['mean_feature'][key]['value']:.3g}", key
    assert "ridge mean spectrogram" in card
    assert "| Training speakers | 67 |" in card
    assert "Trained on 134 clips of 67 speakers, tested on 96 clips of 48." in card


def test_test_speakers_who_were_trained_on_are_not_called_new(tmp_path, run):
    inputs = simulate(dim=64)
    planted = add_training_speaker(inputs, inputs.faces.features[:2])
    digests = {clip: ["same"] for clip in (inputs.clip_ids[0], inputs.attributes.index[-1])}
    metrics = evaluate(replace(planted, digests=digests), QUICK, 0, tmp_path, tmp_path / "card.md")
    card = " ".join((tmp_path / "card.md").read_text().split())
    report = " ".join((tmp_path / "report.html").read_text().split())
    assert metrics["leaks_found"] == 3
    assert "none of them in training" not in card
    assert "| Test speakers | 48 |" in card
    assert "1 clips with a shared file, 2 videos with an identical face, 1 speakers who look alike" in card
    assert "Not all test speakers are new to the model, do not trust the numbers above" in card
    assert "id00000/video0" in card
    assert "were not in training" not in report
    assert "48 speakers, not all of them new to the model" in report
    clean = " ".join(run[1].split())
    assert "0 clips with a shared file, 0 videos with an identical face" in clean
    assert "do not trust" not in clean


def test_look_alikes_are_told_as_perhaps_seen(tmp_path):
    inputs = simulate(videos=4, dim=64, turn=0.2)
    planted = add_training_speaker(without_faces(inputs, (2, 3)), inputs.faces.features[2:4])
    evaluate(planted, QUICK, 0, tmp_path, tmp_path / "card.md")
    card = (tmp_path / "card.md").read_text()
    assert "**Perhaps not all test speakers are new to the model** (id00000)." in card
    assert "none of them in training" not in card
    assert "48 speakers, perhaps not all of them new to the model" in (tmp_path / "report.html").read_text()
