"""Retrieval: where the right face stands among a gallery's faces, ordered by distance from a voice's feature."""

from math import ceil
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

Metric = Literal["cosine", "l1", "l2"]
METRICS: tuple[Metric, ...] = get_args(Metric)
QUERIES_PER_BLOCK = 256
TIE = 1e-12  # relative: differences below it are rounding, so the entries are as near as each other


def distances(query: npt.ArrayLike, gallery: npt.ArrayLike, metric: Metric = "cosine") -> npt.NDArray[np.float64]:
    """Distances [N, M] between queries [N, D] and gallery entries [M, D], in float64.

    `cosine` is 1 minus the cosine (1 where a vector is zero), `l1` and `l2` the norms of the difference.
    Raises ValueError for an unknown metric, shapes that do not fit, or values that are not finite.
    """
    first, second = _check(query, gallery, metric)
    return _distances(first, second, metric).numpy()


def ranks(
    query: npt.ArrayLike, gallery: npt.ArrayLike, target: npt.ArrayLike, metric: Metric = "cosine"
) -> npt.NDArray[np.int64]:
    """Rank of each query's match in the gallery: 1 + number of gallery entries that are strictly nearer; 1 is best.

    query: [N, D]; gallery: [M, D]; target: index in the gallery of each query's match, int [N]. Entries as near as the match do not
    worsen its rank. Computed block by block, so memory does not grow with N times M.
    Raises ValueError as `distances` does, and for indices outside the gallery.
    """
    queries, entries = _check(query, gallery, metric)
    own = torch.as_tensor(np.asarray(target, dtype=np.int64))
    if own.shape != (len(queries),) or len(own) and not 0 <= int(own.min()) <= int(own.max()) < len(entries):
        raise ValueError(
            f"target must hold one index below {len(entries)} for each of {len(queries)} queries (got {list(own.shape)})"
        )
    result = np.empty(len(queries), np.int64)
    for start in range(0, len(queries), QUERIES_PER_BLOCK):
        block = slice(start, start + QUERIES_PER_BLOCK)
        matrix = _distances(queries[block], entries, metric)
        limit = matrix.gather(1, own[block, None])
        result[block] = 1 + (matrix < limit - TIE * limit.abs().clamp(min=1)).sum(1).numpy()
    return result


def recall_at(found: npt.NDArray[np.int64], k: int) -> float:
    """Part of the queries whose match is among the first `k`; chance is k / gallery size."""
    return float((found <= k).mean())


def percent_to_k(percent: float, gallery_size: int) -> int:
    """The rank that `percent` of a gallery comes to, rounded up: 10 % of 48 is 5."""
    return max(1, ceil(round(gallery_size * percent / 100, 9)))


def recall_at_percent(found: npt.NDArray[np.int64], gallery_size: int, percent: float) -> float:
    """Part of the queries whose match is within the first `percent` of the gallery, the K of Oh et al. 2019, table 3."""
    return recall_at(found, percent_to_k(percent, gallery_size))


def _distances(queries: torch.Tensor, entries: torch.Tensor, metric: Metric) -> torch.Tensor:
    if metric == "cosine":
        return 1 - torch.nn.functional.normalize(queries, dim=1) @ torch.nn.functional.normalize(entries, dim=1).T
    # Differences, not |a|^2 + |b|^2 - 2ab, which loses the digits that tell near entries apart.
    return torch.cdist(queries, entries, p={"l1": 1.0, "l2": 2.0}[metric], compute_mode="donot_use_mm_for_euclid_dist")


def _check(query: npt.ArrayLike, gallery: npt.ArrayLike, metric: str) -> tuple[torch.Tensor, torch.Tensor]:
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)} (got {metric!r})")
    first, second = (torch.from_numpy(np.array(values, dtype=np.float64)) for values in (query, gallery))
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1] or not len(second):
        raise ValueError(
            f"query and gallery must be [N, D] and [M, D], M above 0 (got {list(first.shape)} and {list(second.shape)})"
        )
    if not (first.isfinite().all() and second.isfinite().all()):
        raise ValueError("query and gallery must be finite; NaN or infinite features have no nearest face")
    return first, second
