"""A list of one's own: a csv or Parquet file with a row a clip, for recordings in any layout."""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from speech2face.corpus.clips import Clip
from speech2face.corpus.listing import Identity, Listing
from speech2face.corpus.readers.text_tables import (
    ROWS_AT_ONCE,
    UNNAMED,
    Table,
    are_numbers,
    check_header,
    is_unknown,
    number,
    read_tables,
    values_of,
)
from speech2face.corpus.splits import check_disjoint
from speech2face.pipeline.params import resolve_path
from speech2face.pipeline.rejects import first_line, is_of_the_machine

NAMES = ("manifest.parquet", "manifest.csv")
REQUIRED = ("clip_id", "speaker_id")
TEXTS = (*REQUIRED, "audio_path", "video_path")
NUMBERS = ("start_s", "end_s", "face_x", "face_y")
RANGES = {"start_s": (0, 1e6), "end_s": (0, 1e6), "face_x": (0, 1), "face_y": (0, 1)}
PICTURES = "image_paths"
"""Paths of pictures: a list in Parquet, in a csv separated by semicolons."""
KNOWN = frozenset({*TEXTS, *NUMBERS, PICTURES})


def list_own(root: str, split_column: str, needs_splits: bool) -> Listing:
    """The clips of a list, with the splits of its column `split_column` if it has one; columns of other names become attributes.

    `root` is the list, or the folder of a manifest.parquet or manifest.csv; paths in it are relative to its folder. Raises
    ValueError for a list that cannot be read, lacks columns or holds values that cannot be, naming the first.
    """
    path = _find(resolve_path(root))
    needed = [*REQUIRED, *([split_column] if needs_splits else [])]
    numeric = _survey(path, needed, split_column)
    listing = Listing()
    for table in _tables(path):
        _add(listing, table, numeric, split_column)
    return listing


def _survey(path: Path, needed: Sequence[str], split_column: str) -> dict[str, bool]:
    """Check what can only be seen of the list as a whole; whether each column of attributes holds numbers."""
    ids: array[int] = array("q")
    kinds: dict[str, set[bool | None]] = {}
    splits: dict[tuple[str, str], None] = {}
    for table in _tables(path):
        columns = table.columns
        if missing := [name for name in needed if name not in columns]:
            raise ValueError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(columns)}")
        _check_ids(table)
        ids.extend(map(hash, columns["clip_id"]))
        if split_column in columns:
            splits |= dict.fromkeys(zip(columns["speaker_id"], columns[split_column], strict=True))
        for name, texts in columns.items():
            if name not in KNOWN and name != split_column:
                kinds.setdefault(name, set()).add(are_numbers(texts))
    if not ids:
        raise ValueError(f"{path} has no rows")
    try:
        check_disjoint(splits)
    except ValueError as error:
        raise ValueError(f"{path}, column {split_column}: {error}") from None
    _check_unique(path, np.asarray(ids))
    texts_by_type = _texts(path)
    return {name: True in found and False not in found and name not in texts_by_type for name, found in kinds.items()}


def _check_ids(table: Table) -> None:
    for place, clip_id, speaker in zip(table.places, *(table.columns[name] for name in REQUIRED), strict=True):
        where = f"{table.path} {place}"
        if not clip_id or not speaker:
            raise ValueError(f"{where} has no {'speaker_id' if clip_id else 'clip_id'}")
        parts = clip_id.split("/")
        if len(parts) != 3 or parts[0] != speaker or not all(parts):
            raise ValueError(
                f"{where}: clip_id must be <speaker_id>/<video>/<utterance> (got {clip_id!r} of speaker {speaker!r})"
            )


def _check_unique(path: Path, hashes: np.ndarray) -> None:
    """Raise ValueError for a clip_id that occurs twice; `hashes` are those of all. Ids are held of those only whose hashes are equal."""
    found, counts = np.unique(hashes, return_counts=True)
    repeated = set(found[counts > 1].tolist())
    seen: dict[str, str] = {}
    for table in _tables(path) if repeated else ():
        for place, clip_id in zip(table.places, table.columns["clip_id"], strict=True):
            if hash(clip_id) in repeated and seen.setdefault(clip_id, place) != place:
                before = seen[clip_id]
                raise ValueError(f"{path} {place}: clip_id {clip_id} occurs twice, before in {before}; ids are unique")


def _add(listing: Listing, table: Table, numeric: Mapping[str, bool], split_column: str) -> None:
    """Add the clips and speakers of some rows."""
    ids, speakers = (table.columns[name] for name in REQUIRED)
    audio, video = (_paths(table, name) for name in ("audio_path", "video_path"))
    start, end, x, y = (_numbers(table, name) for name in NUMBERS)
    images = table.columns.get(PICTURES, [""] * len(ids))
    splits = table.columns.get(split_column, [None] * len(ids))
    attributes = {name: values_of(table, name, is_numeric) for name, is_numeric in numeric.items()}
    for i, (clip_id, speaker, pictures) in enumerate(zip(ids, speakers, images, strict=True)):
        first, last, left, top = start[i], end[i], x[i], y[i]
        if last is not None and last <= (first or 0.0):
            raise ValueError(f"{table.path} {table.places[i]}: end_s of {clip_id} must be after start_s")
        face = (left, top) if left is not None and top is not None else None
        own = {name: values[i] for name, values in attributes.items()}
        listing.clips.append(Clip(clip_id, speaker, audio[i], _pictures(pictures), video[i], first, last, face, own))
        listing.identities.setdefault(speaker, Identity(speaker, len(listing.identities), split=splits[i]))


def _find(root: Path) -> Path:
    if root.is_file():
        return root
    for name in NAMES:
        if (root / name).is_file():
            return root / name
    raise ValueError(f"corpus.root {root} must be a csv or Parquet file, or a folder with {' or '.join(NAMES)}")


def _tables(path: Path) -> Iterator[Table]:
    """The rows of a list, some at a time."""
    if path.suffix.lower() != ".parquet":
        yield from read_tables(path)
        return
    with _parquet(path) as file:
        names = [name.strip() for name in file.schema_arrow.names]
        check_header(str(path), names)
        num_rows = 0
        for batch in file.iter_batches(ROWS_AT_ONCE):
            columns = {
                name: _as_texts(path, name, column)
                for name, column in zip(names, batch.columns, strict=True)
                if not UNNAMED.fullmatch(name)
            }
            yield Table(path, columns, [f"row {num_rows + row}" for row in range(1, batch.num_rows + 1)])
            num_rows += batch.num_rows


def _texts(path: Path) -> set[str]:
    """Names of the columns that are text by their type."""
    if path.suffix.lower() != ".parquet":
        return set()
    with _parquet(path) as file:
        return {field.name.strip() for field in file.schema_arrow if not _is_numeric(field.type)}


@contextmanager
def _parquet(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        if is_of_the_machine(error):
            raise
        raise ValueError(f"{path} is not a table in Parquet: {first_line(error)}") from None


def _as_texts(path: Path, name: str, column: pa.Array) -> list[Any]:
    """A column of Parquet as a csv would have it; only pictures may be lists."""
    if pa.types.is_nested(column.type) and not (name == PICTURES and _is_list(column.type)):
        kinds = "text or a list of texts" if name == PICTURES else "text or numbers"
        raise ValueError(
            f"{path}, column {name}: must hold {kinds} (got {column.type}); write it anew, or leave it out"
        )
    try:
        return [_as_text(value) for value in column.to_pylist()]
    except (ValueError, ArithmeticError) as error:  # not UTF-8; a time or a number that Python does not have
        raise ValueError(
            f"{path}, column {name}: holds a value that cannot be read as text: {first_line(error)}; write it anew"
        ) from None


def _as_text(value: Any) -> Any:
    """A value of a Parquet table as a csv would have it; a list stays one."""
    if value is None or value != value:  # a float that is not a number
        return ""
    if isinstance(value, bytes):  # as some writers mark text
        value = value.decode()
    return value if isinstance(value, list) else str(value).strip()


def _is_list(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return is_list and not pa.types.is_nested(kind.value_type)


def _is_numeric(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _paths(table: Table, name: str) -> list[str | None]:
    """A column of paths; None where there is nothing."""
    return [text or None for text in table.columns.get(name, [""] * len(table.places))]


def _numbers(table: Table, name: str) -> list[float | None]:
    if name not in table.columns:
        return [None] * len(table.places)
    values: list[float | None] = []
    low, high = RANGES[name]
    for place, clip_id, text in zip(table.places, table.columns["clip_id"], table.columns[name], strict=True):
        value = number(text)
        if not is_unknown(text) and (value is None or not low <= value <= high):
            raise ValueError(
                f"{table.path} {place}: {name} of {clip_id} must be a number in {low}..{high} (got {text})"
            )
        values.append(value)
    return values


def _pictures(value: Any) -> tuple[str, ...]:
    if not value:
        return ()
    paths = value.split(";") if isinstance(value, str) else value
    return tuple(str(path).strip() for path in paths if path is not None and str(path).strip())
