"""dlib's image pyramid, all levels on one canvas, and the way back from the canvas to the picture.

Source: dlib 20.0.1, `image_transforms/image_pyramid.h` (`pyramid_down<6>`, `compute_tiled_image_pyramid_details`) and
`dnn/input.h` (`input_rgb_image_pyramid`). The levels lie closer together than the network's receptive field, so scores
depend on their neighbours on the canvas: the layout must be dlib's, too.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch

from speech2face.dlib_nets.resizing import resize_float

_RATE = 5 / 6  # of pyramid_down<6>
_OFFSET_PX = 0.3  # pyramid_down's shift from one level to the next larger one
_MIN_HEIGHT_PX = 5


@dataclass(frozen=True)
class Tile:
    """Where one level lies on the canvas, in pixels."""

    left: int
    top: int
    width: int
    height: int

    @property
    def rows(self) -> slice:
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        return slice(self.left, self.left + self.width)


@dataclass(frozen=True)
class Layout:
    """The canvas of a picture: its size in pixels and its levels, the picture itself first."""

    height: int
    width: int
    tiles: tuple[Tile, ...]


@functools.lru_cache(maxsize=256)
def layout(height: int, width: int, padding: int, outer_padding: int) -> Layout:
    """Lay the levels of a picture of `height` x `width` pixels out on a canvas.

    Args:
        height, width: of the picture, at least 1.
        padding, outer_padding: gaps in pixels between levels and around them.
    """
    sizes = [(height, width)]
    while True:
        level_height, level_width = (math.floor(_RATE * side) for side in sizes[-1])
        if level_height < _MIN_HEIGHT_PX or level_width == 0:
            break
        sizes.append((level_height, level_width))

    # The first column goes down until half of the rest is placed and the next level fits beside the last one.
    # (dlib's numbers are unsigned here, so pictures narrower than 24 px come out otherwise; no face fits into those.)
    total = sum(side + padding for side, _ in sizes) - 2 * padding
    column, last_width = 0, 0
    for level_height, level_width in sizes:
        if level_width <= width - last_width - padding and 2 * (column - height) >= total - height:
            break
        column += level_height + padding
        last_width = level_width
    column -= padding

    tiles: list[Tile] = []
    y = outer_padding
    while len(tiles) < len(sizes) and y < column + outer_padding:
        level_height, level_width = sizes[len(tiles)]
        tiles.append(Tile(outer_padding, y, level_width, level_height))
        y += level_height + padding
    # The second column goes back up, flush right, until it would touch the picture; what is left is dropped.
    y -= padding
    for level_height, level_width in sizes[len(tiles) :]:
        tile = Tile(outer_padding + width - level_width, y - level_height, level_width, level_height)
        if tile.top < outer_padding + height:
            break
        tiles.append(tile)
        y -= level_height + padding
    return Layout(column + 2 * outer_padding, width + 2 * outer_padding, tuple(tiles))


def canvas(images: torch.Tensor, place: Layout) -> torch.Tensor:
    """Draw pictures and their levels, each made from the one above it, on canvases of zeros.

    Args:
        images: float32 [B, H, W, C], normalised.
        place: the layout for H x W.

    Returns:
        float32 [B, canvas height, canvas width, C].
    """
    drawn = images.new_zeros(images.shape[0], place.height, place.width, images.shape[3])
    level = images
    for tile in place.tiles:
        if tile is not place.tiles[0]:
            level = resize_float(level, (tile.height, tile.width))
        drawn[:, tile.rows, tile.columns] = level
    return drawn


def to_picture(centres: np.ndarray, window: tuple[int, int], place: Layout) -> np.ndarray:
    """Windows around points of the canvas as boxes of the picture.

    Args:
        centres: int [N, 2], (x, y) in pixels of the canvas.
        window: width and height in pixels of the canvas.
        place: the layout.

    Returns:
        int64 [N, 4]: left, top, right, bottom, edges included, in pixels of the picture, rounded as dlib does.
    """
    tiles = np.array([(tile.left, tile.top, tile.width, tile.height) for tile in place.tiles])
    origins, sizes = tiles[:, :2], tiles[:, 2:]
    # Centres between two levels belong to the nearest one.
    offsets = centres[:, None] - origins
    outside = np.maximum(np.maximum(-offsets, offsets - (sizes - 1)), 0)
    levels = np.argmin((outside**2).sum(axis=2), axis=1)
    half = (np.array(window) - 1) / 2
    local = (centres - origins[levels]).astype(np.float64)
    boxes = np.concatenate([local - half, local + half], axis=1)
    for level in range(1, len(tiles)):
        deeper = levels >= level
        boxes[deeper] = boxes[deeper] * (1 / _RATE) + _OFFSET_PX
    return round_half_away(boxes)


def undo_doubling(boxes: np.ndarray, times: int) -> np.ndarray:
    """Boxes int64 [N, 4] of a picture enlarged `times` times by `resizing.double_size`, in pixels of the original."""
    scaled = boxes.astype(np.float64)
    for _ in range(times):
        scaled = scaled / 2 - np.array([1.25, 0.75, 1.25, 0.75])
    return round_half_away(scaled)


def round_half_away(values: np.ndarray) -> np.ndarray:
    """Rounded to int64, halves away from zero, as C's `lround`; numpy rounds halves to even."""
    whole = np.trunc(values)
    return (whole + np.where(np.abs(values - whole) >= 0.5, np.sign(values), 0)).astype(np.int64)
