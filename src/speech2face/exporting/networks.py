"""The networks in the form in which they are written as ONNX: without what it has no operator for, and with what is known beforehand
computed beforehand."""

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from speech2face.exporting.front_ends import Ge2eEnergies, KaldiFilterbank
from speech2face.models.face_decoder import FaceDecoder, ResizeConv2d
from speech2face.speaker_networks.backends import SpeakerNetwork
from speech2face.speaker_networks.campplus import POOLED_HZ, CamPlusPlus
from speech2face.speaker_networks.ge2e import (
    HOP_LENGTH,
    SAMPLE_RATE_HZ,
    WINDOW_FRAMES,
    WINDOW_S,
    Ge2e,
    loud_enough,
    window_starts,
)
from speech2face.speaker_networks.table import stretches_s


class UnwarpedDecoder(nn.Module):
    """A face decoder up to the warp, whose system of equations ONNX has no operator to solve.

    Shape:
        input: [B, feature_dim]
        output: landmarks [B, 68, 2] as (x, y) pixels; texture [B, 3, 224, 224] RGB, nominally 0..1, in the mean shape
    """

    def __init__(self, decoder: FaceDecoder) -> None:
        super().__init__()
        self.decoder = deepcopy(decoder)
        self.decoder.texture_network = nn.Sequential(*(fixed(layer) for layer in decoder.texture_network))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        texture, landmarks = self.decoder.unwarped(features)
        return landmarks, texture


@torch.no_grad()
def fixed(layer: nn.Module) -> nn.Module:
    """A `ResizeConv2d` as the transposed convolution that it is, so that its kernel is not computed at each run; others unchanged.

    The kernel is the layer's answer to single bright pixels: the 4 x 4 pixels around the middle one of 3 x 3.
    """
    if not isinstance(layer, ResizeConv2d):
        return layer
    assert layer.bias is not None
    channels = layer.in_channels
    points = torch.zeros(channels, channels, 3, 3)
    points[range(channels), range(channels), 1, 1] = 1
    answers = functional_call(layer, {"bias": torch.zeros_like(layer.bias)}, points)
    transposed = nn.ConvTranspose2d(channels, layer.out_channels, kernel_size=4, stride=2, padding=1)
    transposed.weight.copy_(answers[:, :, 1:5, 1:5])
    transposed.bias = layer.bias
    return transposed


class StretchesOfCamPlusPlus(nn.Module):
    """CAM++ with its front end, and the stretches that a segment of one length has.

    Shape:
        input: [B, T], -1..1, T samples at 16 kHz that last `segment_s`
        output: [B, S, 192], a row for each of `speaker_networks.table.stretches_s`
    """

    def __init__(self, network: CamPlusPlus, segment_s: float) -> None:
        super().__init__()
        self.front, self.network = KaldiFilterbank(), network
        self.stretches = [
            (round(start * POOLED_HZ), max(1, round(end * POOLED_HZ))) for start, end in stretches_s(segment_s)
        ]

    def forward(self, waveforms: Tensor) -> Tensor:
        """See the class."""
        frames = self.network.frames(self.front(waveforms))
        return torch.stack([self.network.pooled(frames[:, start:end]) for start, end in self.stretches], 1)


class StretchesOfGe2e(nn.Module):
    """GE2E with its front end, and the stretches that a segment of one length has.

    Shape:
        input: [B, T], -1..1, T samples at 16 kHz that last `segment_s`
        output: [B, S, 256], a row for each of `speaker_networks.table.stretches_s`
    """

    def __init__(self, network: Ge2e, segment_s: float) -> None:
        super().__init__()
        self.front, self.network = Ge2eEnergies(network), network
        num_samples = round(segment_s * SAMPLE_RATE_HZ)
        self.starts = window_starts(num_samples)
        self.padding = max(0, (self.starts[-1] + WINDOW_FRAMES) * HOP_LENGTH - num_samples)
        middles_s = torch.tensor(self.starts) * (HOP_LENGTH / SAMPLE_RATE_HZ) + WINDOW_S / 2
        self.held = [
            ((middles_s >= start) & (middles_s <= max(end, WINDOW_S))).nonzero()[:, 0].tolist()
            for start, end in stretches_s(segment_s)
        ]

    def forward(self, waveforms: Tensor) -> Tensor:
        """See the class."""
        energies = self.front(F.pad(loud_enough(waveforms), (0, self.padding)))
        cut = torch.stack([energies[:, start : start + WINDOW_FRAMES] for start in self.starts], 1)
        _, (hidden, _) = self.network.lstm(cut.flatten(0, 1))
        windows = F.normalize(self.network.linear(hidden[-1]).relu(), dim=-1).unflatten(0, (-1, len(self.starts)))
        return F.normalize(torch.stack([windows[:, held].mean(1) for held in self.held], 1), dim=-1)


def with_front_end(network: SpeakerNetwork, segment_s: float) -> nn.Module:
    """A speaker network from waveforms of one length to the embeddings of its stretches."""
    if isinstance(network, CamPlusPlus):
        return StretchesOfCamPlusPlus(network, segment_s)
    assert isinstance(network, Ge2e)
    return StretchesOfGe2e(network, segment_s)
