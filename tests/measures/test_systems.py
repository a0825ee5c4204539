"""What is computed of a system's predictions: once, and the same in blocks."""

import numpy as np
import pytest

from speech2face.measures import systems, views
from speech2face.measures.distances import distances
from speech2face.measures.ranking import rank_among_speakers
from speech2face.measures.retrieval import Order, rank_matches
from speech2face.measures.similarity import similarities
from speech2face.measures.systems import System
from speech2face.measures.views import View, picked
from tests.simulated import fitted, simulate


@pytest.fixture(scope="module")
def case():
    inputs = simulate(60, noise=2.0)
    aligned, attributes = fitted(inputs, ["sex"])
    return aligned, attributes[0], inputs.predicted["6 s"]


def test_it_has_the_ranks_similarities_and_readings_of_its_features(case):
    aligned, sex, predicted = case
    system = System(aligned, predicted)
    for values, expected in zip(system.ranks, rank_among_speakers(aligned, predicted), strict=True):
        assert np.array_equal(values, expected)
    for name, expected in similarities(predicted, aligned.true, aligned.training_mean).items():
        assert np.array_equal(system.near[name], expected), name
    assert np.array_equal(system.read(sex), sex.probe.predict(predicted))


def test_blocks_change_nothing(case, monkeypatch):
    aligned, sex, predicted = case
    whole = System(aligned, predicted)
    monkeypatch.setattr(views, "ROWS_PER_BLOCK", 7)
    blocked = System(aligned, predicted)
    for values, expected in zip(blocked.ranks, whole.ranks, strict=True):
        assert np.array_equal(values, expected)
    for name, expected in whole.scores.items():
        assert np.allclose(blocked.scores[name], expected, rtol=1e-12), name
    assert np.array_equal(blocked.read(sex), whole.read(sex))


def test_features_are_made_once_for_each_kind_of_comparison(case):
    aligned, sex, predicted = case
    asked = []

    def make(rows):
        asked.extend(rows)
        return predicted[rows]

    system = System(aligned, View(predicted.shape, make))
    for _ in range(2):
        assert len(system.ranks.nearer) == len(system.raw_ranks.nearer) == len(predicted)
    assert asked == list(range(len(predicted)))
    for _ in range(2):
        assert set(systems.COSINES) <= system.scores.keys() & system.near.keys()
    assert len(asked) == 3 * len(predicted)
    assert np.array_equal(system.read(sex), system.read(sex))
    assert len(asked) == 4 * len(predicted)


def test_orders_are_compared_at_once(case):
    aligned, _, predicted = case
    system = System(aligned, predicted)
    centred, raw, manhattan = system.compare(Order("l1"))
    speakers = aligned.clips["speaker"]
    for found, metric, centre in (
        (centred, "cosine", aligned.training_mean),
        (raw, "cosine", None),
        (manhattan, "l1", None),
    ):
        expected = rank_matches(predicted, aligned.gallery, speakers, metric, centre=centre)
        for values, expected_values in zip(found.ranks, expected, strict=True):
            assert np.array_equal(values, expected_values), metric
        near = distances(
            predicted - (0 if centre is None else centre), aligned.gallery - (0 if centre is None else centre), metric
        )
        assert np.array_equal(found.nearest, near.argmin(1))


def test_what_is_known_to_be_repeated_is_compared_as_if_it_were_not(case):
    aligned, sex, predicted = case
    rows = np.arange(len(predicted)) // 3
    repeated, held = System(aligned, picked(predicted, rows)), System(aligned, predicted[rows])
    for found, expected in zip(repeated.compare(), held.compare(), strict=True):
        for values, expected_values in zip(
            (*found.ranks, found.nearest), (*expected.ranks, expected.nearest), strict=True
        ):
            assert np.array_equal(values, expected_values)
    assert np.array_equal(repeated.read(sex), held.read(sex))
