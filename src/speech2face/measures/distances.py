"""Distances between features: by the fastest way with a bound on its error, and pair by pair as exactly as double precision allows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

Metric = Literal["cosine", "l1", "l2"]
METRICS: tuple[Metric, ...] = get_args(Metric)
DIMENSIONS_PER_BLOCK = 64  # fewer are summed more exactly, so that fewer pairs are left unsettled, and take longer
PAIRS_IN_CACHE = 32
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
    """Vectors [N, D] that are compared with others, in float64: `raw`, and `moved`, their differences from a `centre` [D] (None for 0),
    whose lengths are `length` [N] and directions `unit` [N, D]; `raw_length`, [N]."""

    def __init__(self, values: np.ndarray, centre: torch.Tensor | None) -> None:
        self.raw = torch.from_numpy(np.array(values, np.float64))
        self.centre = centre
        self.moved = self.raw if centre is None else self.raw - centre
        self.length = torch.linalg.vector_norm(self.moved, dim=1)
        self.unit = self.moved / self.length.clamp(min=TINY)[:, None]

    @cached_property
    def raw_length(self) -> torch.Tensor:
        return torch.linalg.vector_norm(self.raw, dim=1)


def paired(
    one: Side, other: Side, first: torch.Tensor, second: torch.Tensor, metric: Metric, centred: bool
) -> torch.Tensor:
    """Distance [P] of the rows `first` [P] of one side from the rows `second` [P] of the other, the same whatever else is compared;
    `cosine` is of the differences from the centre if `centred`."""
    if metric != "cosine":
        power = {"l1": 1, "l2": 2}[metric]
        return _of_pairs(
            lambda a, b: torch.linalg.vector_norm(a - b, power, dim=1), one.moved, other.moved, first, second
        )
    if centred:
        return 1 - inner_products(one.unit, other.unit, first, second)
    lengths = _inverse(one.raw_length)[first] * _inverse(other.raw_length)[second]
    return 1 - inner_products(one.raw, other.raw, first, second) * lengths


def inner_products(one: torch.Tensor, other: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Inner product [P] of the rows `first` [P] of one table [N, D] with the rows `second` [P] of the other [M, D]."""
    return _of_pairs(lambda a, b: (a * b).sum(1), one, other, first, second)


def _of_pairs(
    function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    one: torch.Tensor,
    other: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
) -> torch.Tensor:
    """What a function of pairs of rows finds, [P], few at a time, which stay in the processor's cache."""
    parts = zip(first.split(PAIRS_IN_CACHE), second.split(PAIRS_IN_CACHE), strict=True)
    return torch.cat([function(one[some], other[others]) for some, others in parts])


@dataclass(frozen=True)
class Estimates:
    """Distances between all rows of two sides by the fastest way, and bounds on their errors, beyond which they settle who is nearer.

    All but L1 come from one matrix product, L1 is summed in single precision over a few dimensions at a time. The bounds are those of
    Higham 2002, section 3.1: a sum of n products or differences errs by at most n units in the last place of its terms' sum. So does L1,
    and by the rounding of what is subtracted.
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
        queries, entries = self.queries.moved, self.entries.moved
        scale = torch.maximum(queries.abs().max(), entries.abs().max()).clamp(min=TINY)
        asked, held = (queries / scale).float(), (entries / scale).float()  # single precision must not overflow
        matrix = torch.zeros(len(asked), len(held), dtype=torch.float64)
        for part in _parts(asked.shape[1]):
            matrix += torch.cdist(asked[:, part].contiguous(), held[:, part].contiguous(), p=1.0)
        sizes = asked.abs().sum(1, dtype=torch.float64)[:, None] + held.abs().sum(1, dtype=torch.float64)
        error = _unit_roundoff(torch.float32) * (2 * sizes + (DIMENSIONS_PER_BLOCK + 4) * matrix)
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
