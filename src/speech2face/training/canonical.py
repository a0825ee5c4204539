"""Canonical faces: frontal, neutral photographs warped to the mean shape and averaged by speaker (Cole et al. 2017, section 3)."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
import torch

from speech2face.face_networks.alignment import align_similarity
from speech2face.faces.geometry import inside_mask, mouth_opening
from speech2face.faces.pictures import decode_jpeg
from speech2face.models.face_decoder import NUM_LANDMARKS, SIZE_PX
from speech2face.models.warp import sparse_image_warp
from speech2face.pipeline.params import Frontal
from speech2face.pipeline.shards import iterate_rows, shards_in_order
from speech2face.pipeline.work import work_directory
from speech2face.training.pairs import check_known

COLUMNS = ("face_id", "speaker_id", "landmarks", "yaw_deg", "sharpness")
ALIGNMENT_ROUNDS = 3
TEXTURE_SHAPE, MASK_SHAPE = (3, SIZE_PX, SIZE_PX), (SIZE_PX, SIZE_PX)


@dataclass(frozen=True)
class CanonicalFaces:
    """One entry a speaker, sorted by speaker_id. Textures and masks are mapped from files: of their rows, take few at a time."""

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


def mean_shape(shapes: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of landmark sets [68, 2] after moving, turning and scaling each onto it (generalised Procrustes analysis, Gower 1975).

    Position, angle and size are those of the plain mean.
    """
    plain = mean = _mean(shape.astype(np.float64) for shape in shapes)
    for _ in range(ALIGNMENT_ROUNDS):
        mean = align_similarity(_mean(align_similarity(shape.astype(np.float64), mean) for shape in shapes), plain)
    return mean.astype(np.float32)


def _mean(values: Iterable[np.ndarray]) -> np.ndarray:
    total, count = np.zeros(()), 0
    for value in values:
        total, count = total + value, count + 1
    return total / count


def canonical_faces(
    directory: Path, splits: Mapping[str, str], frontal: Frontal, wanted: tuple[str, ...] = ("train", "val")
) -> CanonicalFaces:
    """Canonical faces of the speakers in a face table whose split is `wanted`. A speaker without a canonical photograph is left out.

    Raises ValueError if no photograph of a training speaker passes the thresholds, and if a speaker has no split.
    """
    photographs = _canonical_photographs(directory, splits, frontal, wanted)
    if not photographs.training:
        raise ValueError(
            f"none of {photographs.num_all} photographs is frontal and neutral enough; loosen decoder.frontal: {frontal}"
        )
    mean = mean_shape([photographs.training[face_id] for face_id in sorted(photographs.training)])
    speakers = sorted(photographs.counts)
    order = {speaker: index for index, speaker in enumerate(speakers)}
    shapes = np.empty((len(order), NUM_LANDMARKS, 2), np.float32)
    waiting: dict[str, _Average] = {}  # those of whom there is more to come
    with _file() as textures, _file() as masks:
        for face in _rows(directory, [*COLUMNS, "image", "inside"]):
            speaker = face["speaker_id"]
            if speaker not in order or not is_canonical(face, frontal):
                continue
            average = waiting.setdefault(speaker, _Average())
            average.add(face, mean)
            if average.count == photographs.counts[speaker]:
                # Not into memory that is mapped: there a full disk is no error but the end of the process.
                for file, array in zip((textures, masks), average.picture(), strict=True):
                    file.seek(order[speaker] * array.nbytes)
                    file.write(array.tobytes())
                shapes[order[speaker]] = average.shape / average.count
                del waiting[speaker]
        return CanonicalFaces(
            tuple(speakers),
            tuple(splits[speaker] for speaker in speakers),
            _mapped(textures, np.uint8, (len(order), *TEXTURE_SHAPE)),
            _mapped(masks, np.bool_, (len(order), *MASK_SHAPE)),
            shapes,
            mean,
            photographs.num_all,
            photographs.num_all - photographs.counts.total(),
        )


@dataclass
class _Photographs:
    """Of the wanted splits: number of photographs, of canonical ones of each speaker, and the landmarks of those of training speakers by
    their ids, 0.8 kB a photograph."""

    num_all: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    training: dict[str, np.ndarray] = field(default_factory=dict)


def _canonical_photographs(
    directory: Path, splits: Mapping[str, str], frontal: Frontal, wanted: tuple[str, ...]
) -> _Photographs:
    found, speakers = _Photographs(), set()
    for row in _rows(directory, COLUMNS):
        speaker = row["speaker_id"]
        if speaker not in speakers:
            check_known([speaker], splits)
            speakers.add(speaker)
        if splits[speaker] not in wanted:
            continue
        found.num_all += 1
        if is_canonical(row, frontal):
            found.counts[speaker] += 1
            if splits[speaker] == "train":
                found.training[row["face_id"]] = row["landmarks"].copy()  # not a view of a whole row group
    return found


class _Average:
    """The mean of a speaker's photographs, as they come."""

    def __init__(self) -> None:
        self.sum = np.zeros(TEXTURE_SHAPE, np.float32)
        self.shown = np.zeros(MASK_SHAPE, np.uint16)  # in how many photographs
        self.shape = np.zeros((NUM_LANDMARKS, 2))  # a sum as well
        self.count = 0

    def add(self, face: dict[str, Any], mean_landmarks: np.ndarray) -> None:
        landmarks = face["landmarks"]
        texture, mask = to_mean_shape(decode_jpeg(face["image"]), face["inside"], landmarks, mean_landmarks)
        self.sum += texture * mask
        self.shown += mask
        self.shape += align_similarity(landmarks, mean_landmarks)
        self.count += 1

    def picture(self) -> tuple[np.ndarray, np.ndarray]:
        """Texture and mask, as in `CanonicalFaces`."""
        mean = self.sum * (255 / self.shown.clip(min=1))
        return mean.astype(np.float32).round().clip(0, 255).astype(np.uint8), self.shown > 0


def _file() -> IO[bytes]:
    """A file without a name, of which nothing is left when it is closed and not mapped, or the process killed."""
    folder = work_directory()
    folder.mkdir(parents=True, exist_ok=True)
    return TemporaryFile(dir=folder)


def _mapped(file: IO[bytes], dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    file.flush()
    return np.memmap(file, dtype, "r", shape=shape)


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


def _rows(directory: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for path in shards_in_order(directory, "face_id"):
        yield from iterate_rows(path, columns)
