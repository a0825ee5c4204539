"""The manifest: one row a clip, with its speaker, files, their digests, and what is known of the speaker."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from speech2face.corpus.clips import Clip, Clips
from speech2face.corpus.digests import FileDigest
from speech2face.pipeline.rejects import Reject

CORPUS = Path("data/corpus")
MANIFEST_NAME = "manifest.parquet"
ROWS_PER_BATCH = 1000
REPEATED = "clip_id {} occurs twice in the manifest; ids are <speaker>/<video>/<utterance> and unique"

COLUMNS = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("speaker_id", pa.string(), nullable=False),
        pa.field("audio_path", pa.string()),
        pa.field("audio_sha256", pa.string()),
        pa.field("audio_bytes", pa.int64()),
        pa.field("video_path", pa.string()),
        pa.field("video_sha256", pa.string()),
        pa.field("video_bytes", pa.int64()),
        pa.field("image_paths", pa.list_(pa.string()), nullable=False),
        pa.field("image_sha256", pa.list_(pa.string()), nullable=False),
        pa.field("image_bytes", pa.list_(pa.int64()), nullable=False),
        pa.field("start_s", pa.float64()),
        pa.field("end_s", pa.float64()),
        pa.field("face_x", pa.float64()),
        pa.field("face_y", pa.float64()),
        pa.field("source", pa.string(), nullable=False),
    ]
)
"""All columns but `attributes`, a struct of numbers (float64) and names (string), null where unknown, that differs by corpus.

`start_s` and `end_s`: the part of the files that is the clip, null for all of them. `face_x`, `face_y`: where the speaker's face is,
parts of the picture's width and height, null where it is not known."""


def usable(
    clips: Sequence[Clip], digests: Mapping[str, FileDigest]
) -> tuple[list[Clip], list[Reject], dict[str, Reject]]:
    """Clips without the pictures that cannot be read, and without those whose recording cannot; rejects for the clips, and for the
    pictures by their paths."""
    kept, rejects = [], []
    lost: dict[str, Reject] = {}
    readable: dict[tuple[str, ...], tuple[str, ...]] = {}  # clips of one video share their pictures
    for clip in clips:
        files = [path for path in (clip.audio_path, clip.video_path) if path is not None]
        if broken := next((digests[path] for path in files if digests[path].reason), None):
            rejects.append(Reject(clip.clip_id, str(broken.reason), broken.message))
            continue
        images = readable.get(clip.image_paths)
        if images is None:
            images = readable[clip.image_paths] = tuple(p for p in clip.image_paths if not digests[p].reason)
            for path in set(clip.image_paths) - set(images):
                lost[path] = Reject(path, str(digests[path].reason), digests[path].message)
        if images or clip.video_path or not clip.image_paths:
            kept.append(clip if len(images) == len(clip.image_paths) else replace(clip, image_paths=images))
        else:
            rejects.append(
                Reject(clip.clip_id, "no_image", f"none of its {len(clip.image_paths)} pictures can be read")
            )
    return kept, rejects, lost


def manifest_schema(clips: Clips, roles: Mapping[str, str]) -> pa.Schema:
    """The schema of a manifest of `clips`: `COLUMNS`, and their attributes, words (string) or else numbers (float64).

    `roles` says which attributes are `linked` to voice and face, and which are a `control`. Raises ValueError for an attribute that
    is a number of one clip and a word of another.
    """
    known = clips.attributes
    fields = [pa.field(name, _attribute_type(name, known[name])) for name in sorted(known)]
    columns = [*COLUMNS, *([pa.field("attributes", pa.struct(fields))] if fields else [])]
    return pa.schema(columns, {"attribute_roles": json.dumps(dict(roles), sort_keys=True)})


def _attribute_type(name: str, known: Mapping[bool, tuple[str, str | float]]) -> pa.DataType:
    if len(known) == 2:
        (of_word, word), (of_number, number) = known[True], known[False]
        raise ValueError(
            f"the attribute {name} is a word of {of_word} ({word}) and a number of {of_number} "
            f"({number:g}); make it one or the other in the lists of the corpus"
        )
    return pa.string() if True in known else pa.float64()


def manifest_rows(clips: Sequence[Clip], digests: Mapping[str, FileDigest], source: str, schema: pa.Schema) -> pa.Table:
    """The rows of some clips, with the digest and size of each file."""
    none = FileDigest()
    audio = [digests[clip.audio_path] if clip.audio_path else none for clip in clips]
    video = [digests[clip.video_path] if clip.video_path else none for clip in clips]
    pictures = list(dict.fromkeys(clip.image_paths for clip in clips))  # of each video once
    number = {paths: index for index, paths in enumerate(pictures)}
    video_of_clip = pa.array([number[clip.image_paths] for clip in clips], pa.int64())
    columns = {
        "clip_id": [clip.clip_id for clip in clips],
        "speaker_id": [clip.speaker_id for clip in clips],
        "audio_path": [clip.audio_path for clip in clips],
        "audio_sha256": [d.sha256 or None for d in audio],
        "audio_bytes": [d.size_bytes if d.sha256 else None for d in audio],
        "video_path": [clip.video_path for clip in clips],
        "video_sha256": [d.sha256 or None for d in video],
        "video_bytes": [d.size_bytes if d.sha256 else None for d in video],
        "image_paths": pictures,
        "image_sha256": [[digests[path].sha256 for path in paths] for paths in pictures],
        "image_bytes": [[digests[path].size_bytes for path in paths] for paths in pictures],
        "start_s": [clip.start_s for clip in clips],
        "end_s": [clip.end_s for clip in clips],
        "face_x": [clip.face_xy[0] if clip.face_xy else None for clip in clips],
        "face_y": [clip.face_xy[1] if clip.face_xy else None for clip in clips],
        "source": [source] * len(clips),
        "attributes": [clip.attributes for clip in clips],
    }
    arrays = {field.name: pa.array(columns[field.name], field.type) for field in schema}
    arrays |= {name: arrays[name].take(video_of_clip) for name in ("image_paths", "image_sha256", "image_bytes")}
    return pa.table([arrays[field.name] for field in schema], schema=schema)


def write_manifest(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> set[str]:
    """Write a manifest as its rows come, sorted by clip_id, each table as one row group; returns its speakers, none if there were no rows.

    Raises ValueError if ids repeat.
    """
    speakers: set[str] = set()
    last = ""
    with pq.ParquetWriter(path, schema) as writer:
        for table in tables:
            for clip_id in table["clip_id"].to_pylist():
                if clip_id == last:
                    raise ValueError(REPEATED.format(clip_id))
                last = clip_id
            speakers.update(table["speaker_id"].unique().to_pylist())
            if table.num_rows:
                writer.write_table(table)
    return speakers


def check_columns(schema: pa.Schema) -> None:
    """Raise ValueError if columns of a manifest are missing or of another type."""
    if missing := [name for name in COLUMNS.names if name not in schema.names]:
        raise ValueError(f"the manifest lacks the columns {', '.join(missing)}; run dvc repro make_corpus")
    for column in COLUMNS:
        if (got := schema.field(column.name).type) != column.type:
            raise ValueError(f"the manifest's column {column.name} must be {column.type} (got {got})")


def check_manifest(table: pa.Table) -> None:
    """Raise ValueError if columns are missing or of another type, there are no rows, or ids repeat."""
    check_columns(table.schema)
    if table.num_rows == 0:
        raise ValueError("the manifest has no clips; check corpus.root and its folders")
    if pc.count_distinct(table["clip_id"]).as_py() != table.num_rows:
        counts = table.group_by("clip_id").aggregate([([], "count_all")])
        repeated = counts.filter(pc.greater(counts["count_all"], 1))["clip_id"][0].as_py()
        raise ValueError(REPEATED.format(repeated))


def read_manifest(path: Path = CORPUS / MANIFEST_NAME) -> pa.Table:
    """Read and check a manifest. Raises ValueError if it is not one."""
    with _opened(path) as file:
        table = file.read()
    check_manifest(table)
    return table


def iterate_clips(columns: Sequence[str], path: Path = CORPUS / MANIFEST_NAME) -> Iterator[dict[str, Any]]:
    """The rows of a manifest, some columns of them, sorted by clip_id; `ROWS_PER_BATCH` of them in memory at a time.

    Raises ValueError if the file is no manifest; ids are not compared, which `write_manifest` did.
    """
    with _opened(path) as file:
        check_columns(file.schema_arrow)
        for batch in file.iter_batches(ROWS_PER_BATCH, columns=list(columns)):
            yield from batch.to_pylist()


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist; run the stage that writes it: dvc repro make_corpus") from None
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is not a Parquet file: {error}") from None


def attribute_roles(table: pa.Table) -> dict[str, str]:
    """Role of each attribute of a manifest, `linked` or `control`; empty where the corpus does not say."""
    return json.loads((table.schema.metadata or {}).get(b"attribute_roles", b"{}"))
