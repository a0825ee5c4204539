"""What is said of leaks and controls, word by word."""

import pytest

from speech2face.report.verdicts import describe_controls, describe_leaks


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
