"""From pictures and videos to rows of the face table: read, detect, find landmarks, crop, scale, and keep the best of each video."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from speech2face.corpus.ids import video_of
from speech2face.corpus.paths import inside, why_changed
from speech2face.faces.crops import CLIP_COLUMNS, FaceRow, best_faces, choose_face, crop
from speech2face.faces.detection import Detection, batch_size, detect_each, load_detector
from speech2face.faces.frames import read_frames
from speech2face.faces.geometry import inside_mask, sharpness, yaw_deg
from speech2face.faces.landmarks import landmarks as find_landmarks
from speech2face.faces.landmarks import load_predictor
from speech2face.faces.pictures import encode_jpeg, read_picture
from speech2face.pipeline.ahead import ahead
from speech2face.pipeline.params import Faces
from speech2face.pipeline.rejects import Reject, UnusableError, errors_of

Find = Callable[[str], Path]
"""The file at a path of the manifest."""


@dataclass(frozen=True)
class _Item:
    """A picture or a video of a row: the number of the row in its shard, the path and size in bytes that the manifest has, and of a
    picture its number in the row and its face_id."""

    row: int
    path: str
    size_bytes: int | None
    number: int = 0
    face_id: str = ""


@dataclass(frozen=True)
class _Look:
    """What was seen in a picture or a frame: `image`, uint8 RGB [H, W, 3], until `face`, the columns of the face table, is found in it;
    an error in place of either."""

    item: _Item
    number: int
    image: np.ndarray | None = None
    face: dict[str, Any] | None = None
    error: UnusableError | None = None


def face_shard(rows: Sequence[FaceRow], settings: Faces, context: dict[str, Any]) -> Iterator[dict[str, Any] | Reject]:
    """Rows of the face table: the best `settings.keep` faces of each video.

    `rows` are of `crops.face_rows`; `context` is of `corpus.paths.places`, with the `device` that the detector runs on. Threads read
    pictures before the detector, and cut faces out behind it.
    A picture that cannot be read or shows no face becomes a reject, and so does a video none of whose frames shows one.
    """
    find = partial(inside, Path(context["root"]), caches=context.get("caches", ()))
    device = context["device"]
    load_detector(device)  # here, because that they cannot be loaded is no picture's fault
    load_predictor()

    def num_pictures(item: _Item) -> int:
        return 1 if "pictures" in rows[item.row] else len(settings.frame_at)

    num_threads = torch.get_num_threads()
    most = pictures_ahead(device)
    read = ahead(partial(_read, rows, settings, find), _items(rows), num_threads, most, num_pictures)
    detected = detect_each(read, attrgetter("image"), settings.upsample, device)
    looks = ahead(lambda found: [_cut_out(*found, rows, settings, find)], detected, num_threads, most)
    for number, of_row in groupby(looks, lambda look: look.item.row):
        row = rows[number]
        found: list[dict[str, Any]] = []
        gather = _of_pictures if "pictures" in row else _of_video
        for face in gather(row, of_row, settings):
            if isinstance(face, Reject):
                yield face
            else:
                found.append(face)
        yield from best_faces(found, settings.keep)


def pictures_ahead(device: torch.device) -> int:
    """How many pictures are held before the detector, being read or waiting, and as many behind it: a batch for each, and some for the
    threads. Those of one video are held together."""
    return batch_size(device) + 2 * torch.get_num_threads()


def _items(rows: Sequence[FaceRow]) -> Iterator[_Item]:
    for number, row in enumerate(rows):
        if "pictures" not in row:
            yield _Item(number, row["video_path"], row["video_bytes"])
            continue
        names: set[str] = set()
        for place, (path, _, size_bytes) in enumerate(row["pictures"]):
            stem = PurePosixPath(path).stem
            name = stem if stem not in names else f"{stem}-{place}"
            names.add(name)
            yield _Item(number, path, size_bytes, place, f"{video_of(row['clip_id'])}/{name}")


def _read(rows: Sequence[FaceRow], settings: Faces, find: Find, item: _Item) -> Iterator[_Look]:
    """The picture, or the frames of the video, up to the first error."""
    row, file = rows[item.row], find(item.path)
    try:
        with errors_of(file):
            if changed := why_changed(file, item.size_bytes):
                raise UnusableError("vanished", changed)
            if "pictures" in row:
                yield _Look(item, item.number, read_picture(file, settings.max_image_px))
                return
            for frame in read_frames(
                file,
                settings.frame_at,
                start_s=row["start_s"],
                end_s=row["end_s"],
                max_px=settings.max_image_px,
                time_limit_s=settings.decode_limit_s,
            ):
                yield _Look(item, frame.number, frame.image)
    except UnusableError as error:
        yield _Look(item, item.number, error=error)


def _cut_out(
    look: _Look, detected: list[Detection] | Exception, rows: Sequence[FaceRow], settings: Faces, find: Find
) -> _Look:
    """What was seen, without the picture."""
    image, file = look.image, find(look.item.path)
    if image is None:
        return look
    try:
        with errors_of(file):
            if isinstance(detected, Exception):
                raise detected
            return replace(look, image=None, face=_face(image, detected, _centre(rows[look.item.row], image), settings))
    except UnusableError as error:
        return replace(look, image=None, error=error)


def _centre(row: FaceRow, image: np.ndarray) -> tuple[float, float] | None:
    """The speaker's place in a frame, (x, y) in pixels, where the corpus knows it."""
    if row.get("face_x") is None:
        return None
    return row["face_x"] * image.shape[1], row["face_y"] * image.shape[0]


def _face(
    image: np.ndarray, detected: list[Detection], centre: tuple[float, float] | None, settings: Faces
) -> dict[str, Any] | None:
    best = choose_face([face for face in detected if face.confidence >= settings.min_confidence], centre)
    if best is None:
        return None
    cut, points, inside = crop(image, find_landmarks(image, best.box), best.box, settings.margin, settings.size_px)
    mask = inside_mask(inside, settings.size_px)
    return {
        "image": encode_jpeg(cut, settings.jpeg_quality),
        "box": best.box,
        "inside": inside.tolist(),
        "confidence": best.confidence,
        "landmarks": points,
        "yaw_deg": yaw_deg(points),
        "sharpness": sharpness(cut[mask.any(1)][:, mask.any(0)]),  # the photograph's, not of its edge to the black
    }


def _of_pictures(row: FaceRow, looks: Iterable[_Look], settings: Faces) -> Iterator[dict[str, Any] | Reject]:
    for look in looks:
        face_id = look.item.face_id
        if look.error is not None:
            yield Reject(face_id, look.error.reason, str(look.error))
        elif look.face is None:
            yield Reject(face_id, "no_face", f"{look.item.path}: no face {_remedy(settings)}")
        else:
            yield {"face_id": face_id, **{name: row[name] for name in CLIP_COLUMNS}, "frame": look.number, **look.face}


def _of_video(row: FaceRow, looks: Iterable[_Look], settings: Faces) -> Iterator[dict[str, Any] | Reject]:
    clip_id = row["clip_id"]
    num_frames = num_faces = 0
    for look in looks:
        if look.error is not None:
            # A timeout depends on the machine, and what has failed on nobody knows what: both are reported after some faces, too.
            if not num_faces or look.error.reason in ("timeout", "failed"):
                yield Reject(clip_id, look.error.reason, str(look.error))
            return
        num_frames += 1
        if look.face is not None:
            num_faces += 1
            common = {name: row[name] for name in CLIP_COLUMNS}
            yield {"face_id": f"{clip_id}-{look.number:06d}", **common, "frame": look.number, **look.face}
    if not num_faces:
        where = "near the speaker's place " if row["face_x"] is not None else ""
        yield Reject(
            clip_id, "no_face", f"{row['video_path']}: no face {where}in {num_frames} frames {_remedy(settings)}"
        )


def _remedy(settings: Faces) -> str:
    return f"of confidence {settings.min_confidence:g}; for faces under 80 px raise faces.upsample"
