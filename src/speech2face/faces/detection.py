"""Faces in pictures by dlib's CNN detector, run in PyTorch or, for comparison, by dlib itself."""

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch

from speech2face.dlib_nets.detector import Detector, check_size, is_too_small
from speech2face.dlib_nets.detector import load_detector as load_network
from speech2face.dlib_nets.weights import DETECTOR, model_path
from speech2face.pipeline import machine
from speech2face.pipeline.batches import compute_in_batches

T = TypeVar("T")

LIBRARIES = ("torch", "dlib")
GPU_BATCH_SIZE = 16  # pictures of one size; on a CPU batches are no faster than one picture after the other


@dataclass(frozen=True)
class Detection:
    """One face: `box` = (left, top, right, bottom), dlib's integers, edges included, not clipped to the picture."""

    box: tuple[int, int, int, int]
    confidence: float


def library() -> str:
    """Who runs the detector: the environment setting `S2F_FACE_LIBRARY`, torch (default) or dlib, with the same result.

    Raises:
        ValueError: for another value.
    """
    name = os.environ.get("S2F_FACE_LIBRARY") or LIBRARIES[0]
    if name not in LIBRARIES:
        raise ValueError(f"S2F_FACE_LIBRARY must be one of {', '.join(LIBRARIES)} (got {name!r})")
    return name


def detect(
    images: Sequence[np.ndarray], upsample: int = 0, device: torch.device | None = None
) -> list[list[Detection]]:
    """Find the faces of each picture.

    Args:
        images: RGB pictures, uint8 [H, W, 3], of any sizes.
        upsample: how often to double each picture first. The detector sees faces from about 80 px on; each doubling
            halves that, and takes four times as long.
        device: where the network runs; by default `S2F_DEVICE`, else a GPU if there is one, else the CPU.

    Returns:
        For each picture its faces, best first; empty where there are none.

    Raises:
        ValueError: for a picture of another type or shape, an empty or too large one, or a bad setting.
    """
    if not isinstance(upsample, int):
        raise ValueError(f"upsample must be a whole number (got {upsample!r})")
    for index, image in enumerate(images):
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            got = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
            raise ValueError(f"picture {index} must be a uint8 array [H, W, 3], RGB (got {got})")
        if 0 in image.shape:
            raise ValueError(f"picture {index} is empty: {list(image.shape)}")
        check_size(image.shape[0], image.shape[1], upsample)
    found = []
    for _, faces in detect_each(images, lambda image: image, upsample, device or machine.device()):
        if isinstance(faces, Exception):
            raise faces
        found.append(faces)
    return found


def batch_size(device: torch.device) -> int:
    """How many pictures the detector looks at together."""
    return 1 if device.type == "cpu" else GPU_BATCH_SIZE


def detect_each(
    items: Iterable[T], image_of: Callable[[T], np.ndarray | None], upsample: int, device: torch.device
) -> Iterator[tuple[T, list[Detection] | Exception]]:
    """Each item and the faces of its picture, best first, in the order of the items; or the exception that the picture raises. Where
    `image_of` gives none there are no faces.

    Pictures of one size that follow soon after each other are looked at together. Items are held as `pipeline.batches` says.
    """
    begin = partial(_begin_dlib if library() == "dlib" else _begin_torch, upsample, device)

    def begin_items(some: Sequence[T]) -> Callable[[], list[list[Detection]]]:
        return begin([image for item in some if (image := image_of(item)) is not None])

    def size(item: T) -> tuple[int, ...] | None:
        image = image_of(item)
        return None if image is None else image.shape

    for item, faces in compute_in_batches(items, begin_items, batch_size(device), size):
        yield item, [] if faces is None else faces


def load_detector(device: torch.device) -> None:
    """Load the detector, which otherwise is loaded for the first picture. Raises ValueError for a bad `S2F_FACE_LIBRARY` or weights."""
    if library() == "dlib":
        _dlib_detector()
    else:
        _torch_detector(device)


def _begin_torch(
    upsample: int, device: torch.device, images: Sequence[np.ndarray]
) -> Callable[[], list[list[Detection]]]:
    found = _torch_detector(device).begin(torch.from_numpy(np.stack(images)), upsample)
    return lambda: [_detections(faces.boxes.tolist(), faces.confidences.tolist()) for faces in found()]


def _begin_dlib(
    upsample: int, device: torch.device, images: Sequence[np.ndarray]
) -> Callable[[], list[list[Detection]]]:
    return lambda: [_detect_dlib(image, upsample) for image in images]


def _detect_dlib(image: np.ndarray, upsample: int) -> list[Detection]:
    height, width = image.shape[:2]
    check_size(height, width, upsample)
    if is_too_small(height, width, upsample):
        return []
    faces = _dlib_detector()(np.ascontiguousarray(image), upsample)
    boxes = [(face.rect.left(), face.rect.top(), face.rect.right(), face.rect.bottom()) for face in faces]
    return _detections(boxes, [face.confidence for face in faces])


def _detections(boxes: Iterable[Iterable[int]], confidences: Iterable[float]) -> list[Detection]:
    faces = []
    for (left, top, right, bottom), confidence in zip(boxes, confidences, strict=True):
        faces.append(Detection((left, top, right, bottom), float(confidence)))
    return faces


@functools.lru_cache(maxsize=2)
def _torch_detector(device: torch.device) -> Detector:
    return load_network(device=device)


@functools.lru_cache(maxsize=1)
def _dlib_detector() -> Any:
    import dlib

    return dlib.cnn_face_detection_model_v1(str(model_path(DETECTOR)))
