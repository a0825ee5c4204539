"""The canvas of levels and the way back: invariants of the layout, and closed forms."""

from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speech2face.dlib_nets import pyramid

sides = st.integers(24, 700)


@given(sides, sides)
def test_levels_lie_apart_on_the_canvas(height, width):
    place = pyramid.layout(height, width, 10, 11)
    assert (place.tiles[0].left, place.tiles[0].top) == (11, 11)
    assert (place.tiles[0].height, place.tiles[0].width) == (height, width)
    for index, tile in enumerate(place.tiles):
        assert tile.left >= 11
        assert tile.top >= 11
        assert tile.left + tile.width <= place.width - 11
        assert tile.top + tile.height <= place.height - 11
        for other in place.tiles[:index]:
            apart = (
                tile.left >= other.left + other.width
                or other.left >= tile.left + tile.width
                or tile.top >= other.top + other.height
                or other.top >= tile.top + tile.height
            )
            assert apart
            assert tile.height < other.height
            assert tile.width < other.width


def test_sizes_of_the_levels():
    heights = [tile.height for tile in pyramid.layout(224, 224, 10, 11).tiles]
    assert heights[:6] == [224, 186, 155, 129, 107, 89]  # floor(5/6 n), again and again
    assert min(heights) >= 5


def test_canvas_holds_the_picture_and_zeros_between_the_levels():
    images = torch.rand(2, 60, 80, 3, generator=torch.Generator().manual_seed(0)) + 0.5
    place = pyramid.layout(60, 80, 10, 11)
    canvas = pyramid.canvas(images, place)
    assert canvas.shape == (2, place.height, place.width, 3)
    assert torch.equal(canvas[:, 11:71, 11:91], images)
    covered = torch.zeros(place.height, place.width, dtype=torch.bool)
    for tile in place.tiles:
        assert (canvas[:, tile.rows, tile.columns] >= 0.5 - 1e-6).all()
        covered[tile.rows, tile.columns] = True
    assert (canvas[:, ~covered] == 0).all()


def test_windows_on_the_first_level_keep_their_size():
    place = pyramid.layout(200, 300, 10, 11)
    boxes = pyramid.to_picture(np.array([[11 + 100, 11 + 60]]), (80, 80), place)
    # 100 +- 39.5 and 60 +- 39.5, halves away from zero
    assert boxes.tolist() == [[61, 21, 140, 100]]


def test_windows_grow_by_six_fifths_a_level():
    place = pyramid.layout(400, 400, 10, 11)
    for level, tile in enumerate(place.tiles[:5]):
        centre = np.array([[tile.left + tile.width // 2, tile.top + tile.height // 2]])
        left, top, right, bottom = pyramid.to_picture(centre, (80, 80), place)[0]
        assert abs((right - left) - 79 * 1.2**level) <= 1
        assert abs((bottom - top) - 79 * 1.2**level) <= 1
        # both axes alike, and the middle of a level near the middle of the picture
        assert (left, right) == (top, bottom)
        assert abs((left + right) / 2 - 200) <= 1.2**level * 1.5


def test_centres_between_levels_belong_to_the_nearest():
    place = pyramid.layout(200, 200, 10, 11)
    first, second = place.tiles[:2]
    gap = np.array([[100, first.top + first.height + 2], [100, second.top - 2]])
    near_first, near_second = pyramid.to_picture(gap, (80, 80), place)
    assert near_first[2] - near_first[0] == 79
    assert near_second[2] - near_second[0] == pytest.approx(79 * 1.2, abs=1)


@given(st.lists(st.integers(-10_000, 10_000).map(lambda quarter: quarter / 4), min_size=1))
def test_halves_round_away_from_zero(values):
    expected = [int(Decimal(value).quantize(Decimal(1), rounding=ROUND_HALF_UP)) for value in values]
    assert pyramid.round_half_away(np.array(values)).tolist() == expected


def test_undo_doubling():
    boxes = np.array([[100, 101, 300, 301]])
    assert pyramid.undo_doubling(boxes, 0).tolist() == boxes.tolist()
    assert pyramid.undo_doubling(boxes, 1).tolist() == [[49, 50, 149, 150]]  # 48.75, 49.75, 148.75, 149.75
