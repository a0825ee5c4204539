"""Whether the tests of the negative controls find leaks and only leaks, and say what they cannot find."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from speech2face.measures.aligned import align
from speech2face.measures.attributes import significance
from speech2face.measures.controls import CONSTANT, NOT_SHOWN, check_controls
from speech2face.measures.measure import measure
from tests.simulated import QUICK, ROLES, SETTINGS, fitted, simulate

pytestmark = pytest.mark.slow

CONTROLS = [name for name, role in ROLES.items() if role == "control"]


def check(inputs, seed=0):
    aligned, controls = fitted(inputs, CONTROLS)
    return check_controls(controls, inputs.predicted["6 s"], aligned.true, {}, SETTINGS, seed)


@pytest.fixture(scope="module")
def honest():
    return check(simulate())


@pytest.fixture(scope="module")
def small_corpora():
    return [check(simulate(50, dim=8, seed=seed), seed) for seed in range(20)]


class TestControls:
    def test_no_control_is_read_from_honest_predictions(self, honest):
        assert honest["distinguishable"] == 0
        assert honest["distinguishable_names"] == "none"
        assert set(honest["tests"]) == {"skin_tone", "hair_colour", "pose"}
        assert honest["testable"] == 3
        assert honest["untestable"] == dict.fromkeys(("accent", "room"), NOT_SHOWN)

    @pytest.mark.parametrize("control", ["skin_tone", "hair_colour", "pose"])
    def test_a_control_made_audible_is_found(self, control):
        found = check(simulate(audible=(control,), noise=2.0))
        assert found["distinguishable_names"] == control
        assert found["tests"][control]["corrected_p_value"] <= 0.05

    @pytest.mark.parametrize("control", ["accent", "room"])
    def test_what_is_in_faces_and_voices_is_found(self, control):
        found = check(simulate(visible=(control,), audible=(control,), noise=2.0))
        assert found["distinguishable_names"] == control
        assert found["testable"] == 4

    @pytest.mark.parametrize("control", ["accent", "room"])
    def test_what_is_in_faces_and_not_in_voices_passes(self, control):
        found = check(simulate(visible=(control,)))
        assert control in found["tests"]
        assert found["distinguishable"] == 0

    def test_what_is_in_voices_alone_has_not_passed(self):
        inputs = simulate()
        accents = inputs.attributes["accent"].reindex(inputs.clip_ids)
        heard = inputs.predicted["6 s"] + 3 * np.random.default_rng(5).normal(size=(3, 32))[pd.factorize(accents)[0]]
        found = check(replace(inputs, predicted={"6 s": heard}))
        assert found["untestable"]["accent"] == NOT_SHOWN
        assert "accent" not in found["tests"]

    def test_what_faces_do_not_show_is_seldom_tested(self, small_corpora):
        tested = sum(len({"accent", "room"} & set(found["tests"])) for found in small_corpora)
        assert tested <= 7  # of 40 at 5 %; more would happen once in 500

    def test_only_testable_controls_are_corrected_for(self, honest):
        assert honest["testable"] == 3
        tests = honest["tests"].values()
        raw, corrected = ([test[name] for test in tests] for name in ("p_value", "corrected_p_value"))
        assert corrected[np.argmin(raw)] == pytest.approx(min(1, 3 * min(raw)))

    def test_a_control_of_one_value_cannot_be_tested(self):
        inputs = simulate()
        table = inputs.attributes.copy()
        table.loc[inputs.clip_ids, "skin_tone"] = 0.5
        found = check(replace(inputs, attributes=table))
        assert found["untestable"]["skin_tone"] == CONSTANT

    def test_false_alarms_are_as_rare_as_promised(self, small_corpora):
        alarms = sum(found["distinguishable"] > 0 for found in small_corpora)
        assert alarms <= 4  # of 20 at 5 %; more would happen once in 390

    def test_clips_of_a_speaker_do_not_pass_for_independent(self):
        # Predictions that only know who speaks; with labels shuffled clip by clip they would seem to know the control.
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
        strict = SETTINGS.model_copy(update={"confidence": 0.99, "resamples": 100})
        found = check_controls(controls, inputs.predicted["6 s"], aligned.true, {}, strict, 0)
        assert found["distinguishable_names"] == "pose"  # 100 permutations alone could not go below 3 / 101

    def test_no_controls_no_verdict(self):
        assert check_controls([], np.zeros((3, 2)), np.zeros((3, 2)), {}, SETTINGS, 0) == {
            "distinguishable": 0,
            "distinguishable_names": "none",
            "testable": 0,
            "untestable": {},
            "tests": {},
        }


class TestWholeRun:
    def test_one_p_value_of_a_control(self, measured):
        controls = measured("plain").results["controls"]
        assert controls["testable"] == len(controls["tests"]) == 3
        for name, test in controls["tests"].items():
            assert controls[name]["voice"]["p_value"] == test["p_value"]
        for name in controls["untestable"]:
            assert "p_value" not in controls[name]["voice"]

    def test_a_control_without_a_probe_is_listed(self):
        inputs = simulate(60)
        table = inputs.attributes.assign(accent="us", room=inputs.attributes.index)
        results = measure(replace(inputs, attributes=table), align(inputs), QUICK, 0).results
        untestable = results["controls"]["untestable"]
        assert "fewer than two values" in untestable["accent"]
        assert "speakers a value" in untestable["room"]
        assert untestable.items() <= results["not_evaluated"].items()
