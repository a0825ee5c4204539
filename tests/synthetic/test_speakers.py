import numpy as np
import pytest

from speech2face.synthetic.speakers import CONTROLS, LINKED, draw_speaker, draw_video

SPEAKERS = [draw_speaker(0, index) for index in range(2000)]


def test_a_speaker_depends_on_seed_and_number_alone():
    assert draw_speaker(0, 7) == SPEAKERS[7] != draw_speaker(1, 7)
    assert draw_video(0, 7, 1) == draw_video(0, 7, 1) != draw_video(0, 8, 1)


@pytest.mark.parametrize("name", ["skin_tone", "eye_spacing", "nose_shape", "ear_size"])
def test_controls_are_drawn_without_regard_to_what_is_linked(name: str):
    values = np.array([getattr(speaker, name) for speaker in SPEAKERS])
    linked = np.array([[s.sex == "m", s.age_years, s.vocal_tract_length_cm, s.f0_hz] for s in SPEAKERS], float)
    for column in linked.T:
        assert abs(np.corrcoef(values, column)[0, 1]) < 4 / np.sqrt(len(SPEAKERS))


def test_voices_follow_sex_and_age():
    f0 = {sex: np.mean([s.f0_hz for s in SPEAKERS if s.sex == sex]) for sex in "fm"}
    assert 180 < f0["f"] < 210 and 100 < f0["m"] < 130
    age, rate = np.array([[s.age_years, s.rate_wpm] for s in SPEAKERS]).T
    assert np.corrcoef(age, rate)[0, 1] < -0.8
    assert not set(LINKED) & set(CONTROLS)
