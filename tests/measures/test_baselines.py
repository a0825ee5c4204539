"""Baselines on corpora where the right answer is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from speech2face.measures.aligned import align
from speech2face.measures.baselines import predict_baselines
from speech2face.measures.ranking import rank_among_speakers, summarise_ranks
from speech2face.measures.statistics import Bootstrap
from speech2face.measures.systems import System
from tests.simulated import simulate


def simulate_with_voices(**options):
    inputs = simulate(**options)
    f0 = inputs.attributes["sex"].map({"f": 5.3, "m": 4.7}).astype(float)
    return replace(inputs, voices={"f0": pd.DataFrame({"middle": f0})})


def test_the_mean_feature_is_chance():
    inputs = simulate_with_voices()
    aligned = align(inputs)
    predicted = predict_baselines(inputs, aligned)["mean_feature"]
    assert np.ptp(predicted, axis=0).max() == 0
    summary = summarise_ranks(
        rank_among_speakers(aligned, predicted), Bootstrap(aligned.clips["speaker_id"], 100, 0.95, 0)
    )
    for name, entry in summary.items():
        if isinstance(entry, dict):
            assert entry["value"] == pytest.approx(entry["chance"]), name


def test_ridge_learns_what_the_voice_tells_and_no_more():
    inputs = simulate_with_voices()
    aligned = align(inputs)
    baselines = predict_baselines(inputs, aligned)
    scores = {name: System(aligned, predicted).scores["one_of_2"].mean() for name, predicted in baselines.items()}
    # f0 tells the sex: right against the other sex, a coin against the same
    sexes = inputs.attributes["sex"].reindex(aligned.clips["clip_id"]).to_numpy()
    same = (sexes[:, None] == sexes[::2][None]).sum(1) - 1
    bound = np.mean(1 - same / (len(aligned.speakers) - 1) / 2)
    assert scores["ridge_f0"] == pytest.approx(bound, abs=0.02)
    assert scores["mean_feature"] == pytest.approx(0.5)
    assert scores["oracle"] > scores["ridge_f0"] + 0.1


def test_the_oracle_reaches_what_linked_attributes_explain():
    inputs = simulate_with_voices(num_speakers=300)
    aligned = align(inputs)
    error = np.asarray(aligned.true) - predict_baselines(inputs, aligned)["oracle"]
    # What is left is identity, controls and noise: the part of the true features that no linked attribute is in.
    table = inputs.attributes.loc[aligned.clips["clip_id"]]
    design = np.column_stack(
        [np.ones(len(table)), table["sex"] == "m", table["age_years"], table["vocal_tract_length_cm"]]
    ).astype(float)
    residual = np.asarray(aligned.true) - design @ np.linalg.lstsq(design, aligned.true, rcond=None)[0]
    assert error.var() == pytest.approx(residual.var(), rel=0.15)


def test_no_roles_no_oracle():
    inputs = replace(simulate_with_voices(), roles={})
    assert set(predict_baselines(inputs, align(inputs))) == {"mean_feature", "ridge_f0"}


def test_baselines_know_training_speakers_only():
    inputs = simulate_with_voices()
    before = predict_baselines(inputs, align(inputs))
    features = inputs.faces.features.copy()
    features[[split != "train" for split in inputs.faces.splits]] += 100
    changed = replace(inputs, faces=replace(inputs.faces, features=features))
    for name, predicted in predict_baselines(changed, align(changed)).items():
        assert np.array_equal(predicted, before[name]), name


def test_a_test_clip_without_a_description_is_refused():
    inputs = simulate_with_voices()
    lacking = {"f0": inputs.voices["f0"].drop(inputs.clip_ids[0])}
    with pytest.raises(ValueError, match="f0 lacks test clips"):
        predict_baselines(replace(inputs, voices=lacking), align(inputs))
