"""dlib's bilinear image resizing, with its rounding.

Source: dlib 20.0.1, `resize_image` in `image_transforms/interpolation.h`. The corners of both pictures coincide. dlib
walks the columns four at a time: their positions are float32 and grow by a rounded step, so they drift from the true
ones (up to 6e-4 of the pixel range at 640 px); the columns left at the end of a row, and all rows, run in double. A
detector whose first decimals hang on this must drift alike. dlib does so in all its builds for CPUs with SSE, AVX or
NEON, whose float32 arithmetic is the same; its CUDA build has other code and other rounding.
"""

import functools
from dataclasses import dataclass

import numpy as np
import torch

_LANES = 4


@dataclass(frozen=True)
class Axis:
    """Where the samples of one axis come from: value = (1 - fraction) * source[near] + fraction * source[far].

    `near`, `far` int64 [out], `fraction` float64 [out]; `num_float32` samples, the first ones, are dlib's float32 kind.
    """

    near: torch.Tensor
    far: torch.Tensor
    fraction: torch.Tensor
    num_float32: int


def column_axis(num_in: int, num_out: int, device: torch.device) -> Axis:
    """The columns of a picture `num_in` wide, resized to `num_out`."""
    scale = (num_in - 1) / max(num_out - 1, 1)
    lanes = np.array([-4 * scale, -4 * scale + scale, -4 * scale + 2 * scale, -4 * scale + 3 * scale])
    steps = np.full((num_out // _LANES + 1, _LANES), 4 * scale).astype(np.float32)
    steps[0] = lanes
    # float32 additions one after the other, as dlib does; the first row is the start, one step before column 0
    quads = np.add.accumulate(steps, axis=0, dtype=np.float32)[1:]
    # dlib leaves this loop at the first quadruple whose last right neighbour is outside the picture
    outside = np.floor(quads[:, -1]) + 1 >= num_in
    quads = quads[: int(np.argmax(outside)) if outside.any() else len(quads)]
    fast = quads.ravel()
    slow = _positions(-scale + fast.size * scale, scale, num_out - fast.size)
    return _axis(np.concatenate([fast.astype(np.float64), slow]), num_in, fast.size, device)


def row_axis(num_in: int, num_out: int, device: torch.device) -> Axis:
    """The rows of a picture `num_in` high, resized to `num_out`."""
    scale = (num_in - 1) / max(num_out - 1, 1)
    return _axis(_positions(-scale, scale, num_out), num_in, 0, device)


def _positions(start: float, scale: float, num: int) -> np.ndarray:
    """`start` plus 1, 2, ... `num` times `scale`, added up one after the other in double."""
    return np.add.accumulate(np.concatenate([[start], np.full(num, scale)]))[1:]


def _axis(positions: np.ndarray, num_in: int, num_float32: int, device: torch.device) -> Axis:
    near = np.floor(positions).astype(np.int64)
    far = np.minimum(near + 1, num_in - 1)
    fraction = torch.from_numpy(positions - near)
    return Axis(torch.from_numpy(near).to(device), torch.from_numpy(far).to(device), fraction, num_float32)


@functools.lru_cache(maxsize=1024)
def _float32_axes(
    size_in: tuple[int, int], size_out: tuple[int, int], device: torch.device
) -> tuple[Axis, Axis, torch.Tensor, torch.Tensor]:
    rows, columns = row_axis(size_in[0], size_out[0], device), column_axis(size_in[1], size_out[1], device)
    row_fraction = rows.fraction.float().to(device).view(-1, 1, 1)
    return rows, columns, row_fraction, columns.fraction.float().to(device).view(-1, 1)


def resize_float(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize pictures of floats.

    Args:
        image: float32 [B, H, W, C].
        size: the new height and width in pixels.

    Returns:
        float32 [B, height, width, C], equal to dlib's but for the last bit.
    """
    rows, columns, row_fraction, column_fraction = _float32_axes((image.shape[1], image.shape[2]), size, image.device)
    top, bottom = image.index_select(1, rows.near), image.index_select(1, rows.far)
    image = torch.lerp(top, bottom, row_fraction)
    left, right = image.index_select(2, columns.near), image.index_select(2, columns.far)
    return torch.lerp(left, right, column_fraction)


def doubled_size(height: int, width: int) -> tuple[int, int]:
    """The size in pixels that `double_size` makes of a picture."""
    return 2 * height + 1, 2 * width + 2


def double_size(image: torch.Tensor) -> torch.Tensor:
    """dlib's `pyramid_up` with `pyramid_down<2>`: a picture of H x W becomes one of 2H + 1 x 2W + 2.

    Args:
        image: uint8 [B, H, W, C].

    Returns:
        uint8 [B, 2H + 1, 2W + 2, C]; values are cut off, not rounded, so every bit of the interpolation counts.
    """
    size = doubled_size(image.shape[1], image.shape[2])
    rows = row_axis(image.shape[1], size[0], image.device)
    columns = column_axis(image.shape[2], size[1], image.device)
    num_fast = columns.num_float32
    halves = [
        _interpolate_float32(image, rows, columns.near[:num_fast], columns.far[:num_fast], columns.fraction[:num_fast]),
        _interpolate_float64(image, rows, columns.near[num_fast:], columns.far[num_fast:], columns.fraction[num_fast:]),
    ]
    return torch.cat(halves, dim=2)


def _neighbours(image: torch.Tensor, rows: Axis, near: torch.Tensor, far: torch.Tensor) -> list[torch.Tensor]:
    """Top left, top right, bottom left, bottom right of every sample."""
    top, bottom = image.index_select(1, rows.near), image.index_select(1, rows.far)
    return [row.index_select(2, index) for row in (top, bottom) for index in (near, far)]


def _interpolate_float32(
    image: torch.Tensor, rows: Axis, near: torch.Tensor, far: torch.Tensor, fraction: torch.Tensor
) -> torch.Tensor:
    y, x = rows.fraction.view(-1, 1, 1), fraction.view(-1, 1).float().to(image.device)
    # the complement of the row's fraction is rounded from double, that of the column's is a float32 difference
    y_weights, x_weights = ((1 - y).float().to(image.device), y.float().to(image.device)), (1 - x, x)
    corners = _neighbours(image, rows, near, far)
    total = y_weights[0] * x_weights[0] * corners[0]
    total += y_weights[0] * x_weights[1] * corners[1]
    total += y_weights[1] * x_weights[0] * corners[2]
    total += y_weights[1] * x_weights[1] * corners[3]
    return total.to(torch.uint8)


def _interpolate_float64(
    image: torch.Tensor, rows: Axis, near: torch.Tensor, far: torch.Tensor, fraction: torch.Tensor
) -> torch.Tensor:
    y, x = rows.fraction.view(-1, 1, 1).to(image.device), fraction.view(-1, 1).to(image.device)
    top_left, top_right, bottom_left, bottom_right = _neighbours(image, rows, near, far)
    top = (1 - x) * top_left + x * top_right
    bottom = (1 - x) * bottom_left + x * bottom_right
    return ((1 - y) * top + y * bottom).to(torch.uint8)
