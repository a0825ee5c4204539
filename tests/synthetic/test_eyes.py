"""Eyeballs look along the gaze that they are given, in their colour."""

import numpy as np
import pytest

from speech2face.synthetic.eyes import IRIS_COLOURS, eyeball, eyeball_places, lash_rows
from speech2face.synthetic.head_shape import Head

GAZE = np.array([0.6, 0.0, 0.8])


@pytest.mark.parametrize("eye_colour", range(4))
def test_pupil_iris_and_sclera_lie_around_the_gaze(eye_colour: int) -> None:
    centre, radius = np.array([0.03, 0.0, 0.0]), 0.012
    vertices, normals, triangles, colours = eyeball(centre, radius, GAZE, eye_colour, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(vertices - centre, axis=1), radius)
    assert triangles.max() < len(vertices)
    off_axis = np.sqrt(np.clip(1 - (normals @ GAZE) ** 2, 0, 1))
    ahead = normals @ GAZE > 0
    assert colours[ahead & (off_axis < 0.1)].max() < 0.02
    iris = colours[ahead & (off_axis > 0.24) & (off_axis < 0.36)].mean(axis=0)
    np.testing.assert_allclose(iris / iris.sum(), IRIS_COLOURS[eye_colour] / IRIS_COLOURS[eye_colour].sum(), atol=0.05)
    assert colours[off_axis > 0.6].mean() > 0.4


def test_eyes_and_lashes_are_mirrored() -> None:
    control = Head().mean_control
    (left, left_radius), (right, right_radius) = eyeball_places(control)
    np.testing.assert_allclose(left * [-1, 1, 1], right, atol=1e-3)
    assert abs(left_radius - right_radius) < 1e-3 and 0.01 < left_radius < 0.016
    rows = lash_rows(control)
    for (roots, tips, upper), (mirrored, _, _) in zip(rows[:2], rows[2:], strict=True):
        np.testing.assert_allclose(roots * [-1, 1, 1], mirrored, atol=1e-3)
        assert (tips[:, 1].mean() > roots[:, 1].mean()) == upper
