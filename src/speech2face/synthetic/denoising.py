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
    layers = _without_fireflies(layers)
    for spacing in SPACINGS_PX:
        layers = _filter(layers, spacing)
    return layers


def _without_fireflies(layers: Image) -> Image:
    """Single pixels far brighter than all around them, which a rare bright path leaves, brought down to these."""
    light = layers[..., :3].sum(axis=-1)
    limit = 1.2 * rank_filter(light, rank=-2, size=3, mode="nearest")
    scale = np.minimum(1.0, limit / np.maximum(light, 1e-6)).astype(np.float32)
    return np.concatenate([layers[..., :3] * scale[..., None], layers[..., 3:]], axis=-1)


def _moved(image: Image, spacing: int) -> Callable[[int, int], Image]:
    """`image` moved by whole spacings, its border repeated: a function of the numbers of spacings down and to the right, -1 to 1."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((spacing, spacing), (spacing, spacing), (0, 0)), "edge")

    def moved(down: int, right: int) -> Image:
        top, left = (1 + down) * spacing, (1 + right) * spacing
        return padded[top : top + height, left : left + width]

    return moved


def _filter(layers: Image, spacing: int) -> Image:
    moved = _moved(layers, 1)
    blurred = 0.5 * layers + 0.25 * (moved(-1, 0) + moved(1, 0))
    moved = _moved(blurred, 1)
    blurred = 0.5 * blurred + 0.25 * (moved(0, -1) + moved(0, 1))
    guide = np.log(blurred[..., :3] + FLOOR) / SIGMA_LOG
    guide = np.concatenate([guide, blurred[..., 3:] / SIGMA_ALPHA], axis=-1)
    total = np.float32(KERNEL[0] ** 2) * layers
    weights = np.full((*layers.shape[:2], 1), KERNEL[0] ** 2, np.float32)
    moved_guide, moved_layers = _moved(guide, spacing), _moved(layers, spacing)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            if (down, right) == (0, 0):
                continue
            difference = guide - moved_guide(down, right)
            cost = np.einsum("...c,...c->...", difference, difference)
            weight = (np.float32(KERNEL[abs(down)] * KERNEL[abs(right)]) * np.exp(-cost))[..., None]
            total += weight * moved_layers(down, right)
            weights += weight
    return np.asarray(total / weights, dtype=np.float32)
