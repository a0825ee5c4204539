"""Strips and charts."""

from xml.etree import ElementTree

import numpy as np
import pandas as pd
from PIL import Image

from speech2face.evaluation import charts
from speech2face.evaluation.figures import LABEL_PX, MARGIN_PX, SIDE_PX, choose_spread, draw_strip


def test_chosen_rows_go_from_best_through_median_to_worst():
    scores = np.random.default_rng(0).permutation(101)
    chosen = scores[choose_spread(scores, 5)]
    assert chosen.tolist() == [0, 25, 50, 75, 100]
    assert choose_spread(scores[:3], 8) == np.argsort(scores[:3]).tolist()
    assert choose_spread(np.zeros(4), 4) == [0, 1, 2, 3]


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
