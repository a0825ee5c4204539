"""Charts hold the texts and numbers that they were given, and are the same each time."""

from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from speech2face.report import charts


@pytest.mark.slow
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
