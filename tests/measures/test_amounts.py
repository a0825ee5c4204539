"""How much of a voice is enough, against ranks counted by hand and means taken by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from speech2face.measures.aligned import align
from speech2face.measures.amounts import amounts_table, of_speakers, score_amounts
from speech2face.measures.inputs import Faces, Inputs
from speech2face.measures.statistics import resample_speakers
from speech2face.measures.systems import System
from tests.simulated import QUICK, simulate


def by_hand(num_speakers=4):
    """Test speakers whose faces are the axes, with two clips each, and a training speaker whose face is zero.

    Speaker 0 is mistaken: from 6 s of the second clip for speaker 1, from 3 s of the first for 1 and 2. All else is right.
    """
    right = np.eye(num_speakers).repeat(2, axis=0)
    six, three = right.copy(), right.copy()
    if num_speakers > 2:
        six[1, :2] = 0.2, 0.6
        three[0, :3] = 0.2, 0.6, 0.4
    names = [*(f"id{i}" for i in range(num_speakers)), "training"]
    faces = Faces(
        [f"{name}/v/1" for name in names],
        names,
        ["test"] * num_speakers + ["train"],
        np.concatenate([np.eye(num_speakers), np.zeros((1, num_speakers))]).astype(np.float32),
    )
    clips = [f"id{i}/v/{clip}" for i in range(num_speakers) for clip in (1, 2)]
    return Inputs(clips, {"6 s": six, "3 s": three}, faces, pd.DataFrame(index=clips))


def scored(inputs):
    aligned = align(inputs)
    systems = {name: System(aligned, predicted) for name, predicted in inputs.predicted.items()}
    return score_amounts(aligned, systems, resample_speakers(aligned.clips, QUICK, 0))


def values(found, measure):
    return [entry[measure]["value"] for entry in found.values()]


def test_each_amount_is_as_counted_by_hand():
    found = scored(by_hand())
    assert list(found) == ["speaker", "6 s", "3 s"]
    # Both clips of speaker 0 together say (0.6, 0.3, 0, 0): the right one.
    assert values(found, "recall_at_10_percent") == [1, 7 / 8, 7 / 8]  # 10 % of four faces is the first
    # Of three others one is nearer at 6 s, and two are at 3 s.
    assert values(found, "one_of_2") == pytest.approx([1, (7 + 2 / 3) / 8, (7 + 1 / 3) / 8])
    for entry in found.values():
        assert (entry["recall_at_10_percent"]["chance"], entry["one_of_2"]["chance"]) == (0.25, 0.5)
        assert all(value["low"] <= value["value"] <= value["high"] for value in entry.values())


def test_the_more_is_heard_the_more_is_found():
    inputs = simulate(quality="perfect", videos=4)
    rng = np.random.default_rng(0)
    perfect = inputs.predicted["6 s"]
    noise = {"6 s": 8, "3 s": 16, "1.5 s": 32}
    lengths = {name: perfect + scale * rng.normal(size=perfect.shape) for name, scale in noise.items()}
    found = scored(replace(inputs, predicted=lengths))
    for measure in ("recall_at_10_percent", "one_of_2"):
        curve = values(found, measure)
        assert (np.diff(curve) < -0.03).all()
        assert curve[-1] > list(found.values())[-1][measure]["chance"]


def test_a_speaker_is_the_mean_over_the_clips_of_what_is_evaluated():
    inputs = simulate(30, videos=3, noise=4.0)
    inputs = replace(inputs, predicted={**inputs.predicted, "3 s": -inputs.predicted["6 s"]})
    aligned = align(inputs)
    mine = [clip.split("/")[0] for clip in inputs.clip_ids]
    rows = [
        np.mean([f for f, other in zip(inputs.predicted["6 s"], mine, strict=True) if other == me], 0) for me in mine
    ]
    expected = System(aligned, np.array(rows)).scores
    found = scored(inputs)["speaker"]
    for measure in ("recall_at_10_percent", "one_of_2"):
        assert found[measure]["value"] == pytest.approx(expected[measure].mean())


def test_means_are_of_each_speakers_own_rows():
    predicted = np.array([[1, 2], [3, 4], [5, 8], [7, 0]], np.float32)
    found = np.asarray(of_speakers(predicted, pd.Series([7, 2, 7, 5])))
    assert found.dtype == np.float64
    assert found.tolist() == [[3, 5], [3, 4], [3, 5], [7, 0]]


def test_one_speaker_has_no_other_to_be_mistaken_for():
    assert [list(entry) for entry in scored(by_hand(1)).values()] == [["recall_at_10_percent"]] * 3


def test_the_table_has_a_row_an_amount_and_measure():
    found = scored(by_hand())
    table = amounts_table(found).set_index(["heard", "measure"])
    assert len(table) == 6
    assert table.loc["3 s", "one_of_2"].to_dict() == found["3 s"]["one_of_2"]


def test_results_have_what_is_evaluated_in_it_too(measured):
    results = measured("plain").results
    amount, headline = results["amount_of_speech"]["6 s"], results["headline"]
    assert amount["recall_at_10_percent"]["value"] == headline["recall_at_10_percent"]
    assert amount["recall_at_10_percent"] == results["retrieval"]["speaker_mean"]["recall_at_10_percent"]
    assert amount["one_of_2"]["value"] == headline["one_of_two"]
