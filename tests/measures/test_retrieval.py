"""Ranks against scikit-learn and against the definition, entry by entry."""

import subprocess
import sys
from math import ceil

import numpy as np
import pytest
from sklearn.metrics import coverage_error, pairwise_distances, top_k_accuracy_score
from sklearn.neighbors import NearestNeighbors

from speech2face.measures import retrieval, views
from speech2face.measures.distances import METRICS
from speech2face.measures.retrieval import (
    Order,
    Ranks,
    compare,
    expected,
    middle_rank,
    percent_to_k,
    rank_matches,
    ranks,
    recall_at,
    recall_at_percent,
)

SKLEARN = {"cosine": "cosine", "l1": "manhattan", "l2": "euclidean"}
NUMPY = {
    "cosine": lambda q, g: 1 - q @ g / np.sqrt((q @ q) * (g @ g)),
    "l1": lambda q, g: np.abs(q - g).sum(),
    "l2": lambda q, g: np.sqrt(((q - g) ** 2).sum()),
}


def brute_force(query, gallery, target, metric):
    """Nearer and tied entries of each query, one distance at a time."""
    nearer, tied = [], []
    for q, own in zip(query, target, strict=True):
        found = [NUMPY[metric](q, g) for g in gallery]
        others = [d for i, d in enumerate(found) if i != own]
        same = [np.isclose(d, found[own], rtol=1e-13, atol=1e-13) for d in others]
        nearer.append(sum(d < found[own] and not s for d, s in zip(others, same, strict=True)))
        tied.append(sum(same))
    return np.array(nearer), np.array(tied)


def nearest_by(query, gallery, metric, centre=None):
    return compare(query, gallery, np.zeros(len(query), int), [Order(metric)], centre)[0].nearest


@pytest.fixture
def random_features():
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(90, 24)) + 1
    target = rng.integers(90, size=70)
    return gallery[target] + 1.5 * rng.normal(size=(70, 24)), gallery, target


@pytest.mark.parametrize("metric", METRICS)
class TestAgainstOthers:
    def test_nearest_is_scikit_learns_neighbour(self, random_features, metric, monkeypatch):
        query, gallery, _ = random_features
        monkeypatch.setattr(views, "ROWS_PER_BLOCK", 16)
        neighbours = NearestNeighbors(n_neighbors=1, metric=SKLEARN[metric]).fit(gallery).kneighbors(query)[1]
        assert np.array_equal(nearest_by(query, gallery, metric), neighbours[:, 0])

    def test_ranks_are_places_in_scikit_learns_neighbours(self, random_features, metric):
        query, gallery, target = random_features
        model = NearestNeighbors(n_neighbors=len(gallery), metric=SKLEARN[metric], algorithm="brute").fit(gallery)
        order = model.kneighbors(query, return_distance=False)
        assert np.array_equal(ranks(query, gallery, target, metric), 1 + np.argmax(order == target[:, None], axis=1))

    def test_recall_is_scikit_learns_top_k_accuracy(self, random_features, metric):
        query, gallery, target = random_features
        closeness = -pairwise_distances(query, gallery, metric=SKLEARN[metric])
        found = rank_matches(query, gallery, target, metric)
        for k in (1, 2, 5, 10):
            assert recall_at(found, k) == top_k_accuracy_score(target, closeness, k=k, labels=np.arange(len(gallery)))

    def test_ties_agree_with_brute_force(self, metric):
        rng = np.random.default_rng(1)
        gallery = rng.integers(1, 4, size=(60, 3)).astype(float)  # 27 possible entries: many are equal, many as near
        query = rng.integers(1, 4, size=(80, 3)).astype(float)
        target = rng.integers(60, size=80)
        found = rank_matches(query, gallery, target, metric)
        nearer, tied = brute_force(query, gallery, target, metric)
        assert np.array_equal(found.nearer, nearer)
        assert np.array_equal(found.tied, tied)
        assert tied.max() > 5
        assert np.array_equal(ranks(query, gallery, target, metric), 1 + nearer)
        # scikit-learn's coverage error counts a tie against the query; rounding makes its ties those of the definition
        closeness = -np.round(pairwise_distances(query, gallery, metric=SKLEARN[metric]), 12)
        truth = np.eye(60, dtype=int)[target]
        assert coverage_error(truth, closeness) == pytest.approx((1 + nearer + tied).mean(), abs=1e-12)

    def test_blocks_change_nothing(self, random_features, metric, monkeypatch):
        query, gallery, target = random_features
        gallery = np.concatenate([gallery, gallery[:30]])  # duplicates in another block
        whole = rank_matches(query, gallery, target, metric)
        monkeypatch.setattr(views, "ROWS_PER_BLOCK", 7)
        monkeypatch.setattr(retrieval, "ENTRIES_PER_BLOCK", 11)
        for values, blocked in zip(whole, rank_matches(query, gallery, target, metric), strict=True):
            assert np.array_equal(values, blocked)
        assert (whole.tied[target < 30] == 1).all()
        assert (whole.tied[target >= 30] == 0).all()

    def test_duplicates_of_the_match_are_ties_whatever_the_block_shapes(self, metric, monkeypatch):
        rng = np.random.default_rng(2)
        gallery = np.repeat(rng.normal(size=(40, 513)), 3, axis=0)
        query = rng.normal(size=(31, 513))
        monkeypatch.setattr(views, "ROWS_PER_BLOCK", 5)
        monkeypatch.setattr(retrieval, "ENTRIES_PER_BLOCK", 17)
        assert (rank_matches(query, gallery, rng.integers(120, size=31), metric).tied == 2).all()

    def test_scale_of_the_features_does_not_matter(self, random_features, metric):
        query, gallery, target = random_features
        expected_ranks = ranks(query, gallery, target, metric)
        for scale in (1e-30, 1e-9, 1e60):
            assert np.array_equal(ranks(query * scale, gallery * scale, target, metric), expected_ranks)

    def test_nearly_equal_distances_are_distinguished(self, metric):
        # Distances that differ by parts in 10^10, far below single precision, in a random order.
        rng = np.random.default_rng(5)
        steps = rng.permutation(50)
        direction = rng.normal(size=40)
        query = rng.normal(size=(1, 40)) + 3
        start = query[0] + direction
        gallery = np.stack([start + step * 1e-10 * direction for step in steps])
        found = [rank_matches(query, gallery, [own], metric) for own in range(50)]
        assert {int(f.tied[0]) for f in found} == {0}
        order = [int(f.nearer[0]) for f in found]
        assert order == [
            sum(NUMPY[metric](query[0], g) < NUMPY[metric](query[0], own) for g in gallery) for own in gallery
        ]
        assert order == steps.tolist()

    def test_a_centre_is_taken_from_queries_and_gallery(self, random_features, metric):
        query, gallery, target = random_features
        centre = np.linspace(-1, 1, 24)
        found = rank_matches(query, gallery, target, metric, centre=centre)
        moved = query - centre, gallery - centre
        for values, expected_values in zip(found, rank_matches(*moved, target, metric), strict=True):
            assert np.array_equal(values, expected_values)
        assert np.array_equal(nearest_by(query, gallery, metric, centre), nearest_by(*moved, metric))

    def test_groups_are_galleries_of_their_own(self, random_features, metric):
        query, gallery, target = random_features
        groups = np.arange(90) % 3
        found = compare(query, gallery, target, [Order(metric, groups=(groups[target], groups))])[0].ranks
        for group in range(3):
            rows = groups[target] == group
            alone = rank_matches(query[rows], gallery[groups == group], target[rows] // 3, metric)
            for values, expected_values in zip(found, alone, strict=True):
                assert np.array_equal(values[rows], expected_values)


def test_the_match_itself_is_never_nearer_or_tied():
    gallery = np.random.default_rng(3).normal(size=(1, 5))
    for metric in METRICS:
        found = rank_matches(gallery + 1, gallery, [0], metric)
        assert (found.nearer, found.tied, found.gallery_size) == ([0], [0], [1])


def test_a_prediction_that_is_the_same_for_all_entries_ranks_first_but_counts_as_chance():
    found = rank_matches(np.zeros((4, 3)), np.random.default_rng(0).normal(size=(20, 3)), [0, 5, 7, 19], "cosine")
    assert (found.nearer == 0).all()
    assert (found.tied == 19).all()
    first = (np.arange(1, 21) <= 2).astype(float)
    assert np.allclose(expected(first, found), 2 / 20)
    assert np.allclose(middle_rank(found), 10.5)


def test_expected_is_the_mean_over_orders_of_the_tied():
    table = np.random.default_rng(0).uniform(size=9)
    nearer, tied = np.array([0, 2, 5, 8]), np.array([0, 3, 3, 0])
    by_hand = [table[n : n + t + 1].mean() for n, t in zip(nearer, tied, strict=True)]
    assert np.allclose(expected(table, Ranks(nearer, tied, np.full(4, 9))), by_hand)


@pytest.mark.parametrize("size", [1, 7, 48, 50, 100, 5000])
@pytest.mark.parametrize("percent", [1, 2, 5, 10])
def test_percent_is_rounded_up_to_whole_faces(size, percent):
    assert percent_to_k(percent, size) == max(1, ceil(size * percent / 100))


def test_recall_at_percent_is_recall_at_that_rank():
    found = Ranks(np.array([0, 4, 5, 47]), np.zeros(4, int), np.full(4, 48))
    assert recall_at_percent(found, 10) == recall_at(found, 5) == 0.5


def test_recall_counts_ties_as_their_mean_over_every_order():
    found = Ranks(np.array([0, 3, 4, 7]), np.array([9, 2, 3, 0]), np.array([10, 10, 48, 8]))
    for k in range(1, 11):
        expected_value = np.mean([np.mean(np.arange(n + 1, n + t + 2) <= k) for n, t, _ in zip(*found, strict=True)])
        assert recall_at(found, k) == pytest.approx(expected_value)
    by_size = [expected((np.arange(48) < k).astype(float), found)[i] for i, k in enumerate((1, 1, 5, 1))]
    assert recall_at_percent(found, 10) == pytest.approx(np.mean(by_size))


MEASURE = """
import resource, sys
import numpy as np
from speech2face.measures import retrieval, views
folder, *metrics = sys.argv[1:]
retrieval.ENTRIES_PER_BLOCK, views.ROWS_PER_BLOCK = 512, 128  # blocks in proportion to a gallery that is soon compared
gallery, query = (np.load(f"{folder}/{name}.npy", mmap_mode="r") for name in ("gallery", "query"))
target = np.linspace(0, len(gallery) - 1, len(query)).astype(int)
for metric in metrics:
    retrieval.ranks(query[:200], gallery[:10], target[:200] * 0, metric)  # what the first call loads is not the gallery's
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for metric in metrics:
    assert (retrieval.ranks(query, gallery, target, metric) == 1).all(), metric
    print(metric, 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""


@pytest.mark.slow
def test_a_large_gallery_is_compared_in_blocks(tmp_path):
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(20_000, 48)).astype(np.float32)
    target = np.linspace(0, len(gallery) - 1, 600).astype(int)
    np.save(tmp_path / "gallery.npy", gallery)
    np.save(tmp_path / "query.npy", gallery[target] + 0.01 * rng.normal(size=(600, 48)).astype(np.float32))
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path), *METRICS], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    whole_matrix = 8 * len(target) * len(gallery)
    # bytes by which the process's peak has grown so far; the queries alone are 0.2 MB
    grown = {metric: int(num_bytes) for metric, num_bytes in map(str.split, run.stdout.splitlines())}
    assert grown.keys() == set(METRICS)
    assert all(num_bytes < whole_matrix / 2 for num_bytes in grown.values()), grown


@pytest.mark.parametrize(
    ("query", "gallery", "target", "metric", "message"),
    [
        (np.ones((2, 3)), np.ones((4, 3)), [0, 1], "dot", "metric must be one of"),
        (np.ones((2, 3)), np.ones((4, 2)), [0, 1], "l1", "must be"),
        (np.ones((2, 3)), np.ones((0, 3)), [0, 1], "l1", "M above 0"),
        (np.ones((2, 3)), np.ones((4, 3)), [0, 4], "l1", "below 4"),
        (np.ones((2, 3)), np.ones((4, 3)), [-1, 0], "l1", "below 4"),
        (np.ones((2, 3)), np.ones((4, 3)), [0], "l1", "each of 2"),
        (np.full((2, 3), np.nan), np.ones((4, 3)), [0, 1], "l1", "finite"),
        (np.ones((2, 3)), np.full((4, 3), np.inf), [0, 1], "l2", "finite"),
    ],
)
def test_bad_input_is_refused(query, gallery, target, metric, message):
    with pytest.raises(ValueError, match=message):
        ranks(query, gallery, target, metric)
