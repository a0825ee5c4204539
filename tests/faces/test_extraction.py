"""Rows of the face table from pictures and videos: which face, which frames, and why an item was left out."""

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from speech2face.faces import detection, extraction
from speech2face.faces.crops import face_rows
from speech2face.faces.extraction import face_shard
from speech2face.faces.geometry import sharpness
from speech2face.faces.pictures import decode_jpeg
from speech2face.pipeline.batches import BATCHES_IN_WINDOW
from speech2face.pipeline.params import load_params
from speech2face.pipeline.rejects import Reject
from tests.audio.test_reading import encode, tone
from tests.dlib_nets import pictures
from tests.faces.test_crops import clip
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

    def detect_each(items: Iterator[Any], image_of: object, upsample: int, device: torch.device) -> Iterator[Any]:
        devices.append(device)
        return ((item, []) for item in items)

    monkeypatch.setattr(extraction, "detect_each", detect_each)
    monkeypatch.setattr(extraction, "load_detector", devices.append)
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
    find_landmarks = extraction.find_landmarks
    broken = {odd.shape}

    def landmarks(image: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
        if image.shape in broken and (image == odd).mean() > 0.9:
            raise KeyError("left eye")
        return find_landmarks(image, box)

    monkeypatch.setattr(extraction, "find_landmarks", landmarks)
    faces, rejects = faces_of(tmp_path, row, video)
    assert {face["face_id"].rpartition("-")[0] or face["face_id"] for face in faces} == {"s/v/good", "s/w/1"}
    assert [(r.item, r.reason) for r in rejects] == [("s/v/odd", "failed")]
    assert rejects[0].message == f"{tmp_path}/odd.png: KeyError: 'left eye'"

    def fails_on_frames(*arguments: object, **options: object) -> None:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(extraction, "read_frames", fails_on_frames)
    faces, rejects = faces_of(tmp_path, row, video)
    assert [(r.item, r.reason) for r in rejects] == [("s/v/odd", "failed"), ("s/w/1", "failed")]
    assert rejects[1].message.endswith("v.mp4: RuntimeError: first line") and len(faces) == 1


def test_missing_weights_are_nobodys_reject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def missing(device: torch.device) -> None:
        raise ValueError("no dlib model file")

    row = with_pictures(tmp_path, one=scene())
    monkeypatch.setattr(extraction, "load_detector", missing)
    with pytest.raises(ValueError, match="no dlib model file"):
        faces_of(tmp_path, row)


@pytest.fixture
def three_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, but three pictures a batch, and three threads that read and three that cut out."""
    for module in (detection, extraction):
        monkeypatch.setattr(module, "batch_size", lambda device: 3)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)


def many(root: Path) -> list[dict[str, Any]]:
    """Clips with pictures of two sizes, with and without faces, files that are no pictures, and two videos."""
    clips = []
    for number, size_px in enumerate([(320, 180), (200, 180), (320, 180)]):
        (root / str(number)).mkdir()
        images: dict[str, Any] = {
            f"{number}/{i}": scene(*[(10 + i, 5, 160)] * (i != 2), size_px=size_px) for i in range(5)
        }
        images[f"{number}/x"] = b"no picture"
        clips.append(with_pictures(root, **images) | {"clip_id": f"s/v{number}/1"})
    path = write_video(root / "v.mp4", [scene((20, 5, 170), size_px=(320, 180))] * 10)
    seen = {"video_path": "v.mp4", "video_sha256": "", "video_bytes": path.stat().st_size}
    (root / "text.mp4").write_text("text")
    clips.append(clip(clip_id="s/v1b/1", **seen))
    clips.append(clip(clip_id="s/v1c/1", video_path="text.mp4", video_sha256="", video_bytes=4))
    return list(face_rows(clips))


def found_in(root: Path, rows: list[dict[str, Any]]) -> list[Any]:
    """Faces, with numbers that can be compared, and rejects, as they come."""
    found = face_shard(rows, SETTINGS, {"root": str(root), "device": torch.device("cpu")})
    return [item if isinstance(item, Reject) else item | {"landmarks": item["landmarks"].tolist()} for item in found]


def test_batches_and_threads_change_neither_order_nor_bytes(tmp_path: Path, request: pytest.FixtureRequest):
    rows = many(tmp_path)
    alone = [item for row in rows for item in found_in(tmp_path, [row])]
    assert len(alone) == 3 * (3 + 2) + 3 + 1  # three faces of each, the picture without one and the file that is none
    assert found_in(tmp_path, rows) == alone
    request.getfixturevalue("three_together")
    together = found_in(tmp_path, rows)
    for item, expected in zip(together, alone, strict=True):
        if isinstance(
            expected, dict
        ):  # the scores are sums in float32, in an order that depends on the size of the batch
            assert item.pop("confidence") == pytest.approx(expected.pop("confidence"), abs=1e-5)
    assert together == alone


@pytest.mark.usefixtures("three_together")
def test_few_pictures_are_held_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of many, before the detector, in its batches and behind it."""
    path = tmp_path / "one.png"
    Image.fromarray(scene(size_px=(120, 90))).save(path)
    picture = ["one.png", "", path.stat().st_size]
    rows = [{"clip_id": f"s/v{n:03}/1", "speaker_id": "s", "pictures": [picture]} for n in range(150)]
    held = weakref.WeakSet()
    most = 0

    class Picture(np.ndarray):
        __hash__ = object.__hash__

    def read_picture(path: Path, max_px: int) -> np.ndarray:
        nonlocal most
        image = pictures_read(path, max_px).view(Picture)
        held.add(image)
        most = max(most, len(held))
        return image

    pictures_read = extraction.read_picture
    monkeypatch.setattr(extraction, "read_picture", read_picture)
    assert len(found_in(tmp_path, rows)) == len(rows)
    assert not held
    ahead = extraction.pictures_ahead(torch.device("cpu"))
    assert ahead == 3 + 2 * 3
    assert ahead < most <= 2 * ahead + 2 * BATCHES_IN_WINDOW * 3 + 1


@pytest.mark.usefixtures("three_together")
def test_a_picture_that_fails_in_a_batch_is_one_reject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scenes = {f"p{i}": scene((10 + i, 5, 160), size_px=(320, 180)) for i in range(5)}
    row = with_pictures(tmp_path, **scenes)
    expected, _ = faces_of(tmp_path, row, keep=9)
    begin, sizes = detection._begin_torch, []

    def fails(upsample: int, device: torch.device, images: list[np.ndarray]) -> Callable[[], Any]:
        sizes.append(len(images))
        if any((image == scenes["p1"]).all() for image in images):
            raise ValueError("not this one\nsecond line")
        return begin(upsample, device, images)

    monkeypatch.setattr(detection, "_begin_torch", fails)
    faces, rejects = faces_of(tmp_path, row, keep=9)
    assert 3 in sizes and 1 in sizes
    assert [face["face_id"] for face in faces] == ["s/v/p0", "s/v/p2", "s/v/p3", "s/v/p4"]
    assert [face["box"] for face in faces] == [face["box"] for face in expected if face["face_id"] != "s/v/p1"]
    (reject,) = rejects
    assert (reject.item, reject.reason) == ("s/v/p1", "failed")
    assert reject.message == f"{tmp_path}/p1.png: ValueError: not this one"


def test_a_picture_too_large_to_be_doubled_is_one_reject(tmp_path: Path):
    row = with_pictures(tmp_path, large=scene(size_px=(1200, 600)), good=scene((20, 10, 100), size_px=(140, 120)))
    faces, rejects = faces_of(tmp_path, row, upsample=3)
    assert [face["face_id"] for face in faces] == ["s/v/good"]
    assert [(reject.item, reject.reason) for reject in rejects] == [("s/v/large", "failed")]
    assert "large.png: ValueError: a picture of 1200 x 600 pixels, doubled 3 times" in rejects[0].message


@pytest.mark.usefixtures("three_together")
def test_want_of_memory_on_a_gpu_is_no_picture_s_reject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def begin(upsample: int, device: torch.device, images: list[np.ndarray]) -> Callable[[], Any]:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.\nmore")

    row = with_pictures(tmp_path, one=scene(), two=scene())
    monkeypatch.setattr(detection, "_begin_torch", begin)
    with pytest.raises(RuntimeError, match=r"does not hold the network's work on a single .*\(CUDA out of memory\.\)"):
        faces_of(tmp_path, row)
