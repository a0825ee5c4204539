"""Strips and charts."""

from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from speech2face.report import charts
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
    found = {int(scores[row]): standing for row, standing in chosen}
    assert list(found) == sorted(found)
    assert len(found) == len(chosen) == min(count, speakers)
    assert {place: standing for place, standing in found.items() if standing} == places


def test_chosen_rows_are_evenly_spaced_ties_by_index_and_one_alone_has_no_standing():
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


def test_charts_say_what_they_show_and_are_the_same_each_time():
    rng = np.random.default_rng(0)
    counts = pd.DataFrame([[7, 1], [2, 9]], ["f", "m"], ["f", "m"])
    line = (np.arange(1, 5), np.linspace(0, 1, 4))
    drawn = {
        "voice": lambda: charts.curves({"voice": line, "chance": line}, "rank", "recall", log_x=True),
        "read from the voice": lambda: charts.confusion_matrix(counts, "sex"),
        "age": lambda: charts.scatter(rng.normal(size=9) * 0 + line[0].mean(), np.arange(9.0), "age"),
        "published": lambda: charts.intervals([("jaw", 0.1, 0.0, 0.2)], [0.107], "r", "published"),
        "f: face": lambda: charts.embedding_map(np.eye(2), -np.eye(2), ["f", "m"]),
    }
    for label, draw in drawn.items():
        first = draw()
        assert draw() == first
        texts = [element.text for element in ElementTree.fromstring(first).iter() if element.tag.endswith("text")]
        assert label in texts
    matrix = ElementTree.fromstring(charts.confusion_matrix(counts, "sex"))
    texts = [element.text for element in matrix.iter() if element.tag.endswith("text")]
    assert {"7", "1", "2", "9"} < set(texts)


def test_names_with_dollar_signs_are_shown_as_they_are():
    name = r"$\frac$ \$5"
    counts = pd.DataFrame([[7, 1], [2, 9]], [name, "m"], [name, "m"])
    line = (np.arange(1, 5), np.linspace(0, 1, 4))
    drawn = {
        name: [
            charts.curves({name: line}, name, name),
            charts.confusion_matrix(counts, name),
            charts.scatter(line[0], line[1], name),
            charts.intervals([(name, 0.1, 0.0, 0.2)], [0.1], name, name),
        ],
        f"{name}: face": [charts.embedding_map(np.eye(2), -np.eye(2), [name, "m"])],
    }
    for expected, pictures in drawn.items():
        for svg in pictures:
            texts = [element.text for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")]
            assert expected in texts
            assert not [text for text in texts if "frac" in text and name not in text]
