import math

import pytest

from speech2face.estimate.corpora import CORPORA
from speech2face.estimate.model import Machine, Row, predict
from speech2face.estimate.page import disk_text, markdown, memory_text, notes, text, time_text, two_digits
from speech2face.pipeline.params import load_params
from tests.estimate.made_up import made_up_rates

VOX1 = CORPORA["voxceleb1"]


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0"), (0.0123, "0.012"), (0.999, "1.0"), (1.26, "1.3"), (12.6, "13"), (126, "130"), (123_456, "120,000")],
)
def test_two_digits(value: float, said: str):
    assert two_digits(value) == said


def test_units():
    assert [time_text(s) for s in (3, 89, 91, 5_399, 5_401, 1e6)] == [
        "3.0 s",
        "89 s",
        "1.5 min",
        "90 min",
        "1.5 h",
        "280 h",
    ]
    assert [memory_text(m) for m in (350, 2048)] == ["350 MiB", "2.0 GiB"]
    assert [disk_text(b) for b in (500, 2e6, 95e9, 1.2e12)] == ["0.50 kB", "2.0 MB", "95 GB", "1.2 TB"]


def test_a_table_fits_80_columns_and_sums_up():
    rows = [Row("make_corpus", 60.0, 100.0, 1e6), Row("evaluate", 120.0, 300.0, 2e6)]
    shown = text(VOX1, Machine(2, 0), rows, ["a note"])
    lines = shown.splitlines()
    assert lines[0] == "VoxCeleb1: 153,516 clips, 22,496 videos, 1,251 speakers"
    assert lines[1] == "on 2 processors, no GPU" and lines[-1] == "a note"
    assert lines[-2].split() == ["total", "3.0", "min", "300", "MiB", "3.0", "MB"]
    many = predict(made_up_rates(), VOX1, load_params(), Machine(2, 0))
    assert max(map(len, text(VOX1, Machine(2, 0), many, []).splitlines())) <= 80


def test_machines_in_words():
    assert "on 1 processor, 1 GPU\n" in text(VOX1, Machine(1, 1), [Row("x", 1, 1, 1)], [])
    assert "on 8 processors, 2 GPUs\n" in text(VOX1, Machine(8, 2), [Row("x", 1, 1, 1)], [])


def test_markdown_has_a_column_for_each_corpus():
    rows = [Row("code", 3.0, 100.0, 1e4)]
    lines = markdown([(VOX1, rows), (CORPORA["avspeech"], rows)]).splitlines()
    assert lines[0] == "| stage | VoxCeleb1 | AVSpeech |"
    assert lines[2] == "| code | 3.0 s, 100 MiB, 10 kB | 3.0 s, 100 MiB, 10 kB |"


def test_what_is_not_counted_is_said():
    line, twice = notes(VOX1, load_params())
    assert "the 44 GB of recordings" in line and "downloads" in line and "twice the disk" in twice
    assert math.isclose(43.9, VOX1.bytes_to_read(10) / 1e9, abs_tol=0.05)
    # 217,500 canonical faces of 200,704 bytes
    assert "44 GB more" in notes(CORPORA["avspeech"], load_params())[2]
    assert "the 1.0 TB of recordings" in notes(CORPORA["avspeech"], load_params())[0]
    # five clips of 8.25 s at 32 kB a second and ten pictures of 15 kB
    assert "the 1.5 MB of recordings" in notes(VOX1.resized(5, 1, 1), load_params())[0]
