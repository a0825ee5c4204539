"""Features that are not held: rows of them are made of others where they are looked at.

Features of every clip, in double precision, are gigabytes at VoxCeleb's size, and an evaluation looks at them under many aspects. So
what can be picked or computed from a smaller table is, block by block.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

ROWS_PER_BLOCK = 2048


@dataclass(frozen=True)
class View:
    """Features [N, D]; make: the features [n, D] of rows, int [n]. It is indexed by rows as an array is, and gives an array.

    shape: N and D.
    """

    shape: tuple[int, int]
    make: Callable[[npt.NDArray[np.int64]], np.ndarray]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        return self.make(np.arange(len(self))[rows])

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


Features = np.ndarray | View
"""Features [N, D], held or not."""


def picked(table: Features, rows: npt.NDArray[np.int64]) -> View:
    """The rows [N] of a table of features [M, D], any of them as often as it is named."""
    return View((len(rows), table.shape[1]), lambda asked: table[rows[asked]])


def blocks(features: Features) -> Iterator[slice]:
    """All rows of features [N, D], as many at a time as may be in memory in double precision."""
    for start in range(0, len(features), ROWS_PER_BLOCK):
        yield slice(start, min(start + ROWS_PER_BLOCK, len(features)))
