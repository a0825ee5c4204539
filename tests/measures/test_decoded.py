"""Faces decoded block by block, with and without the networks that look at them."""

from dataclasses import replace

import numpy as np

from speech2face.measures import decoded
from speech2face.measures.aligned import align
from speech2face.measures.decoded import decode_faces, score_decoded
from speech2face.measures.statistics import resample_speakers
from tests.simulated import QUICK, judge, simulate, with_pictures


def test_blocks_change_nothing_and_rows_stay_in_order(monkeypatch):
    inputs = replace(with_pictures(simulate(20)), judge=judge)
    features = inputs.predicted["6 s"]
    whole = decode_faces(inputs, features)
    monkeypatch.setattr(decoded, "FACES_PER_BLOCK", 5)  # the last block has one
    blocks = decode_faces(inputs, features)
    images, landmarks = inputs.decode(features.astype(np.float32))
    for found in (whole, blocks):
        assert np.allclose(found.landmarks, landmarks)
        assert np.allclose(found.features, features, atol=1e-3)  # the simulated face network undoes the decoder
        assert np.array_equal(found.opinion.age_years, images[:, 0, 0, 0])


def test_what_is_not_given_is_not_measured():
    inputs = with_pictures(simulate(20))
    features = inputs.predicted["6 s"]
    assert decode_faces(replace(inputs, decode=None), features) is None
    alone = decode_faces(replace(inputs, embed=None), features)
    assert alone.features is None and alone.opinion is None
    assert alone.landmarks.shape == (len(features), 68, 2)


def test_decoded_faces_are_looked_for_whatever_they_all_have_in_common():
    inputs = replace(with_pictures(simulate(20)), reader="a_network", reader_taught_decoder=True)
    aligned = align(inputs)
    bootstrap = resample_speakers(aligned.clips, QUICK, 0)
    of_speaker = aligned.gallery[aligned.clips["speaker"]]
    right = of_speaker - of_speaker.mean(0) + aligned.training_mean
    shifted = 100.0 + 0.3 * of_speaker
    wrong = 2 * aligned.training_mean - right
    found = score_decoded(inputs, aligned, {"true_feature": shifted, "voice": wrong}, bootstrap)
    same = score_decoded(inputs, aligned, {"true_feature": right}, bootstrap)
    assert found["read_by"] == "a_network" and found["taught_the_decoder"] is True
    assert found["true_feature"] == same["true_feature"]
    assert found["true_feature"]["one_of_2"]["value"] > 0.9 and found["voice"]["one_of_2"]["value"] < 0.1
    assert found["voice"]["one_of_2"]["chance"] == 0.5
