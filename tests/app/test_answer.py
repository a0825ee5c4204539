"""What is said of a voice: each picture is that which the model itself draws."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from speech2face.app.answer import MAX_HEARD_S, Artist, Voice, hear, join, steps
from speech2face.drawing.model import NOTE, Speech2Face
from speech2face.pipeline.rejects import UnusableError
from tests.app.serving import RATE_HZ, picture, same, save_models, voice, wav


def never() -> None:
    """No one has left."""


@pytest.fixture(scope="module")
def stretching(tmp_path_factory: pytest.TempPathFactory) -> Speech2Face:
    return Speech2Face.load(save_models(tmp_path_factory.mktemp("stretching"), stretch=2.5), "cpu")


@pytest.fixture(scope="module")
def long(stretching: Speech2Face, tmp_path_factory: pytest.TempPathFactory):
    """A recording of 70 s and its answer."""
    sound = np.concatenate([voice(number, 3.5) for number in range(20)])
    path = tmp_path_factory.mktemp("long") / "long.wav"
    path.write_bytes(wav(sound))
    found = hear(stretching, path, never)
    return sound, found, join(Artist.of(stretching, num_threads=2).draw(found, never))


def test_only_the_first_minute_is_heard(long):
    _, found, answer = long
    assert answer["heard_s"] == MAX_HEARD_S == found.ends_s[-1]
    assert found.ends_s == [6.0 + 3 * number for number in range(19)]


def test_the_face_is_the_models_own(long, stretching: Speech2Face):
    sound, _, answer = long
    expected = stretching.draw(sound[: 60 * RATE_HZ], RATE_HZ)
    assert same(picture(answer["face"]), expected)
    assert same(picture(answer["mean_face"]), stretching.mean_face())
    assert not same(picture(answer["face"]), picture(answer["mean_face"]))
    assert answer["note"] == NOTE


def test_each_growing_face_is_that_of_a_recording_that_ends_there(long, stretching: Speech2Face):
    sound, _, answer = long
    assert [grown["seconds"] for grown in answer["growing"]] == [1, 2, 4, 6, 12, 24, 48, 60]
    for grown in answer["growing"]:
        expected = stretching.draw(sound[: round(grown["seconds"] * RATE_HZ)], RATE_HZ)
        assert same(picture(grown["picture"]), expected), grown["seconds"]


def test_the_stretched_faces_go_from_the_mean_face_to_as_far_as_real_ones(long, stretching: Speech2Face):
    sound, _, answer = long
    assert answer["real_stretch"] == stretching.stretch == 2.5
    assert [face["stretch"] for face in answer["stretched"]] == pytest.approx([0, 1 / 3, 2 / 3, 1, 1.5, 2, 2.5])
    features = stretching.features(sound[: 60 * RATE_HZ], RATE_HZ)[None]
    for face in answer["stretched"]:
        (expected,) = stretching.faces(features, stretch=face["stretch"])
        assert same(picture(face["picture"]), expected), face["stretch"]


def test_where_predictions_are_as_far_as_real_faces_nothing_is_stretched():
    assert steps(1.0) == steps(0.8) == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_a_beginning_in_which_nothing_is_heard_has_no_face(model: Speech2Face, tmp_path: Path):
    path = tmp_path / "late.wav"
    path.write_bytes(wav(np.concatenate([np.zeros(RATE_HZ, np.float32), voice(1, 2.5)])))
    answer = join(Artist.of(model).draw(hear(model, path, never), never))
    assert [(grown["seconds"], grown["picture"] is None) for grown in answer["growing"]] == [
        (1, True),
        (2, False),
        (3.5, False),
    ]


def test_what_the_check_raises_ends_the_work(model: Speech2Face, tmp_path: Path):
    class LeftError(Exception):
        pass

    def listen(segment: np.ndarray) -> torch.Tensor:
        heard.append(segment)
        return model.listen(segment)

    def left() -> None:
        if len(heard) >= 3:
            raise LeftError

    heard: list[np.ndarray] = []
    artist = Artist.of(replace(model, listen=listen), num_threads=2)
    heard.clear()
    with pytest.raises(LeftError):
        next(artist.draw(Voice([voice(1)] * 50, [float(end_s) for end_s in range(50)]), left))
    assert len(heard) < 10


def test_a_recording_that_cannot_be_used_is_a_line_with_its_reason(model: Speech2Face, tmp_path: Path):
    path = tmp_path / "short.wav"
    path.write_bytes(wav(voice(1, 0.2)))
    with pytest.raises(UnusableError, match=r"short\.wav: less than 1 s of sound") as caught:
        hear(model, path, never)
    assert caught.value.reason == "too_short"
