"""Scores of systems and groups against the same scores taken row by row."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import pairwise_distances, top_k_accuracy_score

from speech2face.measures.aligned import align
from speech2face.measures.scores import (
    chance_scores,
    fraction_of_knowable,
    groups_of,
    score_groups,
    score_systems,
)
from speech2face.measures.systems import System
from tests.simulated import SETTINGS, fitted, simulate

LINKED = ["sex", "age_years"]


@pytest.fixture(scope="module")
def case():
    inputs = simulate(noise=2.0)
    aligned, attributes = fitted(inputs, LINKED)
    return inputs, aligned, attributes, inputs.predicted["6 s"]


def test_scores_of_rows_are_scikit_learns(case):
    _, aligned, _, voice = case
    middle = aligned.means[[split == "train" for split in aligned.video_splits]].mean(0)
    closeness = -pairwise_distances(voice - middle, aligned.gallery - middle, metric="cosine")
    raw = -pairwise_distances(voice, aligned.gallery, metric="cosine")
    rows = System(aligned, voice).scores
    own, labels = aligned.clips["speaker"], np.arange(len(aligned.speakers))
    assert rows["recall_at_1"].mean() == top_k_accuracy_score(own, closeness, k=1, labels=labels)
    assert rows["recall_at_10_percent"].mean() == top_k_accuracy_score(own, closeness, k=5, labels=labels)  # 10 % of 48
    assert rows["recall_at_10_percent_raw"].mean() == top_k_accuracy_score(own, raw, k=5, labels=labels)


def test_chance_is_the_mean_over_a_random_order(case):
    _, aligned, _, _ = case
    rng = np.random.default_rng(0)
    drawn = [System(aligned, rng.normal(size=aligned.true.shape)).scores for _ in range(150)]
    for name, chance in chance_scores(len(aligned.gallery)).items():
        means = np.array([rows[name].mean() for rows in drawn])
        assert abs(means.mean() - chance) < 4 * means.std() / np.sqrt(len(means)), name


def test_systems_have_the_same_measures(case):
    _, aligned, attributes, voice = case
    systems = {"voice": System(aligned, voice), "truth": System(aligned, aligned.true)}
    table = score_systems(aligned, systems, attributes, SETTINGS, 0)
    assert (
        set(table["voice"]) == set(table["truth"]) >= {"cosine", "recall_at_1", "sex_accuracy", "age_years_correlation"}
    )
    assert table["truth"]["cosine"]["value"] == pytest.approx(1)
    assert table["voice"]["recall_at_1"]["value"] == System(aligned, voice).scores["recall_at_1"].mean()


def test_differences_between_systems_are_paired(case):
    _, aligned, attributes, voice = case
    nudged = voice + 1e-3 * np.random.default_rng(0).normal(size=voice.shape)
    features = {"voice": voice, "nudged": nudged, "truth": aligned.true}
    systems = {name: System(aligned, predicted) for name, predicted in features.items()}
    table = score_systems(aligned, systems, attributes, SETTINGS, 0)
    assert all("difference" not in entry for entry in table["voice"].values())
    for name, entry in table["truth"].items():
        assert entry["difference"]["value"] == pytest.approx(entry["value"] - table["voice"][name]["value"]), name
    assert table["truth"]["recall_at_1"]["difference"]["low"] > 0
    near, own = table["nudged"]["cosine"], table["voice"]["cosine"]
    assert near["difference"]["high"] - near["difference"]["low"] < (own["high"] - own["low"]) / 100


def test_fraction_is_one_for_the_oracle_and_nought_for_chance(case):
    _, aligned, attributes, voice = case
    same = System(aligned, np.tile(np.mean(aligned.means, axis=0), (len(voice), 1)))
    voice = System(aligned, voice)
    whole, none = (
        fraction_of_knowable(aligned, {"voice": heard, "oracle": voice, "mean_feature": same}, attributes, SETTINGS, 0)
        for heard in (voice, same)
    )
    for name, estimate in whole.items():
        assert estimate == pytest.approx({"value": 1, "low": 1, "high": 1}), name
    for name in none.keys() - {"sex_accuracy"}:
        assert none[name]["value"] == pytest.approx(0, abs=1e-9), name
    assert "age_years_correlation" not in none  # one prediction for all has no correlation
    assert none["sex_accuracy"]["value"] <= 0


def test_an_oracle_no_better_than_chance_leaves_the_fraction_out(case):
    _, aligned, attributes, voice = case
    same = System(aligned, np.tile(np.mean(aligned.means, axis=0), (len(voice), 1)))
    systems = {"voice": System(aligned, voice), "oracle": same, "mean_feature": same}
    assert "recall_at_1" not in fraction_of_knowable(aligned, systems, attributes, SETTINGS, 0)


def test_groups_are_bands_and_classes_in_order():
    clips = pd.Series([f"id{i:02d}/v/1" for i in range(12)])
    table = pd.DataFrame(
        {
            "age_years": [20, 29, 30, 44, 45, 59, 60, 80, None, 33, 34, 35],
            "nationality": ["UK"] * 5 + ["USA"] * 5 + ["Peru", "Chad"],
            "f0_hz": range(12),
            "origin": ["voxceleb"] * 6 + ["avspeech"] * 6,
        },
        index=clips,
    )
    groups = groups_of(table, clips)
    assert set(groups) == {"age_years", "nationality", "origin"}
    ages = groups["age_years"]
    assert list(ages.cat.categories) == ["below 30", "30 to 45", "45 to 60", "60 and over"]
    assert ages.astype(object).where(ages.notna(), None).tolist()[:9] == [
        "below 30",
        "below 30",
        "30 to 45",
        "30 to 45",
        "45 to 60",
        "45 to 60",
        "60 and over",
        "60 and over",
        None,
    ]
    assert groups["nationality"].tolist() == ["UK"] * 5 + ["USA"] * 5 + ["others"] * 2


def test_uneven_quality_shows(case):
    inputs, aligned, attributes, voice = case
    sexes = inputs.attributes["sex"].reindex(aligned.clips["clip_id"]).to_numpy()
    spoilt = voice.copy()
    spoilt[sexes == "f"] += 30 * np.random.default_rng(0).normal(size=spoilt[sexes == "f"].shape)
    found = score_groups(
        aligned,
        System(aligned, spoilt),
        groups_of(inputs.attributes, aligned.clips["clip_id"]),
        attributes,
        SETTINGS,
        0,
    )
    f, m = found["sex"]["f"], found["sex"]["m"]
    assert f["one_of_2"]["high"] < m["one_of_2"]["low"]
    assert f["speakers"] + m["speakers"] == len(aligned.speakers)
    assert m["recall_at_1"]["value"] == System(aligned, spoilt).scores["recall_at_1"][sexes == "m"].mean()
    assert list(found["age_years"]) == ["below 30", "30 to 45", "45 to 60", "60 and over"]


def test_groups_of_one_or_two_speakers_are_not_shown(case):
    _, aligned, attributes, voice = case
    column = pd.Series(["few"] * 4 + ["many"] * (len(voice) - 4))  # two clips a speaker
    found = score_groups(
        aligned, System(aligned, voice), {"sex": column, "age": column.where(column == "few")}, attributes, SETTINGS, 0
    )
    assert {name: list(entries) for name, entries in found.items()} == {"sex": ["many"]}


def test_a_corpus_without_attributes_has_no_groups():
    inputs = simulate()
    bare = replace(inputs, attributes=pd.DataFrame(index=inputs.attributes.index), roles={})
    assert groups_of(bare.attributes, align(bare).clips["clip_id"]) == {}
