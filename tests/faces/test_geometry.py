import numpy as np
import pytest

from speech2face.faces import geometry

# A head in millimetres (x right in the picture, y down, z towards the camera): outer eye corners, nose tip, inner lips.
HEAD = {36: (-45, 0, 0), 45: (45, 0, 0), 30: (0, 35, 0.9 * 45), 62: (0, 70, 10), 66: (0, 70, 10)}


def project(yaw_deg: float, roll_deg: float = 0.0, scale: float = 1.0) -> np.ndarray:
    """Landmarks of that head, seen from far away, turned to the picture's right by yaw and clockwise by roll."""
    yaw, roll = np.radians([yaw_deg, roll_deg])
    points = np.zeros((68, 2))
    for index, (x, y, z) in HEAD.items():
        turned = x * np.cos(yaw) + z * np.sin(yaw)
        points[index] = turned * np.cos(roll) - y * np.sin(roll), turned * np.sin(roll) + y * np.cos(roll)
    return points * scale + 112


@pytest.mark.parametrize("yaw", [-50, -20, 0, 5, 35])
@pytest.mark.parametrize("scale", [0.3, 2.0])
def test_yaw_of_a_head_turned_by_a_known_angle(yaw, scale):
    assert geometry.yaw_deg(project(yaw, 0, scale)) == pytest.approx(yaw, abs=1e-6)


def test_a_rolled_frontal_head_has_the_yaw_that_its_nose_shows():
    level, rolled = (geometry.yaw_deg(project(20, roll)) for roll in (0, 25))
    assert rolled == pytest.approx(level, abs=1e-6)


def test_yaw_changes_sign_with_the_mirror_image():
    points = project(17)
    mirrored = points * [-1, 1]
    mirrored[[36, 45]] = mirrored[[45, 36]]
    assert geometry.yaw_deg(mirrored) == pytest.approx(-geometry.yaw_deg(points))


def test_mouth_opening_is_relative_to_the_eyes():
    points = project(0)
    assert geometry.mouth_opening(points) == 0
    points[66, 1] += 18
    assert geometry.mouth_opening(points) == pytest.approx(18 / 90)
    assert geometry.mouth_opening(points * 3) == pytest.approx(18 / 90)


def test_blur_lowers_sharpness_and_a_flat_picture_has_none():
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    values = [geometry.sharpness(gaussian_filter(noise, (s, s, 0))) for s in (0, 0.7, 1.5, 3)]
    assert values == sorted(values, reverse=True)
    assert geometry.sharpness(np.full((32, 32, 3), 90, np.uint8)) == pytest.approx(0, abs=1e-12)


def test_sharpness_of_a_checkerboard_in_closed_form():
    # black and white alternate: the Laplacian is +-4 everywhere inside, edges reflected
    board = np.indices((40, 40)).sum(0) % 2 * 255
    inside = geometry.sharpness(np.repeat(board[..., None], 3, 2).astype(np.uint8))
    assert inside == pytest.approx(16, rel=0.06)
