"""The twelve measures on faces whose proportions are known."""

import numpy as np
import pytest

from speech2face.evaluation.craniofacial import PUBLISHED, correlate, measures
from speech2face.evaluation.statistics import Bootstrap
from tests.evaluation.simulated import face


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
BOOTSTRAP = Bootstrap(SPEAKERS, 400, 0.95, 0)


class TestCorrelations:
    def faces(self, seed):
        of_speaker = np.random.default_rng(seed).normal(size=(80, 68, 2))
        return face() + of_speaker.repeat(2, axis=0)

    def test_the_same_faces_correlate_fully_and_beyond_permutations(self):
        faces = self.faces(0)
        for name, result in correlate(faces, faces, SPEAKERS, BOOTSTRAP, 400, 0).items():
            assert result["value"] == pytest.approx(1), name
            assert result["corrected_p_value"] == pytest.approx(12 / 401), name
            assert result["chance_high"] < 0.5, name

    def test_unrelated_faces_do_not(self):
        found = correlate(self.faces(1), self.faces(2), SPEAKERS, BOOTSTRAP, 400, 0)
        assert min(result["corrected_p_value"] for result in found.values()) > 0.05
        covered = [result["low"] <= 0 <= result["high"] for result in found.values()]
        assert sum(covered) >= 9  # of 12 at 95 %; fewer would happen once in 500 seeds

    def test_one_face_for_all_has_no_correlation(self):
        same = np.repeat(face()[None], 160, axis=0)
        assert correlate(self.faces(0), same, SPEAKERS, BOOTSTRAP, 100, 0) == {}
