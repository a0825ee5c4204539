"""A list of one's own: a csv or Parquet file with a row a clip, for recordings in any layout."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from speech2face.corpus.listing import Clip, Identity, Listing
from speech2face.corpus.readers import text_tables
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
    table, texts = _read(path)
    columns = table.columns
    needed = [*REQUIRED, *([split_column] if needs_splits else [])]
    if missing := [name for name in needed if name not in columns]:
        raise ValueError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(columns)}")
    if not columns["clip_id"]:
        raise ValueError(f"{path} has no rows")
    ids, speakers = _ids(table)
    audio, video = (_texts(table, name) for name in ("audio_path", "video_path"))
    start, end, x, y = (_numbers(table, name) for name in NUMBERS)
    own = _splits(table, split_column, speakers)
    images = columns.get(PICTURES, [""] * len(ids))
    attributes = _attributes(table, texts, split_column)
    listing = Listing()
    for i, (clip_id, speaker, pictures) in enumerate(zip(ids, speakers, images, strict=True)):
        first, last, left, top = start[i], end[i], x[i], y[i]
        if last is not None and last <= (first or 0.0):
            raise ValueError(f"{path} {table.places[i]}: end_s of {clip_id} must be after start_s")
        face = (left, top) if left is not None and top is not None else None
        listing.clips.append(
            Clip(clip_id, speaker, audio[i], _pictures(pictures), video[i], first, last, face, attributes[i])
        )
        listing.identities.setdefault(speaker, Identity(speaker, len(listing.identities), split=own[i]))
    return listing


def _find(root: Path) -> Path:
    if root.is_file():
        return root
    for name in NAMES:
        if (root / name).is_file():
            return root / name
    raise ValueError(f"corpus.root {root} must be a csv or Parquet file, or a folder with {' or '.join(NAMES)}")


def _read(path: Path) -> tuple[text_tables.Table, set[str]]:
    """A list, and the names of the columns that are text by their type."""
    if path.suffix.lower() != ".parquet":
        return text_tables.read_table(path), set()
    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
    except (pa.ArrowException, OSError) as error:
        if is_of_the_machine(error):
            raise
        raise ValueError(f"{path} is not a table in Parquet: {first_line(error)}") from None
    names = [name.strip() for name in table.column_names]
    text_tables.check_header(str(path), names)
    columns, texts = {}, set()
    for name, column in zip(names, table.columns, strict=True):
        if not text_tables.UNNAMED.fullmatch(name):
            columns[name] = _as_texts(path, name, column)
            if not _is_numeric(column.type):
                texts.add(name)
    return text_tables.Table(path, columns, [f"row {row}" for row in range(1, table.num_rows + 1)]), texts


def _as_texts(path: Path, name: str, column: pa.ChunkedArray) -> list[Any]:
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


def _texts(table: text_tables.Table, name: str) -> list[str | None]:
    """A column of texts; None where there is nothing."""
    return [text or None for text in table.columns.get(name, [""] * len(table.places))]


def _numbers(table: text_tables.Table, name: str) -> list[float | None]:
    if name not in table.columns:
        return [None] * len(table.places)
    values: list[float | None] = []
    low, high = RANGES[name]
    for place, clip_id, text in zip(table.places, table.columns["clip_id"], table.columns[name], strict=True):
        value = text_tables.number(text)
        if not text_tables.is_unknown(text) and (value is None or not low <= value <= high):
            raise ValueError(
                f"{table.path} {place}: {name} of {clip_id} must be a number in {low}..{high} (got {text})"
            )
        values.append(value)
    return values


def _ids(table: text_tables.Table) -> tuple[list[str], list[str]]:
    """Ids of the clips and of their speakers, checked."""
    speakers: list[str] = []
    seen: dict[str, str] = {}
    for place, clip_id, speaker in zip(table.places, *(table.columns[name] for name in REQUIRED), strict=True):
        where = f"{table.path} {place}"
        if not clip_id or not speaker:
            raise ValueError(f"{where} has no {'speaker_id' if clip_id else 'clip_id'}")
        if clip_id in seen:
            raise ValueError(f"{where}: clip_id {clip_id} occurs twice, before in {seen[clip_id]}; ids are unique")
        parts = clip_id.split("/")
        if len(parts) != 3 or parts[0] != speaker or not all(parts):
            raise ValueError(
                f"{where}: clip_id must be <speaker_id>/<video>/<utterance> (got {clip_id!r} of speaker {speaker!r})"
            )
        seen[clip_id] = place
        speakers.append(speaker)
    return list(seen), speakers


def _splits(table: text_tables.Table, name: str, speakers: list[str]) -> list[str | None]:
    """The column of splits, checked; None where there is none."""
    if name not in table.columns:
        return [None] * len(speakers)
    splits = table.columns[name]
    try:
        check_disjoint(dict.fromkeys(zip(speakers, splits, strict=True)))
    except ValueError as error:
        raise ValueError(f"{table.path}, column {name}: {error}") from None
    return splits


def _pictures(value: Any) -> tuple[str, ...]:
    paths = value.split(";") if isinstance(value, str) else value
    return tuple(str(path).strip() for path in paths if path is not None and str(path).strip())


def _attributes(table: text_tables.Table, texts: set[str], split_column: str) -> list[dict[str, str | float | None]]:
    values = {
        name: [text or None for text in column] if name in texts else text_tables.values_of(table, name)
        for name, column in table.columns.items()
        if name not in KNOWN and name != split_column
    }
    return [{name: column[i] for name, column in values.items()} for i in range(len(table.places))]
