"""Faces decoded block by block, with and without the networks that look at them."""

from dataclasses import replace

import numpy as np

from speech2face.measures import decoded
from speech2face.measures.decoded import decode_faces
from tests.simulated import judge, simulate, with_pictures


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
