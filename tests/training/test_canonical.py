import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from speech2face.faces.pictures import encode_jpeg
from speech2face.faces.table import FACES
from speech2face.pipeline.params import Frontal
from speech2face.pipeline.shards import write_shard
from speech2face.training import canonical
from speech2face.training.canonical import canonical_faces, is_canonical, mean_shape, to_mean_shape
from tests.training.tables import rename_shards

FRONTAL = Frontal(max_yaw_deg=15.0, max_mouth_opening=0.25, min_sharpness=0.01)
WHOLE = (-0.5, -0.5, 223.5, 223.5)
SPLITS = {"a": "train", "b": "train", "c": "val", "d": "test", "e": "train"}


def grid_shape() -> np.ndarray:
    """68 points spread over the crop, with eye corners apart and the inner lips closed."""
    rng = np.random.default_rng(3)
    points = rng.uniform(40, 184, (68, 2))
    points[36], points[45], points[62], points[66] = (60, 80), (160, 80), (110, 160), (110, 163)
    return points.astype(np.float32)


def dots(points: np.ndarray) -> np.ndarray:
    """A picture with a soft white dot at each of a few landmarks."""
    y, x = np.mgrid[:224, :224]
    picture = np.zeros((224, 224))
    for px, py in points[[36, 45, 62]]:
        picture += 255 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18)
    return np.repeat(picture.clip(0, 255)[..., None], 3, 2).astype(np.uint8)


def face(speaker: str, number: int, points: np.ndarray, brightness: int | None = None, **changes) -> dict:
    picture = dots(points) if brightness is None else np.full((224, 224, 3), brightness, np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=98, subsampling=0)
    row = {
        "face_id": f"{speaker}/v/{number}",
        "clip_id": f"{speaker}/v/0",
        "speaker_id": speaker,
        "frame": 0,
        "image": buffer.getvalue(),
        "box": (0, 0, 10, 10),
        "inside": WHOLE,
        "confidence": 1.0,
        "landmarks": points,
        "yaw_deg": 0.0,
        "sharpness": 1.0,
    }
    return row | changes


def test_thresholds_are_applied_one_by_one():
    points = grid_shape()
    open_mouth = points.copy()
    open_mouth[66, 1] += 40
    good = {"landmarks": points, "yaw_deg": -15.0, "sharpness": 0.01}
    assert is_canonical(good, FRONTAL)
    assert not is_canonical(good | {"yaw_deg": -15.1}, FRONTAL)
    assert not is_canonical(good | {"sharpness": 0.009}, FRONTAL)
    assert not is_canonical(good | {"landmarks": open_mouth}, FRONTAL)


def test_the_mean_shape_of_moved_copies_is_the_shape():
    points = grid_shape().astype(float)
    copies = [points + shift for shift in ([5, -3], [-5, 3], [2, 2], [-2, -2])]
    np.testing.assert_allclose(mean_shape(copies), points, atol=1e-4)


def test_warping_to_the_mean_shape_brings_the_landmarks_there():
    source = grid_shape()
    target = ((source - 112) * [1.06, 0.95] + [115, 110]).astype(np.float32)  # wider, flatter, moved
    texture, mask = to_mean_shape(dots(source), WHOLE, source, target)
    assert texture.shape == (3, 224, 224) and mask.all()
    for x, y in target[[36, 45, 62]]:
        window = texture[0, int(y) - 4 : int(y) + 6, int(x) - 4 : int(x) + 6]
        row, column = np.unravel_index(window.argmax(), window.shape)
        assert abs(int(y) - 4 + row - y) <= 1.5
        assert abs(int(x) - 4 + column - x) <= 1.5


def test_a_speakers_photographs_are_averaged_and_others_left_out(tmp_path: Path):
    points = grid_shape()
    # d is a test speaker; one photograph of a is turned away, that of e blurred.
    rows = [
        face("a", 0, points, 100),
        face("a", 1, points, 140),
        face("a", 2, points, 250, yaw_deg=40.0),
        face("b", 0, points + np.array([6, 0]), 60),
        face("c", 0, points - np.array([6, 0]), 80),
        face("d", 0, points, 10),
        face("e", 0, points, 10, sharpness=0.0),
    ]
    write_shard(tmp_path / "shard-0.parquet", rows, FACES, {})
    faces = canonical_faces(tmp_path, SPLITS, FRONTAL)
    assert faces.speaker_ids == ("a", "b", "c")
    assert faces.splits == ("train", "train", "val")
    np.testing.assert_allclose(faces.textures.mean((1, 2, 3)), [120, 60, 80], atol=1.5)
    assert faces.counts() == {"photographs": 6, "photographs_not_canonical": 2}
    # position is taken out of a speaker's shape: all three are the mean shape
    np.testing.assert_allclose(faces.landmarks, np.broadcast_to(faces.mean_landmarks, (3, 68, 2)), atol=1e-2)


def test_speakers_may_take_turns(tmp_path: Path):
    """A speaker's face is finished with the last photograph, wherever that is, and then lies in a file."""
    points = grid_shape()
    colours = {"a": (100, 140), "b": (60, 20), "c": (80, 90)}
    rows = [face(speaker, n, points, colours[speaker][n]) for n in range(2) for speaker in "bca"]
    write_shard(tmp_path / "shard-0.parquet", rows[:4], FACES, {})
    write_shard(tmp_path / "shard-1.parquet", rows[4:], FACES, {})
    faces = canonical_faces(tmp_path, SPLITS, FRONTAL)
    np.testing.assert_allclose(faces.textures.mean((1, 2, 3)), [120, 40, 85], atol=1.5)
    assert isinstance(faces.textures, np.memmap) and isinstance(faces.masks, np.memmap)
    assert faces.masks.all()


def test_the_mask_goes_with_the_picture_to_the_mean_shape():
    """A photograph that ends at a dot, moved with the dot by 8 px: known to the left of it, in the colour that is there."""
    source = grid_shape()
    target = source + np.float32([8, 0])
    edge = float(source[36, 0])  # the outer corner of an eye
    picture = np.full((224, 224, 3), 200, np.uint8)
    picture[:, int(edge) + 1 :] = 0
    texture, mask = to_mean_shape(picture, (-0.5, -0.5, int(edge) + 0.5, 223.5), source, target)
    np.testing.assert_allclose(texture[:, mask], 200 / 255, rtol=1e-5)  # no black mixed into it
    row = int(source[36, 1])
    assert mask[row, : int(edge) + 7].all() and not mask[row, int(edge) + 10 :].any()


def test_what_lies_outside_a_photograph_is_left_out_of_a_speakers_mean(tmp_path: Path):
    points = grid_shape()
    rows = [face("a", 0, points, 140), face("a", 1, points, 100), face("b", 0, points, 60)]
    black = np.full((224, 224, 3), 100, np.uint8)
    black[:, 120:] = 0
    rows[1] |= {"image": encode_jpeg(black, 98), "inside": (-0.5, -0.5, 119.5, 223.5)}
    rows[2] |= {"inside": (-0.5, 39.5, 223.5, 223.5)}
    write_shard(tmp_path / "shard-0.parquet", rows, FACES, {})
    faces = canonical_faces(tmp_path, SPLITS, FRONTAL)
    # The shape is the mean shape but for rounding: of what is mixed from two pixels at the edge, nothing is said here.
    np.testing.assert_allclose(faces.textures[0, :, :, :112], 120, atol=2)
    np.testing.assert_allclose(faces.textures[0, :, :, 121:], 140, atol=2)
    assert faces.masks[0].all()
    assert not faces.masks[1, :40].any() and faces.masks[1, 41:].all()


def test_test_speakers_do_not_touch_the_mean_shape(tmp_path: Path):
    points = grid_shape()
    train = [face("a", 0, points, 100)]
    write_shard(tmp_path / "one" / "shard-0.parquet", train, FACES, {})
    odd = face("d", 0, points[:, ::-1].copy(), 10)
    write_shard(tmp_path / "two" / "shard-0.parquet", [*train, odd], FACES, {})
    first, second = (canonical_faces(tmp_path / name, SPLITS, FRONTAL) for name in ("one", "two"))
    np.testing.assert_array_equal(first.mean_landmarks, second.mean_landmarks)
    assert second.speaker_ids == ("a",)


def test_no_canonical_photograph_names_the_setting(tmp_path: Path):
    write_shard(tmp_path / "shard-0.parquet", [face("a", 0, grid_shape(), 9, yaw_deg=70.0)], FACES, {})
    with pytest.raises(ValueError, match=r"none of 1 photographs is frontal.*decoder.frontal"):
        canonical_faces(tmp_path, SPLITS, FRONTAL)


def test_a_speaker_without_a_split_is_refused(tmp_path: Path):
    rows = [face(speaker, 0, grid_shape(), 9) for speaker in "az"]
    write_shard(tmp_path / "shard-0.parquet", rows, FACES, {})
    with pytest.raises(ValueError, match=r"speaker z is not in data/speakers.parquet; run: dvc repro"):
        canonical_faces(tmp_path, SPLITS, FRONTAL)


def test_splits_wanted_are_those_that_are_read(tmp_path: Path):
    rows = [face(speaker, 0, grid_shape(), 9) for speaker in "acd"]
    write_shard(tmp_path / "shard-0.parquet", rows, FACES, {})
    assert canonical_faces(tmp_path, SPLITS, FRONTAL).speaker_ids == ("a", "c")
    assert canonical_faces(tmp_path, SPLITS, FRONTAL, ("train", "test")).speaker_ids == ("a", "d")


def test_the_names_of_shards_change_no_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The photographs of a speaker are added in the order of their ids: with these numbers another order gives another sum."""
    numbers = {100: 1e20, 140: -1e20, 60: 0.5}

    def as_number(image: np.ndarray, *_: object) -> tuple[np.ndarray, np.ndarray]:
        nearest = min(numbers, key=lambda brightness: abs(brightness - image.mean()))
        return np.full((3, 224, 224), numbers[nearest], np.float32), np.ones((224, 224), bool)

    monkeypatch.setattr(canonical, "to_mean_shape", as_number)
    for number, brightness in enumerate(numbers):
        points = grid_shape() + np.float32([number, 0])
        write_shard(tmp_path / f"shard-{number}.parquet", [face("a", number, points, brightness)], FACES, {})
    before = canonical_faces(tmp_path, SPLITS, FRONTAL)
    rename_shards(tmp_path)
    after = canonical_faces(tmp_path, SPLITS, FRONTAL)
    assert (before.textures == round(0.5 * 255 / 3)).all()
    np.testing.assert_array_equal(after.textures, before.textures)
    np.testing.assert_array_equal(after.landmarks, before.landmarks)
    np.testing.assert_array_equal(after.mean_landmarks, before.mean_landmarks)
