"""Tables in text: text stays text, numbers are finite or unknown, and what is wrong is named by row and column."""

from pathlib import Path

import pytest

from speech2face.corpus.readers.text_tables import Table, are_numbers, read_rows, read_table, values_of
from tests.corpus.trees import touch


def columns(tmp_path: Path, text: str) -> dict[str, list[str]]:
    return read_table(touch(tmp_path / "t.csv", text.encode())).columns


def table_of(name: str, texts: list[str]) -> Table:
    return Table(Path("t.csv"), {name: texts}, [f"line {line}" for line in range(2, len(texts) + 2)])


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
    assert values_of(table_of("a", texts), "a", bool(are_numbers(texts))) == values


@pytest.mark.parametrize("text", ["inf", "-Infinity", "1e999"])
def test_infinite_numbers_are_refused_with_row_and_column(text: str):
    with pytest.raises(ValueError, match=rf"t\.csv line 3, column height: must be a finite number \(got {text}\)"):
        values_of(table_of("height", ["1", text, "3"]), "height", True)


def test_columns_without_a_name_are_left_out(tmp_path: Path):
    assert columns(tmp_path, ",a,,Unnamed: 0,b\n0,1,x,y,2\n") == {"a": ["1"], "b": ["2"]}


@pytest.mark.parametrize("text", ["a,b,a\n1,2,3\n", "a,b, a \n1,2,3\n", '"a",b,a\n'])
def test_repeated_names_are_refused(tmp_path: Path, text: str):
    with pytest.raises(ValueError, match=r"t\.csv line 1 \(the header\): columns 1 and 3 are both called a"):
        columns(tmp_path, text)


def test_rows_of_other_lengths(tmp_path: Path):
    assert columns(tmp_path, "a,b,c\n1\n\n1,2,3,,\n") == {"a": ["1", "1"], "b": ["", "2"], "c": ["", "3"]}
    # With one value more in every row, pandas would take the first for an index and move all others by one column.
    with pytest.raises(ValueError, match=r"line 2 has 3 values, and the header 2 names"):
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
        read_table(touch(tmp_path / "t.csv", content))


def test_rows_without_a_header(tmp_path: Path):
    assert list(read_rows(touch(tmp_path / "t.csv", b"NA,1\n\n x,\t2\n"), ",")) == [(1, ["NA", "1"]), (3, ["x", "2"])]


def test_lines_are_counted_as_an_editor_counts_them(tmp_path: Path):
    """Empty lines count, and so do those within quotation marks."""
    text = '\n\na,b\r\n\r\n1,"two\nlines"\n\n\n2,x\n3,y'
    path = touch(tmp_path / "t.csv", text.encode())
    table = read_table(path)
    lines = [int(place.removeprefix("line ")) for place in table.places]
    found = [path.read_text("utf-8").splitlines()[line - 1] for line in lines]
    assert found == ['1,"two', "2,x", "3,y"]
    path.write_text(text + "\n\n4,z,9\n")
    with pytest.raises(ValueError, match=r"t\.csv line 12 has 3 values"):
        read_table(path)


@pytest.mark.parametrize("again", ["a,b,\n", " a, b\n", '"a","b",\n'])
def test_a_header_that_is_repeated_as_a_row_is_refused(tmp_path: Path, again: str):
    """As where two exports were put one after the other."""
    with pytest.raises(ValueError, match=r"t\.csv line 4 is the header again; remove that line"):
        columns(tmp_path, f"a,b,\n1,2,\n\n{again}3,4,\n")
    assert columns(tmp_path, "a,b\na,1\n2,b\n") == {"a": ["a", "2"], "b": ["1", "b"]}
