"""Probes, and whether the tests of the negative controls find leaks and only leaks."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix

from speech2face.evaluation.attributes import (
    check_controls,
    confusion,
    evaluated_attributes,
    fit_attributes,
    fit_probe,
    read_attribute,
    significance,
)
from speech2face.evaluation.inputs import align
from speech2face.evaluation.statistics import Bootstrap
from tests.evaluation.simulated import ROLES, simulate, with_photographs

CONTROLS = [name for name, role in ROLES.items() if role == "control"]


def fitted(inputs, names):
    aligned = align(inputs)
    attributes, skipped = fit_attributes(aligned, inputs.attributes, names)
    assert not skipped
    return aligned, attributes


class TestProbes:
    def test_read_what_faces_of_unseen_speakers_show(self):
        aligned, attributes = fitted(simulate(), list(ROLES))
        for attribute in attributes:
            bootstrap = Bootstrap(aligned.clips["speaker_id"], 100, 0.95, 0)
            found = read_attribute(attribute, aligned.true, bootstrap)
            if attribute.name in ("accent", "room"):  # no face shows these
                assert found["balanced_accuracy"]["value"] < 0.5
            elif attribute.is_number:
                assert found["correlation"]["value"] > 0.9
            else:
                assert found["accuracy"]["value"] > 0.9

    def test_know_training_speakers_only(self):
        inputs = simulate()
        _, before = fitted(inputs, ["sex", "age_years"])
        table, features = inputs.attributes.copy(), inputs.faces.features.copy()
        other = np.array([split != "train" for split in inputs.faces.splits])
        features[other] += 100
        unseen = table.index.str.split("/").str[0].isin(np.array(inputs.faces.speaker_ids)[other])
        table.loc[unseen, "sex"] = "m"
        table.loc[unseen, "age_years"] = 1.0
        changed = replace(inputs, faces=replace(inputs.faces, features=features), attributes=table)
        _, after = fitted(changed, ["sex", "age_years"])
        for first, second in zip(before, after, strict=True):
            assert np.array_equal(first.probe[-1].coef_, second.probe[-1].coef_)

    def test_noise_is_shrunk_to_the_commonest_class(self):
        rng = np.random.default_rng(0)
        labels = np.array(["a"] * 90 + ["b"] * 60)
        probe = fit_probe(rng.normal(size=(150, 40)), labels, np.arange(150).astype(str))
        assert (probe.predict(rng.normal(size=(200, 40))) == "a").mean() > 0.95

    def test_measures_are_scikit_learns(self):
        inputs = simulate(noise=20.0)
        aligned, (sex,) = fitted(inputs, ["sex"])
        predicted = inputs.predicted["6 s"]
        read = sex.probe.predict(predicted)
        found = read_attribute(sex, predicted, Bootstrap(aligned.clips["speaker_id"], 100, 0.95, 0))
        assert found["accuracy"]["value"] == accuracy_score(sex.truth, read)
        assert found["balanced_accuracy"]["value"] == balanced_accuracy_score(sex.truth, read)
        assert found["majority"] == max((sex.truth == "f").mean(), (sex.truth == "m").mean())
        assert np.array_equal(confusion(sex, predicted), confusion_matrix(sex.truth, read, labels=sex.classes))

    def test_unknown_values_are_left_out(self):
        inputs = simulate()
        table = inputs.attributes.copy()
        table.loc[table.index[:10], "sex"] = None
        aligned, (sex,) = fitted(replace(inputs, attributes=table), ["sex"])
        assert (~sex.known).sum() == 10
        assert len(sex.truth) == len(aligned.clips) - 10

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda t: t.assign(sex="f"), "fewer than two values"),
            (lambda t: t.assign(sex=t["sex"].where(t.index.str[:7] >= "id00048")), "not known of any test speaker"),
        ],
    )
    def test_what_cannot_be_evaluated_says_why(self, change, reason):
        inputs = simulate()
        _, skipped = fit_attributes(align(inputs), change(inputs.attributes), ["sex"])
        assert reason in skipped["sex"]

    def test_unit_of_an_attribute(self):
        _, attributes = fitted(simulate(), ["sex", "pose"])
        assert set(attributes[0].units) == {f"id{i:05d}" for i in range(48)}
        assert len(set(attributes[1].units)) == 96


class TestControls:
    def check(self, inputs, seed=0):
        _, controls = fitted(inputs, CONTROLS)
        return check_controls(controls, inputs.predicted["6 s"], 0.95, 500, seed)

    def test_honest_predictions_tell_no_control(self):
        found = self.check(simulate())
        assert found["distinguishable"] == 0
        assert found["distinguishable_names"] == "none"
        assert set(found["tests"]) == set(CONTROLS)

    @pytest.mark.parametrize("control", ["skin_tone", "hair_colour", "pose"])
    def test_a_control_made_audible_is_found(self, control):
        found = self.check(simulate(audible=(control,), noise=2.0))
        assert found["distinguishable_names"] == control
        assert found["tests"][control]["corrected_p_value"] <= 0.05

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
        _, controls = fitted(simulate(audible=("pose",)), CONTROLS)
        found = check_controls(controls, simulate(audible=("pose",)).predicted["6 s"], 0.99, 100, 0)
        assert found["distinguishable_names"] == "pose"  # 100 permutations alone could not go below 5 / 101

    def test_no_controls_no_verdict(self):
        assert check_controls([], np.zeros((3, 2)), 0.95, 100, 0) == {
            "distinguishable": 0,
            "distinguishable_names": "none",
            "tests": {},
        }


def test_names_by_role():
    table = pd.DataFrame({"sex": ["f"], "room": ["hall"], "f0_hz": [200.0]})
    assert evaluated_attributes(table, {"sex": "linked", "room": "control", "words": "control"}) == (["sex"], ["room"])
    assert evaluated_attributes(table, {}) == (["sex", "room", "f0_hz"], [])


def test_photographs_of_speakers_give_the_same_probe_with_and_without_attributes_of_their_own():
    """HQ-VoxCeleb lists photographs as clips that know the sex too; then the speaker's mean face must not count a second time."""
    inputs = with_photographs(simulate(60))
    table = inputs.attributes[["sex"]]
    photos = table.groupby(table.index.str.split("/").str[0]).first().rename(index=lambda s: f"{s}/photos/00000")
    read = []
    for attributes in (table, pd.concat([table, photos])):
        aligned = align(replace(inputs, attributes=attributes))
        (sex,), _ = fit_attributes(aligned, attributes, ["sex"])
        read.append(sex.probe.decision_function(aligned.gallery))
    assert np.array_equal(*read)
