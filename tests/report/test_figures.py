"""Strips of faces, and who is in them."""

import numpy as np
import pytest
from PIL import Image

from speech2face.report.figures import LABEL_PX, MARGIN_PX, SIDE_PX, choose_spread, draw_strip


@pytest.mark.parametrize(
    ("count", "speakers", "places"),
    [
        (8, 46, {0: "best", 22: "median", 45: "worst"}),
        (1, 46, {22: "median"}),
        (2, 46, {0: "best", 45: "worst"}),
        (5, 101, {0: "best", 50: "median", 100: "worst"}),
        (5, 5, {0: "best", 2: "median", 4: "worst"}),
        (8, 3, {0: "best", 1: "median", 2: "worst"}),
        (2, 2, {0: "best", 1: "worst"}),
        (1, 2, {0: "best"}),
    ],
)
def test_chosen_rows_go_from_best_through_median_to_worst(count, speakers, places):
    scores = np.random.default_rng(0).permutation(speakers)
    chosen = choose_spread(scores, count)
    found = {int(scores[row]): label for row, label in chosen}
    assert list(found) == sorted(found)
    assert len(found) == len(chosen) == min(count, speakers)
    assert {place: label for place, label in found.items() if label} == places


def test_chosen_rows_are_evenly_spaced_ties_by_index_and_one_alone_has_no_label():
    assert [row for row, _ in choose_spread(np.arange(101), 5)] == [0, 25, 50, 75, 100]
    assert [row for row, _ in choose_spread(np.arange(46), 8)] == [0, 7, 15, 22, 28, 34, 39, 45]
    assert [row for row, _ in choose_spread(np.zeros(4), 4)] == [0, 1, 2, 3]
    assert choose_spread(np.array([3.0]), 5) == [(0, "")]


def test_strip_holds_every_picture_in_its_place(tmp_path):
    colours = np.arange(6).reshape(2, 3) * 40
    rows = [
        (name, [np.full((100, 100, 3), colour, np.uint8) for colour in row])
        for name, row in zip(("true face", "from the voice"), colours, strict=True)
    ]
    draw_strip(tmp_path / "strip.png", rows, ["a", "b", "c"])
    strip = np.asarray(Image.open(tmp_path / "strip.png"))
    cell = SIDE_PX + MARGIN_PX
    left = strip.shape[1] - 3 * cell
    for (row, column), colour in np.ndenumerate(colours):
        top, start = LABEL_PX + row * cell, left + column * cell
        assert (strip[top : top + SIDE_PX, start : start + SIDE_PX] == colour).all()
    assert (strip[LABEL_PX:, :left] < 128).any()  # the rows' names
    assert (strip[:LABEL_PX, left:] < 128).any()  # the columns' titles
