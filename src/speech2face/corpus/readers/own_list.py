"""A list of one's own: a csv or Parquet file with a row a clip, for recordings in any layout."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from speech2face.corpus.listing import Clip, Identity, Listing
from speech2face.corpus.splits import check_disjoint
from speech2face.pipeline.params import resolve_path

NAMES = ("manifest.parquet", "manifest.csv")
REQUIRED = ("clip_id", "speaker_id")
TEXTS = (*REQUIRED, "audio_path", "video_path")
NUMBERS = ("start_s", "end_s", "face_x", "face_y")
RANGES = {"start_s": (0, 1e6), "end_s": (0, 1e6), "face_x": (0, 1), "face_y": (0, 1)}
PICTURES = "image_paths"
"""Paths of pictures: a list in Parquet, in a csv separated by semicolons."""


def list_own(root: str, split_column: str, needs_splits: bool) -> Listing:
    """The clips of a list, with the splits of its column `split_column` if it has one; columns of other names become attributes.

    `root` is the list, or the folder of a manifest.parquet or manifest.csv; paths in it are relative to its folder. Raises
    ValueError for a list that cannot be read, lacks columns or holds values that cannot be, naming the first.
    """
    path = _find(resolve_path(root))
    table = _read(path)
    needed = [*REQUIRED, *([split_column] if needs_splits else [])]
    if missing := [name for name in needed if name not in table.columns]:
        raise ValueError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(map(str, table.columns))}")
    if table.empty:
        raise ValueError(f"{path} has no rows")
    audio, video = _texts(table, "audio_path"), _texts(table, "video_path")
    ids, speakers = _ids(table, path)
    start, end, x, y = (_numbers(table, name, ids, path) for name in NUMBERS)
    own = _texts(table, split_column)
    if split_column in table:
        check_disjoint(dict.fromkeys(zip(speakers, map(str, own), strict=True)))
    images = table[PICTURES] if PICTURES in table else [None] * len(table)
    attributes = _attributes(table[[n for n in table.columns if n not in (*TEXTS, *NUMBERS, PICTURES, split_column)]])
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


def _read(path: Path) -> pd.DataFrame:
    try:
        if path.suffix.lower() == ".parquet":
            return pq.read_table(path).to_pandas()
        with path.open(encoding="utf-8-sig") as file:
            delimiter = "\t" if "\t" in file.readline() else ","
        as_text: Any = dict.fromkeys((*TEXTS, PICTURES), str)
        table = pd.read_csv(path, sep=delimiter, dtype=as_text, encoding="utf-8-sig", skipinitialspace=True)
        return table.rename(columns=lambda name: str(name).strip())
    except (pa.ArrowInvalid, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        first = str(error).splitlines()[0] if str(error) else "empty"
        raise ValueError(f"{path} is not a table in csv or Parquet: {first}") from None


def _texts(table: pd.DataFrame, name: str) -> list[str | None]:
    """A column as strings without blanks around them; None where there is nothing."""
    if name not in table:
        return [None] * len(table)
    return [None if pd.isna(value) else str(value).strip() or None for value in table[name]]


def _numbers(table: pd.DataFrame, name: str, ids: list[str], path: Path) -> list[float | None]:
    if name not in table:
        return [None] * len(table)
    values = pd.to_numeric(table[name], errors="coerce")
    for clip_id, given, value in zip(ids, table[name], values, strict=True):
        low, high = RANGES[name]
        if not pd.isna(given) and not low <= value <= high:
            raise ValueError(f"{path}: {name} of {clip_id} must be a number in {low}..{high} (got {given})")
    return [None if pd.isna(value) else float(value) for value in values]


def _ids(table: pd.DataFrame, path: Path) -> tuple[list[str], list[str]]:
    """Ids of the clips and of their speakers, checked."""
    pairs: dict[str, str] = {}
    for number, (clip_id, speaker) in enumerate(zip(*(_texts(table, n) for n in REQUIRED), strict=True), start=1):
        if clip_id is None or speaker is None:
            raise ValueError(f"{path} row {number} has no {'clip_id' if clip_id is None else 'speaker_id'}")
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
    if value is None or isinstance(value, float):
        return ()
    paths = value.split(";") if isinstance(value, str) else value
    return tuple(str(path).strip() for path in paths if str(path).strip())


def _attributes(table: pd.DataFrame) -> list[dict[str, str | float | None]]:
    columns: dict[str, list[Any]] = {}
    for name in table.columns:
        values = table[name]
        numeric = pd.api.types.is_numeric_dtype(values)
        columns[str(name)] = [None if pd.isna(v) else float(v) if numeric else str(v) for v in values]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)] or [
        {} for _ in range(len(table))
    ]
