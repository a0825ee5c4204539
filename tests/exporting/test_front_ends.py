"""Mel energies by convolution against those by Fourier transforms."""

import numpy as np
import pytest
import torch

from speech2face.exporting.front_ends import Ge2eEnergies, KaldiFilterbank
from speech2face.speaker_networks.campplus import fbank
from speech2face.speaker_networks.ge2e import Ge2e
from tests.speaker_networks.sounds import voice


def waveforms(duration_s: float) -> torch.Tensor:
    return torch.from_numpy(np.stack([voice(duration_s), 0.01 * voice(duration_s, seed=1)]))


@pytest.mark.parametrize("duration_s", [0.025, 0.5, 3.005])
def test_kaldis_log_mel_energies(duration_s: float):
    sounds = waveforms(duration_s)
    torch.testing.assert_close(KaldiFilterbank()(sounds), fbank(sounds), rtol=0, atol=5e-4)


@pytest.mark.parametrize("duration_s", [0.025, 0.5, 3.005])
def test_energies_of_ge2e(duration_s: float):
    sounds, network = waveforms(duration_s), Ge2e()
    expected = network.mel_energies(sounds)
    torch.testing.assert_close(Ge2eEnergies(network)(sounds), expected, rtol=1e-4, atol=1e-6 * expected.max().item())
