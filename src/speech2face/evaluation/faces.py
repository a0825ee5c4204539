"""The faces of a corpus: who they are of, and their features where they lie, in the shards."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from speech2face.measures.inputs import Faces
from speech2face.measures.views import View
from speech2face.pipeline.shards import shard_paths, to_numpy
from speech2face.training.pairs import check_known


def read_faces(directory: Path, splits: Mapping[str, str]) -> Faces:
    """Every face in a table, in the order of their ids, whatever the names of the shards; `splits` by speaker. The features stay in the
    shards, of which only the row groups that are asked for are read.

    Raises ValueError if a face's speaker has no split.
    """
    paths = shard_paths(directory)
    tables = [pq.read_table(path, columns=["face_id", "speaker_id"]) for path in paths]
    order = pc.sort_indices(pa.concat_tables(tables)["face_id"])
    table = pa.concat_tables(tables).take(order)
    speakers = table["speaker_id"].to_pylist()
    check_known(speakers, splits)
    starts = np.cumsum([0, *(len(part) for part in tables)])
    dim = pq.read_schema(paths[0]).field("feature").type.shape[0]

    def read(rows: npt.NDArray[np.int64]) -> np.ndarray:
        places = order.to_numpy()[rows].astype(np.int64)
        shards = np.searchsorted(starts, places, "right") - 1
        found = np.empty((len(rows), dim), np.float32)
        for shard in np.unique(shards):
            wanted = shards == shard
            found[wanted] = _read_rows(paths[shard], places[wanted] - starts[shard])
        return found

    ids = table["face_id"].to_pylist()
    return Faces(ids, speakers, [splits[speaker] for speaker in speakers], View((len(ids), dim), read))


def _read_rows(path: Path, rows: npt.NDArray[np.int64]) -> np.ndarray:
    """The features [n, D] of some rows of a shard."""
    with pq.ParquetFile(path) as file:
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        starts = np.cumsum([0, *sizes])
        group_of = np.searchsorted(starts, rows, "right") - 1
        groups, place = np.unique(group_of, return_inverse=True)
        features = to_numpy(file.read_row_groups(groups.tolist(), columns=["feature"], use_threads=False)["feature"])
    starts_read = np.cumsum([0, *(sizes[group] for group in groups)])
    found: np.ndarray = features[rows - starts[group_of] + starts_read[place]]
    return found
