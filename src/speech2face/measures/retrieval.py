"""Retrieval: the rank of the right face in a gallery, whose faces are ordered by distance from a voice's feature."""

from collections.abc import Iterator, Sequence
from math import ceil
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from speech2face.measures.distances import Estimates, Metric, Side, check_finite, check_metric, check_shapes, paired
from speech2face.measures.views import Features, View, distinct, map_blocks

ENTRIES_PER_BLOCK = 2048
TIE = 1e-12  # relative: differences below it are rounding, so the entries are as near as each other

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Ranks(NamedTuple):
    """For each query, int [N]: entries that are nearer than its match, others that are as near (ties), and the gallery's size."""

    nearer: Ints
    tied: Ints
    gallery_size: Ints


class Order(NamedTuple):
    """How the entries of a gallery are ordered for a query: by their distance, for `cosine` between differences from the centre if
    `centred`. With `groups`, those of the queries and of the entries (int [N] and [M]), only entries of the query's own group are
    ranked, and the match."""

    metric: Metric = "cosine"
    centred: bool = True
    groups: tuple[Ints, Ints] | None = None


class Compared(NamedTuple):
    """Of each query: the ranks of its match, and the entry that is nearest, int [N], whatever its group; of equally near ones the first."""

    ranks: Ranks
    nearest: Ints


def ranks(
    query: npt.ArrayLike, gallery: npt.ArrayLike, target: npt.ArrayLike, metric: Metric = "cosine"
) -> npt.NDArray[np.int64]:
    """Rank of each query's match in the gallery: 1 + number of entries that are strictly nearer; 1 is best.

    query: [N, D]; gallery: [M, D]; target: index in the gallery of each query's match, int [N]. Entries as near as the
    match do not worsen its rank; `rank_matches` counts them. Raises ValueError as `rank_matches`.
    """
    return 1 + rank_matches(query, gallery, target, metric).nearer


def rank_matches(
    query: npt.ArrayLike | View,
    gallery: npt.ArrayLike,
    target: npt.ArrayLike,
    metric: Metric = "cosine",
    centre: np.ndarray | None = None,
) -> Ranks:
    """The rank of each query's match in the gallery, with its ties.

    query: [N, D]; gallery: [M, D]; target: index in the gallery of each query's match, int [N]; centre: [D], from which both are taken
    as differences, None for 0. Computed block by block over queries and gallery, so memory does not grow with N times M, nor, for arrays
    mapped from a file, with either. Raises ValueError as `distances` does, and for indices outside the gallery.
    """
    return compare(query, gallery, target, [Order(metric)], centre)[0].ranks


def compare(
    query: npt.ArrayLike | View,
    gallery: npt.ArrayLike,
    target: npt.ArrayLike,
    orders: Sequence[Order],
    centre: np.ndarray | None = None,
) -> list[Compared]:
    """What is found in each of several orders of one gallery: they share the products of queries and entries.

    Arguments, memory and errors as for `rank_matches`. Blocks of queries are shared among threads.
    """
    queries, entries = _check(query, gallery, orders)
    own = np.asarray(target, dtype=np.int64)
    if own.shape != (len(queries),) or (len(own) and not 0 <= own.min() <= own.max() < len(entries)):
        raise ValueError(
            f"target must hold one index below {len(entries)} for each of {len(queries)} queries (got {list(own.shape)})"
        )
    middle = None if centre is None else torch.from_numpy(np.asarray(centre, np.float64))
    counts = np.zeros((len(orders), 3, len(queries)), np.int64)
    counts[:, 2] = 1  # the match itself
    nearest, least = np.zeros((len(orders), len(queries)), np.int64), np.full((len(orders), len(queries)), np.inf)
    for columns in _blocks(len(entries), ENTRIES_PER_BLOCK):
        held = Side(entries[columns], middle)

        def count(rows: slice, columns: slice = columns, held: Side = held) -> None:
            block = _Block(queries, rows, held, middle)
            if len(held.raw) == len(entries):
                matches = held, torch.tensor(own[rows])
            else:
                matches = Side(entries[own[rows]], middle), torch.arange(len(own[rows]))
            others = torch.from_numpy(own[rows, None] != np.arange(columns.start, columns.stop))
            for number, order in enumerate(orders):
                found = block.settle(order.metric, order.centred, matches, others)
                counted = others & _of_own_group(order, rows, columns)
                for sums, chosen in zip(counts[number], (found.nearer, found.tied, counted), strict=True):
                    sums[rows] += (chosen & counted).sum(1).numpy()
                is_less = found.least < least[number, rows]
                least[number, rows][is_less] = found.least[is_less]
                nearest[number, rows][is_less] = columns.start + found.nearest[is_less]

        map_blocks(count, queries)
    return [Compared(Ranks(*sums), places) for sums, places in zip(counts, nearest, strict=True)]


class _Settled(NamedTuple):
    """Which of the entries [N, M] are nearer than the match or tied with it; the nearest of them all [N], and its distance."""

    nearer: torch.Tensor
    tied: torch.Tensor
    nearest: Ints
    least: Floats


class _Block:
    """Queries [N, D], whose distances from entries are computed once, however often the queries or the distances are asked for."""

    def __init__(self, queries: Features, rows: slice, held: Side, centre: torch.Tensor | None) -> None:
        features, self._row_of = distinct(queries, rows)
        check_finite(features)
        self._asked, self._held = Side(features, centre), held
        self._estimates = Estimates(self._asked, held)
        self._rows = torch.arange(len(features))[self._row_of]
        self._settled: dict[tuple[Metric, bool], _Settled] = {}

    def settle(
        self, metric: Metric, centred: bool, matches: tuple[Side, torch.Tensor], others: torch.Tensor
    ) -> _Settled:
        """matches: entries, and which of them is that of each query, [N]; others: which entries are not it, [N, M]."""
        if (metric, centred) not in self._settled:
            self._settled[metric, centred] = self._settle(metric, centred, matches, others)
        return self._settled[metric, centred]

    def _settle(
        self, metric: Metric, centred: bool, matches: tuple[Side, torch.Tensor], others: torch.Tensor
    ) -> _Settled:
        entries, own = matches
        limit = paired(self._asked, entries, self._rows, own, metric, centred)[:, None]
        tolerance = TIE * (torch.ones_like(limit) if metric == "cosine" else limit)
        matrix, error = (values[self._row_of] for values in self._estimates.of(metric, centred))
        least, nearest = matrix.min(1)
        unsure = ((matrix - limit).abs() <= error + tolerance) & others
        first, second = (unsure & (error > 0)).nonzero(as_tuple=True)
        matrix[first, second] = paired(self._asked, self._held, self._rows[first], second, metric, centred)
        nearer = matrix < limit - tolerance
        return _Settled(nearer, (matrix <= limit + tolerance) & unsure & ~nearer, nearest.numpy(), least.numpy())


def _of_own_group(order: Order, rows: slice, columns: slice) -> torch.Tensor:
    """Which entries are of the query's own group, [N, M] or [1, 1] where there are no groups."""
    if order.groups is None:
        return torch.ones(1, 1, dtype=torch.bool)
    asked, held = (torch.as_tensor(codes) for codes in order.groups)
    return asked[rows, None] == held[None, columns]


def expected(table: Floats, found: Ranks) -> Floats:
    """Mean of `table` over the ranks that each query's match can have when ties are broken at random, [N].

    table: value of rank 1, 2, ..., as long as the largest gallery. Without ties this is table[rank - 1]. So a model that
    predicts the same for everyone gets chance, and not the first rank.
    """
    sums = np.concatenate([[0.0], np.cumsum(table)])
    mean = (sums[found.nearer + found.tied + 1] - sums[found.nearer]) / (found.tied + 1)
    return np.where(found.tied == 0, table[found.nearer], mean)


def middle_rank(found: Ranks) -> Floats:
    """Mean rank of each query's match when ties are broken at random, [N]."""
    return 1 + found.nearer + found.tied / 2


def recall_at(found: Ranks, k: npt.ArrayLike) -> float:
    """Part of the queries whose match is among the first `k` (one for all, or [N]) when ties are broken at random, in expectation;
    chance is k / gallery size."""
    return float(np.clip((np.asarray(k) - found.nearer) / (found.tied + 1), 0, 1).mean())


def percent_to_k(percent: float, gallery_size: int) -> int:
    """The rank that `percent` of a gallery comes to, rounded up: 10 % of 48 is 5."""
    return max(1, ceil(round(gallery_size * percent / 100, 9)))


def recall_at_percent(found: Ranks, percent: float) -> float:
    """Part of the queries whose match is within the first `percent` of their gallery, the K of Oh et al. 2019, table 3; ties as in
    `recall_at`."""
    return recall_at(found, [percent_to_k(percent, int(size)) for size in found.gallery_size])


def _blocks(total: int, size: int) -> Iterator[slice]:
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))


def _check(query: npt.ArrayLike | View, gallery: npt.ArrayLike, orders: Sequence[Order]) -> tuple[Features, np.ndarray]:
    for order in orders:
        check_metric(order.metric)
    first, second = query if isinstance(query, View) else np.asarray(query), np.asarray(gallery)
    check_shapes(first.shape, second.shape)
    for rows in _blocks(len(second), ENTRIES_PER_BLOCK):
        check_finite(second[rows])
    return first, second
