"""Tables in text, comma- or tab-separated, as corpora and their owners write them: everything is text until it is asked for as a number."""

import csv
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

UNKNOWN = frozenset({"", "na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "null", "none"})
"""What a number that is not known is written as, in lower case. In columns of text these are words: NA is Namibia."""
UNNAMED = re.compile(r"|Unnamed: \d+|__index_level_\d+__")
"""Names of columns that have none, as tables and pandas write them."""
ROWS_AT_ONCE = 10_000
LARGEST_FIELD = 1 << 27  # Python's own bound, 131,072 characters, is less than a list of pictures may take


@dataclass(frozen=True)
class Table:
    """A table by columns, all of the same length: texts, and in Parquet also lists of texts. `places` says where each row is: `line 4`
    of a text, counted as an editor counts, `row 3` of Parquet."""

    path: Path
    columns: dict[str, list[Any]]
    places: list[str]


def read_rows(path: Path, delimiter: str | None = None) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table that are not empty, each with the line on which it starts, blanks around their values removed, as they are read.
    Without a delimiter, the first line decides: a tab if it holds one, else a comma.

    Raises ValueError if it is not text in UTF-8, or no table, as where a quotation mark is not closed.
    """
    csv.field_size_limit(LARGEST_FIELD)
    line = 1
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = file.readline()
            delimiter = delimiter or ("\t" if "\t" in first else ",")
            reader = csv.reader(chain([first], file), delimiter=delimiter, skipinitialspace=True, strict=True)
            for row in reader:
                if row:
                    yield line, [value.strip() for value in row]
                line = reader.line_num + 1
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a table in csv: it is not text in UTF-8; save it as csv in UTF-8") from None
    except csv.Error as error:
        raise ValueError(f"{path} is not a table in csv: line {reader.line_num}: {error}") from None


def read_table(path: Path) -> Table:
    """All of `read_tables` as one."""
    tables = list(read_tables(path))
    columns = {name: [value for table in tables for value in table.columns[name]] for name in tables[0].columns}
    return Table(path, columns, [place for table in tables for place in table.places])


def read_tables(path: Path) -> Iterator[Table]:
    """A table with a header, `ROWS_AT_ONCE` rows of it at a time, without the columns that have no name; at least one, perhaps without
    rows. Values that a row lacks at its end are empty.

    Raises ValueError as `read_rows`, for an empty file, a name that occurs twice, a row that is the header again, and a row with more
    values than the header has names.
    """
    rows = read_rows(path)
    first, header = next(rows, (0, None))
    if header is None:
        raise ValueError(f"{path} is not a table in csv: an empty file")
    check_header(f"{path} line {first} (the header)", header)
    num_rows = ROWS_AT_ONCE
    while num_rows == ROWS_AT_ONCE:
        some = list(islice(rows, ROWS_AT_ONCE))
        for line, row in some:
            if any(row[len(header) :]):
                raise ValueError(
                    f"{path} line {line} has {len(row)} values, and the header {len(header)} names; quote values that hold a delimiter"
                )
            row += [""] * (len(header) - len(row))
            if row[: len(header)] == header:
                raise ValueError(f"{path} line {line} is the header again; remove that line")
        columns = {name: [row[i] for _, row in some] for i, name in enumerate(header) if not UNNAMED.fullmatch(name)}
        yield Table(path, columns, [f"line {line}" for line, _ in some])
        num_rows = len(some)


def check_header(where: str, header: Sequence[str]) -> None:
    """Raise ValueError if a name occurs twice; `where` begins the message."""
    for column, name in enumerate(header, start=1):
        first = header.index(name) + 1
        if first != column and not UNNAMED.fullmatch(name):
            raise ValueError(f"{where}: columns {first} and {column} are both called {name}; rename one")


def are_numbers(texts: Iterable[str]) -> bool | None:
    """Whether all of some texts that are known are numbers; None if none is known."""
    known = [number(text) is not None for text in texts if not is_unknown(text)]
    return all(known) if known else None


def values_of(table: Table, name: str, numeric: bool) -> list[str | float | None]:
    """A column's values: if `numeric`, numbers, all of them `are_numbers`, else its texts as they are; None where there is nothing.

    Raises ValueError for an infinite number.
    """
    texts = table.columns[name]
    if not numeric:
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
