"""Verification: does this voice belong to this face? Area under the ROC curve and equal error rate over all pairs of a
test clip and a test speaker's face."""

from collections.abc import Iterator, Sequence
from threading import Lock
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from speech2face.measures.aligned import Aligned
from speech2face.measures.distances import inner_products, unit
from speech2face.measures.statistics import Bootstrap, Floats
from speech2face.measures.views import ROWS_PER_BLOCK, Features, map_blocks
from speech2face.pipeline import machine

Ints = npt.NDArray[np.int64]
ROUNDING_DIGITS = 12  # similarities that differ later than this are equal
MOST_CORNERS = 8192  # of the ROC curve that are counted at first; there are two of them for each test clip
PAIRS_AT_ONCE = 2**20
SPEAKERS_PER_BLOCK = 128


class Verified(NamedTuple):
    """false_positives, true_positives: rates [C] along the ROC curve, from (0, 0) to (1, 1), at corners of its straight pieces; of many
    corners some are left out. area_under_curve: the chance that a genuine pair is more alike than an impostor pair, equal ones counted
    half, 0.5 by chance. equal_error_rate: where as many impostors are accepted as genuine pairs are refused, on straight pieces of the
    whole curve. Both [1 + R]: without resampling, then in each resample; NaN where there are no impostors.
    """

    false_positives: Floats
    true_positives: Floats
    area_under_curve: Floats
    equal_error_rate: Floats


def verify(
    aligned: Aligned,
    predicted: Features,
    bootstrap: Bootstrap,
    groups: np.ndarray | None = None,
    usable: np.ndarray | None = None,
) -> Verified:
    """Verification by all pairs of a row of predicted features [N, D] and a test speaker, by centred cosine; with groups (int, by test
    speaker) only impostors of the voice's own group. `usable`, bool over the rows: those that count, N of which `bootstrap` is.

    Memory grows neither with the pairs nor with the square of the speakers.
    """
    rows = np.arange(len(predicted)) if usable is None else np.flatnonzero(usable)
    pairs = _Pairs(aligned, predicted, rows, bootstrap, groups)
    corners = np.unique(np.linspace(0, pairs.num_corners - 1, min(pairs.num_corners, MOST_CORNERS)).astype(np.int64))
    curve, better = pairs.count([_Asked(corners, slice(None))], is_compared=True)
    false_positives, true_positives = curve.rates(slice(None), 0)
    if len(corners) < pairs.num_corners:
        curve, _ = pairs.count(_between(corners, curve.before_crossing(), pairs.num_corners), is_compared=False)
    total = pairs.genuine * pairs.impostors
    area = np.divide(better, total, out=np.full(len(total), np.nan), where=total > 0)
    return Verified(false_positives, true_positives, area, curve.equal_error_rate())


class _Asked(NamedTuple):
    """Corners of the ROC curve, int [C], and the resamples in which they are asked for; resample 0 is that of no resampling.

    The first corner accepts nothing; then, by distinct similarity of a genuine pair, descending, come what is above it, and what is at it
    or above; the last accepts everything.
    """

    corners: Ints
    resamples: Ints | slice


def _between(corners: Ints, before: Ints, num_corners: int) -> list[_Asked]:
    """For each resample, the corners from the one `before` [1 + R], a place in `corners`, to the next place, or some more."""
    steps, first = np.arange(np.diff(corners).max() + 1), corners[before]
    starts = np.unique(first)
    return [_Asked(np.minimum(start + steps, num_corners - 1), np.flatnonzero(first == start)) for start in starts]


class _Curve(NamedTuple):
    """Parts of the ROC curves of resamples: how many impostor and genuine pairs are accepted at corners, false and true, [C, 1 + R], and
    how many there are, impostors and genuine, [1 + R]."""

    false: Floats
    true: Floats
    impostors: Floats
    genuine: Floats

    def rates(self, corners: Ints | slice, resamples: Ints | int) -> tuple[Floats, Floats]:
        """False and true positive rates."""
        false, true = (accepted[corners, resamples] for accepted in (self.false, self.true))
        return false / np.maximum(self.impostors[resamples], 1), true / self.genuine[resamples]

    def before_crossing(self) -> Ints:
        """The last corner at which fewer impostors are accepted than genuine pairs are refused, in each of the resamples, [1 + R]."""
        # The excess of one over the other rises, so it is found by halving.
        resamples = np.arange(len(self.genuine))
        before, after = (np.full(len(resamples), corner) for corner in (0, len(self.false) - 1))
        while (after - before > 1).any():
            middle = (before + after) // 2
            is_before = _excess(*self.rates(middle, resamples)) < 0
            before, after = np.where(is_before, middle, before), np.where(is_before, after, middle)
        return before

    def equal_error_rate(self) -> Floats:
        """That of `Verified`."""
        before, resamples = self.before_crossing(), np.arange(len(self.genuine))
        start, end = (self.rates(corners, resamples) for corners in (before, before + 1))
        low, high = _excess(*start), _excess(*end)
        part = np.divide(-low, high - low, out=np.zeros(len(low)), where=high > low)
        return np.where(self.impostors > 0, start[0] + part * (end[0] - start[0]), np.nan)


def _excess(false_positives: Floats, true_positives: Floats) -> Floats:
    """By how much the rate of accepted impostors exceeds that of refused genuine pairs."""
    return false_positives - (1 - true_positives)


class _Pairs:
    """Pairs of some rows of predicted features and the test speakers, of some speakers at a time, so that few are in memory at once.

    genuine, impostors: how many there are, [1 + R], without resampling and in each resample of a bootstrap, those of a speaker's voice as
    often as the speaker is drawn.
    """

    def __init__(
        self, aligned: Aligned, predicted: Features, rows: Ints, bootstrap: Bootstrap, groups: np.ndarray | None
    ) -> None:
        self._aligned, self._predicted, self._drawn = aligned, predicted, torch.from_numpy(bootstrap.drawn)
        groups = np.zeros(len(aligned.gallery), np.int64) if groups is None else groups
        self._gallery, (place, first, last) = _by_group(aligned, groups)
        by_speaker = np.argsort(bootstrap.of_row, kind="stable")
        self._rows, self._speaker = rows[by_speaker], bootstrap.of_row[by_speaker]
        self._clips = np.bincount(bootstrap.of_row)
        self._ends = np.cumsum(self._clips)
        own = aligned.clips["speaker"].to_numpy()[self._rows[self._ends - 1]]
        self._place, self._first, self._last = place[own], first[own], last[own]
        self.genuine = bootstrap.drawn @ self._clips
        self.impostors = bootstrap.drawn @ (self._clips * (self._last - self._first - 1))
        similarity = np.concatenate(map_blocks(self._genuine, rows))
        levels, self._level = np.unique(-similarity, return_inverse=True)
        self._levels = -levels
        self.num_corners = 2 * len(levels) + 2

    def count(self, asked: Sequence[_Asked], is_compared: bool) -> tuple[_Curve, Floats]:
        """What is accepted at as many corners in each of the resamples; if `is_compared`, how often a genuine pair is more alike than an
        impostor pair, [1 + R]."""
        shape = len(asked[0].corners), len(self.genuine)
        false, true, better, adding = np.zeros(shape), np.zeros(shape), np.zeros(shape[1]), Lock()
        corners = np.concatenate([some.corners for some in asked])

        def count(speakers: Ints) -> None:
            drawn = self._drawn[:, torch.from_numpy(speakers)]
            found = self._counts(speakers, corners, is_compared)
            of_false, of_true, of_better = (torch.from_numpy(sums) for sums in found)
            more_alike = ((self._drawn @ of_better) * drawn).sum(1).numpy() if is_compared else 0.0
            with adding:  # All are sums of whole numbers and halves, the same in whatever order.
                np.add(better, more_alike, out=better)
                for number, (_, resamples) in enumerate(asked):
                    places, times = slice(number * shape[0], (number + 1) * shape[0]), drawn[resamples].T
                    false[:, resamples] += (of_false[places] @ times).numpy()
                    true[:, resamples] += (of_true[places] @ times).numpy()

        with machine.threads() as pool:
            pool.map(count, self._blocks(), chunksize=1)
        return _Curve(false, true, self.impostors, self.genuine), better

    def _blocks(self) -> Iterator[Ints]:
        """All speakers that there are in their turn, those of a group one after the other."""
        size = min(SPEAKERS_PER_BLOCK, -(-len(self._clips) // machine.num_workers()))
        by_group = np.argsort(self._first, kind="stable")
        for start in range(0, len(by_group), size):
            yield by_group[start : start + size]

    def _counts(self, speakers: Ints, corners: Ints, is_compared: bool) -> tuple[Floats, Floats, Floats]:
        """Impostor and genuine pairs of each of some speakers [s] that are accepted at corners, [C, s], and, if
        `is_compared`, how often genuine pairs of all speakers are more alike than those impostor pairs, [S, s]."""
        false, true = (np.zeros((len(corners), len(speakers))) for _ in range(2))
        better = np.zeros((len(self._clips) if is_compared else 0, len(speakers)))
        last = corners == self.num_corners - 1
        at, above = ((corners > 0) & ~last & (corners % 2 == odd) for odd in (0, 1))
        place = (corners - 1) // 2
        for column, (speaker, scores) in enumerate(zip(speakers, self._impostors(speakers), strict=True)):
            accepted = np.sort(self._level[self._ends[speaker] - self._clips[speaker] : self._ends[speaker]])
            false[at, column] = len(scores) - np.searchsorted(scores, self._levels[place[at]], "left")
            false[above, column] = len(scores) - np.searchsorted(scores, self._levels[place[above]], "right")
            true[at, column] = np.searchsorted(accepted, place[at], "right")
            true[above, column] = np.searchsorted(accepted, place[above], "left")
            false[last, column], true[last, column] = len(scores), len(accepted)
            if is_compared:
                below = np.searchsorted(scores, self._levels, "left") + np.searchsorted(scores, self._levels, "right")
                better[:, column] = np.bincount(self._speaker, below[self._level] / 2)
        return false, true, better

    def _impostors(self, speakers: Ints) -> Iterator[Floats]:
        """For each of some speakers, similarities of its rows with the other faces of its group, in ascending order."""
        part = np.cumsum(self._clips[speakers]) // max(1, min(ROWS_PER_BLOCK, PAIRS_AT_ONCE // len(self._gallery)))
        first = self._first[speakers]
        for some in np.split(speakers, np.flatnonzero(np.diff(first) | np.diff(part)) + 1):
            faces = slice(self._first[some[0]], self._last[some[0]])
            rows = np.concatenate([np.arange(self._ends[s] - self._clips[s], self._ends[s]) for s in some])
            products = (self._queries(rows) @ self._gallery[faces].T).numpy()
            for speaker, of_speaker in zip(some, np.split(products, np.cumsum(self._clips[some])[:-1]), strict=True):
                others = np.delete(of_speaker, self._place[speaker] - faces.start, axis=1)
                yield np.sort(np.round(others, ROUNDING_DIGITS), axis=None)

    def _genuine(self, rows: slice) -> Floats:
        """Similarity of some rows with their own speakers' faces."""
        faces = torch.from_numpy(self._place[self._speaker[rows]])
        found = inner_products(self._queries(rows), self._gallery, torch.arange(len(faces)), faces)
        return np.round(found.numpy(), ROUNDING_DIGITS)

    def _queries(self, rows: Ints | slice) -> torch.Tensor:
        features = self._predicted[self._rows[rows]].astype(np.float64)
        features -= self._aligned.training_mean
        return unit(torch.from_numpy(features))


def _by_group(aligned: Aligned, groups: np.ndarray) -> tuple[torch.Tensor, tuple[Ints, Ints, Ints]]:
    """Directions of the test speakers' faces from the mean face [S, D], those of a group side by side; the place of each speaker among
    them, and where its group begins and ends."""
    ordered = np.argsort(groups, kind="stable")
    first, last = (np.searchsorted(groups, groups, side, sorter=ordered) for side in ("left", "right"))
    faces = unit(torch.from_numpy(aligned.centred(aligned.gallery[ordered])))
    return faces, (np.argsort(ordered), first, last)
