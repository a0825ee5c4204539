"""The tables as other programs read them: pandas, DuckDB, Polars and pyarrow, in an interpreter that does not know this project."""

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from speech2face.audio.table import spectrograms_schema, waveforms_schema
from speech2face.corpus.clips import Clip
from speech2face.corpus.digests import FileDigest
from speech2face.corpus.manifest import write_manifest
from speech2face.corpus.splits import write_splits
from speech2face.face_networks.table import features_schema
from speech2face.faces.table import FACES
from speech2face.pipeline.rejects import Reject
from speech2face.pipeline.shards import write_shard
from tests.corpus.trees import manifest_of

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs" / "data.md"
NUM_FRAMES, NUM_CLIPS = 601, 20
SPLITS = {"ann": "train", "bo": "test", "cy": "val"}
SHAPES = {"landmarks": (68, 2), "feature": (5,), "box": (4,), "inside": (4,)}
KEYS = {
    "corpus": "clip_id",
    "spectrograms": "clip_id",
    "waveforms": "clip_id",
    "faces": "face_id",
    "features": "face_id",
}

Rows = list[dict[str, Any]]


def rows_of(speaker: str, rng: np.random.Generator) -> dict[str, Rows]:
    """Rows of the tables: a spectrogram and a waveform a clip, which a repository has one of, and a face with its feature."""
    clips = [{"clip_id": f"{speaker}/v/{i:02d}", "speaker_id": speaker} for i in range(NUM_CLIPS)]
    faces = [{"face_id": f"{speaker}/v/{i:02d}-f", **clip} for i, clip in enumerate(clips)]
    heard = {"segment": 0, "start_s": 0.5, "duration_s": 6.0}
    seen = {"box": (-3, 1, 90, 94), "inside": (12.25, -0.5, 223.5, 180.0), "confidence": 1.25}
    seen |= {"yaw_deg": -2.5, "sharpness": 0.125}

    def normal(kind: type, *shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(kind)

    return {
        "spectrograms": [c | heard | {"spectrogram": normal(np.float16, 2, 257, NUM_FRAMES)} for c in clips],
        "waveforms": [c | heard | {"waveform": (3000 * normal(np.float32, 41_600)).astype(np.int16)} for c in clips],
        "faces": [
            f | seen | {"frame": i, "image": b"\xff\xd8\x00" + bytes([i]), "landmarks": normal(np.float32, 68, 2)}
            for i, f in enumerate(faces)
        ],
        "features": [f | {"feature": normal(np.float32, 5)} for f in faces],
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Rows]]:
    """A repository's folder with data/, as the stages write it, and the rows of its tables."""
    root, rng = tmp_path_factory.mktemp("repository"), np.random.default_rng(0)
    schemas = {"spectrograms": spectrograms_schema(NUM_FRAMES), "waveforms": waveforms_schema(41_600)}
    schemas |= {"faces": FACES, "features": features_schema(5)}
    truth: dict[str, Rows] = {name: [] for name in KEYS}
    for number, speaker in enumerate(SPLITS):
        for name, rows in rows_of(speaker, rng).items():
            write_shard(root / f"data/{name}/shard-{number}.parquet", rows, schemas[name], {})
            truth[name] += rows
    for name, schema in schemas.items():  # a shard of which everything was rejected
        write_shard(root / f"data/{name}/shard-3.parquet", [Reject("x", "unreadable", "x")], schema, {})
    clips = [
        Clip(r["clip_id"], r["speaker_id"], f"{r['clip_id']}.wav", ("p.jpg", "q.jpg"), attributes={"age_years": 31.5})
        for r in truth["spectrograms"]
    ]
    digests = {path: FileDigest("00ff", 7) for clip in clips for path in (str(clip.audio_path), *clip.image_paths)}
    table = manifest_of(clips, digests, {"age_years": "linked"})
    (root / "data/corpus").mkdir()
    write_manifest(root / "data/corpus/manifest.parquet", [table], table.schema)
    truth["corpus"] = [
        {"clip_id": c.clip_id, "speaker_id": c.speaker_id, "audio_path": c.audio_path, "audio_bytes": 7,
         "image_paths": list(c.image_paths), "attributes": c.attributes, "source": "voxceleb1", "video_path": None}
        for c in clips
    ]  # fmt: skip
    write_splits(root / "data/speakers.parquet", SPLITS)
    return root, truth


# Each defines `read`, from a table's name to its rows as dictionaries.
TOOLS = {
    "pandas": """
import pandas
def read(name):
    return pandas.read_parquet(f"data/{name}").to_dict("records")
""",
    "pandas, some columns and speakers": """
import pandas
def read(name):
    speakers = [("speaker_id", "in", ["ann", "bo", "cy"])]
    columns = list(pandas.read_parquet(f"data/{name}").columns)
    return pandas.read_parquet(f"data/{name}", columns=columns[::-1], filters=speakers).to_dict("records")
""",
    "DuckDB, the files' name": """
import duckdb
def read(name):
    found = duckdb.sql(f"FROM 'data/{name}/*.parquet'")
    return [dict(zip(found.columns, row)) for row in found.fetchall()]
""",
    "DuckDB, a function": """
import duckdb
def read(name):
    found = duckdb.sql(f"SELECT * FROM read_parquet('data/{name}/*.parquet')")
    return [dict(zip(found.columns, row)) for row in found.fetchall()]
""",
    "DuckDB to pandas": """
import duckdb
def read(name):
    return duckdb.sql(f"FROM 'data/{name}/*.parquet'").df().to_dict("records")
""",
    "Polars": """
import polars
def read(name):
    return polars.read_parquet(f"data/{name}").to_dicts()
""",
    "Polars, lazily": """
import polars
def read(name):
    return polars.scan_parquet(f"data/{name}/*.parquet").collect().to_dicts()
""",
    "Polars to pandas": """
import polars
def read(name):
    return polars.read_parquet(f"data/{name}").to_pandas().to_dict("records")
""",
    "pyarrow": """
import pyarrow.dataset
def read(name):
    return pyarrow.dataset.dataset(f"data/{name}").to_table().to_pylist()
""",
}
TAIL = """
import pickle, sys
tables = {name: read(name) for name in sys.argv[1:]}
assert not any(name.startswith("speech2face") for name in sys.modules)
sys.stdout.buffer.write(pickle.dumps(tables))
"""


def run(code: str, cwd: Path, *arguments: str) -> bytes:
    """Standard output of a program in an interpreter of its own; what it writes to standard error is an error."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=cwd, env=clean, capture_output=True)
    assert done.returncode == 0 and done.stderr == b"", done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize("tool", TOOLS)
def test_every_row_and_value_is_read(written: tuple[Path, dict[str, Rows]], tool: str):
    root, truth = written
    found = pickle.loads(run(TOOLS[tool] + TAIL, root, *KEYS))
    for name, key in KEYS.items():
        assert len(found[name]) == 3 * NUM_CLIPS
        for row, expected in zip(sorted(found[name], key=lambda r: r[key]), truth[name], strict=True):
            if name != "corpus":
                assert set(row) == set(expected)
            for column, value in expected.items():
                assert_same(column, row[column], value)


def assert_same(column: str, found: Any, expected: Any) -> None:
    if column == "spectrogram":
        assert isinstance(found, bytes | bytearray)
        np.testing.assert_array_equal(np.frombuffer(found, np.float16).reshape(2, 257, NUM_FRAMES), expected)
    elif column == "waveform":
        assert isinstance(found, bytes | bytearray)
        np.testing.assert_array_equal(np.frombuffer(found, np.int16), expected)
    elif column in SHAPES:
        np.testing.assert_array_equal(np.asarray(found, np.float32).reshape(SHAPES[column]), expected)
    elif isinstance(expected, list):
        assert list(found) == expected
    elif expected is None:
        assert found is None or found != found  # pandas has NaN where there is nothing
    else:
        assert found == expected


def examples() -> list[str]:
    """The programs in the documentation's section on the tables."""
    section = DOCS.read_text("utf-8").split("## Reading the tables\n")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def test_the_documentation_has_examples():
    assert [name for name in ("duckdb", "pandas", "polars") if not any(name in code for code in examples())] == []


@pytest.mark.parametrize("code", examples(), ids=lambda code: code.split()[1])
def test_the_documentation_s_examples_join_speakers_and_splits(written: tuple[Path, dict[str, Rows]], code: str):
    root, truth = written
    tail = "\nimport pickle, sys\nsys.stdout.buffer.write(pickle.dumps((clip_ids, spectrogram)))"
    clip_ids, spectrogram = pickle.loads(run(code + tail, root))
    expected = [row for row in truth["spectrograms"] if SPLITS[row["speaker_id"]] == "test"]
    assert list(clip_ids) == [row["clip_id"] for row in expected]
    assert spectrogram.dtype == np.float16
    np.testing.assert_array_equal(spectrogram, expected[0]["spectrogram"])
