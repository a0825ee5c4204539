"""From the layers of a network file to PyTorch layers, one after the other."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from speech2face.dlib_nets.layers import Affine, Convolution, Layer, Pool

_MAX_POOL_PX = 16
_LayerKind = TypeVar("_LayerKind")


class LayerQueue:
    """Takes the layers of a network in forward order, each with the kind that the network's plan says comes next."""

    def __init__(self, layers: Sequence[Layer], network: str) -> None:
        self._layers = layers
        self._network = network
        self._next = 0

    def peek(self) -> Layer | None:
        """The next layer, or None at the end."""
        return self._layers[self._next] if self._next < len(self._layers) else None

    def take(self, kind: type[_LayerKind]) -> _LayerKind:
        """The next layer, which must be of this kind.

        Raises:
            ValueError: if the file's next layer is another one.
        """
        layer = self.peek()
        if not isinstance(layer, kind):
            raise ValueError(
                f"not a {self._network}: layer {self._next} of the file should be {kind.__name__}, "
                f"but is {'missing' if layer is None else type(layer).__name__}"
            )
        self._next += 1
        return layer

    def convolution(self, in_channels: int, affine: bool = True) -> nn.Conv2d:
        """The next convolution, with the affine layer behind it (if it has one) multiplied into its weights.

        Raises:
            ValueError: if it does not take `in_channels` channels, or the affine layer's channels differ.
        """
        stored = self.take(Convolution)
        weight, bias = stored.weight.astype(np.float64), stored.bias.astype(np.float64)
        if affine:
            following = self.take(Affine)
            if following.scale.shape != bias.shape:
                raise ValueError(f"not a {self._network}: an affine layer of {following.scale.size} channels follows "
                                 f"a convolution of {bias.size}")  # fmt: skip
            weight = weight * following.scale[:, None, None, None]
            bias = bias * following.scale + following.shift
        out_channels, stored_in_channels, *kernel = weight.shape
        if stored_in_channels != in_channels:
            raise ValueError(
                f"not a {self._network}: a convolution takes {stored_in_channels} channels, but gets {in_channels}"
            )
        for size, stride, padding in zip(kernel, stored.stride, stored.padding, strict=True):
            if stride > size or padding >= size:
                raise ValueError(
                    f"not a {self._network}: stride {stride} and padding {padding} of a kernel of {size} pixels"
                )
        layer = nn.utils.skip_init(
            nn.Conv2d, in_channels, out_channels, (kernel[0], kernel[1]), stored.stride, stored.padding
        )
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight))
            layer.bias.copy_(torch.from_numpy(bias))
        if not (layer.weight.isfinite().all() and layer.bias.isfinite().all()):
            raise ValueError(f"not a {self._network}: a convolution's weights times its scales leave float32")
        return layer

    def pool(self, kind: str) -> nn.Module:
        """The next layer, a max or avg pool over a window that is smaller than the map.

        Raises:
            ValueError: if it is another layer.
        """
        stored = self.take(Pool)
        plain = stored.kind == kind and stored.padding == (0, 0) and 0 not in stored.size
        if not plain or max(stored.size) > _MAX_POOL_PX or stored.stride > stored.size:
            raise ValueError(f"not a {self._network}: {stored} where a plain {kind} pool was expected")
        pools = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}
        return pools[kind](stored.size, stored.stride)

    def end(self) -> None:
        """Check that no layer is left.

        Raises:
            ValueError: if one is.
        """
        if self.peek() is not None:
            raise ValueError(f"not a {self._network}: {len(self._layers) - self._next} more layers than expected")


@contextmanager
def exact_float32() -> Iterator[None]:
    """Convolutions in full float32, as dlib computes them; GPUs otherwise shorten the factors to TF32 (10 bits)."""
    with torch.backends.cudnn.flags(
        enabled=torch.backends.cudnn.enabled,
        benchmark=torch.backends.cudnn.benchmark,
        deterministic=torch.backends.cudnn.deterministic,
        allow_tf32=False,
    ):
        yield
