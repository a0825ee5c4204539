"""From pictures and videos to rows of the face table: detect, find landmarks, crop, scale, and keep the best of each video."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image

from speech2face.corpus.ids import speaker_of, video_of
from speech2face.corpus.paths import inside, why_changed
from speech2face.faces.detection import Detection, detect, load_detector
from speech2face.faces.frames import Frame, read_frames
from speech2face.faces.geometry import inside_mask, sharpness, yaw_deg
from speech2face.faces.landmarks import landmarks as find_landmarks
from speech2face.faces.landmarks import load_predictor
from speech2face.faces.pictures import encode_jpeg, read_picture
from speech2face.pipeline.params import Faces
from speech2face.pipeline.rejects import Reject, UnusableError, errors_of

CLIP_COLUMNS = ("clip_id", "speaker_id")
VIDEO_COLUMNS = ("video_path", "video_sha256", "video_bytes", "start_s", "end_s", "face_x", "face_y")
PICTURE_COLUMNS = ("image_paths", "image_sha256", "image_bytes")
FACE_COLUMNS = (*CLIP_COLUMNS, *VIDEO_COLUMNS, *PICTURE_COLUMNS)

HALF_PROFILE_DEG = 45.0

Box = tuple[int, int, int, int]
FaceRow = dict[str, Any]
Find = Callable[[str], Path]
"""The file at a path of the manifest."""


def face_rows(clips: Iterable[dict[str, Any]]) -> Iterator[FaceRow]:
    """What faces are looked for in, sorted by `row_id`: the pictures of each `<speaker>/<video>`, and, for clips without pictures, their
    videos. `clips` are rows of the manifest, sorted by clip_id; those of one speaker are held at a time.

    Clips of one video list the same pictures; they belong to its first clip.
    """
    for _, of_speaker in groupby(clips, lambda clip: speaker_of(clip["clip_id"])):
        yield from sorted(_rows_of_speaker(of_speaker), key=row_id)


def row_id(row: FaceRow) -> str:
    """What a row of `face_rows` is known by: `<speaker>/<video>`, or the clip if it is looked for in the clip's own video."""
    return video_of(row["clip_id"]) if "pictures" in row else row["clip_id"]


def count_items(row: FaceRow) -> int:
    """Pictures and videos of a row: what a stage can reject."""
    return len(row["pictures"]) if "pictures" in row else 1


def _rows_of_speaker(clips: Iterable[dict[str, Any]]) -> list[FaceRow]:
    rows: dict[str, FaceRow] = {}
    for clip in clips:
        common = {name: clip[name] for name in CLIP_COLUMNS}
        if clip["image_paths"]:
            row = rows.setdefault(video_of(clip["clip_id"]), common | {"pictures": {}})
            for picture in zip(*(clip[name] for name in PICTURE_COLUMNS), strict=True):
                row["pictures"][picture[0]] = list(picture)
        elif clip["video_path"]:
            rows[clip["clip_id"]] = common | {name: clip[name] for name in VIDEO_COLUMNS}
    # As lists, because the order counts (a face's frame is its number), and a digest of a dictionary does not see it.
    return [row | {"pictures": list(row["pictures"].values())} if "pictures" in row else row for row in rows.values()]


def crop(
    image: np.ndarray, landmarks: np.ndarray, box: Box, margin: float, size_px: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut a square around `box` (left, top, right, bottom; edges included), wider by `margin` of its side on every side, and scale it.

    Landmarks are (x, y) pixels with whole numbers at pixel centres. Beyond the picture's edge the crop is black, as dlib's `get_face_chip`
    and insightface's `norm_crop` leave it: face networks learned from such faces.
    Returns the crop, uint8 [size_px, size_px, 3], the landmarks [68, 2] in its pixels, and `inside` of the face table, float32 [4].
    """
    left, top, right, bottom = box
    side = max(right - left + 1, bottom - top + 1) * (1 + 2 * margin)
    x0, y0 = (left + right + 1 - side) / 2, (top + bottom + 1 - side) / 2
    height, width = image.shape[:2]
    over = [max(0, int(np.ceil(d)) + 2) for d in (-y0, y0 + side - height, -x0, x0 + side - width)]
    # the outermost pixels go on, so that none of the black is mixed into the pixels beside it
    padded = np.pad(image, ((over[0], over[1]), (over[2], over[3]), (0, 0)), mode="edge")
    area = (x0 + over[2], y0 + over[0], x0 + over[2] + side, y0 + over[0] + side)
    scaled = Image.fromarray(padded).resize((size_px, size_px), Image.Resampling.BICUBIC, box=area)
    moved = (landmarks + 0.5 - np.array([x0, y0])) * (size_px / side) - 0.5
    edges = np.array([-x0, -y0, width - x0, height - y0]) * (size_px / side) - 0.5
    inside = edges.clip(-0.5, size_px - 0.5).astype(np.float32)
    return np.asarray(scaled) * inside_mask(inside, size_px)[..., None], moved.astype(np.float32), inside


def choose_face(faces: Sequence[Detection], centre: tuple[float, float] | None) -> Detection | None:
    """The largest face; with the speaker's `centre` (x, y; pixels) the nearest one, if that is within its own width and height."""
    if centre is None:
        return max(faces, key=lambda face: _side(face.box), default=None)

    def distance(face: Detection) -> float:
        left, top, right, bottom = face.box
        away = np.abs(np.array([(left + right) / 2, (top + bottom) / 2]) - centre)
        return float(away.max() / _side(face.box))

    near = min(faces, key=distance, default=None)
    return near if near is not None and distance(near) <= 1 else None


def best_faces(faces: Sequence[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The `count` best of a video's faces, in their order: frontalness (1 at 0, 0 at `HALF_PROFILE_DEG`) plus sharpness (1: the
    sharpest of them)."""
    yaw, sharp = (np.array([face[name] for face in faces]) for name in ("yaw_deg", "sharpness"))
    frontal = np.clip(1 - np.abs(yaw) / HALF_PROFILE_DEG, 0, 1)
    chosen = np.argsort(-(frontal + sharp / max(sharp.max(initial=0), 1e-12)), kind="stable")[:count]
    return [faces[i] for i in sorted(chosen)]


def face_shard(rows: Sequence[FaceRow], settings: Faces, context: dict[str, Any]) -> Iterator[dict[str, Any] | Reject]:
    """Rows of the face table: the best `settings.keep` faces of each video.

    `rows` are of `face_rows`; `context` is of `corpus.paths.places`, with the `device` that the detector runs on.
    A picture that cannot be read or shows no face becomes a reject, and so does a video none of whose frames shows one.
    """
    find = partial(inside, Path(context["root"]), caches=context.get("caches", ()))
    device = context["device"]
    load_detector(device)  # here, because that they cannot be loaded is no picture's fault
    load_predictor()
    for row in rows:
        found: list[dict[str, Any]] = []
        look = _pictures if "pictures" in row else _frames
        for item in look(find, row, settings, device):
            if isinstance(item, Reject):
                yield item
            else:
                found.append(item)
        yield from best_faces(found, settings.keep)


def _pictures(find: Find, row: FaceRow, settings: Faces, device: torch.device) -> Iterator[dict[str, Any] | Reject]:
    names: set[str] = set()
    for number, (path, _, size_bytes) in enumerate(row["pictures"]):
        stem = PurePosixPath(path).stem
        name = stem if stem not in names else f"{stem}-{number}"
        names.add(name)
        face_id = f"{video_of(row['clip_id'])}/{name}"
        file = find(path)
        try:
            with errors_of(file):
                if changed := why_changed(file, size_bytes):
                    raise UnusableError("vanished", changed)
                face = _face(read_picture(file, settings.max_image_px), None, settings, device)
        except UnusableError as error:
            yield Reject(face_id, error.reason, str(error))
            continue
        if face is None:
            yield Reject(face_id, "no_face", f"{path}: no face {_remedy(settings)}")
            continue
        yield {"face_id": face_id, **{name: row[name] for name in CLIP_COLUMNS}, "frame": number, **face}


def _frames(find: Find, row: FaceRow, settings: Faces, device: torch.device) -> Iterator[dict[str, Any] | Reject]:
    clip_id, file = row["clip_id"], find(row["video_path"])
    place = (row["face_x"], row["face_y"]) if row["face_x"] is not None else None
    num_frames = num_faces = 0
    try:
        with errors_of(file):
            for frame in _frames_of(file, row, settings):
                num_frames += 1
                if (face := _face(frame.image, place, settings, device)) is not None:
                    num_faces += 1
                    face_id = f"{clip_id}-{frame.number:06d}"
                    common = {name: row[name] for name in CLIP_COLUMNS}
                    yield {"face_id": face_id, **common, "frame": frame.number, **face}
    except UnusableError as error:
        # A timeout depends on the machine, and what has failed on nobody knows what: both are reported after some faces, too.
        if not num_faces or error.reason in ("timeout", "failed"):
            yield Reject(clip_id, error.reason, str(error))
        return
    if not num_faces:
        where = "near the speaker's place " if place else ""
        yield Reject(
            clip_id, "no_face", f"{row['video_path']}: no face {where}in {num_frames} frames {_remedy(settings)}"
        )


def _frames_of(file: Path, row: FaceRow, settings: Faces) -> Iterator[Frame]:
    if changed := why_changed(file, row["video_bytes"]):
        raise UnusableError("vanished", changed)
    yield from read_frames(
        file,
        settings.frame_at,
        start_s=row["start_s"],
        end_s=row["end_s"],
        max_px=settings.max_image_px,
        time_limit_s=settings.decode_limit_s,
    )


def _face(
    image: np.ndarray, place: tuple[float, float] | None, settings: Faces, device: torch.device
) -> dict[str, Any] | None:
    centre = (place[0] * image.shape[1], place[1] * image.shape[0]) if place else None
    found = detect([image], settings.upsample, device)[0]
    faces = [face for face in found if face.confidence >= settings.min_confidence]
    best = choose_face(faces, centre)
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


def _side(box: Box) -> int:
    return max(box[2] - box[0], box[3] - box[1]) + 1


def _remedy(settings: Faces) -> str:
    return f"of confidence {settings.min_confidence:g}; for faces under 80 px raise faces.upsample"
