"""Strands keep to the head, leave the face free and follow it when it moves."""

import numpy as np
import pytest

from speech2face.synthetic.hair import Hair, brow_line_mm, ribbons
from speech2face.synthetic.head_shape import Head
from speech2face.synthetic.skin import chart

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hair() -> Hair:
    return Hair(Head())


@pytest.mark.parametrize("cut", range(4))
def test_no_strand_hangs_before_the_face_or_flies_away(hair: Hair, cut: int) -> None:
    points = np.concatenate([strands.points.reshape(-1, 3) for strands in hair.cut(cut)])
    x, y, z = points.T
    assert not ((np.abs(x) < 0.055) & (y < 0.05) & (z > -0.03)).any()
    assert np.abs(x).max() < 0.125 and y.max() < 0.16 and z.min() > -0.27
    assert len(points) > 10_000


def test_cuts_differ_in_length(hair: Hair) -> None:
    lowest = [min(strands.points[..., 1].min() for strands in hair.cut(cut)) for cut in range(4)]
    highest = [max(strands.points[..., 1].max() for strands in hair.cut(cut)) for cut in range(4)]
    assert lowest[2] < min(lowest[0], lowest[1]) - 0.03  # medium reaches the neck
    assert highest[3] > max(highest[:3]) + 0.01  # the knot stands above


def test_brows_lie_along_their_line(hair: Hair) -> None:
    roots = chart(hair.brows.points[:, 0])
    line, half = brow_line_mm(np.abs(roots[:, 0]))
    assert (np.abs(roots[:, 1] - line) < 1.6 * half).all()
    assert (roots[:, 0] > 0).any() and (roots[:, 0] < 0).any()


def test_strands_move_with_the_skin(hair: Hair) -> None:
    shift = np.array([0.01, -0.02, 0.03])
    strands = hair.cut(1)[0]
    moved = strands.moved(np.broadcast_to(shift, (len(Head().mean), 3)))
    np.testing.assert_allclose(moved - strands.points, np.broadcast_to(shift, moved.shape), atol=1e-12)


def test_ribbons_have_their_width_and_face_outwards() -> None:
    points = np.stack([np.zeros(3), [0.0, -0.01, 0.0], [0.0, -0.02, 0.0]])[None]
    outward = np.broadcast_to([0.0, 0.0, 1.0], points.shape)
    vertices, normals, triangles = ribbons(points, outward, np.array([0.002]), taper=0.5)
    pairs = vertices.reshape(3, 2, 3)
    np.testing.assert_allclose(np.linalg.norm(pairs[:, 1] - pairs[:, 0], axis=1), [0.002, 0.0015, 0.001])
    assert (normals[:, 2] > 0.8).all() and triangles.shape == (4, 3)
    assert triangles.max() == len(vertices) - 1
