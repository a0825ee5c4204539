"""Intervals by bootstrap over speakers, permutation tests, and Holm's correction.

A statistic is a function of `Weights`, how often each row counts in each of R resamples, to its value in each, [R] (NaN where it is
undefined). So all resamples are computed at once, and every statistic has one definition for the estimate (weights of one) and its
interval.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import csr_array

from speech2face.pipeline.params import Evaluation

Floats = npt.NDArray[np.float64]
MOST_UNDEFINED = 0.05
VALUES_PER_BLOCK = 4_000_000  # bounds memory: values by speaker, or by row, of a block of resamples or permutations


@dataclass(frozen=True)
class Weights:
    """How often each of N rows counts in each of R resamples: as often as its speaker does.

    counts: float64 [R, S], of each speaker in each resample; of_row: the speaker of each row, int [N]. Rows of one speaker are added up
    before they are weighted: there are far fewer speakers than rows.
    """

    counts: Floats
    of_row: npt.NDArray[np.int64]

    def sums(self, *values: npt.NDArray[Any]) -> list[Floats]:
        """Weighted sum [R] of each of `values` [N]."""
        num_speakers = self.counts.shape[1]
        return [self.counts @ np.bincount(self.of_row, of_rows, num_speakers) for of_rows in values]

    def by_class(self, codes: npt.NDArray[np.int64], num_classes: int) -> Floats:
        """Summed weights of the rows of each class, [R, num_classes]; codes: the class of each row, int [N]."""
        shape = (self.counts.shape[1], num_classes)
        rows: Floats = self.counts @ csr_array((np.ones(len(codes)), (self.of_row, codes)), shape)
        return rows

    def of(self, rows: npt.NDArray[np.bool_]) -> "Weights":
        """The weights of the rows that `rows` (bool [N]) picks."""
        return Weights(self.counts, self.of_row[rows])


Statistic = Callable[[Weights], Floats]


class Bootstrap:
    """Resamples of whole speakers, because a speaker's clips resemble each other and are no independent samples.

    speakers: the speaker of each row [N]. confidence: of the intervals, for example 0.95. Of the object: drawn, float64 [1 + R, S], how
    often each speaker counts, once without resampling and then in each resample.
    """

    def __init__(self, speakers: npt.ArrayLike, resamples: int, confidence: float, seed: int) -> None:
        self.of_row, names = pd.factorize(np.asarray(speakers), sort=True)
        if not len(names):
            raise ValueError("no rows to resample; the test speakers have no clip with a face")
        self.drawn = _draw(len(names), resamples, seed)
        self.once, self.counts = Weights(self.drawn[:1], self.of_row), self.drawn[1:]
        self.tails = [(1 - confidence) / 2, (1 + confidence) / 2]

    def draws(self, statistic: Statistic) -> Floats:
        """The statistic in each resample, [R]."""
        size = max(1, VALUES_PER_BLOCK // self.counts.shape[1])
        blocks = (self.counts[start : start + size] for start in range(0, len(self.counts), size))
        return np.concatenate([statistic(Weights(counts, self.of_row)) for counts in blocks])

    def estimate(self, statistic: Statistic) -> dict[str, float]:
        """The `interval` of a statistic."""
        return self.interval(np.concatenate([statistic(self.once), self.draws(statistic)]))

    def interval(self, values: Floats) -> dict[str, float]:
        """`value`, and `low` and `high` of its percentile interval, from a statistic's values [1 + R] without resampling and in each
        resample; empty where it is undefined, or in more than `MOST_UNDEFINED` of the resamples, whose interval would be that of the
        luckier ones."""
        value, draws = float(values[0]), values[1:]
        if not np.isfinite(value) or np.isnan(draws).mean() > MOST_UNDEFINED:
            return {}
        low, high = np.nanquantile(draws, self.tails)
        return {"value": value, "low": float(low), "high": float(high)}


@lru_cache(maxsize=4)
def _draw(num_speakers: int, resamples: int, seed: int) -> Floats:
    """Those of `Bootstrap`. They are kept, because many measures are of the same speakers, and of many speakers they are gigabytes."""
    drawn = np.ones((1 + resamples, num_speakers))
    rng = np.random.default_rng([seed, 1])
    drawn[1:] = rng.multinomial(num_speakers, np.full(num_speakers, 1 / num_speakers), resamples)
    return drawn


def resample_speakers(
    clips: pd.DataFrame, settings: Evaluation, seed: int, rows: np.ndarray | slice = slice(None)
) -> Bootstrap:
    """Resamples of the speakers of those rows of `clips` (column speaker_id, [N]) that `rows` picks (bool [N]; all of them)."""
    speakers = clips["speaker_id"].to_numpy(object)[rows]
    return Bootstrap(speakers, settings.resamples, settings.confidence, seed)


def mean(values: npt.ArrayLike, where: npt.ArrayLike | None = None) -> Statistic:
    """Mean of values [N], over the rows `where` (bool [N]) and where the value is not NaN."""
    array = np.asarray(values, np.float64)
    used = ~np.isnan(array) if where is None else ~np.isnan(array) & np.asarray(where, bool)
    filled = np.where(used, array, 0.0)
    return lambda weights: _ratio(*weights.sums(filled, used))


def weighted_mean(values: npt.ArrayLike, row_weights: npt.ArrayLike) -> Statistic:
    """Mean of values [N], each row counting by its own weight [N]."""
    array, own = np.asarray(values, np.float64), np.asarray(row_weights, np.float64)
    return lambda weights: _ratio(*weights.sums(own * array, own))


def spread(values: npt.ArrayLike) -> Statistic:
    """Standard deviation of values [N] (divided by N, not N - 1)."""
    array = np.asarray(values, np.float64)
    array = array - array.mean()  # keeps the digits

    def statistic(weights: Weights) -> Floats:
        total, first, second = weights.sums(np.ones(len(array)), array, array**2)
        return np.sqrt(np.maximum(0, _ratio(second, total) - _ratio(first, total) ** 2))

    return statistic


def median(values: npt.ArrayLike) -> Statistic:
    """Median of values [N]; the mean of the middle two where their number is even."""
    levels, level_of = np.unique(np.asarray(values, np.float64), return_inverse=True)

    def statistic(weights: Weights) -> Floats:
        reached = np.cumsum(weights.by_class(level_of, len(levels)), axis=1)
        half = reached[:, -1:] / 2
        low, high = (reached < half).sum(1), (reached <= half).sum(1)
        last = len(levels) - 1
        middle = (levels[np.minimum(low, last)] + levels[np.minimum(high, last)]) / 2
        return np.where(reached[:, -1] > 0, middle, np.nan)

    return statistic


def accuracy(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> Statistic:
    """Part of the rows whose label [N] is right."""
    return mean(np.asarray(truth) == np.asarray(predicted))


def balanced_accuracy(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> Statistic:
    """Mean over the classes that occur of the part of a class's rows whose label [N] is right."""
    right = np.asarray(truth) == np.asarray(predicted)
    classes, class_of = np.unique(np.asarray(truth), return_inverse=True)

    def statistic(weights: Weights) -> Floats:
        of_right = weights.of(right).by_class(class_of[right], len(classes))
        recalls = _ratio(of_right, weights.by_class(class_of, len(classes)))
        present = ~np.isnan(recalls)
        return _ratio(np.nansum(recalls, axis=1), present.sum(1).astype(np.float64))

    return statistic


def pearson(first: npt.ArrayLike, second: npt.ArrayLike) -> Statistic:
    """Pearson's correlation between values [N]; NaN where either does not vary."""
    x, y = (np.asarray(values, np.float64) for values in (first, second))
    x, y = x - x.mean(), y - y.mean()

    def statistic(weights: Weights) -> Floats:
        total, *sums = weights.sums(np.ones(len(x)), x, y, x * y, x**2, y**2)
        mean_x, mean_y, mean_xy, mean_xx, mean_yy = (_ratio(values, total) for values in sums)
        covariance = mean_xy - mean_x * mean_y
        var_x, var_y = mean_xx - mean_x**2, mean_yy - mean_y**2
        flat = (var_x <= 1e-12 * np.mean(x**2)) | (var_y <= 1e-12 * np.mean(y**2))
        safe = np.where(flat, 1.0, var_x * var_y)
        return np.where(flat, np.nan, np.clip(covariance / np.sqrt(np.abs(safe)), -1, 1))

    return statistic


def correlations(many: Floats, one: Floats) -> Floats:
    """Pearson's correlation of each row of `many` [R, N] with `one` [N]; 0 where either does not vary."""
    x, y = one - one.mean(), many - many.mean(1, keepdims=True)
    scale = np.sqrt((x**2).sum() * (y**2).sum(1))
    return np.divide(y @ x, scale, out=np.zeros(len(y)), where=scale > 1e-12)


def correlations_by_speaker(many: Floats, one: Floats, of_row: npt.NDArray[np.int64]) -> Floats:
    """The same where all rows of a speaker have one value in `many` [R, S]; of_row: the speaker of each value of `one`, int [N]."""
    x, clips = one - one.mean(), np.bincount(of_row).astype(np.float64)
    y = many - many[:, :1]  # keeps the digits, and is 0 where nothing varies
    y = y - (y @ clips / len(one))[:, None]
    scale = np.sqrt((x**2).sum() * (y**2 @ clips))
    return np.divide(y @ np.bincount(of_row, x), scale, out=np.zeros(len(y)), where=scale > 1e-12)


def p_value(observed: float, under_chance: Floats) -> float:
    """One-sided p-value of a permutation test: how often chance does as well, the observation counted as one draw.

    Differences below 1e-12 are rounding and count as ties. Phipson & Smyth 2010.
    """
    return float((1 + (under_chance >= observed - 1e-12).sum()) / (1 + len(under_chance)))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number (Holm 1979), in the order given."""
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values, np.float64)[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(1, np.maximum.accumulate(scaled))
    return [float(p) for p in corrected]


def rounded(value: Any) -> Any:
    """The same nested value with floats of 6 significant digits, so that the last bits do not show up as changes."""
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(entry) for entry in value]
    return float(f"{value:.6g}") if isinstance(value, float | np.floating) else value


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=np.asarray(below) > 0)
