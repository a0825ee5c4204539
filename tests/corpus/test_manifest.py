"""The manifest's rows, checks and speed."""

import time
from pathlib import Path

import pyarrow as pa
import pytest

from speech2face.corpus.clips import Clip
from speech2face.corpus.digests import FileDigest
from speech2face.corpus.manifest import (
    attribute_roles,
    check_manifest,
    iterate_clips,
    read_manifest,
    usable,
    write_manifest,
)
from tests.corpus.trees import manifest_of, touch

pytestmark = pytest.mark.slow


def manifest(num_clips: int = 4) -> pa.Table:
    clips = [
        Clip(
            f"s{i // 10:05d}/v{i % 10}/1",
            f"s{i // 10:05d}",
            f"a/{i}.wav",
            (f"p/{i}.jpg", "p/x.jpg"),
            attributes={"age": 30.0 + i},
        )
        for i in range(num_clips)
    ]
    names = {p for c in clips for p in (str(c.audio_path), *c.image_paths)}
    digests = {name: FileDigest(f"{hash(name):064x}", len(name)) for name in names}
    return manifest_of(clips[::-1], digests, {"age": "linked"})


def test_rows_are_sorted_and_carry_digests(tmp_path: Path):
    table = manifest()
    parts = [table.slice(0, 3), table.slice(0, 0), table.slice(3)]
    assert write_manifest(tmp_path / "m.parquet", parts, table.schema) == {"s00000"}
    table = read_manifest(tmp_path / "m.parquet")
    rows = table.to_pylist()
    assert [row["clip_id"] for row in rows] == [f"s00000/v{i}/1" for i in range(4)]
    assert rows[1]["audio_bytes"] == len("a/1.wav") and rows[1]["image_bytes"] == [7, 7]
    assert rows[2]["attributes"] == {"age": 32.0} and attribute_roles(table) == {"age": "linked"}


@pytest.mark.parametrize("words_first", [True, False])
def test_an_attribute_that_is_a_word_and_a_number_is_refused_by_name(words_first: bool):
    """As where two datasets are one corpus, and each calls something else `sex`."""
    values = [None, "m", 1.0] if words_first else [None, 1.0, "m"]
    clips = [Clip(f"s/v/{i}", "s", None, attributes={"age": 3.0, "sex": value}) for i, value in enumerate(values)]
    word, number = values.index("m"), values.index(1.0)
    message = (
        rf"attribute sex is a word of s/v/{word} \(m\) and a number of s/v/{number} \(1\); make it one or the other"
    )
    with pytest.raises(ValueError, match=message):
        manifest_of(clips, {}, {})


def test_attributes_nobody_knows_are_numbers():
    clips = [Clip("s/v/1", "s", None, attributes={"age": None, "sex": "m"}), Clip("s/v/2", "s", None)]
    table = manifest_of(clips, {}, {})
    assert table.schema.field("attributes").type == pa.struct({"age": pa.float64(), "sex": pa.string()})
    assert table["attributes"].to_pylist() == [{"age": None, "sex": "m"}, {"age": None, "sex": None}]


def test_files_that_cannot_be_used_become_rejects():
    clips = [
        Clip("s/v/1", "s", "gone.wav", ("ok.jpg",)),
        Clip("s/v/2", "s", "ok.wav", ("ok.jpg", "bad.jpg")),
        Clip("s/v/3", "s", "ok.wav", ("bad.jpg",)),
        Clip("s/v/4", "s", "ok.wav", video_path="gone.mp4"),
        Clip("s/v/5", "s", "ok.wav"),
    ]
    gone, bad = FileDigest(reason="missing_file", message="gone"), FileDigest(reason="unreadable", message="bad")
    digests = {
        "ok.wav": FileDigest("1", 1),
        "ok.jpg": FileDigest("2", 1),
        "gone.wav": gone,
        "gone.mp4": gone,
        "bad.jpg": bad,
    }
    kept, rejects, pictures = usable(clips, digests)
    assert [(c.clip_id, c.image_paths) for c in kept] == [("s/v/2", ("ok.jpg",)), ("s/v/5", ())]
    assert [(r.item, r.reason) for r in (*rejects, *pictures.values())] == [
        ("s/v/1", "missing_file"),
        ("s/v/3", "no_image"),
        ("s/v/4", "missing_file"),
        ("bad.jpg", "unreadable"),
    ]


def replaced(table: pa.Table, name: str, values: list) -> pa.Table:
    index = table.schema.get_field_index(name)
    return table.set_column(index, table.schema.field(index), [values])


def test_ids_that_occur_twice():
    with pytest.raises(ValueError, match="clip_id a/v/1 occurs twice"):
        check_manifest(replaced(manifest(), "clip_id", ["a/v/1", "b/v/1", "a/v/1", "c/v/1"]))


@pytest.mark.parametrize("ids", [["a/v/1", "a/v/1", "b/v/1", "c/v/1"], ["0/v/1", "a/v/1", "a/v/1", "b/v/1"]])
def test_ids_that_occur_twice_are_not_written(tmp_path: Path, ids: list[str]):
    table = replaced(manifest(), "clip_id", ids)
    with pytest.raises(ValueError, match="clip_id a/v/1 occurs twice"):
        write_manifest(tmp_path / "m.parquet", [table.slice(0, 2), table.slice(2)], table.schema)


def test_tables_that_are_no_manifest(tmp_path: Path):
    with pytest.raises(ValueError, match="lacks the columns clip_id, speaker_id"):
        check_manifest(manifest().drop_columns(["clip_id", "speaker_id"]))
    with pytest.raises(ValueError, match="no clips"):
        check_manifest(manifest().slice(0, 0))
    with pytest.raises(ValueError, match="audio_bytes must be int64"):
        check_manifest(manifest().set_column(4, "audio_bytes", [["1"] * 4]))
    with pytest.raises(ValueError, match="does not exist; run"):
        read_manifest(tmp_path / "none.parquet")
    with pytest.raises(ValueError, match="is not a Parquet file"):
        read_manifest(touch(tmp_path / "text.parquet", b"text"))


@pytest.mark.slow
def test_a_hundred_thousand_rows_load_in_two_seconds(tmp_path: Path):
    path = tmp_path / "m.parquet"
    table = manifest(100_000)
    write_manifest(path, [table], table.schema)
    started = time.perf_counter()
    assert read_manifest(path).num_rows == 100_000
    loaded = time.perf_counter()
    assert sum(1 for _ in iterate_clips(["clip_id", "image_paths"], path)) == 100_000
    assert loaded - started < 2
    print(f"100,000 rows: loaded in {loaded - started:.2f} s, walked in {time.perf_counter() - loaded:.2f} s")
