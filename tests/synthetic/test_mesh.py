"""Subdivision against its closed form, and the soft step."""

import numpy as np

from speech2face.synthetic.mesh import smoothstep, subdivision, vertex_normals

CUBE = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
CUBE_FACES = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])


def test_subdivided_cube_has_catmull_and_clarks_points() -> None:
    matrix, faces = subdivision(CUBE_FACES, len(CUBE))
    points = matrix @ CUBE
    assert points.shape == (8 + 12 + 6, 3) and faces.shape == (24, 4)
    np.testing.assert_allclose(points[:8], CUBE * 5 / 9)
    np.testing.assert_allclose(np.sort(np.abs(points[8:20]), axis=1), np.tile([0, 0.75, 0.75], (12, 1)))
    np.testing.assert_allclose(np.sort(np.abs(points[20:]), axis=1), np.tile([0, 0, 1], (6, 1)))
    outward = vertex_normals(points, faces)
    assert ((outward * points).sum(axis=1) > 0.5).all()


def test_an_open_mesh_keeps_its_plane() -> None:
    square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    matrix, _ = subdivision(np.array([[0, 1, 2, 3]]), 4)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    assert np.ptp((matrix @ square)[:, 2]) == 0


def test_the_soft_step_is_flat_at_both_ends_and_a_half_between() -> None:
    x = np.array([-1.0, 2.0, 3.0, 4.0, 9.0])
    np.testing.assert_allclose(smoothstep(2, 4, x), [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(smoothstep(4, 2, x), [1, 1, 0.5, 0, 0])
