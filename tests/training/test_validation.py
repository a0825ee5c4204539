"""Ranks of the validation speakers, by hand."""

import numpy as np
import pytest

from speech2face.training.pairs import Targets
from speech2face.training.validation import rank_validation

MEAN = np.array([100.0, 50.0])
FACES = {"t": [0, 0], "p": [1, 0], "q": [0, 1], "r": [-1, 0]}
TARGETS = Targets(
    (MEAN + np.array(list(FACES.values()))).astype(np.float32),
    {f"{speaker}/v": row for row, speaker in enumerate(FACES)},
    {speaker: "train" if speaker == "t" else "val" for speaker in FACES},
)


def test_differences_from_the_mean_training_face_are_ranked():
    predicted = MEAN + np.array([[2.0, 0.1], [0.1, 3.0], [0.5, 0.1]])
    found = rank_validation(predicted, ["p", "q", "r"], TARGETS)
    assert found["mean_rank"] == pytest.approx((1 + 1 + 3) / 3)
    assert found["one_of_two"] == pytest.approx((1 + 1 + 0) / 3)
    assert found["recall_at_10_percent"] == pytest.approx(2 / 3)


def test_stretched_predictions_are_as_far_from_the_mean_face_as_faces_are():
    for times in (0.5, 2.0, 5.0):
        predicted = MEAN + np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]) / times
        assert rank_validation(predicted, ["p", "q", "r"], TARGETS)["stretch"] == pytest.approx(times)
    assert rank_validation(MEAN + (predicted - MEAN) / 100, ["p", "q", "r"], TARGETS)["stretch"] == 10.0


def test_the_mean_face_says_nothing():
    found = rank_validation(np.repeat(MEAN[None], 3, 0), ["p", "q", "r"], TARGETS)
    assert found["stretch"] == 10.0
    assert found["one_of_two"] == pytest.approx(0.5)
