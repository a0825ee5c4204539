"""Tables in text, comma- or tab-separated, as corpora and their owners write them: everything is text until it is asked for as a number."""

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

UNKNOWN = frozenset({"", "na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "null", "none"})
"""What a number that is not known is written as, in lower case. In columns of text these are words: NA is Namibia."""
UNNAMED = re.compile(r"|Unnamed: \d+|__index_level_\d+__")
"""Names of columns that have none, as tables and pandas write them."""
LARGEST_FIELD = 1 << 27  # Python's own bound, 131,072 characters, is less than a list of pictures may take


@dataclass(frozen=True)
class Table:
    """A table by columns, all of the same length: texts, and in Parquet also lists of texts. `places` says where each row is: `line 4`
    of a text, counted as an editor counts, `row 3` of Parquet."""

    path: Path
    columns: dict[str, list[Any]]
    places: list[str]


def read_rows(path: Path, delimiter: str | None = None) -> list[tuple[int, list[str]]]:
    """The rows of a table that are not empty, each with the line on which it starts, blanks around their values removed. Without a
    delimiter, the first line decides: a tab if it holds one, else a comma.

    Raises ValueError if it is not text in UTF-8, or no table, as where a quotation mark is not closed.
    """
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a table in csv: it is not text in UTF-8; save it as csv in UTF-8") from None
    delimiter = delimiter or ("\t" if "\t" in text.partition("\n")[0] else ",")
    csv.field_size_limit(LARGEST_FIELD)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True, strict=True)
    rows, line = [], 1
    try:
        for row in reader:
            if row:
                rows.append((line, [value.strip() for value in row]))
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path} is not a table in csv: line {reader.line_num}: {error}") from None
    return rows


def read_table(path: Path) -> Table:
    """A table with a header, without the columns that have no name. Values that a row lacks at its end are empty.

    Raises ValueError as `read_rows`, for an empty file, a name that occurs twice, a row that is the header again, and a row with more
    values than the header has names.
    """
    rows = read_rows(path)
    if not rows:
        raise ValueError(f"{path} is not a table in csv: an empty file")
    first, header = rows.pop(0)
    check_header(f"{path} line {first} (the header)", header)
    for line, row in rows:
        if any(row[len(header) :]):
            raise ValueError(
                f"{path} line {line} has {len(row)} values, and the header {len(header)} names; quote values that hold a delimiter"
            )
        row += [""] * (len(header) - len(row))
        if row[: len(header)] == header:
            raise ValueError(f"{path} line {line} is the header again; remove that line")
    columns = {name: [row[i] for _, row in rows] for i, name in enumerate(header) if not UNNAMED.fullmatch(name)}
    return Table(path, columns, [f"line {line}" for line, _ in rows])


def check_header(where: str, header: Sequence[str]) -> None:
    """Raise ValueError if a name occurs twice; `where` begins the message."""
    for column, name in enumerate(header, start=1):
        first = header.index(name) + 1
        if first != column and not UNNAMED.fullmatch(name):
            raise ValueError(f"{where}: columns {first} and {column} are both called {name}; rename one")


def values_of(table: Table, name: str) -> list[str | float | None]:
    """A column's values: numbers if all that are known are numbers, else its texts as they are; None where there is nothing.

    Raises ValueError for an infinite number.
    """
    texts = table.columns[name]
    known = [number(text) for text in texts if not is_unknown(text)]
    if not known or None in known:
        return [text or None for text in texts]
    for place, text in zip(table.places, texts, strict=True):
        value = number(text)
        if value is not None and math.isinf(value):
            raise ValueError(
                f"{table.path} {place}, column {name}: must be a finite number (got {text}); leave it empty where it is not known"
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
