"""Tables in text: text stays text, numbers are finite or unknown, and what is wrong is named by row and column."""

from pathlib import Path

import pytest

from speech2face.corpus.readers.text_tables import read_columns, read_rows, values_of
from tests.corpus.trees import touch


def columns(tmp_path: Path, text: str) -> dict[str, list[str]]:
    return read_columns(touch(tmp_path / "t.csv", text.encode()))


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["NA", "DE", "US"], ["NA", "DE", "US"]),
        (["None", "nan", "null", "Bo"], ["None", "nan", "null", "Bo"]),
        (["NA", "NA"], ["NA", "NA"]),
        (["", "x"], [None, "x"]),
        (["1", "NA", "", "NaN", "2.5", "null", "#N/A"], [1.0, None, None, None, 2.5, None, None]),
        (["1e-05", "-3", "007"], [1e-05, -3.0, 7.0]),
        (["1_000", "2"], ["1_000", "2"]),
        (["inf", "Bo"], ["inf", "Bo"]),
        (["", ""], [None, None]),
    ],
)
def test_text_stays_text_and_numbers_may_be_unknown(texts: list[str], values: list[str | float | None]):
    assert values_of(Path("t.csv"), "a", texts) == values


@pytest.mark.parametrize("text", ["inf", "-Infinity", "1e999"])
def test_infinite_numbers_are_refused_with_row_and_column(text: str):
    with pytest.raises(ValueError, match=rf"t\.csv row 2, column height: must be a finite number \(got {text}\)"):
        values_of(Path("t.csv"), "height", ["1", text, "3"])


def test_columns_without_a_name_are_left_out(tmp_path: Path):
    assert columns(tmp_path, ",a,,Unnamed: 0,b\n0,1,x,y,2\n") == {"a": ["1"], "b": ["2"]}


@pytest.mark.parametrize("text", ["a,b,a\n1,2,3\n", "a,b, a \n1,2,3\n", '"a",b,a\n'])
def test_repeated_names_are_refused(tmp_path: Path, text: str):
    with pytest.raises(ValueError, match=r"t\.csv row 0 \(the header\): columns 1 and 3 are both called a"):
        columns(tmp_path, text)


def test_rows_of_other_lengths(tmp_path: Path):
    assert columns(tmp_path, "a,b,c\n1\n\n1,2,3,,\n") == {"a": ["1", "1"], "b": ["", "2"], "c": ["", "3"]}
    # With one value more in every row, pandas would take the first for an index and move all others by one column.
    with pytest.raises(ValueError, match=r"row 1 has 3 values, and the header 2 names"):
        columns(tmp_path, "a,b\n1,2,3\n")


def test_quotes_delimiters_blanks_and_line_ends(tmp_path: Path):
    expected = {"a": ["Davis, Jr.", "x"], "b": ["2", "\u00e9"]}
    assert columns(tmp_path, '\ufeffa, b\r\n"Davis, Jr.", 2\r\nx , \u00e9\r\n') == expected
    assert columns(tmp_path, "a\tb\rDavis, Jr.\t2\rx\t\u00e9\r") == expected
    long = ";".join(f"pictures/{i:07d}.jpg" for i in range(20_000))  # 440 kB
    assert columns(tmp_path, f"a,b\n1,{long}\n")["b"] == [long]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (b"a\xff,b\n", "it is not text in UTF-8"),
        (b'a,b\n1,"2\n3,4\n', "line 3: unexpected end of data"),
    ],
)
def test_what_is_no_table(tmp_path: Path, content: bytes, message: str):
    with pytest.raises(ValueError, match=rf"t\.csv is not a table in csv: {message}"):
        read_columns(touch(tmp_path / "t.csv", content))


def test_rows_without_a_header(tmp_path: Path):
    assert read_rows(touch(tmp_path / "t.csv", b"NA,1\n\n x,\t2\n"), ",") == [["NA", "1"], ["x", "2"]]
