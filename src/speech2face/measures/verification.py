"""Verification: does this voice belong to this face? Area under the ROC curve and equal error rate over all pairs of a
test clip and a test speaker's face."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from speech2face.measures.aligned import Aligned
from speech2face.measures.retrieval import distances
from speech2face.measures.statistics import Bootstrap, Floats, Statistic, Weights
from speech2face.measures.views import Features

Counts = npt.NDArray[np.int32]
ROUNDING_DIGITS = 12  # similarities that differ later than this are equal
ROWS_PER_BLOCK = 512


class Trials(NamedTuple):
    """What is accepted at each corner of the ROC curve: the first accepts nothing; then, by distinct similarity of a genuine pair,
    descending [U], come what is above it, and what is at it or above; the last accepts everything.

    false, true: int [2 U + 2, S], by corner and speaker of the voice, impostor and genuine pairs; level: the place of each row's genuine
    pair among the distinct similarities, int [N]. Rows are those of a bootstrap, and S its speakers.
    """

    false: Counts
    true: Counts
    level: npt.NDArray[np.int64]


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
    similarity = _similarity(aligned, predicted, rows)
    own = aligned.clips["speaker"].to_numpy()[rows]
    genuine = similarity[np.arange(len(own)), own]
    levels, level = np.unique(-genuine, return_inverse=True)
    levels, places = -levels, np.arange(len(levels))
    speakers = _rows_by_speaker(bootstrap.of_row)
    false, true = (np.zeros((2 * len(levels) + 2, len(speakers)), np.int32) for _ in range(2))
    for speaker, of_speaker in enumerate(speakers):
        others = np.arange(len(aligned.speakers)) != own[of_speaker[0]]
        if groups is not None:
            others &= groups == groups[own[of_speaker[0]]]
        scores = np.sort(similarity[of_speaker][:, others], axis=None)
        accepted = np.sort(level[of_speaker])
        false[1:-1:2, speaker] = len(scores) - np.searchsorted(scores, levels, "right")
        false[2:-1:2, speaker] = len(scores) - np.searchsorted(scores, levels, "left")
        true[1:-1:2, speaker] = np.searchsorted(accepted, places, "left")
        true[2:-1:2, speaker] = np.searchsorted(accepted, places, "right")
        false[-1, speaker], true[-1, speaker] = len(scores), len(accepted)
    return Trials(false, true, level)


def area_under_curve(pairs: Trials, bootstrap: Bootstrap) -> Statistic:
    """Chance that a genuine pair is more alike than an impostor pair, equal ones counted half; 0.5 by chance."""
    genuine, impostors = pairs.true[-1].astype(np.float64), pairs.false[-1].astype(np.float64)
    won = []  # by the genuine pairs of each speaker, against the impostor pairs of each
    for of_speaker in _rows_by_speaker(bootstrap.of_row):
        above, at_or_above = (pairs.false[2 * pairs.level[of_speaker] + corner].sum(0) for corner in (1, 2))
        won.append(len(of_speaker) * impostors - (above + at_or_above) / 2)
    better = np.stack(won)

    def statistic(weights: Weights) -> Floats:
        counts = weights.counts
        total = (counts @ genuine) * (counts @ impostors)
        return np.divide(((counts @ better) * counts).sum(1), total, out=np.full(len(total), np.nan), where=total > 0)

    return statistic


def roc_curve(pairs: Trials, weights: Weights) -> tuple[Floats, Floats]:
    """False and true positive rates [R, 2 U + 2] along the curve, from (0, 0) to (1, 1); corners of straight pieces."""
    corners = np.arange(len(pairs.false))
    rates = [_rates(pairs, counts[None], corners) for counts in weights.counts]
    false_positives, true_positives = (np.stack(side) for side in zip(*rates, strict=True))
    return false_positives, true_positives


def equal_error_rate(pairs: Trials) -> Statistic:
    """Error rate where as many impostors are accepted as genuine pairs are refused, on straight pieces of the ROC curve."""

    def statistic(weights: Weights) -> Floats:
        # The excess of one over the other rises from -1 to 1, so the corners about 0 are found by halving.
        before, after = (np.full(len(weights.counts), corner) for corner in (0, len(pairs.false) - 1))
        while (after - before > 1).any():
            middle = (before + after) // 2
            is_before = _excess(*_rates(pairs, weights.counts, middle)) < 0
            before, after = np.where(is_before, middle, before), np.where(is_before, after, middle)
        start, end = (_rates(pairs, weights.counts, corners) for corners in (before, after))
        low, high = _excess(*start), _excess(*end)
        part = np.divide(-low, high - low, out=np.zeros(len(low)), where=high > low)
        rate = start[0] + part * (end[0] - start[0])
        return np.where(weights.counts @ pairs.false[-1] > 0, rate, np.nan)

    return statistic


def _rates(pairs: Trials, counts: Floats, corners: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """False and true positive rates [C] at corners [C], each of its own counts [C, S] of the speakers, or all of the same [1, S]."""
    false, true = (np.einsum("cs,cs->c", accepted[corners], counts) for accepted in (pairs.false, pairs.true))
    return false / np.maximum(counts @ pairs.false[-1], 1), true / (counts @ pairs.true[-1])


def _excess(false_positives: Floats, true_positives: Floats) -> Floats:
    """By how much the rate of accepted impostors exceeds that of refused genuine pairs."""
    return false_positives - (1 - true_positives)


def _similarity(aligned: Aligned, predicted: Features, rows: npt.NDArray[np.int64]) -> Floats:
    """Centred cosine of some rows of predicted features [N, D] with every test speaker, [rows, S]."""
    gallery = aligned.centred(aligned.gallery)
    found = np.empty((len(rows), len(gallery)))
    for start in range(0, len(rows), ROWS_PER_BLOCK):
        block = slice(start, start + ROWS_PER_BLOCK)
        found[block] = np.round(1 - distances(aligned.centred(predicted[rows[block]]), gallery), ROUNDING_DIGITS)
    return found


def _rows_by_speaker(of_row: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """The rows of each speaker, by the speaker of each row [N]."""
    return np.split(np.argsort(of_row, kind="stable"), np.cumsum(np.bincount(of_row))[:-1])
