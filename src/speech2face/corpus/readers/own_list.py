"""A list of one's own: a csv or Parquet file with a row a clip, for recordings in any layout."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from speech2face.corpus.listing import Clip, Identity, Listing
from speech2face.corpus.readers import text_tables
from speech2face.corpus.splits import check_disjoint
from speech2face.pipeline.params import resolve_path

NAMES = ("manifest.parquet", "manifest.csv")
REQUIRED = ("clip_id", "speaker_id")
TEXTS = (*REQUIRED, "audio_path", "video_path")
NUMBERS = ("start_s", "end_s", "face_x", "face_y")
RANGES = {"start_s": (0, 1e6), "end_s": (0, 1e6), "face_x": (0, 1), "face_y": (0, 1)}
PICTURES = "image_paths"
"""Paths of pictures: a list in Parquet, in a csv separated by semicolons."""
KNOWN = frozenset({*TEXTS, *NUMBERS, PICTURES})
Columns = dict[str, list[Any]]
"""Columns by name, their values as text, lists of pictures as lists."""


def list_own(root: str, split_column: str, needs_splits: bool) -> Listing:
    """The clips of a list, with the splits of its column `split_column` if it has one; columns of other names become attributes.

    `root` is the list, or the folder of a manifest.parquet or manifest.csv; paths in it are relative to its folder. Raises
    ValueError for a list that cannot be read, lacks columns or holds values that cannot be, naming the first.
    """
    path = _find(resolve_path(root))
    columns, texts = _read(path)
    needed = [*REQUIRED, *([split_column] if needs_splits else [])]
    if missing := [name for name in needed if name not in columns]:
        raise ValueError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(columns)}")
    if not columns["clip_id"]:
        raise ValueError(f"{path} has no rows")
    ids, speakers = _ids(columns, path)
    audio, video = (_texts(columns, name, len(ids)) for name in ("audio_path", "video_path"))
    start, end, x, y = (_numbers(columns, name, ids, path) for name in NUMBERS)
    own = _texts(columns, split_column, len(ids))
    if split_column in columns:
        check_disjoint(dict.fromkeys(zip(speakers, map(str, own), strict=True)))
    images = columns.get(PICTURES, [""] * len(ids))
    own_attributes = {name: values for name, values in columns.items() if name != split_column}
    attributes = _attributes(own_attributes, texts, path, len(ids))
    listing = Listing()
    for i, (clip_id, speaker, pictures) in enumerate(zip(ids, speakers, images, strict=True)):
        first, last, left, top = start[i], end[i], x[i], y[i]
        if last is not None and last <= (first or 0.0):
            raise ValueError(f"{path}: end_s of {clip_id} must be after start_s")
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


def _read(path: Path) -> tuple[Columns, set[str]]:
    """The columns of a list by name, as text, and the names of those that are text by their type."""
    if path.suffix.lower() != ".parquet":
        return dict(text_tables.read_columns(path)), set()
    try:
        table = pq.read_table(path)
        names = [name.strip() for name in table.column_names]
        text_tables.check_header(path, names)
        named = [(i, name) for i, name in enumerate(names) if not text_tables.UNNAMED.fullmatch(name)]
        columns = {name: [_as_text(value) for value in table.column(i).to_pylist()] for i, name in named}
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0] if str(error) else "empty"
        raise ValueError(f"{path} is not a table in Parquet: {first}") from None
    return columns, {name for i, name in named if not _is_numeric(table.schema.types[i])}


def _as_text(value: Any) -> Any:
    """A value of a Parquet table as a csv would have it; lists, of pictures, stay lists."""
    if value is None or value != value:  # a float that is not a number
        return ""
    return value if isinstance(value, list) else str(value).strip()


def _is_numeric(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _texts(columns: Columns, name: str, num_rows: int) -> list[str | None]:
    """A column as strings; None where there is nothing."""
    return [str(value) or None for value in columns[name]] if name in columns else [None] * num_rows


def _numbers(columns: Columns, name: str, ids: list[str], path: Path) -> list[float | None]:
    if name not in columns:
        return [None] * len(ids)
    values: list[float | None] = []
    low, high = RANGES[name]
    for row, (clip_id, text) in enumerate(zip(ids, map(str, columns[name]), strict=True), start=1):
        value = text_tables.number(text)
        if not text_tables.is_unknown(text) and (value is None or not low <= value <= high):
            raise ValueError(f"{path} row {row}: {name} of {clip_id} must be a number in {low}..{high} (got {text})")
        values.append(value)
    return values


def _ids(columns: Columns, path: Path) -> tuple[list[str], list[str]]:
    """Ids of the clips and of their speakers, checked."""
    pairs: dict[str, str] = {}
    for number, (clip_id, speaker) in enumerate(zip(*(columns[name] for name in REQUIRED), strict=True), start=1):
        if not clip_id or not speaker:
            raise ValueError(f"{path} row {number} has no {'speaker_id' if clip_id else 'clip_id'}")
        if clip_id in pairs:
            raise ValueError(f"{path}: clip_id {clip_id} occurs twice; ids are unique")
        parts = clip_id.split("/")
        if len(parts) != 3 or parts[0] != speaker or not all(parts):
            raise ValueError(
                f"{path}: clip_id must be <speaker_id>/<video>/<utterance> (got {clip_id!r} of speaker {speaker!r})"
            )
        pairs[clip_id] = speaker
    return list(pairs), list(pairs.values())


def _pictures(value: Any) -> tuple[str, ...]:
    paths = value.split(";") if isinstance(value, str) else value
    return tuple(str(path).strip() for path in paths if path is not None and str(path).strip())


def _attributes(columns: Columns, texts: set[str], path: Path, num_rows: int) -> list[dict[str, str | float | None]]:
    values = {
        name: [str(value) or None for value in column]
        if name in texts
        else text_tables.values_of(path, name, [str(value) for value in column])
        for name, column in columns.items()
        if name not in KNOWN
    }
    return [{name: column[i] for name, column in values.items()} for i in range(num_rows)]
