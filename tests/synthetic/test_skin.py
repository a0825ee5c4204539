"""The painted skin: what each field of a speaker does to the chart, and what it leaves alone."""

from dataclasses import replace

import numpy as np
import pytest

from speech2face.synthetic.hair import COLOURS
from speech2face.synthetic.head_shape import Head
from speech2face.synthetic.skin import S_MM, TEXELS_PER_MM, Y_MM, Skin, chart, scalp_height_mm, texture_coordinates
from speech2face.synthetic.speakers import Speaker, draw_speaker

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def skin() -> Skin:
    return Skin(Head())


@pytest.fixture(scope="module")
def speaker() -> Speaker:
    return replace(draw_speaker(0, 0), sex="f", age_years=25.0, skin_tone=0.3, hair_colour="brown")


def paint(skin: Skin, speaker: Speaker) -> tuple[np.ndarray, np.ndarray]:
    return skin.paint(speaker, np.array(COLOURS[speaker.hair_colour]), np.random.default_rng(0))


def patch(image: np.ndarray, s_mm: float, y_mm: float, radius_mm: float = 3.0) -> np.ndarray:
    """Mean of the image [H, W, C] around a place of the chart."""
    row, column = int((Y_MM[1] - y_mm) * TEXELS_PER_MM), int((s_mm - S_MM[0]) * TEXELS_PER_MM)
    reach = int(radius_mm * TEXELS_PER_MM)
    return image[row - reach : row + reach, column - reach : column + reach].mean(axis=(0, 1))


def test_the_chart_is_a_cylinder_round_the_head() -> None:
    ahead, left = np.array([0.0, 0.01, 0.025]), np.array([0.1, -0.02, -0.075])
    np.testing.assert_allclose(chart(np.stack([ahead, left])), [[0, 10], [50 * np.pi, -20]], atol=1e-9)
    np.testing.assert_allclose(texture_coordinates(ahead), [0.5, (Y_MM[1] - 10) / (Y_MM[1] - Y_MM[0])])


def test_the_hairline_lies_over_the_forehead_and_above_the_ears() -> None:
    s, y = np.array([0.0, 0.0, 0.0, 92.0]), np.array([50.0, 80.0, -60.0, 0.0])
    assert (scalp_height_mm(s, y) > 0).tolist() == [False, True, False, False]


def test_darker_tone_reflects_less_in_every_channel(skin: Skin, speaker: Speaker) -> None:
    foreheads = [patch(paint(skin, replace(speaker, skin_tone=t))[0], 30, 45) for t in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert (np.diff(foreheads, axis=0) < 0).all()
    assert foreheads[0].sum() > 6 * foreheads[-1].sum()


def test_lips_are_redder_than_the_chin(skin: Skin, speaker: Speaker) -> None:
    colour, _ = paint(skin, speaker)
    lip, chin = patch(colour, 8, -73, 1.5), patch(colour, 20, -95)
    assert lip[0] / lip[1] > 1.3 * chin[0] / chin[1]


def test_age_deepens_the_lines_beside_the_nose(skin: Skin, speaker: Speaker) -> None:
    depths = [-patch(paint(skin, replace(speaker, age_years=a))[1], 31, -57, 1.0)[0] for a in (20.0, 40.0, 60.0, 80.0)]
    assert (np.diff(depths) > 0.1).all()


def test_a_mans_jaw_is_shadowed_and_a_womans_is_not(skin: Skin, speaker: Speaker) -> None:
    woman, man = (paint(skin, replace(speaker, sex=sex))[0] for sex in "fm")
    assert (patch(man, 55, -88) < 0.9 * patch(woman, 55, -88)).all()
    np.testing.assert_allclose(patch(man, 30, 45), patch(woman, 30, 45), rtol=0.02)


def test_hair_colour_leaves_the_face_alone(skin: Skin, speaker: Speaker) -> None:
    black, blond = (paint(skin, replace(speaker, hair_colour=c))[0] for c in ("black", "blond"))
    np.testing.assert_array_equal(patch(black, 45, -30), patch(blond, 45, -30))
    assert (patch(blond, 0, 100) > 2 * patch(black, 0, 100)).all()
