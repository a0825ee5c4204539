"""Tables of many clips from those of a few: the same rows under other speakers' names. Stages that read tables take as long for them."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from speech2face.estimate.sample import speaker_name
from speech2face.pipeline.shards import footer_text, iterate_rows, shard_paths, write_shard

NOISE = 0.05
"""Of the features, as a part of their standard deviation: two people are not equally far from a voice, to the last bit."""
MADE_FROM = ("fingerprint", "ingredients")
"""What a shard's metadata say of what it was made from."""


def multiply(source: Path, target: Path, num_speakers: int, rows_per_shard: int) -> None:
    """Write a table of `num_speakers` speakers to the folder `target`: speaker n has the rows of speaker n in turn of the table in
    `source`, whose speakers are `sample.speaker_name`'s first."""
    paths = shard_paths(source)
    schema = pq.read_schema(paths[0]).remove_metadata()
    metadata = {key: footer_text(paths[0], key) for key in MADE_FROM}
    rows: dict[str, list[dict[str, Any]]] = {}
    for path in paths:
        for row in iterate_rows(path):
            rows.setdefault(row["speaker_id"], []).append(row)
    renamed = _renamed(rows, num_speakers)
    number = 0
    while part := list(islice(renamed, rows_per_shard)):
        write_shard(target / f"shard-{number:024d}.parquet", part, schema, metadata)
        number += 1


def _renamed(rows: dict[str, list[dict[str, Any]]], num_speakers: int) -> Iterator[dict[str, Any]]:
    known, rng = sorted(rows), np.random.default_rng(0)
    for number in range(num_speakers):
        name = speaker_name(number)
        for row in rows[known[number % len(known)]]:
            fresh = dict(row)
            for key in ("clip_id", "face_id"):
                if key in row:
                    fresh[key] = f"{name}/{row[key].partition('/')[2]}"
            if "feature" in row:
                feature = row["feature"]
                spread = NOISE * float(feature.std())
                fresh["feature"] = (feature + rng.normal(0, spread, feature.shape)).astype(feature.dtype)
            yield fresh | {"speaker_id": name}
