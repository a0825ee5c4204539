"""Faces in pictures by dlib's CNN detector, run in PyTorch or, for comparison, by dlib itself."""

import functools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from speech2face.dlib_nets.detector import Detector, check_size, is_too_small
from speech2face.dlib_nets.detector import load_detector as load_network
from speech2face.dlib_nets.weights import DETECTOR, model_path
from speech2face.pipeline import machine

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
    if library() == "dlib":
        return _detect_dlib(images, upsample)
    return _detect_torch(images, upsample, device or machine.device())


def load_detector(device: torch.device) -> None:
    """Load the detector, which otherwise is loaded for the first picture. Raises ValueError for a bad `S2F_FACE_LIBRARY` or weights."""
    if library() == "dlib":
        _dlib_detector()
    else:
        _torch_detector(device)


def _detect_torch(images: Sequence[np.ndarray], upsample: int, device: torch.device) -> list[list[Detection]]:
    detector = _torch_detector(device)
    batch_size = 1 if device.type == "cpu" else GPU_BATCH_SIZE
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(images):
        by_shape.setdefault(image.shape, []).append(index)
    found: list[list[Detection]] = [[] for _ in images]
    for indices in by_shape.values():
        for start in range(0, len(indices), batch_size):
            batch = indices[start : start + batch_size]
            pictures = torch.from_numpy(np.stack([images[index] for index in batch]))
            for index, faces in zip(batch, detector(pictures, upsample), strict=True):
                found[index] = _detections(faces.boxes.tolist(), faces.confidences.tolist())
    return found


def _detect_dlib(images: Sequence[np.ndarray], upsample: int) -> list[list[Detection]]:
    detector = _dlib_detector()
    found: list[list[Detection]] = []
    for image in images:
        if is_too_small(image.shape[0], image.shape[1], upsample):
            found.append([])
            continue
        faces = detector(np.ascontiguousarray(image), upsample)
        boxes = [(face.rect.left(), face.rect.top(), face.rect.right(), face.rect.bottom()) for face in faces]
        found.append(_detections(boxes, [face.confidence for face in faces]))
    return found


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
