"""Lists that are whole as files, and odd in what they hold: cells, lines and types of columns, the same ones for the same seed."""

import io
import random
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq

CELLS = (
    "",
    "NA",
    "nan",
    "None",
    "inf",
    "-1e999",
    "1e5",
    "-1",
    "7",
    "1_0",
    "a/b/c",
    "Ann/v/0",
    "Ann",
    "train",
    "split",
    "a.wav",
    "../a.wav",
    "/etc/passwd",
    "a.wav;a.wav",
    ";",
    "\0",
    "\u202e",
    "Zoe\u0308",
    '"',
    '"a,b"',
    '"a\nb"',
    "#N/A",
    "x" * 5000,
)
COLUMNS = (
    "clip_id",
    "speaker_id",
    "audio_path",
    "video_path",
    "image_paths",
    "split",
    "start_s",
    "face_x",
    "age",
    "a",
    "",
)
VALUES = (
    pa.array([["a.wav"]]),
    pa.array([[[1]]]),
    pa.array([{"a": 1}]),
    pa.array([b"\xff"]),
    pa.array([b"a.wav"]),
    pa.array([True]),
    pa.array([None]),
    pa.array([float("inf")]),
    pa.array([7], pa.uint8()),
    pa.array([0.5], pa.float16()),
    pa.array([Decimal("1.50")]),
    pa.array(["Ann"]).dictionary_encode(),
    pa.array(["train"], pa.large_string()),
    pa.array([2**55], pa.timestamp("ms")),
    pa.array([2**62], pa.duration("s")),
)


def odd_list(content: bytes, seed: int) -> bytes:
    """A list in csv or Parquet after one or two changes."""
    rng = random.Random(f"list {seed}")
    change = _odd_columns if content.startswith(b"PAR1") else _odd_cells
    for _ in range(rng.randint(1, 2)):
        content = change(content, rng)
    return content


def _odd_cells(content: bytes, rng: random.Random) -> bytes:
    lines = content.decode("utf-8-sig").splitlines()
    delimiter = "\t" if "\t" in lines[0] else ","
    number = rng.randrange(len(lines))
    cells = lines[number].split(delimiter)
    what = rng.choice(("cell", "cell", "cell", "more", "fewer", "again", "blank", "begin", "ends"))
    if what == "cell":
        cells[rng.randrange(len(cells))] = rng.choice(CELLS)
    elif what == "more":
        cells.insert(rng.randint(0, len(cells)), rng.choice(CELLS))
    elif what == "fewer":
        del cells[rng.randrange(len(cells))]
    lines[number] = delimiter.join(cells)
    if what in ("again", "blank"):
        lines.insert(rng.randrange(len(lines)), lines[number] if what == "again" else "")
    text = ("\r\n" if what == "ends" else "\n").join(lines)
    return text.encode("utf-8-sig" if what == "begin" else "utf-8")


def _odd_columns(content: bytes, rng: random.Random) -> bytes:
    table = pq.ParquetFile(io.BytesIO(content)).read()
    values = rng.choice(VALUES)
    column = pa.chunked_array([values] * table.num_rows)
    name, place = rng.choice(COLUMNS), rng.randrange(table.num_columns)
    change = rng.choice((table.set_column, table.add_column))
    table = change(place, name, column)
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()
