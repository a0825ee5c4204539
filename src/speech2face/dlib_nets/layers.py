"""What a dlib network file holds: its input, its layers with their weights, and its loss, as plain data."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Convolution:
    """`weight` float32 [out, in, rows, columns], torch's order and no flip; strides and paddings as (y, x)."""

    weight: np.ndarray
    bias: np.ndarray
    stride: tuple[int, int]
    padding: tuple[int, int]


@dataclass(frozen=True)
class Affine:
    """y = scale * x + shift per channel; both float32 [channels]. Batch normalisation is folded into this."""

    scale: np.ndarray
    shift: np.ndarray


@dataclass(frozen=True)
class Relu:
    """max(x, 0)."""


@dataclass(frozen=True)
class Pool:
    """`kind` is "max" or "avg"; `size` (rows, columns), where (0, 0) is the whole map; strides and paddings (y, x)."""

    kind: str
    size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]


@dataclass(frozen=True)
class Linear:
    """y = x @ weight + bias; `weight` float32 [in, out], `bias` float32 [out] or None."""

    weight: np.ndarray
    bias: np.ndarray | None


@dataclass(frozen=True)
class AddPrevious:
    """Adds the output of an earlier, tagged layer."""


@dataclass(frozen=True)
class Mark:
    """A tag or a skip: the file says neither which of the two, nor its number."""


Layer = Convolution | Affine | Relu | Pool | Linear | AddPrevious | Mark


@dataclass(frozen=True)
class Input:
    """`mean` (r, g, b) is subtracted, then everything divided by 256. `size` (rows, columns) if it is fixed, else None.

    For an image pyramid, `padding` and `outer_padding` (pixels) are the gaps between levels and around them.
    """

    mean: tuple[float, float, float]
    size: tuple[int, int] | None = None
    padding: int = 0
    outer_padding: int = 0


@dataclass(frozen=True)
class MetricLoss:
    """`loss_metric`: the network is an embedding."""


@dataclass(frozen=True)
class DetectionLoss:
    """`loss_mmod`: the network is a sliding-window detector.

    `windows` are (width, height) in pixels. Of two detections the weaker goes if they overlap by more than
    `overlap_iou`, or if either is covered by more than `overlap_covered`.
    """

    windows: tuple[tuple[int, int], ...]
    overlap_iou: float
    overlap_covered: float


@dataclass(frozen=True)
class NetworkFile:
    """A network as it was stored; `layers` in forward order."""

    input: Input
    layers: tuple[Layer, ...]
    loss: MetricLoss | DetectionLoss
