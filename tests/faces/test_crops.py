"""Rows of the face table: which face, which frames, where the landmarks lie, and why an item was left out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from speech2face.faces import crops
from speech2face.faces.crops import best_faces, choose_face, count_items, crop, face_rows, face_shard, row_id
from speech2face.faces.detection import Detection
from speech2face.faces.geometry import inside_mask, sharpness
from speech2face.faces.pictures import decode_jpeg
from speech2face.pipeline.params import load_params
from speech2face.pipeline.provenance import json_digest
from speech2face.pipeline.rejects import Reject
from tests.audio.test_reading import encode, tone
from tests.dlib_nets import pictures
from tests.faces.videos import write_video

pytestmark = pytest.mark.slow

SETTINGS = load_params(Path(__file__).parents[2] / "params.yaml").faces


def scene(*faces: tuple[int, int, int], size_px: tuple[int, int] = (640, 360)) -> np.ndarray:
    """Heads at (left, top, size in px) before a background of (width, height)."""
    rng = np.random.default_rng(1)
    canvas = pictures.background(rng, size_px[1], size_px[0])
    for left, top, head_px in faces:
        canvas.paste(pictures.head(rng, head_px), (left, top))
    return np.asarray(canvas)


def clip(**values: Any) -> dict[str, Any]:
    common = {
        "clip_id": "s/v/1",
        "speaker_id": "s",
        "image_paths": [],
        "image_sha256": [],
        "image_bytes": [],
    }
    video = dict.fromkeys(("video_path", "video_sha256", "video_bytes", "start_s", "end_s", "face_x", "face_y"))
    return common | video | values


def with_pictures(root: Path, **images: np.ndarray | bytes) -> dict[str, Any]:
    for name, image in images.items():
        if isinstance(image, bytes):
            (root / f"{name}.png").write_bytes(image)
        else:
            Image.fromarray(image).save(root / f"{name}.png")
    paths = [f"{name}.png" for name in images]
    sizes = [(root / path).stat().st_size for path in paths]
    return clip(image_paths=paths, image_sha256=[""] * len(paths), image_bytes=sizes)


def faces_of(root: Path, *clips: dict[str, Any], **settings: Any) -> tuple[list[dict[str, Any]], list[Reject]]:
    context = {"root": str(root), "device": torch.device("cpu")}
    found = list(face_shard(list(face_rows(clips)), SETTINGS.model_copy(update=settings), context))
    return [f for f in found if isinstance(f, dict)], [f for f in found if isinstance(f, Reject)]


def centre(box: tuple[int, int, int, int]) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def test_a_crop_shows_what_the_box_held():
    rows, columns = np.mgrid[0:300, 0:400]
    image = np.dstack([columns // 2, rows // 2, np.zeros_like(rows)]).astype(np.uint8)
    points = np.array([[150.0, 100.0], [249.0, 199.0], [100.0, 50.0]])
    cut, moved, inside = crop(image, points, (150, 100, 249, 199), margin=0.5, size_px=100)
    # A side of 200 px from (100, 50) on, halved: pixel (i, j) of the crop is at 100 + 2 i + 0.5.
    np.testing.assert_allclose(moved, (points - [100, 50] + 0.5) / 2 - 0.5, atol=1e-5)
    np.testing.assert_allclose(cut[40, 30, :2], [(100 + 60) / 2, (50 + 80) / 2], atol=1)
    assert inside.tolist() == [-0.5, -0.5, 99.5, 99.5]


def test_a_crop_wholly_inside_is_the_pictures_own_pixels_scaled():
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    cut, _, _ = crop(image, np.zeros((68, 2)), (150, 100, 249, 199), margin=0.35, size_px=224)
    area = (150 - 35, 100 - 35, 250 + 35, 200 + 35)
    scaled = Image.fromarray(image).resize((224, 224), Image.Resampling.BICUBIC, box=area)
    np.testing.assert_array_equal(cut, scaled)


@pytest.mark.parametrize("box", [(-60, 20, 19, 99), (37, -11, 110, 62), (-20, -30, 120, 110), (50, 60, 133, 143)])
def test_beyond_the_picture_a_crop_is_black_to_the_pixel(box: tuple[int, int, int, int]):
    """White and nothing else: each pixel whose centre lies in the picture, in none the black mixed in."""
    height, width, margin = 97, 131, 0.35
    image = np.full((height, width, 3), 255, np.uint8)
    cut, _, inside = crop(image, np.zeros((68, 2)), box, margin=margin, size_px=224)
    side = (box[2] - box[0] + 1) * (1 + 2 * margin)
    start = np.array(box[:2]) - (box[2] - box[0] + 1) * margin
    x, y = start[:, None] + (np.arange(224) + 0.5) * side / 224  # of the centres, in the picture, from its edge on
    expected = ((y > 0) & (y < height))[:, None] & ((x > 0) & (x < width))
    assert 0 < expected.sum() < 224**2
    assert (cut[expected] == 255).all() and (cut[~expected] == 0).all()
    np.testing.assert_array_equal(inside_mask(inside, 224), expected)
    # The edges are the picture's corners in the pixels of the crop, as far as those lie in it.
    corners = (np.array([0, 0, width, height]) - np.tile(start, 2)) * 224 / side - 0.5
    np.testing.assert_allclose(inside, corners.clip(-0.5, 223.5), atol=1e-4)


def test_inside_the_picture_its_end_changes_nothing():
    image = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    whole, _, _ = crop(image, np.zeros((68, 2)), (60, 60, 139, 139), margin=0.0, size_px=224)
    part, _, inside = crop(image[:, :100], np.zeros((68, 2)), (60, 60, 139, 139), margin=0.0, size_px=224)
    assert inside.tolist() == [-0.5, -0.5, 111.5, 223.5]
    # Bicubic sampling looks at two pixels of the picture on each side, here 2 x 2.8 of the crop.
    np.testing.assert_array_equal(part[:, : 112 - 6], whole[:, : 112 - 6])
    assert (part[:, 112:] == 0).all()


def test_the_largest_face_or_the_one_at_the_place():
    small, large = Detection((10, 10, 49, 49), 1.2), Detection((100, 100, 219, 219), 0.9)
    assert choose_face([small, large], None) is large
    assert choose_face([small, large], (35, 30)) is small
    assert choose_face([small, large], (200, 150)) is large
    assert choose_face([small], (300, 30)) is None and choose_face([], None) is None and choose_face([], (1, 1)) is None


def test_best_faces_are_frontal_and_sharp():
    values = [(40, 0.9), (-5, 0.8), (2, 0.1), (-35, 0.2), (8, 0.7)]  # 0.11 + 1, 0.89 + 0.89, 0.96 + 0.11, ...
    faces = [{"n": n, "yaw_deg": yaw, "sharpness": s} for n, (yaw, s) in enumerate(values)]
    assert [f["n"] for f in best_faces(faces, 1)] == [1]
    assert [f["n"] for f in best_faces(faces, 4)] == [0, 1, 2, 4]
    assert best_faces([], 3) == []


def test_rows_are_videos_and_pictures_are_listed_once():
    images = {"image_paths": ["p.jpg", "q.jpg"], "image_sha256": ["1", "2"], "image_bytes": [10, 20]}
    clips = [
        clip(clip_id="s/v/1", **images),
        clip(clip_id="s/v/2", **images),
        clip(clip_id="s/w/1", video_path="w.mp4", video_sha256="3", video_bytes=30),
        clip(clip_id="s/w/2", video_path="w.mp4", video_sha256="3", video_bytes=30, start_s=5.0),
        clip(clip_id="s/x/1"),
    ]
    rows = list(face_rows(clips))
    assert list(map(row_id, rows)) == ["s/v", "s/w/1", "s/w/2"]
    assert rows[0]["pictures"] == [["p.jpg", "1", 10], ["q.jpg", "2", 20]] and rows[0]["clip_id"] == "s/v/1"
    assert list(map(count_items, rows)) == [2, 1, 1]


def test_rows_are_sorted_by_what_they_are_known_by_and_read_speaker_by_speaker():
    """A clip's name sorts otherwise than its video's, where one video's name is how another's begins."""
    images = {"image_paths": ["p.jpg"], "image_sha256": ["1"], "image_bytes": [10]}
    ids = [f"{speaker}/{video}/1" for speaker in ("a", "a-b", "b") for video in ("take", "take 2", "take-2", "taken")]
    read: list[str] = []

    def clips() -> Iterator[dict[str, Any]]:
        for clip_id in sorted(ids):
            read.append(clip_id)
            yield clip(clip_id=clip_id, **images)

    found = []
    for row in face_rows(clips()):
        found.append(row_id(row))
        speakers_begun = (len(found) + 3) // 4
        assert len(read) <= 4 * speakers_begun + 1
    assert found == sorted(clip_id.rpartition("/")[0] for clip_id in ids) != [i.rpartition("/")[0] for i in sorted(ids)]


def test_the_order_of_pictures_counts_and_repeated_ones_do_not():
    images = {"image_paths": ["q.jpg", "p.jpg", "q.jpg"], "image_sha256": ["2", "1", "2"], "image_bytes": [20, 10, 20]}
    (row,) = face_rows([clip(clip_id="s/v/1", **images)])
    assert [picture[0] for picture in row["pictures"]] == ["q.jpg", "p.jpg"]
    (turned,) = face_rows([clip(clip_id="s/v/1", **{name: values[1:] for name, values in images.items()})])
    assert json_digest(row) != json_digest(turned)


def test_pictures(tmp_path: Path):
    three = scene((20, 200, 130), (220, 20, 300), (520, 10, 110))
    row = with_pictures(tmp_path, three=three, none=scene(), text=b"no picture")
    faces, rejects = faces_of(tmp_path, row)
    assert [face["face_id"] for face in faces] == ["s/v/three"]
    x, y = centre(faces[0]["box"])
    assert 220 < x < 520 and 20 < y < 320  # the largest
    assert decode_jpeg(faces[0]["image"]).shape == (224, 224, 3)
    assert (
        faces[0]["landmarks"].shape == (68, 2) and faces[0]["landmarks"].min() > 0 and faces[0]["landmarks"].max() < 224
    )
    assert {(r.item, r.reason) for r in rejects} == {("s/v/none", "no_face"), ("s/v/text", "unreadable")}


def test_a_face_at_the_pictures_border(tmp_path: Path):
    """Beyond it the crop is black, which makes the face no sharper."""
    (face,), _ = faces_of(tmp_path, with_pictures(tmp_path, one=scene((60, 30, 280))[:, 110:]))
    left, top, right, bottom = face["inside"]
    assert 8 < left < 112 and -0.5 <= top < 8 and (right, bottom) == (223.5, 223.5)
    picture = decode_jpeg(face["image"])
    assert picture[:, : int(left) - 8].max() <= 8  # JPEG works in blocks of 8 px
    shown = sharpness(picture[int(top) + 1 :, int(left) + 1 :])
    assert face["sharpness"] == pytest.approx(shown, rel=0.1)  # JPEG rounds, too
    assert face["sharpness"] < sharpness(picture)


def test_several_are_kept_and_their_names_differ(tmp_path: Path):
    for folder in "ab":
        (tmp_path / folder).mkdir()
    row = with_pictures(tmp_path, **{f"{folder}/0": scene((20 + 20 * i, 20, 250)) for i, folder in enumerate("ab")})
    faces, _ = faces_of(tmp_path, row)
    assert [face["face_id"] for face in faces] == ["s/v/0", "s/v/0-1"]
    assert len(faces_of(tmp_path, row, keep=1)[0]) == 1


def test_the_detector_runs_on_the_device_of_the_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    row, devices = with_pictures(tmp_path, one=scene()), []
    monkeypatch.setattr(
        crops, "detect", lambda images, upsample, device: devices.append(device) or [[] for _ in images]
    )
    monkeypatch.setattr(crops, "load_detector", devices.append)
    rows = list(face_rows([row]))
    list(face_shard(rows, SETTINGS, {"root": str(tmp_path), "device": torch.device("cuda:2")}))
    assert devices == [torch.device("cuda:2")] * 2


def video_of(root: Path, *scenes: np.ndarray) -> dict[str, Any]:
    path = write_video(root / "v.mp4", [image for image in scenes for _ in range(10)])
    return clip(video_path="v.mp4", video_sha256="", video_bytes=path.stat().st_size)


def test_faces_from_a_video(tmp_path: Path):
    head = (200, 30, 280)
    blurred = np.asarray(Image.fromarray(scene(head)).resize((80, 45)).resize((640, 360)))
    row = video_of(tmp_path, scene(head), blurred, scene(head), scene())
    faces, rejects = faces_of(tmp_path, row, frame_at=[0.1, 0.4, 0.6, 0.9], keep=2)
    assert [face["frame"] for face in faces] == pytest.approx([4, 24], abs=1)  # the sharp ones
    assert [face["face_id"] for face in faces] == [f"s/v/1-{face['frame']:06d}" for face in faces] and not rejects


def test_the_place_says_whose_face_it_is(tmp_path: Path):
    row = video_of(tmp_path, scene((10, 150, 170), (320, 20, 300)))
    assert centre(faces_of(tmp_path, row)[0][0]["box"])[0] > 320
    assert centre(faces_of(tmp_path, row | {"face_x": 0.15, "face_y": 0.65})[0][0]["box"])[0] < 200
    faces, rejects = faces_of(tmp_path, video_of(tmp_path, scene((10, 150, 170))) | {"face_x": 0.9, "face_y": 0.2})
    assert not faces and rejects[0].reason == "no_face" and "near the speaker's place" in rejects[0].message


def test_videos_that_cannot_be_used(tmp_path: Path):
    nobody = video_of(tmp_path, scene())
    assert [(r.item, r.reason) for r in faces_of(tmp_path, nobody)[1]] == [("s/v/1", "no_face")]
    encode(tmp_path / "sound.m4a", "aac", tone())
    (tmp_path / "text.mp4").write_text("text")
    for name, reason in (("sound.m4a", "no_image"), ("text.mp4", "unreadable"), ("gone.mp4", "vanished")):
        assert [r.reason for r in faces_of(tmp_path, clip(video_path=name))[1]] == [reason]
    assert [r.reason for r in faces_of(tmp_path, nobody | {"video_bytes": 1})[1]] == ["vanished"]


def test_what_nobody_foresaw_is_the_reject_of_one_picture_or_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    good, odd = scene((200, 30, 280)), scene((20, 20, 250))
    row, video = with_pictures(tmp_path, good=good, odd=odd), video_of(tmp_path, good) | {"clip_id": "s/w/1"}
    find_landmarks = crops.find_landmarks
    broken = {odd.shape}

    def landmarks(image: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
        if image.shape in broken and (image == odd).mean() > 0.9:
            raise KeyError("left eye")
        return find_landmarks(image, box)

    monkeypatch.setattr(crops, "find_landmarks", landmarks)
    faces, rejects = faces_of(tmp_path, row, video)
    assert {face["face_id"].rpartition("-")[0] or face["face_id"] for face in faces} == {"s/v/good", "s/w/1"}
    assert [(r.item, r.reason) for r in rejects] == [("s/v/odd", "failed")]
    assert rejects[0].message == f"{tmp_path}/odd.png: KeyError: 'left eye'"

    def fails_on_frames(*arguments: object, **options: object) -> None:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(crops, "read_frames", fails_on_frames)
    faces, rejects = faces_of(tmp_path, row, video)
    assert [(r.item, r.reason) for r in rejects] == [("s/v/odd", "failed"), ("s/w/1", "failed")]
    assert rejects[1].message.endswith("v.mp4: RuntimeError: first line") and len(faces) == 1


def test_missing_weights_are_nobodys_reject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def missing(device: torch.device) -> None:
        raise ValueError("no dlib model file")

    row = with_pictures(tmp_path, one=scene())
    monkeypatch.setattr(crops, "load_detector", missing)
    with pytest.raises(ValueError, match="no dlib model file"):
        faces_of(tmp_path, row)
