"""Tables in text, comma- or tab-separated, as corpora and their owners write them: everything is text until it is asked for as a number."""

import csv
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path

UNKNOWN = frozenset({"", "na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "null", "none"})
"""What a number that is not known is written as, in lower case. In columns of text these are words: NA is Namibia."""
UNNAMED = re.compile(r"|Unnamed: \d+|__index_level_\d+__")
"""Names of columns that have none, as tables and pandas write them."""
LARGEST_FIELD = 1 << 27  # Python's own bound, 131,072 characters, is less than a list of pictures may take


def read_rows(path: Path, delimiter: str | None = None) -> list[list[str]]:
    """The rows of a table that are not empty, blanks around their values removed. Without a delimiter, the first line decides: a tab
    if it holds one, else a comma.

    Raises ValueError if it is not text in UTF-8, or no table, as where a quotation mark is not closed.
    """
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a table in csv: it is not text in UTF-8; save it as csv in UTF-8") from None
    delimiter = delimiter or ("\t" if "\t" in text.partition("\n")[0] else ",")
    csv.field_size_limit(LARGEST_FIELD)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        return [[value.strip() for value in row] for row in reader if row]
    except csv.Error as error:
        raise ValueError(f"{path} is not a table in csv: line {reader.line_num}: {error}") from None


def read_columns(path: Path) -> dict[str, list[str]]:
    """The columns of a table with a header, by name, without those that have no name. Values that a row lacks at its end are empty.

    Raises ValueError as `read_rows`, for an empty file, a name that occurs twice, and a row with more values than the header has names.
    """
    rows = read_rows(path)
    if not rows:
        raise ValueError(f"{path} is not a table in csv: an empty file")
    header = rows.pop(0)
    check_header(path, header)
    for number, row in enumerate(rows, start=1):
        if any(row[len(header) :]):
            raise ValueError(
                f"{path} row {number} has {len(row)} values, and the header {len(header)} names; quote values that hold a delimiter"
            )
        row += [""] * (len(header) - len(row))
    return {name: [row[i] for row in rows] for i, name in enumerate(header) if not UNNAMED.fullmatch(name)}


def check_header(path: Path, header: Sequence[str]) -> None:
    """Raise ValueError if a name occurs twice."""
    for column, name in enumerate(header, start=1):
        first = header.index(name) + 1
        if first != column and not UNNAMED.fullmatch(name):
            raise ValueError(
                f"{path} row 0 (the header): columns {first} and {column} are both called {name}; rename one"
            )


def values_of(path: Path, name: str, texts: Sequence[str]) -> list[str | float | None]:
    """A column's values: numbers if all that are known are numbers, else its texts as they are; None where there is nothing.

    Raises ValueError for an infinite number.
    """
    known = [number(text) for text in texts if not is_unknown(text)]
    if not known or None in known:
        return [text or None for text in texts]
    for row, text in enumerate(texts, start=1):
        value = number(text)
        if value is not None and math.isinf(value):
            raise ValueError(
                f"{path} row {row}, column {name}: must be a finite number (got {text}); leave it empty where it is not known"
            )
    return [None if is_unknown(text) else number(text) for text in texts]


def number(text: str) -> float | None:
    """A text as a number; None if it is none. Underscores are Python's own."""
    try:
        value = float(text)
    except ValueError:
        return None
    return None if math.isnan(value) or "_" in text else value


def is_unknown(text: str) -> bool:
    """Whether a text stands for a number that is not known."""
    return text.casefold() in UNKNOWN
