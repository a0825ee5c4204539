"""The 68 facial landmarks (iBUG 300-W order) by dlib's shape predictor."""

import functools
from typing import Any

import numpy as np

from speech2face.dlib_nets.weights import LANDMARKS, model_path

NUM_LANDMARKS = 68


def landmarks(image: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """The landmarks of the face in `box`.

    Args:
        image: uint8 [H, W, 3], RGB.
        box: left, top, right, bottom in pixels, edges included, as `faces.detection.detect` gives it; it may reach
            over the picture's border.

    Returns:
        float32 [68, 2], (x, y) in pixels of `image`, whole numbers; points may lie outside the picture.

    Raises:
        ValueError: if `image` is not uint8 [H, W, 3] or the box is empty.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"landmarks: the picture must be a uint8 array [H, W, 3], got {_describe(image)}")
    if 0 in image.shape:
        raise ValueError(f"landmarks: the picture is empty, {_describe(image)}")
    left, top, right, bottom = (int(edge) for edge in box)
    if right < left or bottom < top:
        raise ValueError(f"landmarks: the box (left, top, right, bottom) = {tuple(box)} is empty")
    import dlib

    shape = load_predictor()(np.ascontiguousarray(image), dlib.rectangle(left, top, right, bottom))
    return np.array([(point.x, point.y) for point in shape.parts()], dtype=np.float32)


def _describe(image: object) -> str:
    return f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__


@functools.lru_cache(maxsize=1)
def load_predictor() -> Any:
    """The shape predictor, loaded once a process: reading its 95 MiB takes about half a second. Raises ValueError if it is not there."""
    import dlib

    return dlib.shape_predictor(str(model_path(LANDMARKS)))
