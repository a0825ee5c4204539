"""Networks in the form in which they are written, against the networks themselves, in PyTorch."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from speech2face.exporting.networks import UnwarpedDecoder, fixed, with_front_end
from speech2face.exporting.onnx_files import OnnxNetwork, write_onnx
from speech2face.models.face_decoder import ResizeConv2d
from speech2face.speaker_networks import campplus
from speech2face.speaker_networks.backends import SOURCES, converted_weights, open_networks
from speech2face.speaker_networks.table import stretches_s
from tests.exporting.small import face_decoder
from tests.speaker_networks.sounds import voice


@pytest.mark.parametrize("texture", ["cnn", "linear", "resize"])
def test_a_decoder_up_to_the_warp(texture: str):
    decoder = face_decoder(texture)
    features = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, (landmarks, texture_) = decoder(features), UnwarpedDecoder(decoder)(features)
    assert torch.equal(landmarks, expected.landmarks)
    torch.testing.assert_close(texture_, expected.texture, rtol=0, atol=1e-6)
    assert (expected.texture[0] - expected.texture[1]).abs().max() > 1e-3


def test_a_kernel_is_computed_once():
    torch.manual_seed(0)
    layer = ResizeConv2d(3, 5)
    pictures = torch.randn(2, 3, 7, 9)
    transposed = fixed(layer)
    assert isinstance(transposed, torch.nn.ConvTranspose2d)
    torch.testing.assert_close(transposed(pictures), layer(pictures), rtol=0, atol=1e-6)
    other = torch.nn.Conv2d(3, 5, 1)
    assert fixed(other) is other


@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("segment_s", [2.605, 6.0])
def test_speaker_networks_of_segments_of_one_length(name: str, segment_s: float):
    (network,) = open_networks(converted_weights([name]), torch.device("cpu"))
    sounds = torch.from_numpy(np.stack([voice(segment_s), 0.01 * voice(segment_s, seed=1)]))
    with torch.inference_mode():
        expected, found = network.embed(sounds, stretches_s(segment_s)), with_front_end(network, segment_s)(sounds)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


@pytest.mark.slow
def test_a_short_campplus_as_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of two layers a block, for PyTorch takes a minute to write all of them; weights are random."""
    monkeypatch.setattr(campplus, "BLOCKS", ((2, 1), (2, 2), (2, 2)))
    torch.manual_seed(0)
    network = campplus.CamPlusPlus().eval()
    sounds = torch.from_numpy(np.stack([voice(4.5), 0.01 * voice(4.5, seed=1), voice(4.5, 220.0, seed=2)]))
    given = OnnxNetwork(
        with_front_end(network, 4.5), "waveform", ("embeddings",), sounds[:2], sounds, {0: ("batch", 1)}
    )
    write_onnx(given, tmp_path / "campplus.onnx", "")
    session = onnxruntime.InferenceSession(str(tmp_path / "campplus.onnx"))
    for batch in (1, 3):
        (found,) = session.run(None, {"waveform": sounds[:batch].numpy()})
        with torch.inference_mode():
            expected = network.embed(sounds[:batch], stretches_s(4.5)).numpy()
        assert found.shape == (batch, 3, 192)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
