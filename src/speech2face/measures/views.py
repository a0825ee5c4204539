"""Features that are not held: rows of them are made of others where they are looked at.

Features of every clip, in double precision, are gigabytes at VoxCeleb's size, and an evaluation looks at them under many aspects. So
what can be picked or computed from a smaller table is, block by block.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from speech2face.pipeline import machine

ROWS_PER_BLOCK = 512

Found = TypeVar("Found")


@dataclass(frozen=True)
class View:
    """Features [N, D]; make: the features [n, D] of rows, int [n]. It is indexed by rows as an array is, and gives an array.

    shape: N and D; same: a number of each row, int [N], which only rows of the same features share, None where all may differ.
    """

    shape: tuple[int, int]
    make: Callable[[npt.NDArray[np.int64]], np.ndarray]
    same: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        chosen = np.arange(len(self))[rows]
        found = self.make(np.atleast_1d(chosen))
        return found if chosen.ndim else found[0]

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


Features = np.ndarray | View
"""Features [N, D], held or not."""


def picked(table: Features, rows: npt.NDArray[np.int64]) -> View:
    """The rows [N] of a table of features [M, D], any of them as often as it is named."""
    same = None if isinstance(table, np.ndarray) else table.same
    return View((len(rows), table.shape[1]), lambda asked: table[rows[asked]], rows if same is None else same[rows])


def distinct(features: Features, rows: slice = slice(None)) -> tuple[np.ndarray, npt.NDArray[np.int64] | slice]:
    """Some of the features, those known to be repeated once, [n, D]; and which of them each of the rows is."""
    if isinstance(features, np.ndarray) or features.same is None:
        return features[rows], slice(None)
    places = np.arange(len(features))[rows]
    _, first, row_of = np.unique(features.same[rows], return_index=True, return_inverse=True)
    return features[places[first]], row_of


def blocks(features: Features) -> Iterator[slice]:
    """All rows of features [N, D], as many at a time as may be in memory in double precision."""
    for start in range(0, len(features), ROWS_PER_BLOCK):
        yield slice(start, min(start + ROWS_PER_BLOCK, len(features)))


def map_blocks(function: Callable[[slice], Found], features: Features) -> list[Found]:
    """What a function finds in each of the blocks, in their order; the blocks are shared among threads, each of which computes alone."""
    parts = list(blocks(features))
    if len(parts) < 2:
        return [function(rows) for rows in parts]
    with machine.threads() as pool:
        return pool.map(function, parts, chunksize=1)


def group_sums(features: np.ndarray, group: npt.NDArray[np.int64]) -> np.ndarray:
    """Sums [g, D], from the first to the last, over the features [n, D] of each group; group: of each row, int [n], from 0."""
    each = np.arange(len(group))
    sums: np.ndarray = csr_array((np.ones(len(group), features.dtype), (group, each))) @ features
    return sums


def group_means(features: Features, group: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Means float64 [g, D] over the features of each group, of some groups after the other; group: of each row, int [N], from 0."""
    order, counts = np.argsort(group, kind="stable"), np.bincount(group)
    ends = np.cumsum(counts)
    first = 0
    while first < len(counts):
        start = ends[first] - counts[first]
        last = max(first + 1, int(np.searchsorted(ends, start + ROWS_PER_BLOCK, "right")))
        rows = order[start : ends[last - 1]]
        sums = group_sums(features[rows].astype(np.float64), group[rows] - first)
        yield slice(first, last), sums / counts[first:last, None]
        first = last
