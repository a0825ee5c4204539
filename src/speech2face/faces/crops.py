"""From pictures to rows of the face table: detect, find landmarks, crop, scale."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from speech2face.corpus.manifest import inside, video_of
from speech2face.faces.detection import detect
from speech2face.faces.geometry import sharpness, yaw_deg
from speech2face.faces.landmarks import landmarks as find_landmarks
from speech2face.faces.pictures import PictureError, encode_jpeg, read_picture
from speech2face.shards import Reject

PICTURE_COLUMNS = ("clip_id", "speaker_id", "split", "image_paths", "image_sha256")

Box = tuple[int, int, int, int]


def picture_rows(manifest: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The distinct pictures of a manifest by face_id, `<speaker>/<video>/<picture>`; a video's pictures are listed by its first clip."""
    rows: dict[str, dict[str, Any]] = {}
    for clip in manifest:
        for frame, (path, sha256) in enumerate(zip(clip["image_paths"], clip["image_sha256"], strict=True)):
            face_id = f"{video_of(clip['clip_id'])}/{PurePosixPath(path).stem}"
            row = {name: clip[name] for name in ("clip_id", "speaker_id", "split")}
            rows.setdefault(
                face_id, {"face_id": face_id, **row, "frame": frame, "image_path": path, "image_sha256": sha256}
            )
    return rows


def crop(
    image: np.ndarray, landmarks: np.ndarray, box: Box, margin: float, size_px: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a square around `box` (left, top, right, bottom; edges included), wider by `margin` of its side on every side, and scale it.

    Beyond the picture's edge its outermost pixels are repeated. Landmarks are (x, y) pixels with whole numbers at pixel centres.
    Returns the crop, uint8 [size_px, size_px, 3], and the landmarks [68, 2] in its pixels.
    """
    left, top, right, bottom = box
    side = max(right - left + 1, bottom - top + 1) * (1 + 2 * margin)
    x0, y0 = (left + right + 1 - side) / 2, (top + bottom + 1 - side) / 2
    height, width = image.shape[:2]
    over = [max(0, int(np.ceil(d)) + 2) for d in (-y0, y0 + side - height, -x0, x0 + side - width)]
    padded = np.pad(image, ((over[0], over[1]), (over[2], over[3]), (0, 0)), mode="edge")
    area = (x0 + over[2], y0 + over[0], x0 + over[2] + side, y0 + over[0] + side)
    scaled = Image.fromarray(padded).resize((size_px, size_px), Image.Resampling.BICUBIC, box=area)
    moved = (landmarks + 0.5 - np.array([x0, y0])) * (size_px / side) - 0.5
    return np.asarray(scaled), moved.astype(np.float32)


def face_shard(
    rows: Sequence[dict[str, Any]], settings: dict[str, Any], context: dict[str, Any]
) -> Iterator[dict[str, Any] | Reject]:
    """Rows of the face table: of every picture the best detection; a picture without a face becomes a reject."""
    root = Path(context["root"])
    for row in rows:
        try:
            image = read_picture(inside(root, row["image_path"]), settings["max_image_px"])
        except PictureError as error:
            yield Reject(row["face_id"], error.reason, str(error))
            continue
        found = [d for d in detect([image], settings["upsample"])[0] if d.confidence >= settings["min_confidence"]]
        if not found:
            message = f"{row['image_path']}: no face of confidence {settings['min_confidence']:g}; for faces under 80 px raise faces.upsample"
            yield Reject(row["face_id"], "no_face", message)
            continue
        best = found[0]
        cut, points = crop(image, find_landmarks(image, best.box), best.box, settings["margin"], settings["size_px"])
        yield {
            **{name: row[name] for name in ("face_id", "clip_id", "speaker_id", "split", "frame")},
            "image": encode_jpeg(cut, settings["jpeg_quality"]),
            "box": best.box,
            "confidence": best.confidence,
            "landmarks": points,
            "yaw_deg": yaw_deg(points),
            "sharpness": sharpness(cut),
        }
