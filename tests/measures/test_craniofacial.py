"""The twelve measures on faces whose proportions are known."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from speech2face.measures.craniofacial import PUBLISHED, correlate, measures
from speech2face.pipeline.params import Evaluation
from tests.simulated import SETTINGS, face

pytestmark = pytest.mark.slow


def test_each_by_hand():
    found = {name: value[0] for name, value in measures(face()[None]).items()}
    lips = face()[48:60]
    area = 0.5 * abs(sum(x * v - u * y for (x, y), (u, v) in zip(lips, np.roll(lips, -1, axis=0), strict=True)))
    assert found == pytest.approx(
        {
            "nasal_index": 30 / 40,
            "nose_width": 30 / 60,
            "vermilion_height_index": 5 / 7,
            "nose_area": (30 * 40 / 2) / 60**2,
            "lateral_upper_lip_heights": np.hypot(7, 20) / 60,
            "intercanthal_index": 30 / 90,
            "mouth_face_width_index": 50 / 120,
            "mandibular_index": 48 / 120,
            "labio_oral_region": area / 60**2,
            "upper_lip_height": 25 / 60,
            "nose_height": 40 / 60,
            "jaw_width": 120 / 60,
        }
    )
    assert set(found) == set(PUBLISHED)


def test_size_place_and_turn_do_not_matter():
    faces = face() + np.random.default_rng(0).normal(size=(5, 68, 2))
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    for name, values in measures(3.7 * faces @ turn + [100, -20]).items():
        assert np.allclose(values, measures(faces)[name]), name


@pytest.mark.parametrize(
    ("moved", "changed"),
    [
        ({"p31": (-18, 40), "p35": (18, 40)}, {"nasal_index", "nose_width", "nose_area", "lateral_upper_lip_heights"}),
        ({"p4": (-65, 60), "p12": (65, 60)}, {"mouth_face_width_index", "mandibular_index", "jaw_width"}),
        ({"p8": (0, 120)}, {"mandibular_index"}),
        ({"p57": (0, 78)}, {"vermilion_height_index", "labio_oral_region"}),
    ],
)
def test_a_moved_point_changes_its_measures_only(moved, changed):
    before, after = measures(face()[None]), measures(face(**moved)[None])
    assert {name for name in before if not np.isclose(before[name], after[name])} == changed


SPEAKERS = [f"id{i // 2}" for i in range(160)]
OFTEN = SETTINGS.model_copy(update={"resamples": 400})


class TestCorrelations:
    def faces(self, seed):
        of_speaker = np.random.default_rng(seed).normal(size=(80, 68, 2))
        return face() + of_speaker.repeat(2, axis=0)

    def test_the_same_faces_correlate_fully_and_beyond_permutations(self):
        faces = self.faces(0)
        for name, result in correlate(faces, faces, SPEAKERS, OFTEN, 0).items():
            assert result["value"] == pytest.approx(1), name
            assert result["corrected_p_value"] == pytest.approx(12 / 401), name
            assert result["chance_high"] < 0.5, name

    def test_unrelated_faces_do_not(self):
        found = correlate(self.faces(1), self.faces(2), SPEAKERS, OFTEN, 0)
        assert min(result["corrected_p_value"] for result in found.values()) > 0.05
        covered = [result["low"] <= 0 <= result["high"] for result in found.values()]
        assert sum(covered) >= 9  # of 12 at 95 %; fewer would happen once in 500 seeds

    def test_it_is_the_correlation_of_speakers_means_whatever_their_clips(self):
        speakers, true, voices = uneven(0)
        found = correlate(true, voices, speakers, OFTEN, 0)
        tables = [pd.DataFrame(measures(faces)).groupby(speakers).mean() for faces in (true, voices)]
        for name, result in found.items():
            assert result["value"] == pytest.approx(stats.pearsonr(tables[0][name], tables[1][name]).statistic), name

    @pytest.mark.parametrize("varied", ["true", "voice"])
    def test_one_face_for_all_has_no_correlation(self, varied):
        """Not even by rounding, which the means of different numbers of clips bring in."""
        speakers, faces, _ = uneven(0)
        same = (face() * 1.1)[None] + 1e-9 * np.random.default_rng(0).normal(size=faces.shape)
        pair = (same, faces) if varied == "voice" else (faces, same)
        assert correlate(*pair, speakers, SETTINGS, 0) == {}

    def test_one_speaker_has_no_correlation(self):
        assert correlate(self.faces(0)[:1], self.faces(1)[:1], SPEAKERS[:1], OFTEN, 0) == {}


def uneven(seed, num_speakers=25):
    """Speakers of 1 to 6 clips, and unrelated faces of each clip that resemble each other within a speaker."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 7, num_speakers)
    speakers = [f"id{i}" for i in range(num_speakers)]
    faces = [
        face() + rng.normal(size=(num_speakers, 68, 2)).repeat(counts, axis=0) + rng.normal(size=(counts.sum(), 68, 2))
        for _ in range(2)
    ]
    return np.repeat(speakers, counts).tolist(), *faces


@pytest.mark.parametrize(("confidence", "resamples"), [(0.95, 199), (0.9, 100), (0.8, 250)])
def test_threshold_and_p_value_agree_and_noise_passes_at_the_nominal_rate(confidence, resamples):
    settings = SETTINGS.model_copy(update={"resamples": resamples, "confidence": confidence})
    passed, simulations = [], 100
    for seed in range(simulations):
        speakers, true, voices = uneven(seed)
        for result in correlate(true, voices, speakers, settings, seed).values():
            significant = result["p_value"] <= 1 - confidence + 1e-9
            assert significant == (result["value"] > result["chance_high"])
            passed.append(significant)
    assert len(passed) == 12 * simulations
    # The twelve of a face are not independent of each other: as if at least 3 were, two standard errors times two.
    level = np.floor((1 - confidence) * (1 + resamples) + 1e-9) / (1 + resamples)
    assert abs(np.mean(passed) - level) < 4 * np.sqrt(level * (1 - level) / (3 * simulations))


def test_too_few_permutations_pass_nothing():
    speakers, true, _ = uneven(0)
    seldom = Evaluation.model_construct(confidence=0.95, resamples=10)  # fewer than params.yaml may ask for
    for result in correlate(true, true, speakers, seldom, 0).values():
        assert result["p_value"] == pytest.approx(1 / 11)
        assert result["value"] <= result["chance_high"] == 1
