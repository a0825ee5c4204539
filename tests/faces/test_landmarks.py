"""The 68 points lie where a face has its parts, and move with it."""

import numpy as np
import pytest

from speech2face.faces.detection import detect
from speech2face.faces.landmarks import landmarks
from tests.dlib_nets import pictures


@pytest.fixture(scope="module")
def face() -> tuple[np.ndarray, tuple[int, int, int, int]]:
    image = pictures.rendered_faces()[3]
    return image, detect([image])[0][0].box


def test_points_are_ordered_as_ibug_300w(face):
    points = landmarks(*face)
    assert points.shape == (68, 2)
    assert points.dtype == np.float32
    parts = {
        "jaw": points[:17],
        "brows": points[17:27],
        "nose": points[27:36],
        "left eye": points[36:42],
        "right eye": points[42:48],
        "mouth": points[48:],
    }
    centre = {name: part.mean(axis=0) for name, part in parts.items()}
    x, y = 0, 1
    assert centre["brows"][y] < centre["left eye"][y] < centre["nose"][y] < centre["mouth"][y] < points[8, y]
    assert centre["left eye"][x] < centre["nose"][x] < centre["right eye"][x]
    assert (np.diff(parts["jaw"][:, x]) >= 0).all()  # from the picture's left to its right
    assert abs(centre["left eye"][y] - centre["right eye"][y]) < 10


def test_points_move_with_the_picture(face):
    image, (left, top, right, bottom) = face
    wider = np.full((image.shape[0] + 37, image.shape[1] + 53, 3), 90, np.uint8)
    wider[37:, 53:] = image
    moved = landmarks(wider, (left + 53, top + 37, right + 53, bottom + 37))
    np.testing.assert_allclose(moved, landmarks(image, face[1]) + np.array([53, 37]), atol=1)


def test_a_box_over_the_border_is_fine(face):
    image, (left, _, right, bottom) = face
    assert np.isfinite(landmarks(image[:, left + 20 :], (-20, 30, right - left - 20, bottom))).all()


@pytest.mark.parametrize(
    ("image", "box", "message"),
    [
        (np.zeros((20, 20, 3), np.float32), (0, 0, 9, 9), r"got float32 \[20, 20, 3\]"),
        (np.zeros((20, 20), np.uint8), (0, 0, 9, 9), r"got uint8 \[20, 20\]"),
        ("face.jpg", (0, 0, 9, 9), "got str"),
        (np.zeros((0, 20, 3), np.uint8), (0, 0, 9, 9), "the picture is empty"),
        (np.zeros((20, 20, 3), np.uint8), (9, 0, 8, 9), r"the box .* = \(9, 0, 8, 9\) is empty"),
    ],
)
def test_bad_input(image, box, message):
    with pytest.raises(ValueError, match=message):
        landmarks(image, box)
