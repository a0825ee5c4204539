"""GE2E against resemblyzer's own code."""

import numpy as np
import pytest
import torch

from speech2face.speaker_networks.backends import converted_weights, open_networks
from speech2face.speaker_networks.ge2e import Ge2e, window_starts
from tests.speaker_networks.packages import librosa, resemblyzer
from tests.speaker_networks.sounds import voice

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def network() -> Ge2e:
    (found,) = open_networks(converted_weights(["ge2e"]), torch.device("cpu"))
    assert isinstance(found, Ge2e)
    return found


@pytest.mark.parametrize("duration_s", [0.5, 1.6, 2.605, 6.0, 11.3])
@pytest.mark.parametrize("level", [0.9, 0.003])
def test_embeddings_are_those_of_the_package(network: Ge2e, duration_s: float, level: float):
    waveform = level * voice(duration_s)
    loud = resemblyzer().normalize_volume(waveform, -30, increase_only=True).astype(np.float32)
    expected = resemblyzer().VoiceEncoder("cpu", verbose=False).embed_utterance(loud)
    with torch.inference_mode():
        found = network(torch.from_numpy(waveform)[None])[0].numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)


def test_windows_begin_where_the_package_begins_them():
    for num_samples in (100, 25_599, 25_600, 37_000, 38_000, 96_000, 96_001, 1_000_000):
        slices = resemblyzer().VoiceEncoder.compute_partial_slices(num_samples, 1.3, 0.75)[1]
        assert window_starts(num_samples) == [part.start for part in slices], num_samples


def test_mel_energies_are_those_of_librosa(network: Ge2e):
    waveform = voice(1.0)
    expected = librosa().feature.melspectrogram(y=waveform, sr=16_000, n_fft=400, hop_length=160, n_mels=40).T
    found = network.mel_energies(torch.from_numpy(waveform)[None])[0].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6 * expected.max())


def test_a_stretch_is_the_mean_of_the_windows_in_it(network: Ge2e):
    waveforms = torch.from_numpy(voice(6.0))[None]
    whole, first, last = network.embed(waveforms, [(0, 6), (0, 3), (3, 6)])[0]
    torch.testing.assert_close(whole, network(waveforms)[0])
    assert (first @ last) < 0.999  # different windows
    assert (whole @ first) > (first @ last)


def test_silence_has_a_finite_embedding(network: Ge2e):
    assert network(torch.zeros(1, 16_000)).isfinite().all()
