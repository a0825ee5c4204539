"""Removal of the path tracer's noise by an edge-stopping filter."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import rank_filter

Image = NDArray[np.floating[Any]]

SPACINGS_PX = (1, 2, 4)
SIGMA_LOG, SIGMA_ALPHA = 0.2, 0.15
"""How far the logarithm of a neighbour's colour, and its alpha, may differ before it is left out."""
FLOOR = 0.035
"""Added to the colour before the logarithm: noise that would show in the dark is no edge."""
KERNEL = (0.5, 0.25)
"""Weights of the middle tap and of its neighbours along each axis."""


def denoise(layers: Image) -> Image:
    """A rendering [H, W, 4] (linear RGB, alpha) with its noise removed and its edges kept.

    An edge-avoiding a-trous filter (Dammertz et al. 2010) whose edges are found in a slightly blurred copy, because a
    single noisy pixel is no edge.
    """
    planes = np.ascontiguousarray(np.moveaxis(_without_fireflies(layers), -1, 0))  # a plane a channel: a third faster
    for spacing in SPACINGS_PX:
        planes = _filter(planes, spacing)
    return np.moveaxis(planes, 0, -1)


def _without_fireflies(layers: Image) -> Image:
    """Single pixels far brighter than all around them, which a rare bright path leaves, brought down to these."""
    light = layers[..., :3].sum(axis=-1)
    limit = 1.2 * rank_filter(light, rank=-2, size=3, mode="nearest")
    scale = np.minimum(1.0, limit / np.maximum(light, 1e-6)).astype(np.float32)
    return np.concatenate([layers[..., :3] * scale[..., None], layers[..., 3:]], axis=-1)


def _moved(planes: Image, spacing: int) -> Callable[[int, int], Image]:
    """[4, H, W] moved by whole spacings, its border repeated: a function of the numbers of spacings down and to the right, -1 to 1."""
    _, height, width = planes.shape
    padded = np.pad(planes, ((0, 0), (spacing, spacing), (spacing, spacing)), "edge")

    def moved(down: int, right: int) -> Image:
        top, left = (1 + down) * spacing, (1 + right) * spacing
        return padded[:, top : top + height, left : left + width]

    return moved


def _filter(planes: Image, spacing: int) -> Image:
    """One pass of the filter over [4, H, W]."""
    moved = _moved(planes, 1)
    blurred = 0.5 * planes + 0.25 * (moved(-1, 0) + moved(1, 0))
    moved = _moved(blurred, 1)
    blurred = 0.5 * blurred + 0.25 * (moved(0, -1) + moved(0, 1))
    guide = np.concatenate([np.log(blurred[:3] + FLOOR) / SIGMA_LOG, blurred[3:] / SIGMA_ALPHA])
    total = np.float32(KERNEL[0] ** 2) * planes
    weights = np.full(planes.shape[1:], KERNEL[0] ** 2, np.float32)
    moved_guide, moved_planes = _moved(guide, spacing), _moved(planes, spacing)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            if (down, right) == (0, 0):
                continue
            difference = guide - moved_guide(down, right)
            cost = np.square(difference, out=difference).sum(axis=0)
            weight = np.float32(KERNEL[abs(down)] * KERNEL[abs(right)]) * np.exp(-cost)
            total += weight * moved_planes(down, right)
            weights += weight
    return np.asarray(total / weights, dtype=np.float32)
