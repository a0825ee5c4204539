"""Retrieval: the rank of the right face in a gallery, whose faces are ordered by distance from a voice's feature."""

from collections.abc import Iterator
from math import ceil
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import torch

from speech2face.measures.views import Features, View

Metric = Literal["cosine", "l1", "l2"]
METRICS: tuple[Metric, ...] = get_args(Metric)
QUERIES_PER_BLOCK = 512
ENTRIES_PER_BLOCK = 4096
PAIRS_PER_BLOCK = 4096
DIMENSIONS_PER_BLOCK = 256
TIE = 1e-12  # relative: differences below it are rounding, so the entries are as near as each other

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Ranks(NamedTuple):
    """For each query, int [N]: entries that are nearer than its match, others that are as near (ties), and the gallery's size."""

    nearer: Ints
    tied: Ints
    gallery_size: Ints


def distances(query: npt.ArrayLike, gallery: npt.ArrayLike, metric: Metric = "cosine") -> Floats:
    """Distances [N, M] between queries [N, D] and gallery entries [M, D], in float64.

    `cosine` is 1 minus the cosine (1 where a vector is zero), `l1` and `l2` the norms of the difference.
    Raises ValueError for an unknown metric, shapes that do not fit, or values that are not finite.
    """
    first, second = _check(query, gallery, metric)
    return _distances(_ready(first[:], metric), _ready(second, metric), metric).numpy()


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
    query_group: npt.ArrayLike | None = None,
    gallery_group: npt.ArrayLike | None = None,
    centre: np.ndarray | None = None,
) -> Ranks:
    """The rank of each query's match in the gallery, with its ties.

    query: [N, D]; gallery: [M, D]; target: index in the gallery of each query's match, int [N]; centre: [D], from which both are taken
    as differences, None for 0. With groups (int [N] and
    [M]) only entries of the query's own group count, and the match. Computed block by block over queries and gallery, so
    memory does not grow with N times M, nor, for arrays mapped from a file, with either.
    Raises ValueError as `distances` does, and for indices outside the gallery.
    """
    queries, entries = _check(query, gallery, metric)
    own = np.asarray(target, dtype=np.int64)
    if own.shape != (len(queries),) or (len(own) and not 0 <= own.min() <= own.max() < len(entries)):
        raise ValueError(
            f"target must hold one index below {len(entries)} for each of {len(queries)} queries (got {list(own.shape)})"
        )
    asked = torch.as_tensor(np.zeros(len(queries), np.int64) if query_group is None else np.asarray(query_group))
    held = torch.as_tensor(np.zeros(len(entries), np.int64) if gallery_group is None else np.asarray(gallery_group))
    result = Ranks(*(np.empty(len(queries), np.int64) for _ in Ranks._fields))
    for rows in _blocks(len(queries), QUERIES_PER_BLOCK):
        block = _ready(queries[rows], metric, centre)
        limit = _paired(block, _ready(entries[own[rows]], metric, centre), metric)[:, None]
        tolerance = TIE * (torch.ones_like(limit) if metric == "cosine" else limit)
        counts = torch.zeros(3, len(block), dtype=torch.int64)
        counts[2] = 1  # the match itself
        for columns in _blocks(len(entries), ENTRIES_PER_BLOCK):
            others = asked[rows, None] == held[None, columns]
            others &= torch.from_numpy(own[rows, None] != np.arange(columns.start, columns.stop))
            columns_block = _ready(entries[columns], metric, centre)
            matrix, error = _estimate(block, columns_block, metric)
            unsure = ((matrix - limit).abs() <= error + tolerance) & others
            for pairs in (unsure & (error > 0)).nonzero().split(PAIRS_PER_BLOCK):
                first, second = pairs.T
                matrix[first, second] = _paired(block[first], columns_block[second], metric)
            nearer = (matrix < limit - tolerance) & others
            counts[0] += nearer.sum(1)
            counts[1] += ((matrix <= limit + tolerance) & unsure & ~nearer).sum(1)
            counts[2] += others.sum(1)
        for values, count in zip(result, counts, strict=True):
            values[rows] = count.numpy()
    return result


def nearest(
    query: npt.ArrayLike | View, gallery: npt.ArrayLike, metric: Metric = "cosine", centre: np.ndarray | None = None
) -> Ints:
    """Index [N] of the entry of the gallery [M, D] that is nearest to each query [N, D]; of equally near ones the first. `centre` as for
    `rank_matches`.

    Computed block by block, so memory does not grow with N times M. Raises ValueError as `distances`.
    """
    queries, entries = _check(query, gallery, metric)
    held = _ready(entries, metric, centre)
    found = np.empty(len(queries), np.int64)
    for rows in _blocks(len(queries), QUERIES_PER_BLOCK):
        found[rows] = _distances(_ready(queries[rows], metric, centre), held, metric).numpy().argmin(1)
    return found


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


def _ready(values: np.ndarray, metric: Metric, centre: np.ndarray | None = None) -> torch.Tensor:
    tensor = torch.from_numpy(np.array(values, dtype=np.float64))
    if centre is not None:
        tensor -= torch.from_numpy(centre)
    return (
        torch.nn.functional.normalize(tensor, dim=1, eps=torch.finfo(tensor.dtype).tiny)
        if metric == "cosine"
        else tensor
    )


def _distances(queries: torch.Tensor, entries: torch.Tensor, metric: Metric) -> torch.Tensor:
    if metric == "cosine":
        return 1 - queries @ entries.T
    # Differences, not |a|^2 + |b|^2 - 2ab, which loses the digits in which near entries differ.
    return torch.cdist(queries, entries, p={"l1": 1.0, "l2": 2.0}[metric], compute_mode="donot_use_mm_for_euclid_dist")


def _paired(queries: torch.Tensor, entries: torch.Tensor, metric: Metric) -> torch.Tensor:
    """Distance of each row of queries [P, D] to the same row of entries [P, D], the same whatever else is in the block."""
    if metric == "cosine":
        return 1 - (queries * entries).sum(1)
    return torch.linalg.vector_norm(queries - entries, {"l1": 1, "l2": 2}[metric], dim=1)


def _estimate(queries: torch.Tensor, entries: torch.Tensor, metric: Metric) -> tuple[torch.Tensor, torch.Tensor]:
    """Distances [N, M] by the fastest way, and bounds on their errors, beyond which they settle who is nearer.

    L1 is summed in single precision over a few dimensions at a time, L2 comes from a matrix product. The bounds are those of
    Higham 2002, section 3.1: a sum of n products or differences errs by at most n units in the last place of its terms' sum.
    """
    dim = queries.shape[1]
    if metric == "cosine":
        # A zero vector's distance is exact: a prediction that is the mean for everyone is as near to all.
        is_some = queries.any(1, keepdim=True).double()
        return 1 - queries @ entries.T, 4 * dim * _unit(torch.float64) * is_some
    scale = torch.maximum(queries.abs().max(), entries.abs().max()).clamp(min=torch.finfo(torch.float64).tiny)
    queries, entries = queries / scale, entries / scale  # squares and single precision must not overflow
    if metric == "l2":
        lengths = queries.square().sum(1)[:, None] + entries.square().sum(1)
        matrix = (lengths - 2 * queries @ entries.T).clamp(min=0).sqrt()
        error = 4 * dim * _unit(torch.float64) * lengths  # of the squared distance
        return scale * matrix, scale * error / torch.maximum(matrix, error.sqrt()).clamp(
            min=torch.finfo(torch.float64).tiny
        )
    matrix = torch.zeros(len(queries), len(entries), dtype=torch.float64)
    rounded = queries.float(), entries.float()
    for part in _blocks(dim, DIMENSIONS_PER_BLOCK):
        matrix += torch.cdist(rounded[0][:, part], rounded[1][:, part], p=1.0)
    sizes = queries.abs().sum(1)[:, None] + entries.abs().sum(1)
    unit = _unit(torch.float32)
    error = 2 * unit * ((DIMENSIONS_PER_BLOCK + 2) * matrix + sizes) + dim * torch.finfo(torch.float32).tiny
    return scale * matrix, scale * error


def _unit(kind: torch.dtype) -> float:
    """Largest relative error of rounding a number."""
    return torch.finfo(kind).eps / 2


def _check(query: npt.ArrayLike | View, gallery: npt.ArrayLike, metric: str) -> tuple[Features, np.ndarray]:
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)} (got {metric!r})")
    first, second = query if isinstance(query, View) else np.asarray(query), np.asarray(gallery)
    if len(first.shape) != 2 or second.ndim != 2 or first.shape[1] != second.shape[1] or not len(second):
        raise ValueError(
            f"query and gallery must be [N, D] and [M, D], M above 0 (got {list(first.shape)} and {list(second.shape)})"
        )
    for values in (first, second):
        if not all(np.isfinite(values[rows]).all() for rows in _blocks(len(values), ENTRIES_PER_BLOCK)):
            raise ValueError("query and gallery must be finite; NaN or infinite features have no nearest face")
    return first, second
