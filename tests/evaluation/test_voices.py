"""Descriptions of voices: of sounds whose pitch is known, and from a table."""

import numpy as np
import pandas as pd
import parselmouth
import pytest
import torch

from speech2face.audio.spectrogram import compress, stft
from speech2face.audio.table import spectrograms_schema, waveforms_schema
from speech2face.evaluation.voices import QUANTILES, describe_voice, describe_voices, fundamental_frequency, restore
from speech2face.pipeline.shards import write_shard
from speech2face.synthetic.speakers import draw_speaker, draw_video
from speech2face.synthetic.voices import synthesise
from speech2face.training.pairs import Targets


def harmonics(f0_hz):
    time = torch.arange(96_000) / 16_000
    return 0.1 * sum(torch.sin(2 * np.pi * f0_hz * k * time) / k for k in range(1, 12))


def row(speaker, f0_hz, segment=0):
    spectrogram = compress(stft(harmonics(f0_hz))).numpy().astype(np.float16)
    common = {"clip_id": f"{speaker}/v/1", "speaker_id": speaker, "segment": segment}
    return common | {"start_s": 0.0, "duration_s": 6.0, "spectrogram": spectrogram}


def test_the_waveform_comes_back_from_its_spectrogram():
    waveform = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, 96_000))
    assert torch.allclose(restore(compress(stft(waveform)).float()), waveform.float(), atol=1e-4)


@pytest.mark.parametrize("f0_hz", [95.0, 140.0, 230.0])
def test_f0_of_a_harmonic_sound(f0_hz):
    spectrum, f0 = describe_voice(compress(stft(harmonics(f0_hz))))
    assert np.exp(f0[2]) == pytest.approx(f0_hz, rel=0.03)
    peaks = np.flatnonzero((spectrum[1:-1] > spectrum[:-2]) & (spectrum[1:-1] > spectrum[2:])) + 1
    assert round(5 * f0_hz / 31.25) in {peak + step for peak in peaks for step in (-1, 0, 1)}  # the 5th harmonic's bin


@pytest.mark.parametrize("f0_hz", [63.0, 110.0, 197.0, 395.0])
@pytest.mark.parametrize("missing", [0, 2])
def test_f0_is_the_lowest_even_where_it_is_not_heard(f0_hz, missing):
    """A sound without its lowest harmonics, as over a telephone, repeats as often as with them."""
    time = torch.arange(48_000) / 16_000
    waveform = sum(torch.sin(2 * np.pi * f0_hz * k * time) / k for k in range(1 + missing, 9))
    found, periodicity = fundamental_frequency(0.1 * waveform)
    assert len(found) == 1 + (48_000 - 400 - 267 - 1) // 160
    # Lags are whole samples, of which a period of 395 Hz has 40.5.
    assert (found / f0_hz).log().abs().max() < 0.03 and periodicity.min() > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("index", range(4))
def test_f0_of_speech_is_praats(index):
    """Boersma 1993, another method: autocorrelation of windows, and the cheapest path through its candidates. Of the
    quantiles' mean, because a single one hangs on few frames where a voice hops between two tones."""
    waveform = synthesise(draw_speaker(0, index), draw_video(0, index, 0), 4.0)
    _, f0 = describe_voice(compress(stft(torch.from_numpy(waveform))))
    found = parselmouth.Sound(waveform.astype(np.float64), 16_000).to_pitch_ac(0.01, 60.0, pitch_ceiling=400.0)
    hz = found.selected_array["frequency"]
    assert f0.mean() == pytest.approx(np.log(np.quantile(hz[hz > 0], QUANTILES)).mean(), abs=0.03)


def test_noise_and_silence_are_not_periodic():
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, 48_000)).float()
    assert fundamental_frequency(noise)[1].median() < 0.3
    assert fundamental_frequency(torch.zeros(48_000))[1].abs().max() < 1e-6


def test_f0_is_of_the_voiced_part():
    """Half of the time noise is heard; all quantiles are those of the sound."""
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 0.02, 96_000)).float()
    waveform = torch.cat([harmonics(130.0)[:48_000], noise[48_000:]])
    _, f0 = describe_voice(compress(stft(waveform)))
    assert np.exp(f0).tolist() == pytest.approx([130.0] * 5, rel=0.03)


@pytest.mark.parametrize(
    "waveform", [torch.zeros(96_000), torch.from_numpy(np.random.default_rng(1).normal(0, 0.1, 96_000))]
)
def test_what_has_no_voice_has_numbers_too(waveform):
    spectrum, f0 = describe_voice(compress(stft(waveform)))
    assert np.isfinite(spectrum).all() and np.isfinite(f0).all() and (np.diff(f0) >= 0).all()


def test_voices_of_training_and_test_clips_with_faces(tmp_path):
    splits = {"id0": "train", "id1": "test", "id2": "val", "id3": "train"}
    rows = [row(f"id{index}", 100.0 + 40 * index + segment, segment) for index in range(4) for segment in range(2)]
    # The names of the shards say nothing about the order of the clips.
    write_shard(tmp_path / "shard-b.parquet", rows[:2], spectrograms_schema(601), {})
    write_shard(tmp_path / "shard-a.parquet", rows[2:], spectrograms_schema(601), {})
    videos = {f"id{i}/v": i for i in range(3)}  # the last speaker has no face
    found = describe_voices(tmp_path, Targets(np.zeros((3, 4), np.float32), videos, splits))
    assert list(found["f0"].index) == list(found["mean_spectrogram"].index) == ["id0/v/1", "id1/v/1"]
    assert np.exp(found["f0"][2]).tolist() == pytest.approx([100, 140], rel=0.03)
    assert found["mean_spectrogram"].shape == (2, 257)


def test_voices_of_clips_whose_faces_belong_to_the_speaker(tmp_path):
    rows = [row(f"id{i}", 100.0) for i in range(3)]
    write_shard(tmp_path / "shard-a.parquet", rows, spectrograms_schema(601), {})
    splits = {f"id{i}": "train" for i in range(3)}
    targets = Targets(np.zeros((2, 4), np.float32), {"id0": 0, "id2": 1}, splits, "speaker")
    assert list(describe_voices(tmp_path, targets)["f0"].index) == ["id0/v/1", "id2/v/1"]


def test_of_stored_waveforms_the_same_is_said(tmp_path):
    rows = [row(f"id{i}", 100.0 + 60 * i) for i in range(2)]
    waves = [{name: value for name, value in r.items() if name != "spectrogram"} for r in rows]
    for number, wave in enumerate(waves):
        wave["waveform"] = np.rint(32_768 * harmonics(100.0 + 60 * number).numpy()).astype(np.int16)
    write_shard(tmp_path / "spectrograms/shard-a.parquet", rows, spectrograms_schema(601), {})
    write_shard(tmp_path / "waveforms/shard-a.parquet", waves, waveforms_schema(96_000), {})
    targets = Targets(np.zeros((2, 4), np.float32), {"id0/v": 0, "id1/v": 1}, {"id0": "train", "id1": "test"})
    expected, found = (describe_voices(tmp_path / name, targets) for name in ("spectrograms", "waveforms"))
    pd.testing.assert_frame_equal(found["f0"], expected["f0"], rtol=0, atol=0.01)
    assert np.exp(found["f0"][2]).tolist() == pytest.approx([100, 160], rel=0.03)
    heard, others = (described["mean_spectrogram"].to_numpy() for described in (found, expected))
    loud = others > 1  # where 16 bits change nothing that is to be seen
    assert loud.sum() > 50 and np.abs(heard - others)[loud].max() < 2e-3
