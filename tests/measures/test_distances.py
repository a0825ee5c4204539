"""Distances against scipy, and the bounds on the fast ones' errors."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from speech2face.measures.distances import METRICS, Estimates, Side, distances, paired

SCIPY = {"cosine": "cosine", "l1": "cityblock", "l2": "euclidean"}
RNG = np.random.default_rng(0)
ENTRIES = RNG.normal(size=(90, 600)) + 1
QUERIES = ENTRIES[:70] + 1e-7 * RNG.normal(size=(70, 600))
CENTRE = torch.from_numpy(RNG.normal(size=600) + 1)
ORDERS = [("cosine", True), ("cosine", False), ("l1", True), ("l2", True)]


@pytest.mark.parametrize("metric", METRICS)
def test_distances_are_those_of_scipy(metric):
    found = distances(QUERIES, ENTRIES, metric)
    assert np.allclose(found, cdist(QUERIES, ENTRIES, SCIPY[metric]), rtol=1e-13, atol=1e-13)


def exact(metric, centred):
    """In extended precision."""
    middle = CENTRE.numpy() if centred else 0
    queries, entries = (np.asarray(values - middle, np.longdouble) for values in (QUERIES, ENTRIES))
    if metric == "cosine":
        lengths = [np.sqrt((values**2).sum(1)) for values in (queries, entries)]
        return 1 - (queries @ entries.T) / np.outer(*lengths)
    return np.stack([np.linalg.norm((q - entries).astype(float), {"l1": 1, "l2": 2}[metric], axis=1) for q in queries])


@pytest.mark.parametrize(("metric", "centred"), ORDERS)
def test_estimates_are_within_their_bounds_and_pairs_exact(metric, centred):
    asked, held = Side(QUERIES, CENTRE), Side(ENTRIES, CENTRE)
    matrix, error = (values.numpy() for values in Estimates(asked, held).of(metric, centred))
    expected = exact(metric, centred).astype(float)
    assert (np.abs(matrix - expected) <= error + 1e-14 * expected).all()
    assert np.median(error) < 1e-2 * np.median(expected)
    first, second = torch.arange(70), torch.arange(70) + 20
    found = paired(asked, held, first, second, metric, centred).numpy()
    assert np.allclose(found, expected[first, second], rtol=1e-12, atol=1e-15)


def test_a_zero_vector_is_at_a_right_angle_to_all():
    held = Side(np.concatenate([ENTRIES, np.zeros((1, 600))]), CENTRE)
    asked = Side(np.stack([np.zeros(600), CENTRE.numpy(), QUERIES[0]]), CENTRE)
    raw, raw_error = Estimates(asked, held).of("cosine", False)
    assert (raw[0] == 1).all()
    assert raw_error[0] == 0
    centred, error = Estimates(asked, held).of("cosine", True)
    assert (centred[1] == 1).all()
    assert error[1] == 0
    assert abs(raw[2, -1] - 1) <= raw_error[2]


def test_manhattan_distances_of_large_and_small_numbers_keep_their_digits():
    for scale in (1e-30, 1e60):
        matrix, _ = Estimates(Side(scale * QUERIES, None), Side(scale * ENTRIES, None)).of("l1", True)
        far = matrix.numpy() > scale
        assert np.allclose(matrix.numpy()[far], scale * cdist(QUERIES, ENTRIES, "cityblock")[far], rtol=1e-6)
