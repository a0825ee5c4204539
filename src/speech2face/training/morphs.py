"""Morphs between near neighbours: more faces for the decoder to learn from (Cole et al. 2017, section 3.2).

Nearness is d = 10 |L_A - L_B| + |T_A - T_B| between landmarks L in units of the crop's side and textures T in 0..1.
"""

import numpy as np

from speech2face.models.face_decoder import SIZE_PX

LANDMARK_WEIGHT = 10.0
TEXTURE_STEP = 8  # distances look at every eighth pixel, which is enough to rank neighbours and 64 times less work


def nearest_neighbours(landmarks: np.ndarray, textures: np.ndarray, count: int) -> np.ndarray:
    """The `count` nearest others of each face (fewer if there are fewer), nearest first: int [S, count].

    landmarks: float [S, 68, 2], (x, y) pixels; textures: uint8 [S, 3, 224, 224].
    """
    shapes = landmarks.reshape(len(landmarks), -1) / SIZE_PX
    thin = textures[:, :, ::TEXTURE_STEP, ::TEXTURE_STEP].reshape(len(textures), -1).astype(np.float32) / 255
    nearest = []
    count = min(count, len(shapes) - 1)
    for own, (shape, texture) in enumerate(zip(shapes, thin, strict=True)):
        distance = LANDMARK_WEIGHT * np.linalg.norm(shapes - shape, axis=1)
        # the norm over all pixels, estimated from those that are looked at
        distance += TEXTURE_STEP * np.linalg.norm(thin - texture, axis=1)
        distance[own] = np.inf  # not by its place in the order: another face may be as near to it as itself
        nearest.append(np.argsort(distance, kind="stable")[:count])
    return np.stack(nearest)
