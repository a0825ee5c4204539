"""Canonical faces: frontal, neutral photographs warped to the mean shape and averaged by speaker (Cole et al. 2017, section 3)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speech2face.face_networks.alignment import align_similarity
from speech2face.faces.geometry import inside_mask, mouth_opening
from speech2face.faces.pictures import decode_jpeg
from speech2face.models.face_decoder import NUM_LANDMARKS, SIZE_PX
from speech2face.models.warp import sparse_image_warp
from speech2face.pipeline.params import Frontal
from speech2face.pipeline.shards import iterate_rows, shards_in_order
from speech2face.training.pairs import check_known

ALIGNMENT_ROUNDS = 3


@dataclass(frozen=True)
class CanonicalFaces:
    """One entry a speaker, sorted by speaker_id."""

    speaker_ids: tuple[str, ...]
    splits: tuple[str, ...]
    textures: np.ndarray  # uint8 [S, 3, 224, 224], RGB, warped to mean_landmarks
    masks: np.ndarray  # bool [S, 224, 224], the pixels of the texture that some photograph of the speaker shows
    landmarks: np.ndarray  # float32 [S, 68, 2], (x, y) crop pixels, moved, turned and scaled onto mean_landmarks
    mean_landmarks: np.ndarray  # float32 [68, 2], of the training speakers
    num_photographs: int
    num_left_out: int

    def counts(self) -> dict[str, int]:
        """Numbers of photographs."""
        return {"photographs": self.num_photographs, "photographs_not_canonical": self.num_left_out}


def is_canonical(face: dict[str, Any], frontal: Frontal) -> bool:
    """Whether a row of the face table is frontal, neutral and sharp enough."""
    return (
        abs(face["yaw_deg"]) <= frontal.max_yaw_deg
        and mouth_opening(face["landmarks"]) <= frontal.max_mouth_opening
        and face["sharpness"] >= frontal.min_sharpness
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
    directory: Path, splits: Mapping[str, str], frontal: Frontal, wanted: tuple[str, ...] = ("train", "val")
) -> CanonicalFaces:
    """Canonical faces of the speakers in a face table whose split is `wanted`. A speaker without a canonical photograph is left out.

    Raises ValueError if no photograph of a training speaker passes the thresholds, and if a speaker has no split.
    """
    columns = ["face_id", "speaker_id", "landmarks", "yaw_deg", "sharpness"]
    rows = list(_rows(directory, columns))
    check_known((row["speaker_id"] for row in rows), splits)
    rows = [row for row in rows if splits[row["speaker_id"]] in wanted]
    kept = sorted((row for row in rows if is_canonical(row, frontal)), key=lambda row: row["face_id"])
    training = [row["landmarks"] for row in kept if splits[row["speaker_id"]] == "train"]
    if not training:
        raise ValueError(
            f"none of {len(rows)} photographs is frontal and neutral enough; loosen decoder.frontal: {frontal}"
        )
    mean = mean_shape(training)
    order = {speaker: index for index, speaker in enumerate(sorted({row["speaker_id"] for row in kept}))}
    sums = np.zeros((len(order), 3, SIZE_PX, SIZE_PX), np.float32)
    shapes = np.zeros((len(order), NUM_LANDMARKS, 2), np.float64)
    counts = np.zeros(len(order))
    shown = np.zeros((len(order), SIZE_PX, SIZE_PX), np.uint16)  # in how many photographs
    for face in _rows(directory, [*columns, "image", "inside"]):
        if splits[face["speaker_id"]] in wanted and is_canonical(face, frontal):
            index = order[face["speaker_id"]]
            texture, mask = to_mean_shape(decode_jpeg(face["image"]), face["inside"], face["landmarks"], mean)
            sums[index] += texture * mask
            shown[index] += mask
            shapes[index] += align_similarity(face["landmarks"], mean)
            counts[index] += 1
    for total, number in zip(sums, shown, strict=True):  # in place: these are 0.6 MB a speaker
        total *= 255 / number.clip(min=1)
    return CanonicalFaces(
        tuple(order),
        tuple(splits[speaker] for speaker in order),
        sums.round(out=sums).clip(0, 255, out=sums).astype(np.uint8),
        shown > 0,
        (shapes / counts[:, None, None]).astype(np.float32),
        mean,
        len(rows),
        len(rows) - len(kept),
    )


def to_mean_shape(
    image: np.ndarray, inside: np.ndarray, landmarks: np.ndarray, mean_landmarks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A crop uint8 [S, S, 3] warped so that its landmarks [68, 2] (x, y) come to lie on the mean ones: float32 [3, S, S] in 0..1.

    With it a mask, bool [S, S]: the pixels into which nothing from outside the photograph is mixed; `inside` as in the face table.
    """
    outside = torch.from_numpy(~inside_mask(inside, len(image)))
    picture = torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255
    source, dest = (torch.from_numpy(points[None, :, ::-1].copy()) for points in (landmarks, mean_landmarks))
    warped = sparse_image_warp(torch.cat([picture, outside[None].float()])[None], source, dest)[0][0].numpy()
    return warped[:3], warped[3] == 0


def _rows(directory: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    for path in shards_in_order(directory, "face_id"):
        yield from iterate_rows(path, columns)
