"""Small tables of spectrograms and features."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from speech2face.audio.table import spectrograms_schema, waveforms_schema
from speech2face.face_networks.table import features_schema
from speech2face.pipeline.shards import write_shard
from speech2face.speaker_networks.table import embeddings_schema


def clip_row(clip_id: str, stored: np.ndarray, segment: int = 0) -> dict[str, Any]:
    """A row of the spectrogram table; stored: a spectrogram [2, 257, frames] or a waveform int16 [T]."""
    row = {"clip_id": clip_id, "speaker_id": clip_id.split("/")[0], "segment": segment, "start_s": 6.0 * segment}
    row["duration_s"] = 6.0
    return row | ({"waveform": stored} if stored.ndim == 1 else {"spectrogram": stored.astype(np.float16)})


def feature_row(face_id: str, feature: npt.ArrayLike) -> dict[str, Any]:
    """A row of the feature table; face_id: <speaker>/<video>/<number>."""
    speaker, video, _ = face_id.split("/")
    row = {"face_id": face_id, "clip_id": f"{speaker}/{video}/00000", "speaker_id": speaker}
    return row | {"feature": np.asarray(feature, np.float32)}


def write_clips(directory: Path, rows: list[dict[str, Any]], num_shards: int = 1) -> None:
    """Write a spectrogram table; every `num_shards`-th row is in the same shard."""
    waves = "waveform" in rows[0]
    schema = (
        waveforms_schema(len(rows[0]["waveform"])) if waves else spectrograms_schema(rows[0]["spectrogram"].shape[-1])
    )
    for part in range(num_shards):
        write_shard(directory / f"shard-{part}.parquet", rows[part::num_shards], schema, {})


def write_features(directory: Path, rows: list[dict[str, Any]], num_shards: int = 1) -> None:
    """Write a feature table; every `num_shards`-th row is in the same shard."""
    for part in range(num_shards):
        schema = features_schema(len(rows[0]["feature"]))
        write_shard(directory / f"shard-{part}.parquet", rows[part::num_shards], schema, {})


def write_embeddings(directory: Path, segments: dict[tuple[str, int], np.ndarray], num_shards: int = 1) -> None:
    """Write a table of embeddings [6, D] of segments of 6 s, by clip and number, that campplus with the weights "first" has made; every
    `num_shards`-th row is in the same shard."""
    rows = [
        {"clip_id": clip, "speaker_id": clip.split("/")[0], "segment": segment, "start_s": 6.0 * segment}
        | {"duration_s": 6.0, "segment_s": 6.0, "embedding": values.astype(np.float32)}
        for (clip, segment), values in segments.items()
    ]
    made_from = {"weights": {"campplus": "first"}, "settings": {"networks": ["campplus"]}}
    schema = embeddings_schema(6.0, rows[0]["embedding"].shape[1])
    for part in range(num_shards):
        footer = {"ingredients": json.dumps(made_from)}
        write_shard(directory / f"shard-{part}.parquet", rows[part::num_shards], schema, footer)


def rename_shards(directory: Path) -> None:
    """Give the shards of a table other names, of another order, as a setting does that leaves their rows as they were."""
    paths = sorted(directory.glob("shard-*.parquet"))
    assert len(paths) > 1
    for number, path in enumerate(reversed(paths)):
        path.rename(directory / f"shard-renamed-{number}.parquet")
