"""Canonical faces: frontal, neutral photographs warped to the mean shape and averaged by speaker (Cole et al. 2017, section 3)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speech2face.face_networks.alignment import align_similarity
from speech2face.faces.geometry import mouth_opening
from speech2face.faces.pictures import decode_jpeg
from speech2face.models.warp import sparse_image_warp
from speech2face.pipeline.shards import iterate_rows, shard_paths

ALIGNMENT_ROUNDS = 3


@dataclass(frozen=True)
class CanonicalFaces:
    """One entry a speaker, sorted by speaker_id."""

    speaker_ids: tuple[str, ...]
    splits: tuple[str, ...]
    textures: np.ndarray  # uint8 [S, 3, 224, 224], RGB, warped to mean_landmarks
    landmarks: np.ndarray  # float32 [S, 68, 2], (x, y) crop pixels, moved, turned and scaled onto mean_landmarks
    mean_landmarks: np.ndarray  # float32 [68, 2], of the training speakers
    num_photographs: int
    num_left_out: int

    def counts(self) -> dict[str, dict[str, int]]:
        """Counts for the metrics."""
        return {"photographs": {"total": self.num_photographs, "not_canonical": self.num_left_out}}


def is_canonical(face: dict[str, Any], max_yaw_deg: float, max_mouth_opening: float, min_sharpness: float) -> bool:
    """Whether a row of the face table is frontal, neutral and sharp enough."""
    return (
        abs(face["yaw_deg"]) <= max_yaw_deg
        and mouth_opening(face["landmarks"]) <= max_mouth_opening
        and face["sharpness"] >= min_sharpness
    )


def mean_shape(shapes: Iterable[np.ndarray]) -> np.ndarray:
    """Mean of landmark sets [68, 2] after moving, turning and scaling each onto it (generalised Procrustes analysis, Gower 1975).

    Position, angle and size are those of the plain mean.
    """
    stack = np.stack(list(shapes)).astype(np.float64)
    plain = mean = stack.mean(0)
    for _ in range(ALIGNMENT_ROUNDS):
        mean = align_similarity(np.mean([align_similarity(shape, mean) for shape in stack], axis=0), plain)
    return mean.astype(np.float32)


def canonical_faces(
    directory: Path, thresholds: dict[str, float], splits: tuple[str, ...] = ("train", "val")
) -> CanonicalFaces:
    """Canonical faces of the speakers of `splits` in a face table. A speaker without a canonical photograph is left out.

    Raises ValueError if no photograph of a training speaker passes the thresholds.
    """
    columns = ["speaker_id", "split", "landmarks", "yaw_deg", "sharpness"]
    rows = [row for row in _rows(directory, columns) if row["split"] in splits]
    kept = [row for row in rows if is_canonical(row, **thresholds)]
    training = [row["landmarks"] for row in kept if row["split"] == "train"]
    if not training:
        raise ValueError(
            f"none of {len(rows)} photographs is frontal and neutral enough; loosen decoder.frontal: {thresholds}"
        )
    mean = mean_shape(training)
    speakers = {row["speaker_id"]: row["split"] for row in kept}
    order = {speaker: index for index, speaker in enumerate(sorted(speakers))}
    size = 224
    sums = np.zeros((len(order), 3, size, size), np.float32)
    shapes = np.zeros((len(order), 68, 2), np.float64)
    counts = np.zeros(len(order))
    for face in _rows(directory, [*columns, "image"]):
        if face["split"] in splits and is_canonical(face, **thresholds):
            index = order[face["speaker_id"]]
            sums[index] += to_mean_shape(decode_jpeg(face["image"]), face["landmarks"], mean)
            shapes[index] += align_similarity(face["landmarks"], mean)
            counts[index] += 1
    for total, count in zip(sums, counts, strict=True):  # in place: these are 0.6 MB a speaker
        total *= 255 / count
    return CanonicalFaces(
        tuple(order),
        tuple(speakers[speaker] for speaker in order),
        sums.round(out=sums).clip(0, 255, out=sums).astype(np.uint8),
        (shapes / counts[:, None, None]).astype(np.float32),
        mean,
        len(rows),
        len(rows) - len(kept),
    )


def to_mean_shape(image: np.ndarray, landmarks: np.ndarray, mean_landmarks: np.ndarray) -> np.ndarray:
    """A crop uint8 [H, W, 3] warped so that its landmarks [68, 2] (x, y) come to lie on the mean ones: float32 [3, H, W] in 0..1."""
    picture = torch.from_numpy(image.copy()).permute(2, 0, 1).float()[None] / 255
    source, dest = (torch.from_numpy(points[None, :, ::-1].copy()) for points in (landmarks, mean_landmarks))
    return sparse_image_warp(picture, source, dest)[0][0].numpy()


def _rows(directory: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    for path in shard_paths(directory):
        yield from iterate_rows(path, columns)
