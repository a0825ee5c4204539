"""What faces are looked for in, how one is cut out of a picture, and which of a video are kept."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from PIL import Image

from speech2face.corpus.ids import speaker_of, video_of
from speech2face.faces.detection import Detection
from speech2face.faces.geometry import inside_mask

CLIP_COLUMNS = ("clip_id", "speaker_id")
VIDEO_COLUMNS = ("video_path", "video_sha256", "video_bytes", "start_s", "end_s", "face_x", "face_y")
PICTURE_COLUMNS = ("image_paths", "image_sha256", "image_bytes")
FACE_COLUMNS = (*CLIP_COLUMNS, *VIDEO_COLUMNS, *PICTURE_COLUMNS)

HALF_PROFILE_DEG = 45.0

Box = tuple[int, int, int, int]
FaceRow = dict[str, Any]


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
    last: tuple[str, list[Any]] | None = None
    for clip in clips:
        common = {name: clip[name] for name in CLIP_COLUMNS}
        if clip["image_paths"]:
            video, pictures = video_of(clip["clip_id"]), [clip[name] for name in PICTURE_COLUMNS]
            row = rows.setdefault(video, common | {"pictures": {}})
            if (video, pictures) != last:  # most clips of a video list what the one before them does
                row["pictures"] |= {picture[0]: list(picture) for picture in zip(*pictures, strict=True)}
            last = video, pictures
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


def _side(box: Box) -> int:
    return max(box[2] - box[0], box[3] - box[1]) + 1
