"""Probes: what they read, what guessing reads, and which attributes they are fitted to."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix

from speech2face.measures.aligned import align
from speech2face.measures.attributes import (
    confusion,
    evaluated_attributes,
    fit_attributes,
    fit_probe,
    read_attribute,
    significance,
)
from speech2face.measures.statistics import Bootstrap
from tests.simulated import ROLES, fitted, simulate, with_photographs


@pytest.mark.slow
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
        aligned, before = fitted(inputs, ["sex", "age_years"])
        table, features = inputs.attributes.copy(), inputs.faces.features.copy()
        other = np.array([split != "train" for split in inputs.faces.splits])
        features[other] += 100
        unseen = table.index.str.split("/").str[0].isin(np.array(inputs.faces.speaker_ids)[other])
        table.loc[unseen, "sex"] = "m"
        table.loc[unseen, "age_years"] = 1.0
        changed = replace(inputs, faces=replace(inputs.faces, features=features), attributes=table)
        _, after = fitted(changed, ["sex", "age_years"])
        for first, second in zip(before, after, strict=True):
            assert np.array_equal(first.probe.predict(aligned.true), second.probe.predict(aligned.true))

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

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda t: t.index, "values among 67 training speakers, fewer than 3 speakers a value"),
            (lambda t: t.index.str.split("/").str[0], "67 values among 67 training speakers"),
            (
                lambda t: t.index.str[:7].map(lambda s: "rare" if s < "id00030" else f"c{int(s[2:]) % 5}"),
                "fewer than half of the test clips",
            ),
        ],
        ids=["a title of every video", "a name of every speaker", "a class that training lacks"],
    )
    def test_a_label_is_no_attribute(self, change, reason):
        inputs = simulate()
        table = inputs.attributes.assign(label=change(inputs.attributes))
        attributes, skipped = fit_attributes(align(inputs), table, ["label", "sex"])
        assert [attribute.name for attribute in attributes] == ["sex"]
        assert reason in skipped["label"]

    def test_few_speakers_a_class_are_enough(self):
        inputs = simulate()
        speakers = inputs.attributes.index.str[2:7].astype(int)
        table = inputs.attributes.assign(class_of_3=[f"c{speaker % 22}" for speaker in speakers])  # of 67 speakers
        attributes, _ = fit_attributes(align(inputs), table, ["class_of_3"])
        assert len(attributes[0].classes) == 22


class Guesses:
    """A probe that guesses among some classes."""

    def __init__(self, classes, seed):
        self.classes, self.rng = classes, np.random.default_rng(seed)

    def predict(self, features):
        return self.rng.choice(self.classes, len(features))


class TestGuessing:
    def test_balanced_accuracy_is_that_of_the_classes_in_the_truth(self):
        # Six classes in training, two of them in test: who guesses among the two is right every second time, whatever there is more.
        inputs = simulate()
        speakers = inputs.attributes.index.str[2:7].astype(int)
        country = np.array([f"c{speaker % (2 if speaker < 48 else 6)}" for speaker in speakers])
        aligned = align(inputs)
        (attribute,), _ = fit_attributes(aligned, inputs.attributes.assign(country=country), ["country"])
        assert len(attribute.classes) == 6
        bootstrap = Bootstrap(aligned.clips["speaker_id"], 100, 0.95, 0)

        def average(classes):
            found = []
            for seed in range(200):
                guessing = replace(attribute, probe=Guesses(classes, seed))
                results = read_attribute(guessing, aligned.true, bootstrap)
                assert results["balanced_accuracy_of_guessing"] == 0.5
                found.append(results["balanced_accuracy"]["value"])
            return np.mean(found)

        assert average(["c0", "c1"]) == pytest.approx(0.5, abs=0.02)
        assert average(["c0"]) == 0.5
        assert average(attribute.classes) < 0.5


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


@pytest.mark.parametrize("name", ["sex", "age_years"])
def test_a_p_value_is_that_of_whole_speakers_exchanging_what_they_have(name):
    aligned, (attribute,) = fitted(simulate(40, videos=3, noise=30.0), [name])
    rng = np.random.default_rng(1)
    features = aligned.true[:] + 8 * rng.normal(size=aligned.true.shape)
    speakers = attribute.clips["speaker"].to_numpy()
    read, own = attribute.read(features), attribute.truth[::3]  # three clips a speaker

    def score(truth: np.ndarray) -> float:
        if attribute.is_number:
            return float(np.corrcoef(truth, read)[0, 1])
        return float(np.mean([(read[truth == label] == label).mean() for label in np.unique(truth)]))

    if not attribute.is_number:
        assert score(own[speakers]) == pytest.approx(balanced_accuracy_score(own[speakers], read))
    drawn = np.array([score(rng.permutation(own)[speakers]) for _ in range(2000)])
    expected = (1 + (drawn >= score(own[speakers]) - 1e-12).sum()) / 2001
    assert 0.001 < expected < 0.95
    error = np.sqrt(expected * (1 - expected) / 2000)
    assert significance(attribute, features, 2000, 0) == pytest.approx(expected, abs=5 * error)
