"""Parquet shards: the tables' schemas, atomic writing, and reading row group by row group.

A finished shard is one file: its rows, and in the footer its fingerprint, what it was made from, a digest of its rows and its rejects.
It appears under its final name complete or not at all.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from speech2face.pipeline.atomic import replacing
from speech2face.pipeline.rejects import Reject

ROWS_PER_GROUP = 16


class Tensor(pa.ExtensionType):
    """Arrays of one dtype and shape, each stored as its bytes in C order.

    For spectrograms, in place of Arrow's fixed_shape_tensor: Parquet stores that as a list with a level for each of 300,000 numbers,
    and takes five times as long to write it. A program that does not know the type sees the bytes.
    """

    def __init__(self, dtype: str, shape: Sequence[int]) -> None:
        self.dtype, self.shape = np.dtype(dtype), tuple(shape)
        super().__init__(pa.binary(self.dtype.itemsize * math.prod(shape)), "speech2face.tensor")

    def __arrow_ext_serialize__(self) -> bytes:
        return json.dumps([self.dtype.name, self.shape]).encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> "Tensor":
        return cls(*json.loads(serialized))

    def from_numpy(self, values: np.ndarray) -> pa.ExtensionArray:
        """[rows, *shape] as a column."""
        content = pa.py_buffer(np.ascontiguousarray(values, self.dtype))
        storage = pa.FixedSizeBinaryArray.from_buffers(self.storage_type, len(values), [None, content])
        return pa.ExtensionArray.from_storage(self, storage)

    def to_numpy(self, array: pa.ExtensionArray) -> np.ndarray:
        """A column as [rows, *shape], in the column's own memory: not to be written to."""
        start = array.offset * self.storage_type.byte_width
        content = array.storage.buffers()[1]
        flat = np.frombuffer(content, self.dtype, len(array) * math.prod(self.shape), start)
        return flat.reshape(len(array), *self.shape)


pa.register_extension_type(Tensor("float16", (1,)))  # any: the type is known by its name
TENSORS = (Tensor, pa.FixedShapeTensorType)


def table_schema(*columns: tuple[str, pa.DataType]) -> pa.Schema:
    """A table's schema, in which no column may be null."""
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns])


def columns(schema: pa.Schema) -> dict[str, str]:
    """The type of each column in words, with the dtype and shape of tensors, which `str(schema)` leaves out."""
    kinds = {f.name: f.type for f in schema}
    return {
        name: f"tensor {kind.dtype} {list(kind.shape)}" if isinstance(kind, Tensor) else str(kind)
        for name, kind in kinds.items()
    }


CLIP = (("clip_id", pa.string()), ("speaker_id", pa.string()))
"""The columns by which the rows of all tables are joined."""


def to_batch(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Rows as an Arrow batch. Raises KeyError for a column that a row lacks, ValueError for one too many and for a tensor
    of another shape."""
    columns = []
    for field in schema:
        values = [row[field.name] for row in rows]
        if isinstance(field.type, TENSORS):
            shape = tuple(field.type.shape)
            if wrong := next((np.shape(v) for v in values if np.shape(v) != shape), None):
                raise ValueError(f"{field.name} must have shape {shape} (got {wrong})")
            if isinstance(field.type, Tensor):
                columns.append(field.type.from_numpy(np.stack(values)))
                continue
            dtype = field.type.value_type.to_pandas_dtype()
            column = pa.FixedShapeTensorArray.from_numpy_ndarray(np.stack(values).astype(dtype, copy=False))
            columns.append(column.cast(field.type) if column.type != field.type else column)
        else:
            columns.append(pa.array(values, field.type))
    if unknown := {key for row in rows for key in row} - set(schema.names):
        raise ValueError(f"columns {sorted(unknown)} are not in the table; it has {', '.join(schema.names)}")
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def write_rows(
    path: Path, items: Iterable[dict[str, Any] | Reject], schema: pa.Schema, metadata: Mapping[str, str]
) -> None:
    """Write rows as they come, row group by row group; into the footer `metadata`, a digest of the rows as `content`, and the rejects."""
    rejects: list[Reject] = []
    rows: list[dict[str, Any]] = []
    content = hashlib.sha256(json.dumps(columns(schema)).encode())

    def write_group() -> None:
        batch = to_batch(rows, schema)
        content.update(batch.serialize())
        writer.write_batch(batch)
        rows.clear()

    # Spectrograms and JPEGs hardly compress, and statistics of tensors serve no one: both would only cost time.
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False, write_statistics=False) as writer:
        for item in items:
            if isinstance(item, Reject):
                rejects.append(item)
                continue
            rows.append(item)
            if len(rows) == ROWS_PER_GROUP:
                write_group()
        if rows:
            write_group()
        footer = {"content": content.hexdigest(), "rejects": json.dumps([asdict(r) for r in rejects])}
        writer.add_key_value_metadata({**metadata, **footer})


def write_shard(
    path: Path, items: Iterable[dict[str, Any] | Reject], schema: pa.Schema, metadata: Mapping[str, str]
) -> None:
    """Write a shard as `write_rows` does; it appears under its name complete or not at all."""
    with replacing(path) as partial:
        write_rows(partial, items, schema, metadata)


def write_table(path: Path, table: pa.Table) -> None:
    """Write a small table as one Parquet file, atomically."""
    with replacing(path) as partial:
        pq.write_table(table, partial)


class Footer(NamedTuple):
    """What a finished shard says of itself: its number of rows, its rejects, and the name that it was written under."""

    num_rows: int
    rejects: list[Reject]
    fingerprint: str


def footer(path: Path) -> Footer:
    """The footer of a shard. Raises OSError if it is not there, KeyError or ValueError if it is no shard."""
    metadata = _metadata(path)
    texts = metadata.metadata
    rejects = [Reject(**reject) for reject in json.loads(texts[b"rejects"])]
    return Footer(metadata.num_rows, rejects, texts[b"fingerprint"].decode())


def footer_text(path: Path, key: str) -> str:
    """An entry of a finished shard's metadata. Raises KeyError if it has none."""
    return str(_metadata(path).metadata[key.encode()].decode())


def _metadata(path: Path) -> pq.FileMetaData:
    # Opened here: Arrow would take the name of a file that is not there for an address on the network first.
    with pa.OSFile(str(path)) as file:
        return pq.read_metadata(file)


def shard_paths(directory: Path) -> list[Path]:
    """The shards of a table, in the order of their names. Raises FileNotFoundError if there is none."""
    paths = sorted(directory.glob("shard-*.parquet"))
    if not paths:
        raise FileNotFoundError(f"{directory} holds no shard-*.parquet; run the stage that writes it: dvc repro")
    return paths


def shards_in_order(directory: Path, column: str) -> list[Path]:
    """The shards of a table in the order of what `column` says in their first rows, whatever fingerprints they are named by."""

    def first(path: Path) -> str:
        with pq.ParquetFile(path) as file:
            found = file.read_row_group(0, columns=[column])[column] if file.num_row_groups else []
            return str(found[0]) if len(found) else ""

    return sorted(shard_paths(directory), key=first)


def contents(directory: Path) -> list[str]:
    """Digests of what the shards of a table hold, from their footers.

    What is made from a table depends on these and not on the shards' names: a shard in which a file had vanished for a moment is computed
    again under its old name, and a change of the code may change names alone.
    """
    return sorted(footer_text(path, "content") for path in shard_paths(directory))


def to_numpy(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """A tensor column as [rows, *shape], any other as [rows]."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # combine_chunks leaves extension types in chunks
        array = pa.concat_arrays(array.chunks)
    if isinstance(array.type, Tensor):
        return array.type.to_numpy(array).copy()
    if isinstance(array, pa.FixedShapeTensorArray):
        return array.to_numpy_ndarray().copy()  # Arrow's memory is read-only
    return array.to_numpy(zero_copy_only=False)


def read_columns(directory: Path, columns: Sequence[str]) -> pa.Table:
    """The named columns of a whole table."""
    return pa.concat_tables([pq.read_table(path, columns=list(columns)) for path in shard_paths(directory)])


def iterate_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of one shard as dictionaries, tensors as arrays; one row group in memory at a time."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=columns)
            arrays = {
                name: to_numpy(table[name])
                if isinstance(table.schema.field(name).type, TENSORS)
                else table[name].to_pylist()
                for name in table.column_names
            }
            for index in range(table.num_rows):
                yield {name: values[index] for name, values in arrays.items()}
