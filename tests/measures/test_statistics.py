"""Statistics by weights against the same statistics of repeated rows, and tests against their definitions."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from speech2face.measures.statistics import (
    Bootstrap,
    Weights,
    accuracy,
    balanced_accuracy,
    correlations,
    correlations_by_speaker,
    holm,
    mean,
    median,
    p_value,
    pearson,
    rounded,
    spread,
)

RNG = np.random.default_rng(0)
N = 40
X, Y = RNG.normal(size=N) + 1e3, RNG.normal(size=N)
LABELS, READ = RNG.choice(list("abc"), N), RNG.choice(list("abc"), N)
COUNTS, SPEAKERS = (
    RNG.integers(0, 4, size=(25, 15)).astype(float),
    np.concatenate([np.arange(15), RNG.integers(15, size=N - 15)]),
)
CASES = {
    "mean": (mean(X), lambda r: X[r].mean()),
    "spread": (spread(X), lambda r: X[r].std()),
    "median": (median(X), lambda r: np.median(X[r])),
    "accuracy": (accuracy(LABELS, READ), lambda r: accuracy_score(LABELS[r], READ[r])),
    "balanced_accuracy": (balanced_accuracy(LABELS, READ), lambda r: balanced_accuracy_score(LABELS[r], READ[r])),
    "pearson": (pearson(X, Y), lambda r: stats.pearsonr(X[r], Y[r]).statistic),
}


@pytest.mark.parametrize("name", CASES)
def test_a_weight_is_a_number_of_repetitions(name):
    statistic, reference = CASES[name]
    repeated = [reference(np.repeat(np.arange(N), w[SPEAKERS].astype(int))) for w in COUNTS]
    assert np.allclose(statistic(Weights(COUNTS, SPEAKERS)), repeated, rtol=1e-9)


def test_rows_that_are_picked_keep_their_speakers_weights():
    rows = READ == "a"
    repeated = [np.repeat(X[rows], w[SPEAKERS[rows]].astype(int)).mean() for w in COUNTS]
    assert np.allclose(mean(X[rows])(Weights(COUNTS, SPEAKERS).of(rows)), repeated, rtol=1e-9)


def test_undefined_is_nan_and_not_zero():
    ones, none = (Weights(np.full((1, 3), count), np.arange(3)) for count in (1.0, 0.0))
    assert np.isnan(pearson([1, 1, 1], [1, 2, 3])(ones))
    assert np.isnan(mean([np.nan] * 3)(ones))
    assert np.isnan(median([1.0, 2, 3])(none))
    assert mean([1, np.nan, 3])(ones) == 2
    assert Bootstrap(["a", "b", "c"], 100, 0.95, 0).estimate(pearson([1, 1, 1], [1, 2, 3])) == {}


class TestBootstrap:
    def test_resamples_whole_speakers(self):
        speakers = ["b", "a", "b", "c", "a", "a"]
        seen = []

        def look(weights):
            seen.append(weights.counts[:, weights.of_row])
            return weights.counts.sum(1)

        Bootstrap(speakers, 200, 0.95, 0).draws(look)
        weights = np.concatenate(seen)
        for name in "abc":
            columns = weights[:, [s == name for s in speakers]]
            assert (columns == columns[:, :1]).all()
        assert (weights[:, [0, 1, 3]].sum(1) == 3).all()  # three speakers drawn each time
        assert np.ptp(weights) > 1

    def test_interval_of_a_mean_is_that_of_the_normal_law(self):
        values = np.random.default_rng(1).normal(size=400)
        found = Bootstrap([str(i) for i in range(400)], 4000, 0.95, 0).estimate(mean(values))
        error = 1.96 * values.std() / np.sqrt(400)
        assert found["value"] == pytest.approx(values.mean())
        assert found["low"] == pytest.approx(values.mean() - error, abs=0.1 * error)
        assert found["high"] == pytest.approx(values.mean() + error, abs=0.1 * error)

    def test_clips_of_one_speaker_do_not_narrow_the_interval(self):
        values = np.random.default_rng(2).normal(size=50)
        speakers = [str(i) for i in range(50)]
        once = Bootstrap(speakers, 1000, 0.95, 0).estimate(mean(values))
        tenfold = Bootstrap(speakers * 10, 1000, 0.95, 0).estimate(mean(np.tile(values, 10)))
        assert tenfold == pytest.approx(once)

    def test_same_seed_same_interval_and_blocks_change_nothing(self, monkeypatch):
        first = Bootstrap(["a", "b", "c", "d"], 300, 0.9, 7).estimate(mean([1, 2, 3, 5]))
        monkeypatch.setattr("speech2face.measures.statistics.VALUES_PER_BLOCK", 10)
        assert Bootstrap(["a", "b", "c", "d"], 300, 0.9, 7).estimate(mean([1, 2, 3, 5])) == first
        assert Bootstrap(["a", "b", "c", "d"], 300, 0.9, 8).estimate(mean([1, 2, 3, 5])) != first

    def test_a_statistic_that_many_resamples_leave_undefined_has_no_interval(self):
        two = Bootstrap(["a", "a", "b", "b"], 400, 0.95, 0)  # half of the resamples hold one speaker only
        values = np.array([1.0, 1.0, 2.0, 2.0])
        assert two.estimate(pearson(values, values)) == {}
        many = Bootstrap(np.arange(30).astype(str), 400, 0.95, 0)
        assert many.estimate(pearson(np.arange(30), np.arange(30)))["value"] == pytest.approx(1)

    def test_no_rows_is_an_error(self):
        with pytest.raises(ValueError, match="no rows"):
            Bootstrap([], 100, 0.95, 0)


def test_p_value_counts_the_observation_and_ties():
    assert p_value(5.0, np.zeros(99)) == 0.01
    assert p_value(0.0, np.zeros(99)) == 1.0
    assert p_value(0.5, np.array([0.0, 0.5 - 1e-15, 1.0])) == 0.75


def test_p_values_under_chance_are_uniform():
    rng = np.random.default_rng(3)
    found = []
    for seed in range(300):
        x, y = rng.normal(size=(2, 25))
        drawn = correlations(np.random.default_rng(seed).permuted(np.tile(x, (199, 1)), axis=1), y)
        found.append(p_value(correlations(x[None], y)[0], drawn))
    assert stats.kstest(found, "uniform").pvalue > 0.001


def test_correlations_are_scipys():
    many = np.random.default_rng(4).normal(size=(6, 15))
    assert np.allclose(correlations(many, many[0]), [stats.pearsonr(row, many[0]).statistic for row in many])
    assert correlations(np.ones((1, 3)), np.arange(3.0)) == 0


def test_holm_by_its_definition():
    # 0.01 * 4, 0.02 * 3, then 0.03 * 2 = 0.06, 0.5; never falling, in the order given
    assert holm([0.5, 0.01, 0.03, 0.02]) == pytest.approx([0.5, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_rounding_reaches_every_level():
    assert rounded({"a": [1.23456789, {"b": np.float64(1e-9 / 3)}], "c": 7, "d": "x"}) == {
        "a": [1.23457, {"b": 3.33333e-10}],
        "c": 7,
        "d": "x",
    }


def test_correlations_of_what_speakers_have_are_numpys_over_their_rows():
    rng = np.random.default_rng(0)
    of_row = rng.permutation(np.repeat(np.arange(7), [1, 2, 3, 4, 5, 9, 20]))
    many, one = 1e4 + rng.normal(size=(5, 7)), 1e4 + rng.normal(size=len(of_row))
    many[3] = 2.0  # does not vary
    found = correlations_by_speaker(many, one, of_row)
    assert np.allclose(
        np.delete(found, 3), [np.corrcoef(row[of_row], one)[0, 1] for row in np.delete(many, 3, 0)], atol=1e-10
    )
    assert found[3] == 0
