"""Baselines on corpora where the right answer is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from speech2face.audio.spectrogram import compress, stft
from speech2face.evaluation.inputs import align
from speech2face.measures.baselines import describe_voice, describe_voices, predict_baselines, restore
from speech2face.measures.ranking import stand_among_speakers, summarise_ranks
from speech2face.measures.scores import row_scores
from speech2face.measures.statistics import Bootstrap
from speech2face.pipeline.shards import SPECTROGRAMS, write_shard
from speech2face.training.pairs import Targets
from tests.evaluation.simulated import simulate


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
        stand_among_speakers(aligned, predicted), Bootstrap(aligned.clips["speaker_id"], 100, 0.95, 0)
    )
    for name, entry in summary.items():
        if isinstance(entry, dict):
            assert entry["value"] == pytest.approx(entry["chance"]), name


def test_ridge_learns_what_the_voice_tells_and_no_more():
    inputs = simulate_with_voices()
    aligned = align(inputs)
    baselines = predict_baselines(inputs, aligned)
    scores = {name: row_scores(aligned, predicted)["one_of_2"].mean() for name, predicted in baselines.items()}
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
    error = aligned.true - predict_baselines(inputs, aligned)["oracle"]
    # What is left is identity, controls and noise: the part of the true features that no linked attribute is in.
    table = inputs.attributes.loc[aligned.clips["clip_id"]]
    design = np.column_stack(
        [np.ones(len(table)), table["sex"] == "m", table["age_years"], table["vocal_tract_length_cm"]]
    ).astype(float)
    residual = aligned.true - design @ np.linalg.lstsq(design, aligned.true, rcond=None)[0]
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


def test_the_waveform_comes_back_from_its_spectrogram():
    waveform = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, 96_000))
    assert torch.allclose(restore(compress(stft(waveform)).float()), waveform.float(), atol=1e-4)


@pytest.mark.parametrize("f0_hz", [95.0, 140.0, 230.0])
def test_f0_of_a_harmonic_sound(f0_hz):
    spectrum, f0 = describe_voice(compress(stft(harmonics(f0_hz))))
    assert np.exp(f0[2]) == pytest.approx(f0_hz, rel=0.03)
    peaks = np.flatnonzero((spectrum[1:-1] > spectrum[:-2]) & (spectrum[1:-1] > spectrum[2:])) + 1
    assert round(5 * f0_hz / 31.25) in {peak + step for peak in peaks for step in (-1, 0, 1)}  # the 5th harmonic's bin


def test_voices_of_training_and_test_clips_with_faces(tmp_path):
    rows = []
    for index, split in enumerate(["train", "test", "val", "train"]):
        for segment in range(2):
            spectrogram = compress(stft(harmonics(100.0 + 40 * index + segment))).numpy().astype(np.float16)
            row = {"clip_id": f"id{index}/v/1", "speaker_id": f"id{index}", "split": split, "segment": segment}
            rows.append(row | {"start_s": 0.0, "duration_s": 6.0, "spectrogram": spectrogram})
    write_shard(tmp_path / "shard-a.parquet", rows, SPECTROGRAMS, "fingerprint")
    videos = {f"id{i}/v": i for i in range(3)}  # the last has no face
    targets = Targets(np.zeros((3, 4), np.float32), videos, {"id0": "train", "id1": "test", "id2": "val"})
    found = describe_voices(tmp_path, targets)
    assert list(found["f0"].index) == list(found["mean_spectrogram"].index) == ["id0/v/1", "id1/v/1"]
    assert np.exp(found["f0"][2]).tolist() == pytest.approx([100, 140], rel=0.03)
    assert found["mean_spectrogram"].shape == (2, 257)


def test_voices_of_clips_whose_faces_belong_to_the_speaker(tmp_path):
    spectrogram = compress(stft(harmonics(100.0))).numpy().astype(np.float16)
    rows = [
        {
            "clip_id": f"id{i}/v/1",
            "speaker_id": f"id{i}",
            "split": "train",
            "segment": 0,
            "start_s": 0.0,
            "duration_s": 6.0,
        }
        | {"spectrogram": spectrogram}
        for i in range(3)
    ]
    write_shard(tmp_path / "shard-a.parquet", rows, SPECTROGRAMS, "fingerprint")
    targets = Targets(np.zeros((2, 4), np.float32), {"id0": 0, "id2": 1}, {"id0": "train", "id2": "train"}, "speaker")
    assert list(describe_voices(tmp_path, targets)["f0"].index) == ["id0/v/1", "id2/v/1"]


def harmonics(f0_hz):
    time = torch.arange(96_000) / 16_000
    return 0.1 * sum(torch.sin(2 * np.pi * f0_hz * k * time) / k for k in range(1, 12))
