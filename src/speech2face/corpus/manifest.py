"""The manifest: one row a clip, with its speaker, split, files, their digests, and what is known of the speaker."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from speech2face.corpus.splits import SPLITS, check_disjoint
from speech2face.provenance import file_digest
from speech2face.shards import write_table

MANIFEST_NAME = "manifest.parquet"
CORPUS = Path("data/corpus")

COLUMNS = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("speaker_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("audio_path", pa.string()),
        pa.field("audio_sha256", pa.string()),
        pa.field("audio_bytes", pa.int64()),
        pa.field("video_path", pa.string()),
        pa.field("video_sha256", pa.string()),
        pa.field("video_bytes", pa.int64()),
        pa.field("image_paths", pa.list_(pa.string()), nullable=False),
        pa.field("image_sha256", pa.list_(pa.string()), nullable=False),
        pa.field("image_bytes", pa.list_(pa.int64()), nullable=False),
        pa.field("source", pa.string(), nullable=False),
    ]
)
"""All columns but `attributes`, a struct of numbers (float64) and names (string), null where unknown, that differs by corpus."""


@dataclass(frozen=True)
class Clip:
    """A recording and the pictures that go with it; paths are relative to the corpus root, with forward slashes."""

    clip_id: str  # <speaker>/<video>/<utterance>
    speaker_id: str
    audio_path: str | None
    image_paths: tuple[str, ...] = ()
    video_path: str | None = None
    attributes: dict[str, str | float | None] = field(default_factory=dict)


def video_of(clip_id: str) -> str:
    """`<speaker>/<video>` of a clip or face id: what a voice and a face are paired by."""
    return "/".join(clip_id.split("/")[:2])


def inside(root: Path, relative: str) -> Path:
    """The file at `relative` below `root`. Raises ValueError for an absolute path, or one that leaves the root, also by a link."""
    pure = PurePosixPath(relative)
    if pure.is_absolute() or ".." in pure.parts or "\\" in relative or "\0" in relative:
        raise ValueError(
            f"{relative!r} must be a path below the corpus root, without .., backslashes or a leading slash"
        )
    path = root / pure
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{relative!r} is a link that leads out of the corpus root {root}; copy the file into it")
    return path


def corpus_root(root: str | None) -> Path:
    """Where the recordings are: the user's folder, or the synthetic corpus."""
    return Path(root) if root is not None else CORPUS


def build_manifest(
    root: Path, clips: Sequence[Clip], splits: dict[str, str], source: str, roles: dict[str, str]
) -> pa.Table:
    """The manifest of `clips`, sorted by clip_id, with a digest and size of each file.

    `splits` gives each speaker's split; `roles` says which attributes are `linked` to voice and face, and which are a `control`.
    Raises ValueError if a clip_id occurs twice or a path leaves the root.
    """
    digests: dict[str, tuple[str, int]] = {}

    def digest(relative: str | None) -> tuple[str | None, int | None]:
        if relative is None:
            return None, None
        if relative not in digests:
            path = inside(root, relative)
            digests[relative] = file_digest(path), path.stat().st_size
        return digests[relative]

    rows: list[dict[str, Any]] = []
    for clip in sorted(clips, key=lambda c: c.clip_id):
        if rows and rows[-1]["clip_id"] == clip.clip_id:
            raise ValueError(f"clip_id {clip.clip_id} occurs twice; ids are <speaker>/<video>/<utterance> and unique")
        audio_sha256, audio_bytes = digest(clip.audio_path)
        video_sha256, video_bytes = digest(clip.video_path)
        images = [digest(path) for path in clip.image_paths]
        rows.append(
            {
                "clip_id": clip.clip_id,
                "speaker_id": clip.speaker_id,
                "split": splits[clip.speaker_id],
                "audio_path": clip.audio_path,
                "audio_sha256": audio_sha256,
                "audio_bytes": audio_bytes,
                "video_path": clip.video_path,
                "video_sha256": video_sha256,
                "video_bytes": video_bytes,
                "image_paths": list(clip.image_paths),
                "image_sha256": [sha256 for sha256, _ in images],
                "image_bytes": [size for _, size in images],
                "source": source,
            }
        )
    names = sorted({name for clip in clips for name in clip.attributes})
    numeric = {name for name in names if all(isinstance(c.attributes.get(name), float | int | None) for c in clips)}
    kind = pa.struct([(name, pa.float64() if name in numeric else pa.string()) for name in names])
    attributes = [
        {name: clip.attributes.get(name) for name in names} for clip in sorted(clips, key=lambda c: c.clip_id)
    ]
    table = pa.Table.from_pylist(rows, COLUMNS)
    if names:
        table = table.append_column("attributes", pa.array(attributes, kind))
    return table.replace_schema_metadata({"attribute_roles": json.dumps(roles, sort_keys=True)})


def write_manifest(path: Path, table: pa.Table) -> None:
    """Check a manifest and write it."""
    check_manifest(table)
    write_table(path, table)


def check_manifest(table: pa.Table) -> None:
    """Raise ValueError if columns are missing, ids repeat, or speakers cross splits."""
    if missing := [name for name in COLUMNS.names if name not in table.column_names]:
        raise ValueError(f"the manifest lacks the columns {', '.join(missing)}")
    if table.num_rows == 0:
        raise ValueError("the manifest has no clips; check corpus.root and its folders")
    counts = table["clip_id"].value_counts()
    if repeated := [str(c["values"]) for c in counts if c["counts"].as_py() > 1]:
        raise ValueError(f"clip_id {repeated[0]} occurs twice in the manifest; ids are unique")
    check_disjoint(zip(table["speaker_id"].to_pylist(), table["split"].to_pylist(), strict=True))


def read_manifest(path: Path = CORPUS / MANIFEST_NAME) -> pa.Table:
    """Read and check a manifest. Raises ValueError if it is not one."""
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist; run the stage that writes it: dvc repro make_corpus") from None
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is not a Parquet file: {error}") from None
    check_manifest(table)
    return table


def speaker_counts(table: pa.Table) -> dict[str, dict[str, int]]:
    """Number of speakers of each split, for the metrics."""
    splits = dict(zip(table["speaker_id"].to_pylist(), table["split"].to_pylist(), strict=True))
    return {"speakers": {split: list(splits.values()).count(split) for split in SPLITS}}


def attribute_roles(table: pa.Table) -> dict[str, str]:
    """Role of each attribute of a manifest, `linked` or `control`; empty where the corpus does not say."""
    return json.loads((table.schema.metadata or {}).get(b"attribute_roles", b"{}"))
