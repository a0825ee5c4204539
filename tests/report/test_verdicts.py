"""What is said of leaks, controls, the simplest baseline and people heard before, word by word."""

import pytest

from speech2face.report.verdicts import describe_controls, describe_heard, describe_leaks, describe_regression


def systems(voice: dict[str, float], ridge: dict[str, float]) -> dict:
    """Results of two systems, the differences with intervals of 0.01 to either side."""
    more = {name: round(value - voice[name], 3) for name, value in ridge.items()}
    return {
        "voice": {name: {"value": value} for name, value in voice.items()},
        "ridge_mean_spectrogram": {
            name: {
                "value": value,
                "difference": {"value": more[name], "low": more[name] - 0.01, "high": more[name] + 0.01},
            }
            for name, value in ridge.items()
        },
    }


def test_a_linear_regression_that_is_better_is_said_with_its_numbers():
    own = {"one_of_2": 0.8, "recall_at_10_percent": 0.4}
    assert describe_regression(systems(own, {"one_of_2": 0.85, "recall_at_10_percent": 0.5})) == (
        "A linear regression from the mean spectrogram finds faces better than this model: choosing one of two faces 0.850, this model "
        "0.800 (0.050 more, 0.040 to 0.060); recall at 10 % of the gallery 0.500, this model 0.400 (0.100 more, 0.090 to 0.110)."
    )
    only_recall = describe_regression(systems(own, {"one_of_2": 0.8, "recall_at_10_percent": 0.5}))
    assert "recall at 10 %" in only_recall and "one of two" not in only_recall


def test_a_linear_regression_that_is_no_better_or_was_not_measured_is_not_mentioned():
    own = {"one_of_2": 0.8, "recall_at_10_percent": 0.4}
    assert describe_regression(systems(own, own)) == ""
    assert describe_regression({"voice": systems(own, own)["voice"]}) == ""


def test_people_who_may_have_been_heard():
    text = describe_heard({"corpora": "voxceleb"})
    assert text.startswith(
        "The frozen speaker encoder was trained on recordings of voxceleb. So it may have heard some"
    )


def test_leaks_that_were_found_and_those_that_could_not_be_looked_for():
    found = {"shared_files": 1, "identical_faces": 2, "look_alikes": 3}
    assert describe_leaks(found) == (
        "Between test speakers and the others: 1 clips with a shared file, 2 videos with an identical face, and 3 speakers who look alike "
        "enough to be one person under two names."
    )
    assert describe_leaks(found | {"look_alikes": None}) == (
        "Between test speakers and the others: 1 clips with a shared file, 2 videos with an identical face. Whether speakers look alike "
        "enough to be one person under two names could not be checked: that takes two videos of training speakers."
    )


@pytest.mark.parametrize(
    ("distinguishable", "names", "said"),
    [
        (0, "none", "0 of 3 testable controls are distinguishable from chance."),
        (1, "skin_tone", "1 of 3 testable controls is distinguishable from chance (skin_tone)."),
        (2, "skin_tone, pose", "2 of 3 testable controls are distinguishable from chance (skin_tone, pose)."),
    ],
)
def test_controls_that_were_tested(distinguishable, names, said):
    found = {"distinguishable": distinguishable, "distinguishable_names": names, "testable": 3, "untestable": {}}
    assert describe_controls(found) == said


def test_controls_that_could_not_be_tested():
    untestable = {"accent": "faces do not show it", "lighting": "it does not vary", "room": "faces do not show it"}
    found = {"distinguishable": 0, "distinguishable_names": "none", "testable": 0, "untestable": untestable}
    assert describe_controls(found) == (
        "3 cannot be tested this way: accent, room (faces do not show it); lighting (it does not vary). Such a control may still be "
        "audible; it has not passed."
    )
    assert describe_controls(found | {"untestable": {}}) == ""
