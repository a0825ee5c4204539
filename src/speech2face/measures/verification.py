"""Verification: does this voice belong to this face? Area under the ROC curve and equal error rate over all pairs of a
test clip and a test speaker's face."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from speech2face.measures.aligned import Aligned
from speech2face.measures.distances import unit
from speech2face.measures.statistics import Bootstrap, Floats, Statistic, Weights
from speech2face.measures.views import Features
from speech2face.pipeline import machine

Counts = npt.NDArray[np.int32]
Ints = npt.NDArray[np.int64]
Result = TypeVar("Result")
ROUNDING_DIGITS = 12  # similarities that differ later than this are equal
MOST_CORNERS = 8192  # of the ROC curve that are held at first; there are two of them for each test clip


class Trials(NamedTuple):
    """What is accepted at corners of the ROC curve: the first accepts nothing; then, by distinct similarity of a genuine pair,
    descending, come what is above it, and what is at it or above; the last accepts everything. Of many corners some are left out, but
    none of those between which as many impostors are accepted as genuine pairs are refused, in a resample or without resampling.

    false, true: int [C, S], by corner and speaker of the voice, impostor and genuine pairs; better: how often a genuine pair of each
    speaker [S] is more alike than an impostor pair of each [S], equal ones counted half. S: the speakers of a bootstrap.
    """

    false: Counts
    true: Counts
    better: Floats


def trials(
    aligned: Aligned,
    predicted: Features,
    bootstrap: Bootstrap,
    groups: np.ndarray | None = None,
    usable: np.ndarray | None = None,
) -> Trials:
    """All pairs of a row of predicted features [N, D] and a test speaker, by centred cosine; with groups (int, by test speaker)
    only impostors of the voice's own group. `usable`, bool over the rows: those that count, N of which `bootstrap` is."""
    rows = np.arange(len(predicted)) if usable is None else np.flatnonzero(usable)
    pairs = _Pairs(aligned, predicted, rows, bootstrap, groups)
    num_corners = 2 * len(pairs.levels) + 2
    corners = np.unique(np.linspace(0, num_corners - 1, min(num_corners, MOST_CORNERS)).astype(np.int64))
    better = np.zeros((len(pairs.rows), len(pairs.rows)))
    found = pairs.count(corners, better)
    if len(corners) < num_corners:
        counts = np.concatenate([bootstrap.once.counts, bootstrap.counts])
        before = np.unique(_before_crossing(found, counts))
        between = [np.arange(corners[place] + 1, corners[place + 1]) for place in before]
        wanted = np.concatenate(between)
        order = np.argsort(np.concatenate([corners, wanted]))
        finer = pairs.count(wanted)
        false, true = (np.concatenate(parts)[order] for parts in zip(found[:2], finer[:2], strict=True))
        found = Trials(false, true, better)
    return found


class _Pairs:
    """Pairs of some rows of predicted features and the test speakers, speaker by speaker, so that few are in memory at once."""

    def __init__(
        self, aligned: Aligned, predicted: Features, rows: Ints, bootstrap: Bootstrap, groups: np.ndarray | None
    ) -> None:
        self._aligned, self._predicted = aligned, predicted
        self._gallery = unit(torch.from_numpy(aligned.centred(aligned.gallery)))
        self._of_row = bootstrap.of_row
        self.rows = np.split(np.argsort(self._of_row, kind="stable"), np.cumsum(np.bincount(self._of_row))[:-1])
        self._groups = np.zeros(len(self._gallery), np.int64) if groups is None else groups
        self._of_group = {group: self._gallery[self._groups == group] for group in np.unique(self._groups)}
        self._picked, self._own = rows, aligned.clips["speaker"].to_numpy()[rows]
        genuine = np.empty(len(rows))
        for of_speaker, values in zip(self.rows, self._map(self._genuine), strict=True):
            genuine[of_speaker] = values
        self.levels, level = np.unique(-genuine, return_inverse=True)
        self.levels, self._level = -self.levels, level

    def count(self, corners: Ints, better: Floats | None = None) -> Trials:
        """Counts at `corners`, and `better` filled where it is given."""
        false, true = (np.zeros((len(corners), len(self.rows)), np.int32) for _ in range(2))
        inner = corners[(corners > 0) & (corners <= 2 * len(self.levels))]
        at, place, first = inner % 2 == 0, (inner - 1) // 2, int(0 in corners[:1])
        within, last = slice(first, first + len(inner)), corners == 2 * len(self.levels) + 1

        def count(speaker: int) -> None:
            of_speaker = self.rows[speaker]
            scores, accepted = self._impostors(of_speaker), np.sort(self._level[of_speaker])
            if better is not None:
                below = np.searchsorted(scores, self.levels, "left") + np.searchsorted(scores, self.levels, "right")
                lost = (len(scores) - below / 2)[self._level]
                better[:, speaker] = np.bincount(self._of_row) * len(scores) - np.bincount(self._of_row, lost)
            of_false, of_true = false[within, speaker], true[within, speaker]
            of_false[at] = len(scores) - np.searchsorted(scores, self.levels[place[at]], "left")
            of_false[~at] = len(scores) - np.searchsorted(scores, self.levels[place[~at]], "right")
            of_true[at] = np.searchsorted(accepted, place[at], "right")
            of_true[~at] = np.searchsorted(accepted, place[~at], "left")
            false[last, speaker], true[last, speaker] = len(scores), len(accepted)

        self._map(count)
        return Trials(false, true, np.empty(0) if better is None else better)

    def _map(self, function: Callable[[int], Result]) -> list[Result]:
        with machine.threads() as pool:
            return pool.map(function, range(len(self.rows)), chunksize=1)

    def _queries(self, of_speaker: Ints) -> torch.Tensor:
        features = self._aligned.centred(self._predicted[self._picked[of_speaker]].astype(np.float64))
        return unit(torch.from_numpy(features))

    def _genuine(self, speaker: int) -> Floats:
        of_speaker = self.rows[speaker]
        products = self._queries(of_speaker) * self._gallery[self._own[of_speaker]]
        return np.round(products.sum(1).numpy(), ROUNDING_DIGITS)

    def _impostors(self, of_speaker: Ints) -> Floats:
        """Similarities of the rows of a speaker with the speakers that it is compared with, in ascending order."""
        own = self._own[of_speaker[0]]
        group = self._groups[own]
        products = (self._queries(of_speaker) @ self._of_group[group].T).numpy()
        others = np.flatnonzero(self._groups == group) != own
        return np.sort(np.round(products[:, others], ROUNDING_DIGITS), axis=None)


def area_under_curve(pairs: Trials) -> Statistic:
    """Chance that a genuine pair is more alike than an impostor pair, equal ones counted half; 0.5 by chance."""
    genuine, impostors = pairs.true[-1].astype(np.float64), pairs.false[-1].astype(np.float64)

    def statistic(weights: Weights) -> Floats:
        counts = weights.counts
        total = (counts @ genuine) * (counts @ impostors)
        won = ((counts @ pairs.better) * counts).sum(1)
        return np.divide(won, total, out=np.full(len(total), np.nan), where=total > 0)

    return statistic


def roc_curve(pairs: Trials, weights: Weights) -> tuple[Floats, Floats]:
    """False and true positive rates [R, C] along the curve, from (0, 0) to (1, 1); corners of straight pieces."""
    corners = np.arange(len(pairs.false))
    rates = [_rates(pairs, counts[None], corners) for counts in weights.counts]
    false_positives, true_positives = (np.stack(side) for side in zip(*rates, strict=True))
    return false_positives, true_positives


def equal_error_rate(pairs: Trials) -> Statistic:
    """Error rate where as many impostors are accepted as genuine pairs are refused, on straight pieces of the ROC curve; of the
    resamples of the trials' bootstrap."""

    def statistic(weights: Weights) -> Floats:
        before = _before_crossing(pairs, weights.counts)
        start, end = (_rates(pairs, weights.counts, corners) for corners in (before, before + 1))
        low, high = _excess(*start), _excess(*end)
        part = np.divide(-low, high - low, out=np.zeros(len(low)), where=high > low)
        rate = start[0] + part * (end[0] - start[0])
        return np.where(weights.counts @ pairs.false[-1] > 0, rate, np.nan)

    return statistic


def _before_crossing(pairs: Trials, counts: Floats) -> Ints:
    """The last corner at which fewer impostors are accepted than genuine pairs are refused, in each of the resamples, [R]."""
    # The excess of one over the other rises from -1 to 1, so it is found by halving.
    before, after = (np.full(len(counts), corner) for corner in (0, len(pairs.false) - 1))
    while (after - before > 1).any():
        middle = (before + after) // 2
        is_before = _excess(*_rates(pairs, counts, middle)) < 0
        before, after = np.where(is_before, middle, before), np.where(is_before, after, middle)
    return before


def _rates(pairs: Trials, counts: Floats, corners: Ints) -> tuple[Floats, Floats]:
    """False and true positive rates [C] at corners [C], each of its own counts [C, S] of the speakers, or all of the same [1, S]."""
    false, true = (np.einsum("cs,cs->c", accepted[corners], counts) for accepted in (pairs.false, pairs.true))
    return false / np.maximum(counts @ pairs.false[-1], 1), true / (counts @ pairs.true[-1])


def _excess(false_positives: Floats, true_positives: Floats) -> Floats:
    """By how much the rate of accepted impostors exceeds that of refused genuine pairs."""
    return false_positives - (1 - true_positives)
