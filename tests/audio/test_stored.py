"""Stored waveforms: what 16 bits keep, and their spectrograms against those that are stored themselves.

How far two spectrograms may be apart follows from how far the transforms are: where every real and imaginary part x of one lies within d
of the other's, f(x) = sign(x) |x|^0.3 rises and is the steeper the nearer x is to 0, so the parts of the spectrograms differ by at most
f(|x|) - f(|x| - d). That is 2 (d/2)^0.3 where x = d/2, and less the farther x is from 0.
"""

import wave
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.signal
import torch

from speech2face.audio.extraction import spectrogram_shard, table_of, waveform_shard
from speech2face.audio.stored import Crop, count_frames, spectrograms, to_16_bit
from speech2face.pipeline.params import load_params
from speech2face.pipeline.shards import to_batch
from speech2face.speaker_networks.extraction import Embedding

CPU = torch.device("cpu")
AUDIO = load_params(Path(__file__).parents[2] / "params.yaml").audio
WINDOW_SUM = 200.0
"""What the window of 400 samples sums up to, so the most that an error of 1 in all samples makes of a real or imaginary part."""
FLOAT16_EPS, FLOAT16_STEP = 2.0**-10, 2.0**-24
"""Next to 1, and next to 0."""
FLOAT32_ERROR = 9 * WINDOW_SUM * 2.0**-24
"""Of the transform in float32 of samples in -1..1: each of the nine stages of 512 points rounds what the window's sum bounds."""


def power(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.sign(x) * np.abs(x) ** 0.3


def most_apart(expected: npt.NDArray[np.float64], d: float) -> npt.NDArray[np.float64]:
    """The bound of this module's docstring, of the spectrogram `expected`."""
    x = np.abs(expected) ** (1 / 0.3)
    return power(x) - power(x - d)


def rounding_to_float16(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.maximum(np.abs(values) * FLOAT16_EPS, FLOAT16_STEP) / 2


def speech(num_samples: int, rate_hz: int = 16_000) -> npt.NDArray[np.float64]:
    """Something like a voice: harmonics of a gliding pitch with pauses, and a little noise down to -90 dB."""
    rng, time = np.random.default_rng(0), np.arange(num_samples) / rate_hz
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * time)) / rate_hz
    voiced = sum(np.sin(k * phase) / k for k in range(1, 30))
    return 0.3 * voiced * np.maximum(0, np.sin(2 * np.pi * 1.3 * time)) + 3e-5 * rng.standard_normal(num_samples)


def write_wav(path: Path, samples: npt.NDArray[np.int16], rate_hz: int = 16_000) -> dict[str, Any]:
    """The recording, and its row in a list of clips; samples [T, channels]."""
    with wave.open(str(path), "wb") as file:
        file.setparams((samples.shape[1], 2, rate_hz, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())
    common = {"clip_id": "s/v/1", "speaker_id": "s", "audio_path": path.name, "audio_bytes": path.stat().st_size}
    return common | {"start_s": None, "end_s": None}


def stored_both_ways(path: Path, row: dict[str, Any]) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.int16]]:
    """The spectrogram and the waveform that segment_audio stores of a recording."""
    found = []
    for stored in ("spectrogram", "waveform"):
        settings = AUDIO.model_copy(update={"stored": stored})
        shard, schema = table_of(settings)
        batch = to_batch(list(shard([row], settings, {"root": str(path.parent)})), schema)
        assert batch.num_rows == 1
        found.append(schema.field(stored).type.to_numpy(batch[stored])[0])
    return found[0], found[1]


def of_16_bits(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
    return np.rint(values * 32_767).astype(np.int16)


def test_recordings_of_16_bits_at_16_khz_are_kept_as_they_are(tmp_path: Path):
    samples = of_16_bits(speech(40_000))
    samples[:3] = -32_768, 32_767, 0
    row = write_wav(tmp_path / "a.wav", samples[:, None])
    _, found = stored_both_ways(tmp_path / "a.wav", row)
    np.testing.assert_array_equal(
        found, np.concatenate([samples, samples, samples[:16_000]])
    )  # shorter ones are repeated
    every = np.arange(-32_768, 32_768)
    np.testing.assert_array_equal(to_16_bit((every / 32_768).astype(np.float32)), every)


def test_what_lies_between_two_steps_becomes_the_nearer_one():
    waveform = np.random.default_rng(0).uniform(-1, 1 - 2.0**-15, 10_000).astype(np.float32)
    assert np.abs(to_16_bit(waveform) / 32_768 - waveform.astype(np.float64)).max() <= 2.0**-16
    np.testing.assert_array_equal(to_16_bit(np.array([-1, 1], np.float32)), [-32_768, 32_767])  # 1 by a whole step


def test_spectrograms_of_16_bit_recordings_are_the_stored_ones_but_for_the_rounding_to_float16(tmp_path: Path):
    row = write_wav(tmp_path / "a.wav", of_16_bits(speech(96_000))[:, None])
    stored, waveform = stored_both_ways(tmp_path / "a.wav", row)
    found = spectrograms(torch.from_numpy(waveform)[None], CPU)[0].double().numpy()
    assert (np.abs(found - stored) <= rounding_to_float16(found)).all()
    assert 0 < np.abs(found - stored).max() < 5 * FLOAT16_EPS  # spectrograms reach 200^0.3 < 5


def test_spectrograms_of_16_bit_waveforms_against_scipy_in_float64():
    waveform = of_16_bits(speech(96_000))
    _, _, spectrum = scipy.signal.stft(
        waveform / 32_768, window=np.pad(scipy.signal.get_window("hann", 400), 56), nperseg=512, noverlap=352,
        boundary="even", padded=False,
    )  # fmt: skip
    expected = power(np.stack([spectrum.real, spectrum.imag]) * WINDOW_SUM)
    found = spectrograms(torch.from_numpy(waveform)[None], CPU)[0].double().numpy()
    assert found.shape == expected.shape == (2, 257, 601)
    assert (np.abs(found - expected) <= most_apart(expected, FLOAT32_ERROR) + 1e-6).all()


def test_of_other_recordings_no_sample_moves_by_more_than_half_a_step_and_the_spectrogram_by_what_follows(
    tmp_path: Path,
):
    """44.1 kHz in two channels: resampled, so no longer of 16 bits."""
    voice = of_16_bits(0.8 * speech(264_600, 44_100))
    row = write_wav(tmp_path / "a.wav", np.stack([voice, voice // 3], 1), 44_100)
    stored, waveform = stored_both_ways(tmp_path / "a.wav", row)
    found = spectrograms(torch.from_numpy(waveform)[None], CPU)[0].double().numpy()
    difference = np.abs(found - stored)
    most = most_apart(found, WINDOW_SUM * 2.0**-16 + FLOAT32_ERROR)
    assert most.max() < 0.3 and (difference <= most + rounding_to_float16(stored.astype(np.float64))).all()
    assert difference.max() > 5 * FLOAT16_EPS  # so it is not only the rounding to float16 that was bounded


@pytest.mark.parametrize("frames", [1, 259, 600])
def test_a_crop_is_those_frames_of_the_whole(frames: int):
    waveforms = torch.from_numpy(of_16_bits(speech(5 * 96_000)).reshape(5, 96_000))
    assert count_frames(waveforms) == 601
    last = 601 - frames
    first = torch.tensor([0, 1, 2, last - 1, last]).clamp(0, last)
    whole = spectrograms(waveforms, CPU).double().numpy()
    found = spectrograms(waveforms, CPU, Crop(first, frames)).double().numpy()
    expected = np.stack([clip[..., start : start + frames] for clip, start in zip(whole, first, strict=True)])
    assert found.shape == (5, 2, 257, frames)
    assert (np.abs(found - expected) <= most_apart(expected, FLOAT32_ERROR) + 1e-6).all()


def test_stored_spectrograms_are_cut_alike():
    stored = torch.arange(40, dtype=torch.float16).expand(3, 2, 257, 40)
    assert count_frames(stored) == 40
    found = spectrograms(stored, CPU, Crop(torch.tensor([0, 7, 30]), 10))
    assert found.dtype == torch.float32 and found.shape == (3, 2, 257, 10)
    assert torch.equal(found[:, 1, 256], torch.tensor([[0.0], [7], [30]]) + torch.arange(10))
    assert torch.equal(spectrograms(stored, CPU), stored.float())


def test_the_setting_chooses_the_table_and_changes_no_embedding():
    waves = AUDIO.model_copy(update={"stored": "waveform"})
    assert [shard for shard, _ in (table_of(AUDIO), table_of(waves))] == [spectrogram_shard, waveform_shard]
    assert table_of(AUDIO)[1].field("spectrogram").type.shape == (2, 257, 601)
    assert table_of(waves)[1].field("waveform").type.shape == (96_000,)
    assert "spectrogram" not in table_of(waves)[1].names and "waveform" not in table_of(AUDIO)[1].names
    dumped = [Embedding(audio=audio, networks=[]).model_dump(mode="json") for audio in (AUDIO, waves)]
    assert dumped[0] == dumped[1] and dumped[0]["audio"].keys() == AUDIO.model_dump().keys() - {"stored"}
