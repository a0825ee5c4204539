"""The shirt covers the shoulders, ends in a clean line and lies outside the skin."""

import numpy as np
import pytest

from speech2face.synthetic.clothes import Shirt
from speech2face.synthetic.head_shape import Head
from speech2face.synthetic.mesh import vertex_normals


@pytest.fixture(scope="module")
def head() -> Head:
    return Head()


def test_the_neckline_is_smooth_and_below_the_chin(head: Head) -> None:
    shirt = Shirt(head)
    vertices, _ = shirt.fit(head.mean, vertex_normals(head.mean, head.faces))
    sides = np.sort(shirt.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    edges, count = np.unique(sides, axis=0, return_counts=True)
    rim = vertices[np.unique(edges[count == 1])]
    hem = rim[(np.abs(rim[:, 0]) < 0.1) & (rim[:, 1] > -0.25)]
    assert len(hem) > 50 and hem[:, 1].max() < -0.09
    band, normals, triangles = shirt.collar(vertices)
    assert np.isfinite(band).all() and triangles.max() == len(band) - 1
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-9)
    nearest = np.linalg.norm(hem[:, None] - band[None], axis=-1).min(axis=1)
    assert np.percentile(nearest, 95) < 0.006  # the band hides the cut


def test_the_shirt_lies_over_the_skin(head: Head) -> None:
    normals = vertex_normals(head.mean, head.faces)
    shirt = Shirt(head)
    vertices, outward = shirt.fit(head.mean, normals)
    bare, _ = shirt.fit(head.mean, np.zeros_like(normals))
    height = ((vertices - bare) * outward).sum(axis=1)
    assert height.min() > 0.001 and height.max() < 0.0051
