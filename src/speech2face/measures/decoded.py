"""What can be measured of the faces that are decoded from features; the pictures are not kept."""

from dataclasses import dataclass

import numpy as np

from speech2face.measures.inputs import Inputs
from speech2face.measures.opinions import Opinion

FACES_PER_BLOCK = 64


@dataclass(frozen=True)
class Decoded:
    """Of N decoded faces: landmarks [N, 68, 2] (x, y); features float64 [N, D] and the judge's opinion, None where the inputs have no
    such network."""

    landmarks: np.ndarray
    features: np.ndarray | None
    opinion: Opinion | None


def decode_faces(inputs: Inputs, features: np.ndarray) -> Decoded | None:
    """The faces of features [N, D], N above 0; None without a decoder."""
    if inputs.decode is None:
        return None
    landmarks, embedded, opinions = [], [], []
    for start in range(0, len(features), FACES_PER_BLOCK):
        images, points = inputs.decode(features[start : start + FACES_PER_BLOCK].astype(np.float32))
        landmarks.append(points)
        if inputs.embed is not None:
            embedded.append(inputs.embed(images, points))
        if inputs.judge is not None:
            opinions.append(inputs.judge(images, points))
    return Decoded(
        np.concatenate(landmarks),
        np.concatenate(embedded).astype(np.float64) if embedded else None,
        Opinion(*(np.concatenate(column) for column in zip(*opinions, strict=True))) if opinions else None,
    )
