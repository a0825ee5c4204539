"""Ridge regression of features by sums over rows: only sums are held, however many rows and features there are.

What scikit-learn's RidgeCV over given folds finds, which holds several copies of all features in double precision.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from speech2face.measures.statistics import Floats
from speech2face.measures.views import Features, group_sums
from speech2face.pipeline import machine

ROWS_PER_BLOCK = 2048
STRENGTHS = np.logspace(-2, 6, 9)
"""Strengths to choose from where whole features are predicted."""


class Line(NamedTuple):
    """A linear prediction: slopes [P, D] from the means `of_shown` [P], at which it is `of_true` [D]."""

    slopes: Floats
    of_shown: Floats
    of_true: Floats

    def predict(self, shown: Floats) -> Floats:
        """Predictions [N, D] from inputs [N, P]."""
        return (shown - self.of_shown) @ self.slopes + self.of_true


class Sums(NamedTuple):
    """Sums over rows of inputs x [P] and outputs y [D]: their number, x, y, x times x [P, P], x times y [P, D], and y squared [D]."""

    rows: Floats
    x: Floats
    y: Floats
    xx: Floats
    xy: Floats
    yy: Floats

    def about(self, x: Floats, y: Floats) -> "Sums":
        """The sums of the same rows' differences from x [P] and y [D]."""
        return Sums(
            self.rows,
            self.x - self.rows * x,
            self.y - self.rows * y,
            self.xx - np.outer(self.x, x) - np.outer(x, self.x) + self.rows * np.outer(x, x),
            self.xy - np.outer(self.x, y) - np.outer(x, self.y) + self.rows * np.outer(x, y),
            self.yy - 2 * self.y * y + self.rows * y**2,
        )


def speaker_folds(speakers: np.ndarray, most: int) -> npt.NDArray[np.int64]:
    """The fold of each row [N], a speaker's rows in one: `most` folds of about one size, or as many as there are speakers."""
    from sklearn.model_selection import GroupKFold  # only here: a training that has a teacher does without it

    fold = np.empty(len(speakers), np.int64)
    split = GroupKFold(min(most, len(np.unique(speakers)))).split(speakers, groups=speakers)
    for number, (_, held) in enumerate(split):
        fold[held] = number
    return fold


def fit_ridge(
    shown: Features, true: Features, same: npt.NDArray[np.int64], folds: npt.NDArray[np.int64], strengths: Floats
) -> Line:
    """Ridge regression with an intercept of outputs [T, D] on inputs [T, P], all of whose values are about 0 and of size 1.

    same: a number [T] that rows share which have the same outputs, and that no other row has; folds: of each row [T], the same for such
    rows. The strength is the one of `strengths` with the greatest mean over folds of the mean over outputs of the coefficient of
    determination on a fold when it is held out; the first of equal ones.
    """
    with machine.threads() as pool:
        parts = pool.map(lambda fold: _add_up(shown, true, same, np.flatnonzero(folds == fold)), np.unique(folds))
    scores = np.mean(
        [_held_out_scores(_total([*parts[:i], *parts[i + 1 :]]), parts[i], strengths) for i in range(len(parts))],
        axis=0,
    )
    return _solve(_total(parts), strengths[[np.argmax(scores)]])[0]


def _add_up(shown: Features, true: Features, same: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> Sums:
    """Sums over some of the rows. Inputs whose outputs are the same are added up before they meet them."""
    num_inputs, num_outputs = shown.shape[1], true.shape[1]
    xx, xy = (np.zeros((num_inputs, size)) for size in (num_inputs, num_outputs))
    sums = Sums(np.array(float(len(rows))), np.zeros(num_inputs), np.zeros(num_outputs), xx, xy, np.zeros(num_outputs))
    ordered = rows[np.argsort(same[rows], kind="stable")]
    for start in range(0, len(ordered), ROWS_PER_BLOCK):
        block = ordered[start : start + ROWS_PER_BLOCK]
        x, (first, group) = shown[block], np.unique(same[block], return_index=True, return_inverse=True)[1:]
        y, counts = true[block[first]].astype(np.float64), np.bincount(group).astype(np.float64)
        terms = (x.sum(0), counts @ y, x.T @ x, group_sums(x, group).T @ y, counts @ y**2)
        for total, term in zip(sums[1:], terms, strict=True):
            total += term
    return sums


def _total(parts: Sequence[Sums]) -> Sums:
    return Sums(*(np.sum(sums, axis=0) for sums in zip(*parts, strict=True)))


def _solve(sums: Sums, strengths: Floats) -> list[Line]:
    """The line of each strength."""
    mean_x, mean_y = sums.x / sums.rows, sums.y / sums.rows
    centred = sums.about(mean_x, mean_y)
    values, vectors = np.linalg.eigh(centred.xx)
    along = vectors.T @ centred.xy
    return [Line(vectors @ (along / (values + strength)[:, None]), mean_x, mean_y) for strength in strengths]


def _held_out_scores(fitting: Sums, held: Sums, strengths: Floats) -> Floats:
    """Mean over outputs of the coefficient of determination on the rows held out, of each strength. As in scikit-learn, an output that
    does not vary counts 1 where it is met and 0 where not."""
    spread = held.about(held.x / held.rows, held.y / held.rows).yy
    scores = []
    for line in _solve(fitting, strengths):
        off = held.about(line.of_shown, line.of_true)
        errors = off.yy - (line.slopes * (2 * off.xy - off.xx @ line.slopes)).sum(0)
        missed = np.divide(errors, spread, out=(errors != 0).astype(np.float64), where=spread > 0)
        scores.append(float(np.mean(1 - missed)))
    return np.array(scores)
