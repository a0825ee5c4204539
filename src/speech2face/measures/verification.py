"""Verification: does this voice belong to this face? Area under the ROC curve and equal error rate over all pairs of a
test clip and a test speaker's face."""

from typing import NamedTuple

import numpy as np

from speech2face.measures.aligned import Aligned
from speech2face.measures.retrieval import distances
from speech2face.measures.statistics import Bootstrap, Floats, Statistic

ROUNDING_DIGITS = 12  # similarities that differ later than this are equal


class Trials(NamedTuple):
    """Similarity [N] of each row's genuine pair; and, by distinct genuine similarity, descending [U], and by speaker of the
    voice [S], how many impostor pairs are above it and how many are equal; `impostors` [S] counts all.

    `of_row` is each row's place in the distinct similarities.
    """

    genuine: Floats
    of_row: np.ndarray
    above: Floats
    equal: Floats
    impostors: Floats


def trials(
    aligned: Aligned,
    predicted: np.ndarray,
    bootstrap: Bootstrap,
    groups: np.ndarray | None = None,
    usable: np.ndarray | None = None,
) -> Trials:
    """All pairs of a row of predicted features [N, D] and a test speaker, by centred cosine; with groups (int, by test speaker)
    only impostors of the voice's own group. `usable`, bool over the rows: those that count, N of which `bootstrap` is."""
    usable = np.ones(len(predicted), bool) if usable is None else usable
    queries, gallery = aligned.centred(predicted[usable]), aligned.centred(aligned.gallery)
    similarity = np.round(1 - distances(queries, gallery), ROUNDING_DIGITS)
    own = aligned.clips["speaker"].to_numpy()[usable]
    genuine = similarity[np.arange(len(own)), own]
    levels, of_row = np.unique(-genuine, return_inverse=True)
    levels = -levels
    above, equal = (np.zeros((len(levels), len(bootstrap.first))) for _ in range(2))
    impostors = np.zeros(len(bootstrap.first))
    for row, speaker in enumerate(own):
        others = np.arange(len(aligned.speakers)) != speaker
        if groups is not None:
            others &= groups == groups[speaker]
        scores = np.sort(similarity[row, others])
        not_above, below = np.searchsorted(scores, levels, "right"), np.searchsorted(scores, levels, "left")
        column = bootstrap.of_row[row]
        above[:, column] += len(scores) - not_above
        equal[:, column] += not_above - below
        impostors[column] += len(scores)
    return Trials(genuine, of_row, above, equal, impostors)


def area_under_curve(pairs: Trials, bootstrap: Bootstrap) -> Statistic:
    """Chance that a genuine pair is more alike than an impostor pair, equal ones counted half; 0.5 by chance."""
    better = pairs.impostors - pairs.above - pairs.equal / 2

    def statistic(weights: Floats) -> Floats:
        of_speaker = weights[:, bootstrap.first]
        of_level = _by_level(weights, pairs)
        total = weights.sum(1) * (of_speaker @ pairs.impostors)
        won = ((of_speaker @ better.T) * of_level).sum(1)
        return np.divide(won, total, out=np.full(len(total), np.nan), where=total > 0)

    return statistic


def roc_curve(pairs: Trials, bootstrap: Bootstrap, weights: Floats) -> tuple[Floats, Floats]:
    """False and true positive rates [R, 2 U + 2] along the curve, from (0, 0) to (1, 1); corners of straight pieces."""
    of_speaker = weights[:, bootstrap.first]
    impostors = np.maximum(of_speaker @ pairs.impostors, 1)[:, None]
    above, equal = (of_speaker @ counts.T / impostors for counts in (pairs.above, pairs.equal))
    accepted = np.cumsum(_by_level(weights, pairs), axis=1)
    accepted = accepted / accepted[:, -1:]
    before = np.concatenate([np.zeros((len(weights), 1)), accepted[:, :-1]], axis=1)
    false_positives = np.stack([above, above + equal], axis=2).reshape(len(weights), -1)
    true_positives = np.stack([before, accepted], axis=2).reshape(len(weights), -1)
    zeros, ones = np.zeros((len(weights), 1)), np.ones((len(weights), 1))
    return np.hstack([zeros, false_positives, ones]), np.hstack([zeros, true_positives, ones])


def equal_error_rate(pairs: Trials, bootstrap: Bootstrap) -> Statistic:
    """Error rate where as many impostors are accepted as genuine pairs are refused, on straight pieces of the ROC curve."""

    def statistic(weights: Floats) -> Floats:
        false_positives, true_positives = roc_curve(pairs, bootstrap, weights)
        excess = false_positives - (1 - true_positives)  # rises from -1 to 1
        after = np.maximum(1, (excess < 0).sum(1))
        rows = np.arange(len(weights))
        low, high = excess[rows, after - 1], excess[rows, after]
        part = np.divide(-low, high - low, out=np.zeros(len(rows)), where=high > low)
        start, end = false_positives[rows, after - 1], false_positives[rows, after]
        rate = start + part * (end - start)
        return np.where(weights[:, bootstrap.first] @ pairs.impostors > 0, rate, np.nan)

    return statistic


def _by_level(weights: Floats, pairs: Trials) -> Floats:
    """Weights [R, N] of rows, summed over rows of one genuine similarity, [R, U]."""
    order = np.argsort(pairs.of_row, kind="stable")
    starts = np.flatnonzero(np.diff(pairs.of_row[order], prepend=-1))
    return np.add.reduceat(weights[:, order], starts, axis=1)
