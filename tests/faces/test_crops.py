"""What faces are looked for in, how a face is cut out, and which are kept."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from speech2face.faces.crops import best_faces, choose_face, count_items, crop, face_rows, row_id
from speech2face.faces.detection import Detection
from speech2face.faces.geometry import inside_mask
from speech2face.pipeline.provenance import json_digest


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
