"""The voice encoder of Speech2Face: a spectrogram to the face feature of a typical owner of that voice.

Oh et al. 2019 (arXiv 1905.09773), section 3 and table 1. Convolutions are 4 x 4 without padding, pools take the maximum
of two frames and leave frequency alone; each step is convolution, ReLU, batch norm:

| layer | channels | stride | out, time x frequency, from 598 x 257 |
|---|---|---|---|
| conv1, conv2, conv3 | 64, 64, 128 | 1 | 589 x 248 |
| pool, conv4 | 128 | 2 x 1, 1 | 291 x 245 |
| pool, conv5 | 128 | 2 x 1, 1 | 142 x 242 |
| pool, conv6 | 256 | 2 x 1, 1 | 68 x 239 |
| pool, conv7 | 512 | 2 x 1, 1 | 31 x 236 |
| conv8 | 512 | 2 | 14 x 117 |
| conv9, bare | 512 | 2 | 6 x 57 |
| mean over all time, ReLU, batch norm | 512 | | 1 x 57 |
| flatten, FC, ReLU, FC | 4096, 4096 | | 4096 |

598 frames are 6 s without centre padding, 601 with it; both leave 6 x 57. At the paper's widths there are 148,062,976
trainable parameters, and 4,608 more numbers in the running mean and variance of nine batch norms (2 x 2,304 channels):
148,067,584, as frameworks count that call those parameters too. PyTorch calls them buffers.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

NUM_BINS = 257
WIN_LENGTH = 400
HOP_LENGTH = 160
SAMPLE_RATE_HZ = 16_000

KERNEL = 4
# channels in units of base_channels, stride, and whether two frames are pooled before the convolution
LAYERS = (
    (1, 1, False),  # conv1
    (1, 1, False),  # conv2
    (2, 1, False),  # conv3
    (2, 1, True),  # conv4
    (2, 1, True),  # conv5
    (4, 1, True),  # conv6
    (8, 1, True),  # conv7
    (8, 2, False),  # conv8
    (8, 2, False),  # conv9
)


def out_size(size: int, pooled: bool) -> int:
    """Positions that conv9 leaves along one axis: time if `pooled`, else frequency."""
    for _, stride, pool in LAYERS:
        size = size // 2 if pool and pooled else size
        size = (size - KERNEL) // stride + 1
    return size


def in_size(size: int, pooled: bool) -> int:
    """The fewest positions along one axis that leave `size` after conv9; the inverse of `out_size`."""
    for _, stride, pool in reversed(LAYERS):
        size = (size - 1) * stride + KERNEL
        size = size * 2 if pool and pooled else size
    return size


MIN_FRAMES = in_size(1, pooled=True)
"""259, 2.605 s: what one position of conv9 sees, and so the shortest input."""
OUT_BINS = out_size(NUM_BINS, pooled=False)
"""57: positions along frequency that conv9 leaves."""


class _Convolution(nn.Conv2d):
    """Reads no column that its stride leaves unread, where that leaves one position: in bfloat16, on processors with AMX, oneDNN 3.12
    takes what lies in memory behind a row, which is often NaN."""

    def forward(self, features: Tensor) -> Tensor:
        if features.dtype == torch.bfloat16 and features.shape[3] == KERNEL + 1 and self.stride[1] > 1:
            features = features[..., :KERNEL]
        return super().forward(features)


class VoiceEncoder(nn.Module):
    """Spectrogram to face feature (Oh et al. 2019, table 1).

    Shape:
        input: [B, 2, 257, frames], real and imaginary part; frequency; time; at least 259 frames
        output: [B, feature_dim]

    `mean_feature` [feature_dim] is the mean face of what it was trained on; it takes no part in `forward`.

    Args:
        base_channels: channels of conv1; the others are 1, 2, 2, 2, 4, 8, 8, 8 times as many.
        feature_dim: size of the face feature; 4096 for VGG-Face.
        hidden_dim: size of the first fully connected layer.
    """

    mean_feature: Tensor

    def __init__(self, base_channels: int = 64, feature_dim: int = 4096, hidden_dim: int = 4096) -> None:
        super().__init__()
        for name, value in (("base_channels", base_channels), ("feature_dim", feature_dim), ("hidden_dim", hidden_dim)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1 (got {value})")
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        in_channels = 2
        for number, (multiple, stride, pool) in enumerate(LAYERS, start=1):
            channels = multiple * base_channels
            if pool:
                layers[f"pool{number}"] = nn.MaxPool2d((1, 2))  # [frequency, time]
            layers[f"conv{number}"] = _Convolution(in_channels, channels, KERNEL, stride)
            if number < len(LAYERS):
                layers[f"relu{number}"] = nn.ReLU(inplace=True)  # a convolution's output is not needed for its gradient
                layers[f"norm{number}"] = nn.BatchNorm2d(channels)
            in_channels = channels
        self.convolutions = nn.Sequential(layers)
        self.relu = nn.ReLU()
        self.norm = nn.BatchNorm2d(in_channels)
        self.fc1 = nn.Linear(in_channels * OUT_BINS, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, feature_dim)
        self.feature_dim = feature_dim
        self.register_buffer("mean_feature", torch.zeros(feature_dim))

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Face features [B, feature_dim] of spectrograms [B, 2, 257, frames].

        Raises:
            ValueError: for another shape, or fewer than 259 frames.
        """
        over_time = self.feature_map(spectrogram).mean(dim=3, keepdim=True)
        normed = self.norm(self.relu(over_time))
        return self.fc2(self.relu(self.fc1(normed.flatten(1))))

    def feature_map(self, spectrogram: Tensor) -> Tensor:
        """What conv9 gives, [B, 8 * base_channels, 57, steps]; step k sees frames 64 k to 64 k + 258.

        Raises:
            ValueError: as `forward`.
        """
        _check_spectrogram(spectrogram)
        return self.convolutions(spectrogram)


def _check_spectrogram(spectrogram: Tensor) -> None:
    if spectrogram.ndim != 4 or spectrogram.shape[1:3] != (2, NUM_BINS):
        raise ValueError(
            f"spectrogram must be [B, 2, {NUM_BINS}, frames]: real and imaginary part, frequency, time "
            f"(got {list(spectrogram.shape)})"
        )
    frames = spectrogram.shape[3]
    if frames < MIN_FRAMES:
        raise ValueError(
            f"spectrogram must have at least {MIN_FRAMES} frames, {_span_s(MIN_FRAMES):.3f} s "
            f"(got {frames}, {_span_s(frames):.3f} s): repeat the recording to that length before the transform"
        )


def _span_s(frames: int) -> float:
    """Seconds of sound under `frames` windows."""
    return ((frames - 1) * HOP_LENGTH + WIN_LENGTH) / SAMPLE_RATE_HZ
