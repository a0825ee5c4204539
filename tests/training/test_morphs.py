import numpy as np
import pytest

from speech2face.training import morphs
from speech2face.training.morphs import nearest_neighbours

ALL = np.ones((7, 224, 224), bool)


@pytest.fixture(autouse=True, params=[1024, 2])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All faces are one block, or many blocks, of which few faces are kept."""
    monkeypatch.setattr(morphs, "FACES_PER_BLOCK", request.param)
    monkeypatch.setattr(morphs, "SPARE", 1)


def test_neighbours_are_ordered_by_the_papers_distance():
    rng = np.random.default_rng(0)
    landmarks = rng.uniform(0, 224, (7, 68, 2))
    smooth = rng.integers(0, 256, (7, 3, 1, 1))
    textures = np.broadcast_to(smooth, (7, 3, 224, 224)).astype(np.uint8)  # flat, so that every eighth pixel tells all
    full = textures.reshape(7, -1).astype(float) / 255
    shapes = landmarks.reshape(7, -1) / 224
    for face, found in enumerate(nearest_neighbours(landmarks, textures, ALL, 3)):
        distance = 10 * np.linalg.norm(shapes - shapes[face], axis=1) + np.linalg.norm(full - full[face], axis=1)
        distance[face] = np.inf
        assert found.tolist() == np.argsort(distance)[:3].tolist()


def test_a_face_is_never_its_own_neighbour_even_among_equal_ones():
    faces = np.zeros((4, 68, 2)), np.zeros((4, 3, 224, 224), np.uint8), ALL[:4]
    found = nearest_neighbours(*faces, 2)
    assert all(own not in others and len(set(others)) == 2 for own, others in enumerate(found.tolist()))


def test_there_are_no_more_neighbours_than_others():
    assert nearest_neighbours(np.zeros((3, 68, 2)), np.zeros((3, 3, 224, 224), np.uint8), ALL[:3], 5).shape == (3, 2)


def test_what_one_of_two_photographs_does_not_show_is_not_compared():
    """Flat faces, differing by the same everywhere: the distance is that of all pixels, whatever part is hidden under noise."""
    rng = np.random.default_rng(0)
    textures = np.broadcast_to(rng.integers(0, 256, (7, 3, 1, 1)), (7, 3, 224, 224)).astype(np.uint8)
    masks = ALL.copy()
    masks[2, :, :96] = masks[4, 120:] = False
    hidden = np.where(masks[:, None], textures, rng.integers(0, 256, textures.shape)).astype(np.uint8)
    landmarks = rng.uniform(0, 224, (7, 68, 2))
    expected = nearest_neighbours(landmarks, textures, ALL, 3)
    np.testing.assert_array_equal(nearest_neighbours(landmarks, hidden, masks, 3), expected)
