"""Morphs between near neighbours: more faces for the decoder to learn from (Cole et al. 2017, section 3.2).

Nearness is d = 10 |L_A - L_B| + |T_A - T_B| between landmarks L in units of the crop's side and textures T in 0..1. Where photographs
end, the textures are compared over the pixels that both show.

All faces are compared with all, as products of matrices, a block of faces at a time, of which the nearest are kept: time grows with the
square of their number, memory by 4 kB a face.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from speech2face.models.face_decoder import SIZE_PX

LANDMARK_WEIGHT = 10.0
TEXTURE_STEP = 8  # distances look at every eighth pixel, which is enough to rank neighbours and 64 times less work
FACES_PER_BLOCK = 1024
SPARE = 8
"""Faces beyond those wanted that are looked at again, one by one, for what rounding makes of products."""


def nearest_neighbours(
    landmarks: np.ndarray,
    textures: Iterable[np.ndarray],
    masks: Iterable[np.ndarray],
    count: int,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """The `count` nearest others of each face (fewer if there are fewer), nearest first: int [S, count].

    landmarks: float [S, 68, 2], (x, y) pixels; textures: uint8 [3, 224, 224] of each face; masks: bool [224, 224] of each, pixels that it
    shows.
    """
    shapes = landmarks.reshape(len(landmarks), -1) / SIZE_PX
    thin = np.stack([texture[:, ::TEXTURE_STEP, ::TEXTURE_STEP] for texture in textures])
    thin_masks = np.stack([mask[::TEXTURE_STEP, ::TEXTURE_STEP] for mask in masks])
    nearest = np.empty((len(shapes), min(count, len(shapes) - 1)), np.int64)
    starts = range(0, len(shapes), FACES_PER_BLOCK)
    for start in starts:
        own = _Block(shapes, thin, thin_masks, start, device)
        near, which = torch.empty(0), torch.empty(0)
        for other_start in starts:
            others = own if other_start == start else _Block(shapes, thin, thin_masks, other_start, device)
            distance = own.distances(others)
            if others is own:
                # not by its place in the order: another face may be as near to it as itself
                distance.fill_diagonal_(torch.inf)
            found = torch.arange(other_start, other_start + distance.shape[1], device=device).expand(len(distance), -1)
            if other_start:
                distance, found = torch.cat([near, distance], 1), torch.cat([which, found], 1)
            near, places = distance.topk(min(nearest.shape[1] + SPARE, distance.shape[1]), largest=False)
            which = found.gather(1, places)
        for face, candidates in enumerate(which.sort(1).values.cpu().numpy(), start):
            candidates = candidates[candidates != face]
            order = np.argsort(_distances(face, candidates, shapes, thin, thin_masks), kind="stable")
            nearest[face] = candidates[order[: nearest.shape[1]]]
    return nearest


def _distances(
    face: int, others: np.ndarray, shapes: np.ndarray, textures: np.ndarray, masks: np.ndarray
) -> np.ndarray:
    """Distances [N] of a face from some others; shapes [S, 136], textures uint8 [S, 3, H, W] and masks bool [S, H, W] are of all."""
    both = masks[others] & masks[face]
    of_others, own = (textures[index].astype(np.float32) / 255 for index in (others, face))
    difference = ((of_others - own) * both[:, None]).reshape(len(others), -1)
    # the norm over all pixels, estimated from those that are looked at and that both show
    part = both.mean((1, 2)).clip(min=1 / both[0].size)
    distance = LANDMARK_WEIGHT * np.linalg.norm(shapes[others] - shapes[face], axis=1)
    distance += TEXTURE_STEP * np.linalg.norm(difference, axis=1) / np.sqrt(part)
    return distance


class _Block:
    """Some faces, as what their distances from other faces are products of."""

    def __init__(
        self, shapes: np.ndarray, textures: np.ndarray, masks: np.ndarray, start: int, device: torch.device | str
    ) -> None:
        shape, texture, mask = (
            torch.from_numpy(values[start : start + FACES_PER_BLOCK]).to(device, torch.float64)
            for values in (shapes, textures, masks)
        )
        shown = (texture / 255 - 0.5) * mask[:, None]
        self.shape, self.shown = shape, shown.flatten(1)
        self.mask, self.square = mask.flatten(1), shown.square().sum(1).flatten(1)

    def distances(self, others: "_Block") -> Tensor:
        """Distances [B, O] from other faces, as `_distances`."""
        # |a - b|^2 over the pixels of both masks is that of a over b's mask, and of b over a's, less 2 a b.
        square = self.square @ others.mask.T + self.mask @ others.square.T - 2 * self.shown @ others.shown.T
        part = (self.mask @ others.mask.T / self.mask.shape[1]).clamp(min=1 / self.mask.shape[1])
        between = torch.cdist(self.shape, others.shape)
        return LANDMARK_WEIGHT * between + TEXTURE_STEP * (square.clamp(min=0) / part).sqrt()
