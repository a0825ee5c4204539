"""Who may have been heard by the encoder, and their scores apart from the others'."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import pairwise_distances

from speech2face.corpus.ids import speaker_of
from speech2face.measures.aligned import align
from speech2face.measures.heard import perhaps_heard, score_heard
from speech2face.measures.systems import System
from tests.simulated import QUICK, labelled, simulate

VOXCELEB = frozenset({"voxceleb"})


def with_origins(names, source=""):
    """Test clips of one speaker each, from these corpora."""
    clips = [f"id{i}/v/1" for i in range(len(names))]
    table = pd.DataFrame({"origin": names}, clips, dtype=object)
    return replace(simulate(20), clip_ids=clips, attributes=table, heard_by_encoder=VOXCELEB, source=source)


def test_origins_begin_with_the_name_in_any_case():
    names = ["voxceleb", "VoxCeleb1", "VOXCELEB2", "avspeech", "my_voxceleb", "vox"]
    assert perhaps_heard(with_origins(names)).tolist() == [True, True, True, False, False, False]


@pytest.mark.parametrize(
    ("source", "heard"),
    [
        ("voxceleb1+2", True),
        ("hq_voxceleb", True),
        ("avspeech", False),
        ("manifest", True),
        ("videos", True),
        ("", True),
    ],
)
def test_where_no_origin_is_known_the_source_decides_and_else_nobody_is_called_new(source, heard):
    inputs = with_origins([None, "avspeech", None], source)
    assert perhaps_heard(inputs).tolist() == [heard, False, heard]
    assert perhaps_heard(replace(inputs, attributes=inputs.attributes[[]])).tolist() == [heard] * 3


def test_scores_are_of_each_group_within_the_whole_gallery():
    inputs = labelled()
    aligned, voice = align(inputs), inputs.predicted["6 s"]
    found = score_heard(inputs, aligned, System(aligned, voice), QUICK, 0)
    assert (list(found), found["corpora"]) == (["corpora", "not_heard", "perhaps_heard"], "voxceleb")
    middle = aligned.means[[split == "train" for split in aligned.video_splits]].mean(0)
    matrix = pairwise_distances(voice - middle, aligned.gallery - middle, metric="cosine")
    own = matrix[np.arange(len(matrix)), aligned.clips["speaker"]]
    nearer = (matrix < own[:, None] - 1e-12).sum(1)
    even = np.array([int(speaker_of(clip)[-1]) % 2 == 0 for clip in inputs.clip_ids])
    for name, rows in (("perhaps_heard", even), ("not_heard", ~even)):
        entry = found[name]
        assert (entry["speakers"], entry["clips"]) == (24, 48)
        assert entry["recall_at_10_percent"]["value"] == pytest.approx((nearer[rows] < 5).mean())  # 10 % of 48
        assert entry["one_of_2"]["value"] == pytest.approx((1 - nearer[rows] / 47).mean())
        assert entry["one_of_2"]["low"] < entry["one_of_2"]["value"] < entry["one_of_2"]["high"]


def test_nothing_where_no_corpus_is_named():
    inputs = replace(labelled(), heard_by_encoder=frozenset())
    aligned = align(inputs)
    assert score_heard(inputs, aligned, System(aligned, inputs.predicted["6 s"]), QUICK, 0) == {}


def test_results_have_it_and_nothing_is_read_of_the_origin(measured):
    results = measured("labelled").results
    assert results["may_have_been_heard"]["perhaps_heard"]["speakers"] == 24
    assert set(results["groups"]["origin"]) == {"VoxCeleb2", "avspeech"}
    assert "origin" not in results["attributes"] and "origin" not in results["not_evaluated"]
    assert "may_have_been_heard" not in measured("plain").results
