"""Morphs between near neighbours: more faces for the decoder to learn from (Cole et al. 2017, section 3.2).

Nearness is d = 10 |L_A - L_B| + |T_A - T_B| between landmarks L in units of the crop's side and textures T in 0..1. Where photographs
end, the textures are compared over the pixels that both show.
"""

import numpy as np

from speech2face.models.face_decoder import SIZE_PX

LANDMARK_WEIGHT = 10.0
TEXTURE_STEP = 8  # distances look at every eighth pixel, which is enough to rank neighbours and 64 times less work


def nearest_neighbours(landmarks: np.ndarray, textures: np.ndarray, masks: np.ndarray, count: int) -> np.ndarray:
    """The `count` nearest others of each face (fewer if there are fewer), nearest first: int [S, count].

    landmarks: float [S, 68, 2], (x, y) pixels; textures: uint8 [S, 3, 224, 224]; masks: bool [S, 224, 224], pixels that a face shows.
    """
    shapes = landmarks.reshape(len(landmarks), -1) / SIZE_PX
    thin = textures[:, :, ::TEXTURE_STEP, ::TEXTURE_STEP].astype(np.float32) / 255
    thin_masks = masks[:, ::TEXTURE_STEP, ::TEXTURE_STEP]
    nearest = []
    count = min(count, len(shapes) - 1)
    for own, (shape, texture, mask) in enumerate(zip(shapes, thin, thin_masks, strict=True)):
        distance = LANDMARK_WEIGHT * np.linalg.norm(shapes - shape, axis=1)
        both = thin_masks & mask
        difference = ((thin - texture) * both[:, None]).reshape(len(thin), -1)
        # the norm over all pixels, estimated from those that are looked at and that both show
        part = both.mean((1, 2)).clip(min=1 / mask.size)
        distance += TEXTURE_STEP * np.linalg.norm(difference, axis=1) / np.sqrt(part)
        distance[own] = np.inf  # not by its place in the order: another face may be as near to it as itself
        nearest.append(np.argsort(distance, kind="stable")[:count])
    return np.stack(nearest)
