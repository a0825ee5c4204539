"""Whether the tests of the negative controls find leaks and only leaks, and say what they cannot find."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from speech2face.evaluation.inputs import align
from speech2face.evaluation.measure import measure
from speech2face.measures.attributes import significance
from speech2face.measures.controls import CONSTANT, NOT_SHOWN, check_controls, describe_controls
from tests.evaluation.simulated import ROLES, SETTINGS, fitted, simulate

CONTROLS = [name for name, role in ROLES.items() if role == "control"]


class TestControls:
    def check(self, inputs, seed=0):
        aligned, controls = fitted(inputs, CONTROLS)
        return check_controls(controls, inputs.predicted["6 s"], aligned.true, {}, 0.95, 500, seed)

    def test_honest_predictions_tell_no_control(self):
        found = self.check(simulate())
        assert found["distinguishable"] == 0
        assert found["distinguishable_names"] == "none"
        assert set(found["tests"]) == {"skin_tone", "hair_colour", "pose"}
        assert found["testable"] == 3
        assert found["untestable"] == dict.fromkeys(("accent", "room"), NOT_SHOWN)

    @pytest.mark.parametrize("control", ["skin_tone", "hair_colour", "pose"])
    def test_a_control_made_audible_is_found(self, control):
        found = self.check(simulate(audible=(control,), noise=2.0))
        assert found["distinguishable_names"] == control
        assert found["tests"][control]["corrected_p_value"] <= 0.05

    @pytest.mark.parametrize("control", ["accent", "room"])
    def test_what_faces_show_and_voices_tell_is_found(self, control):
        found = self.check(simulate(visible=(control,), audible=(control,), noise=2.0))
        assert found["distinguishable_names"] == control
        assert found["testable"] == 4

    @pytest.mark.parametrize("control", ["accent", "room"])
    def test_what_faces_show_and_voices_do_not_tell_passes(self, control):
        found = self.check(simulate(visible=(control,)))
        assert control in found["tests"]
        assert found["distinguishable"] == 0

    def test_what_only_voices_tell_has_not_passed(self):
        inputs = simulate()
        accents = inputs.attributes["accent"].reindex(inputs.clip_ids)
        heard = inputs.predicted["6 s"] + 3 * np.random.default_rng(5).normal(size=(3, 32))[pd.factorize(accents)[0]]
        found = self.check(replace(inputs, predicted={"6 s": heard}))
        assert found["untestable"]["accent"] == NOT_SHOWN
        assert "accent" not in found["tests"]
        assert "accent, room (faces do not show it). Such a control may still be audible" in describe_controls(found)

    def test_what_faces_do_not_show_is_seldom_tested(self):
        tested = 0
        for seed in range(20):
            found = self.check(simulate(50, dim=8, seed=seed), seed)
            tested += len({"accent", "room"} & set(found["tests"]))
        assert tested <= 7  # of 40 at 5 %; more would happen once in 500

    def test_only_testable_controls_are_corrected_for(self):
        found = self.check(simulate())
        assert found["testable"] == 3
        raw, corrected = ([test[name] for test in found["tests"].values()] for name in ("p_value", "corrected_p_value"))
        assert corrected[np.argmin(raw)] == pytest.approx(min(1, 3 * min(raw)))

    def test_a_control_of_one_value_cannot_be_tested(self):
        inputs = simulate()
        table = inputs.attributes.copy()
        table.loc[inputs.clip_ids, "skin_tone"] = 0.5
        found = self.check(replace(inputs, attributes=table))
        assert found["untestable"]["skin_tone"] == CONSTANT

    def test_false_alarms_are_as_rare_as_promised(self):
        alarms = sum(self.check(simulate(50, dim=8, seed=seed), seed)["distinguishable"] > 0 for seed in range(15))
        assert alarms <= 3  # of 15 at 5 %; more would happen once in 180

    def test_clips_of_a_speaker_do_not_pass_for_independent(self):
        # Predictions that only know who speaks: with labels shuffled clip by clip they would seem to know the control.
        rng = np.random.default_rng(0)
        inputs = simulate(60, videos=8, dim=8)
        aligned, (skin, hair) = fitted(inputs, ["skin_tone", "hair_colour"])
        p_values = []
        for seed in range(40):
            who = rng.normal(size=(len(aligned.speakers), 8)) * 3
            p_values += [significance(a, who[aligned.clips["speaker"]], 199, seed) for a in (skin, hair)]
        assert np.mean(np.array(p_values) <= 0.05) <= 0.15  # 80 tests at 5 %

    def test_permutations_suffice_for_the_correction(self):
        inputs = simulate(audible=("pose",))
        aligned, controls = fitted(inputs, CONTROLS)
        found = check_controls(controls, inputs.predicted["6 s"], aligned.true, {}, 0.99, 100, 0)
        assert found["distinguishable_names"] == "pose"  # 100 permutations alone could not go below 3 / 101

    def test_no_controls_no_verdict(self):
        found = check_controls([], np.zeros((3, 2)), np.zeros((3, 2)), {}, 0.95, 100, 0)
        assert found == {
            "distinguishable": 0,
            "distinguishable_names": "none",
            "testable": 0,
            "untestable": {},
            "tests": {},
        }
        assert describe_controls(found) == ""


def test_the_verdict_in_words():
    found = {
        "distinguishable": 1,
        "distinguishable_names": "skin_tone",
        "testable": 3,
        "untestable": {"accent": NOT_SHOWN, "lighting": CONSTANT, "room": NOT_SHOWN},
    }
    assert describe_controls(found) == (
        "1 of 3 testable controls could be told from chance (skin_tone). 3 cannot be tested this way: accent, room (faces do not "
        "show it); lighting (all test speakers have one value of it). Such a control may still be audible; it has not passed."
    )


class TestWholeRun:
    def test_one_p_value_of_a_control(self):
        inputs = simulate(60)
        metrics = measure(inputs, align(inputs), SETTINGS, 0).metrics
        controls = metrics["controls"]
        assert controls["tests"]
        for name, test in controls["tests"].items():
            assert controls[name]["voice"]["p_value"] == test["p_value"]
        for name in controls["untestable"]:
            assert "p_value" not in controls[name]["voice"]
        assert metrics["controls_testable"] == controls["testable"] == len(controls["tests"])

    def test_a_control_without_a_probe_is_listed(self):
        inputs = simulate(60)
        table = inputs.attributes.assign(accent="us", room=inputs.attributes.index)
        metrics = measure(replace(inputs, attributes=table), align(inputs), SETTINGS, 0).metrics
        untestable = metrics["controls"]["untestable"]
        assert "fewer than two values" in untestable["accent"]
        assert "speakers a value" in untestable["room"]
        assert untestable.items() <= metrics["not_evaluated"].items()
