"""What is said of leaks, controls, the simplest baseline and people heard before, word by word."""

import pytest

from speech2face.report.verdicts import (
    AS_WELL,
    BETTER,
    LESS_WELL,
    describe_controls,
    describe_heard,
    describe_leaks,
    describe_regression,
    is_regression_better,
    verdict_of,
)


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


OWN = {"one_of_2": 0.8, "recall_at_10_percent": 0.4, "centred_cosine": 0.3}
BEHIND = {"one_of_2": 0.7, "recall_at_10_percent": 0.3, "centred_cosine": 0.2}


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.001, 0.2, BETTER),
        (0.0, 0.2, AS_WELL),
        (-0.038, 0.043, AS_WELL),
        (0.0, 0.0, AS_WELL),
        (-0.2, 0.0, AS_WELL),
        (-0.2, -0.001, LESS_WELL),
    ],
)
def test_only_an_interval_without_zero_says_that_one_is_better(low: float, high: float, verdict: str):
    assert verdict_of({"value": (low + high) / 2, "low": low, "high": high}) == verdict


def test_a_linear_regression_that_is_better_is_said_with_its_numbers():
    better = systems(OWN, {"one_of_2": 0.85, "recall_at_10_percent": 0.5, "centred_cosine": 0.45})
    assert describe_regression(better) == (
        "A linear regression from the mean spectrogram finds faces better than this model by choosing one of two faces (0.850 against "
        "0.800: 0.050 more, 0.040 to 0.060) and by recall at 10 % of the gallery (0.500 against 0.400: 0.100 more, 0.090 to 0.110). It "
        "predicts features better than this model by centred cosine (0.450 against 0.300: 0.150 more, 0.140 to 0.160)."
    )
    assert is_regression_better(better)


def test_a_higher_number_is_not_called_better_where_the_interval_of_the_difference_has_zero_in_it():
    alike = systems(OWN, {"one_of_2": 0.803, "recall_at_10_percent": 0.4})
    assert describe_regression(alike) == (
        "A linear regression from the mean spectrogram finds faces about as well as this model by choosing one of two faces (0.803 against "
        "0.800: 0.003 more, -0.007 to 0.013) and by recall at 10 % of the gallery (0.400 against 0.400: no difference, -0.010 to 0.010)."
    )
    assert not is_regression_better(alike)


def test_a_linear_regression_that_does_less_well_is_said_with_its_numbers():
    behind = systems(OWN, BEHIND)
    assert describe_regression(behind) == (
        "A linear regression from the mean spectrogram finds faces less well than this model by choosing one of two faces (0.700 against "
        "0.800: 0.100 less, 0.090 to 0.110) and by recall at 10 % of the gallery (0.300 against 0.400: 0.100 less, 0.090 to 0.110). It "
        "predicts features less well than this model by centred cosine (0.200 against 0.300: 0.100 less, 0.090 to 0.110)."
    )
    assert not is_regression_better(behind)


def test_measures_that_disagree_are_said_apart_the_better_first():
    mixed = systems(OWN, {"one_of_2": 0.7, "recall_at_10_percent": 0.5})
    assert describe_regression(mixed) == (
        "A linear regression from the mean spectrogram finds faces better than this model by recall at 10 % of the gallery (0.500 against "
        "0.400: 0.100 more, 0.090 to 0.110). It finds faces less well than this model by choosing one of two faces (0.700 against 0.800: "
        "0.100 less, 0.090 to 0.110)."
    )
    assert is_regression_better(mixed)


def test_a_linear_regression_that_was_not_measured_is_not_mentioned():
    undefined = systems(OWN, OWN)
    for entry in undefined["ridge_mean_spectrogram"].values():
        entry["difference"] = {}
    for unmeasured in ({"voice": systems(OWN, OWN)["voice"]}, undefined):
        assert describe_regression(unmeasured) == ""
        assert not is_regression_better(unmeasured)


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
