"""The head's shape: each field of a speaker against the geometry it names."""

from dataclasses import replace

import numpy as np
import pytest

from speech2face.synthetic.eyes import eyeball_places
from speech2face.synthetic.head_shape import Head
from speech2face.synthetic.speakers import Speaker, draw_speaker

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def head() -> Head:
    return Head()


@pytest.fixture(scope="module")
def speaker() -> Speaker:
    return replace(draw_speaker(0, 0), lower_face_length=0.0, eye_spacing=0.0, nose_shape=0.0, ear_size=0.0)


def test_the_mean_head_is_symmetric_and_life_sized(head: Head) -> None:
    assert np.abs(head.mean[:, 0].max() + head.mean[:, 0].min()) < 1e-3
    top, ear_to_ear = head.mean[:, 1].max(), 2 * head.mean[head.ears, 0].max()
    assert 0.09 < top < 0.13 and 0.14 < ear_to_ear < 0.21


def test_the_lips_lie_below_the_nose(head: Head) -> None:
    lips = head.mean[head.lips > 0.5]
    assert len(lips) > 50
    assert lips[:, 1].max() < -0.045 and lips[:, 1].min() > -0.095 and np.abs(lips[:, 0]).max() < 0.04


def test_lower_face_length_moves_the_chin_and_not_the_eyes(head: Head, speaker: Speaker) -> None:
    lengths = (-2.5, -1.0, 0.0, 1.0, 2.5)
    skins = [head.skin(head.control(replace(speaker, lower_face_length=z), 0.0)) for z in lengths]
    chin = np.flatnonzero((np.abs(head.mean[:, 0]) < 0.02) & (head.mean[:, 1] < -0.09) & (head.mean[:, 2] > 0.0))
    heights = [skin[chin, 1].mean() for skin in skins]
    assert (np.diff(heights) < -0.002).all()
    above = head.mean[:, 1] > -0.025
    assert np.abs(skins[0][above] - skins[-1][above]).max() < 1e-4


def test_eye_spacing_moves_the_eyeballs_apart(head: Head, speaker: Speaker) -> None:
    distances = []
    for spacing in (-1.0, 0.0, 1.0):
        (left, _), (right, _) = eyeball_places(head.control(replace(speaker, eye_spacing=spacing), 0.0))
        distances.append(left[0] - right[0])
    assert distances[0] + 0.002 < distances[1] < distances[2] - 0.002


def test_nose_shape_widens_the_nose(head: Head, speaker: Speaker) -> None:
    tip = (np.abs(head.mean[:, 0]) < 0.02) & (np.abs(head.mean[:, 1] + 0.04) < 0.01) & (head.mean[:, 2] > 0.02)
    widths = [np.ptp(head.skin(head.control(replace(speaker, nose_shape=n), 0.0))[tip, 0]) for n in (-1.0, 0.0, 1.0)]
    assert widths[0] < widths[1] < widths[2]


def test_larger_ears_are_larger(head: Head, speaker: Speaker) -> None:
    sizes = [
        np.ptp(head.skin(head.control(replace(speaker, ear_size=e), 0.0))[head.ears & (head.mean[:, 0] > 0), 1])
        for e in (-1.0, 0.0, 1.0)
    ]
    assert sizes[0] < sizes[1] < sizes[2]
