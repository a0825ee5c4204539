"""Similarities against scikit-learn and scipy."""

import numpy as np
import pytest
from scipy.spatial import distance
from sklearn.metrics.pairwise import paired_cosine_distances, paired_euclidean_distances, paired_manhattan_distances
from sklearn.preprocessing import normalize

from speech2face.measures.similarity import similarities, summarise
from speech2face.measures.statistics import Bootstrap

RNG = np.random.default_rng(0)
FIRST, SECOND = RNG.normal(size=(2, 20, 16)) * 3
CENTRE = RNG.normal(size=16)


def test_each_is_that_of_scikit_learn():
    found = similarities(FIRST, SECOND, CENTRE)
    assert np.allclose(found["cosine"], 1 - paired_cosine_distances(FIRST, SECOND))
    assert np.allclose(found["centred_cosine"], 1 - paired_cosine_distances(FIRST - CENTRE, SECOND - CENTRE))
    assert np.allclose(found["angle_deg"], np.degrees(np.arccos(found["cosine"])))
    assert np.allclose(found["l1"], paired_manhattan_distances(FIRST, SECOND))
    assert np.allclose(found["l2"], paired_euclidean_distances(FIRST, SECOND))
    assert np.allclose(found["unit_l1"], paired_manhattan_distances(normalize(FIRST), normalize(SECOND)))
    assert np.allclose(
        found["unit_l2"], [distance.euclidean(a, b) for a, b in zip(normalize(FIRST), normalize(SECOND), strict=True)]
    )


def test_blocks_change_nothing(monkeypatch):
    whole = similarities(FIRST, SECOND, CENTRE)
    monkeypatch.setattr("speech2face.measures.views.ROWS_PER_BLOCK", 3)
    for name, values in similarities(FIRST, SECOND, CENTRE).items():
        assert np.allclose(values, whole[name], rtol=1e-12), name


def test_equal_opposite_and_scaled_vectors():
    same, opposite, scaled = (similarities(FIRST, factor * FIRST, CENTRE) for factor in (1, -1, 7))
    assert np.allclose(same["cosine"], 1)
    assert not any(same[name].any() for name in ("angle_deg", "l1", "l2", "unit_l1", "unit_l2"))
    assert np.allclose(opposite["angle_deg"], 180)
    assert np.allclose(scaled["angle_deg"], 0, atol=1e-6)
    assert (scaled["l2"] > 1).all()


def test_small_angles_keep_their_digits():
    turned = np.array([[np.cos(1e-7), np.sin(1e-7)]])
    assert np.allclose(
        similarities(np.array([[1.0, 0.0]]), turned, np.zeros(2))["angle_deg"], np.degrees(1e-7), rtol=1e-6
    )


def test_a_zero_vector_is_at_a_right_angle_to_all():
    found = similarities(np.zeros((1, 3)), np.ones((1, 3)), np.zeros(3))
    assert found["cosine"] == found["centred_cosine"] == 0
    assert np.isclose(found["angle_deg"], 90)


def test_centring_takes_away_what_all_have_in_common():
    common = np.full(16, 40.0)
    unrelated = similarities(common + FIRST, common + SECOND, common)
    assert unrelated["cosine"].min() > 0.95
    assert abs(unrelated["centred_cosine"].mean()) < 3 / np.sqrt(20 * 16)
    assert not similarities(np.tile(common, (20, 1)), common + SECOND, common)[
        "centred_cosine"
    ].any()  # the mean for everyone


def test_spread_over_clips_and_over_speakers():
    values = {"cosine": np.array([0.0, 2.0, 4.0, 6.0])}
    found = summarise(values, Bootstrap(["a", "a", "b", "b"], 200, 0.95, 0))["cosine"]
    assert found["value"] == 3
    assert np.isclose(found["sd_clips"], np.std([0, 2, 4, 6]))
    assert found["over_speakers"]["value"] == 3
    assert np.isclose(found["over_speakers"]["sd"], np.std([1, 5]))


def test_a_speaker_of_many_clips_counts_once_over_speakers():
    values = {"cosine": np.array([1.0] * 9 + [0.0])}
    found = summarise(values, Bootstrap(["a"] * 9 + ["b"], 200, 0.95, 0))["cosine"]
    assert found["value"] == 0.9
    assert found["over_speakers"] == pytest.approx({"value": 0.5, "low": 0, "high": 1, "sd": 0.5})
