"""Distances between features: by the fastest way with a bound on its error, and pair by pair as exactly as double precision allows."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

Metric = Literal["cosine", "l1", "l2"]
METRICS: tuple[Metric, ...] = get_args(Metric)
DIMENSIONS_PER_BLOCK = 256
ENTRIES_AT_ONCE = 1500  # whose largest numbers, of so many dimensions, fit into a processor's cache
TINY = torch.finfo(torch.float64).tiny

Floats = npt.NDArray[np.float64]


def distances(query: npt.ArrayLike, gallery: npt.ArrayLike, metric: Metric = "cosine") -> Floats:
    """Distances [N, M] between queries [N, D] and gallery entries [M, D], in float64.

    `cosine` is 1 minus the cosine (1 where a vector is zero), `l1` and `l2` the norms of the difference.
    Raises ValueError for an unknown metric, shapes that do not fit, or values that are not finite.
    """
    check_metric(metric)
    first, second = np.asarray(query), np.asarray(gallery)
    check_shapes(first.shape, second.shape)
    for values in (first, second):
        check_finite(values)
    queries, entries = (torch.from_numpy(np.array(values, np.float64)) for values in (first, second))
    if metric == "cosine":
        return (1 - unit(queries) @ unit(entries).T).numpy()
    # Differences, not |a|^2 + |b|^2 - 2ab, which loses the digits in which near entries differ.
    power = {"l1": 1.0, "l2": 2.0}[metric]
    return torch.cdist(queries, entries, p=power, compute_mode="donot_use_mm_for_euclid_dist").numpy()


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """Vectors [N, D] of length 1 in the same directions; 0 where a vector is zero."""
    return torch.nn.functional.normalize(vectors, dim=1, eps=TINY)


def check_metric(metric: str) -> None:
    """Raise ValueError for one that is none of `METRICS`."""
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)} (got {metric!r})")


def check_shapes(query: tuple[int, ...], gallery: tuple[int, ...]) -> None:
    """Raise ValueError if the arrays are not [N, D] and [M, D], M above 0."""
    if len(query) != 2 or len(gallery) != 2 or query[1] != gallery[1] or not gallery[0]:
        raise ValueError(
            f"query and gallery must be [N, D] and [M, D], M above 0 (got {list(query)} and {list(gallery)})"
        )


def check_finite(values: np.ndarray) -> None:
    """Raise ValueError if a value is not finite."""
    if not np.isfinite(values).all():
        raise ValueError("query and gallery must be finite; NaN or infinite features have no nearest face")


class Side:
    """Vectors [N, D] that are compared with others, in float64: `raw`, and the `unit` vectors of their differences from a `centre` [D]
    (None for 0), whose lengths are `length` [N]; `raw_length`, [N]."""

    def __init__(self, values: np.ndarray, centre: torch.Tensor | None) -> None:
        self.raw = torch.from_numpy(np.array(values, np.float64))
        self.centre = centre
        moved = self.raw if centre is None else self.raw - centre
        self.length = torch.linalg.vector_norm(moved, dim=1)
        self.unit = moved / self.length.clamp(min=TINY)[:, None]

    @cached_property
    def raw_length(self) -> torch.Tensor:
        return torch.linalg.vector_norm(self.raw, dim=1)

    def moved(self, rows: torch.Tensor | slice) -> torch.Tensor:
        """Differences of some of the rows from the centre."""
        return self.raw[rows] if self.centre is None else self.raw[rows] - self.centre


def paired(
    one: Side, other: Side, first: torch.Tensor, second: torch.Tensor, metric: Metric, centred: bool
) -> torch.Tensor:
    """Distance [P] of the rows `first` [P] of one side from the rows `second` [P] of the other, the same whatever else is compared;
    `cosine` is of the differences from the centre if `centred`."""
    if metric == "cosine":
        if centred:
            return 1 - (one.unit[first] * other.unit[second]).sum(1)
        lengths = _inverse(one.raw_length)[first] * _inverse(other.raw_length)[second]
        return 1 - (one.raw[first] * other.raw[second]).sum(1) * lengths
    return torch.linalg.vector_norm(one.moved(first) - other.moved(second), {"l1": 1, "l2": 2}[metric], dim=1)


@dataclass(frozen=True)
class Estimates:
    """Distances between all rows of two sides by the fastest way, and bounds on their errors, beyond which they settle who is nearer.

    All but L1 come from one matrix product, L1 is summed in single precision over a few dimensions at a time. The bounds are those of
    Higham 2002, section 3.1: a sum of n products or differences errs by at most n units in the last place of its terms' sum.
    """

    queries: Side
    entries: Side

    def of(self, metric: Metric, centred: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Distances [N, M], and the bounds, [N, M] or [N, 1]; `centred` as for `paired`."""
        if metric == "l1":
            return self._l1()
        if metric == "l2":
            return self._l2()
        return self._cosine() if centred or self.queries.centre is None else self._raw_cosine(self.queries.centre)

    @cached_property
    def _product(self) -> torch.Tensor:
        return self.queries.unit @ self.entries.unit.T

    @property
    def _error(self) -> float:
        """Of a product of unit vectors."""
        return 4 * self.queries.raw.shape[1] * _unit_roundoff(torch.float64)

    def _cosine(self) -> tuple[torch.Tensor, torch.Tensor]:
        # A zero vector's distance is exact: a prediction that is the mean for everyone is as near to all.
        return 1 - self._product, self._error * (self.queries.length > 0).double()[:, None]

    def _raw_cosine(self, centre: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """From the products of differences from the centre c: qg = (q - c)(g - c) + qc + gc - cc."""
        queries, entries = self.queries, self.entries
        asked, held = (_inverse(side.raw_length) for side in (queries, entries))
        matrix = self._product * (queries.length * asked)[:, None] * (entries.length * held)
        matrix += ((queries.raw @ centre - centre @ centre) * asked)[:, None] * held
        matrix += asked[:, None] * (entries.raw @ centre * held)
        of_centre = torch.linalg.vector_norm(centre)
        sizes = (queries.length * asked) * (entries.length * held).max() + of_centre * asked
        sizes += (1 + of_centre * asked) * (of_centre * held).max()
        return 1 - matrix, (self._error * (1 + 2 * sizes) * (queries.raw_length > 0))[:, None]

    def _l2(self) -> tuple[torch.Tensor, torch.Tensor]:
        asked, held = self.queries.length[:, None], self.entries.length
        lengths = asked**2 + held**2
        matrix = (lengths - 2 * self._product * asked * held).clamp(min=0).sqrt()
        error = 2 * self._error * lengths  # of the squared distance
        return matrix, error / torch.maximum(matrix, error.sqrt()).clamp(min=TINY)

    def _l1(self) -> tuple[torch.Tensor, torch.Tensor]:
        """|a - b| is 2 max(a, b) - a - b, and a sum of maxima is one pass less over the numbers."""
        queries, entries = self.queries.moved(slice(None)), self.entries.moved(slice(None))
        scale = torch.maximum(queries.abs().max(), entries.abs().max()).clamp(min=TINY)
        asked, held = (queries / scale).float(), (entries / scale).float()  # single precision must not overflow
        matrix = torch.zeros(len(asked), len(held), dtype=torch.float64)
        num_rows = max(1, ENTRIES_AT_ONCE // len(held))
        for part in _parts(asked.shape[1]):
            some, all_of_them = asked[:, None, part], held[:, part].contiguous()
            for sums, rows in zip(matrix.split(num_rows), some.split(num_rows), strict=True):
                sums += torch.maximum(rows, all_of_them).sum(2)
        matrix = 2 * matrix - asked.double().sum(1)[:, None] - held.double().sum(1)
        sizes = asked.double().abs().sum(1)[:, None] + held.double().abs().sum(1)
        error = 2 * _unit_roundoff(torch.float32) * (DIMENSIONS_PER_BLOCK + 2) * sizes
        return scale * matrix, scale * (error + queries.shape[1] * torch.finfo(torch.float32).tiny)


def _inverse(lengths: torch.Tensor) -> torch.Tensor:
    """1 over each of the lengths [N]; 0 for 0."""
    return torch.where(lengths > 0, 1 / lengths.clamp(min=TINY), 0.0)


def _unit_roundoff(kind: torch.dtype) -> float:
    """Largest relative error of rounding a number."""
    return torch.finfo(kind).eps / 2


def _parts(dim: int) -> Iterator[slice]:
    for start in range(0, dim, DIMENSIONS_PER_BLOCK):
        yield slice(start, start + DIMENSIONS_PER_BLOCK)
