"""Principal components of features by sums over rows, which are all that is held."""

import numpy as np
from scipy.linalg import eigh
from scipy.sparse.linalg import eigsh

from speech2face.measures.statistics import Floats
from speech2face.measures.views import Features, blocks, map_blocks

MOST_AT_ONCE = 1000
"""Dimensions above which a few axes are found by themselves (Lanczos 1950), in a part of the time that all take."""


def principal_axes(features: Features, count: int) -> tuple[Floats, Floats]:
    """Mean [D] of features [N, D], and the directions of their greatest variance [count, D], the greatest first; unit vectors whose
    greatest entry by size is positive, as scikit-learn's are.

    Raises ValueError if `count` is above D.
    """
    dim = features.shape[1]
    if count > dim:
        raise ValueError(f"features of {dim} dimensions have no {count} principal axes")
    mean = sum(map_blocks(lambda rows: features[rows].sum(0, dtype=np.float64), features)) / len(features)
    scatter = np.zeros((dim, dim))
    for rows in blocks(features):
        block = features[rows] - mean
        scatter += block.T @ block
    if dim <= MOST_AT_ONCE:
        axes = eigh(scatter, subset_by_index=[dim - count, dim - 1])[1].T[::-1]
    else:
        scatter.flat[:: dim + 1] += (
            np.trace(scatter) / dim or 1.0
        )  # turns no axis, and leaves no direction that is mapped to 0
        axes = eigsh(scatter, count, which="LA", v0=np.random.default_rng(0).normal(size=dim))[1].T[::-1]
    signs = np.sign(axes[np.arange(count), np.abs(axes).argmax(1)])
    return mean, axes * signs[:, None]
