"""The parts of a page: escaped, with numbers and pictures as a reader expects them."""

import base64
import io

import numpy as np
from PIL import Image

from speech2face.report.report import Cell, Section, Table, number, photo, svg_picture, with_lines, words, write_report
from tests.report.html_page import Page
from tests.simulated import HOSTILE


def test_parts_of_a_page(tmp_path):
    table = Table("Numbers", ["a", "b"], [[Cell("x"), number({"value": 0.5, "low": 0.25, "high": 1.0})]])
    write_report(tmp_path / "page.html", "In short", [Section("s", "S", ["Text"], [table])], ["Careful"])
    page = Page((tmp_path / "page.html").read_text())
    text = " ".join(" ".join(page.text).split())
    for part in ("In short", "Careful", "Text", "Numbers", "0.500 0.250 to 1.000"):
        assert part in text
    assert list(tmp_path.iterdir()) == [tmp_path / "page.html"]


def test_every_text_is_escaped(tmp_path):
    image = photo(np.zeros((8, 8, 3), np.uint8), HOSTILE, HOSTILE)
    table = Table(HOSTILE, [HOSTILE], [[Cell(HOSTILE, (HOSTILE,)), Cell(HOSTILE, (HOSTILE,))]], HOSTILE)
    write_report(tmp_path / "page.html", HOSTILE, [Section("s", HOSTILE, [HOSTILE], [table], [image])], [HOSTILE])
    text = (tmp_path / "page.html").read_text()
    assert HOSTILE not in text
    assert not Page(text).all("script")


def test_numbers_and_words():
    assert number(None).text == number({}).text == "–"
    assert number(1234).text == "1,234"
    assert number(123.456).text == "123.5"
    assert with_lines({"value": 0.5, "low": 0.25, "high": 1.0}, "chance 0.1").details == (
        "0.250 to 1.000",
        "chance 0.1",
    )
    assert words("vocal_tract_length_cm") == "vocal tract length (cm)"
    assert words("recall_at_10_percent") == "recall at 10 %"
    assert words("unit_l2") == "unit L2"


def test_pictures_are_data():
    assert svg_picture("<svg/>", "a", "b").source == "data:image/svg+xml;base64,PHN2Zy8+"
    image = np.full((8, 8, 3), 200, np.uint8)
    content = photo(image, "a", "b").source.removeprefix("data:image/jpeg;base64,")
    assert abs(np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))).astype(int) - 200).max() <= 2
