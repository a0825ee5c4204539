import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from speech2face.audio.table import spectrograms_schema
from speech2face.face_networks.table import features_schema
from speech2face.faces.table import FACES
from speech2face.pipeline import shards
from speech2face.pipeline.rejects import Reject
from speech2face.pipeline.shards import footer, footer_text, iterate_rows, read_columns, write_shard


def feature_rows(count: int, dim: int = 3):
    rng = np.random.default_rng(0)
    return [
        {
            "face_id": f"s/v/{i}",
            "clip_id": "s/v/1",
            "speaker_id": "s",
            "feature": rng.normal(size=dim).astype(np.float32),
        }
        for i in range(count)
    ]


def test_rows_come_back_as_they_were(tmp_path):
    rows = feature_rows(37)
    path = tmp_path / "t" / "shard-a.parquet"
    write_shard(path, rows, features_schema(3), {})
    back = list(iterate_rows(path))
    assert [row["face_id"] for row in back] == [row["face_id"] for row in rows]
    np.testing.assert_array_equal([row["feature"] for row in back], [row["feature"] for row in rows])
    assert pq.read_metadata(path).num_row_groups == 3
    np.testing.assert_array_equal(
        shards.to_numpy(read_columns(path.parent, ["feature"])["feature"]), np.stack([row["feature"] for row in rows])
    )


def test_a_face_row_keeps_bytes_boxes_and_landmarks(tmp_path):
    row = {
        "face_id": "s/v/1",
        "clip_id": "s/v/1",
        "speaker_id": "s",
        "frame": 3,
        "image": b"\xff\xd8\x00",
        "box": (-3, 1, 90, 94),
        "inside": (12.25, -0.5, 223.5, 180.0),
        "confidence": 1.0,
        "landmarks": np.arange(136, dtype=np.float32).reshape(68, 2),
        "yaw_deg": -2.0,
        "sharpness": 0.1,
    }
    path = tmp_path / "shard-a.parquet"
    write_shard(path, [row], FACES, {})
    (back,) = iterate_rows(path)
    np.testing.assert_array_equal(back.pop("landmarks"), row.pop("landmarks"))
    assert tuple(back.pop("box")) == row.pop("box")
    assert tuple(back.pop("inside")) == row.pop("inside")
    assert back.pop("sharpness") == pytest.approx(row.pop("sharpness"))
    assert back == row


def test_the_footer_holds_what_is_said_of_the_shard_and_its_rejects(tmp_path):
    path = tmp_path / "shard-a.parquet"
    rejects = [Reject("x", "silent", "x.wav: silent"), Reject("y", "no_face", "ü")]
    items = [rejects[0], *feature_rows(2), rejects[1]]
    write_shard(path, items, features_schema(3), {"fingerprint": "0123", "ingredients": "{}"})
    assert footer(path) == (2, rejects, "0123")
    assert (footer_text(path, "fingerprint"), footer_text(path, "ingredients")) == ("0123", "{}")
    with pytest.raises(KeyError):
        footer_text(path, "versions")


def test_a_failed_write_leaves_nothing(tmp_path):
    def rows():
        yield from feature_rows(20)
        raise RuntimeError("decoder broke")

    with pytest.raises(RuntimeError, match="decoder broke"):
        write_shard(tmp_path / "shard-a.parquet", rows(), features_schema(3), {})
    assert list(tmp_path.iterdir()) == []


def test_wrong_shapes_and_columns_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"feature must have shape \(4,\) \(got \(3,\)\)"):
        write_shard(tmp_path / "a", feature_rows(1), features_schema(4), {})
    with pytest.raises(ValueError, match=r"columns \['extra'\] are not in the table; it has face_id, clip_id, speaker"):
        write_shard(tmp_path / "a", [feature_rows(1)[0] | {"extra": 1}], features_schema(3), {})
    lacking = feature_rows(1)[0]
    del lacking["clip_id"]
    with pytest.raises(KeyError, match="clip_id"):
        write_shard(tmp_path / "a", [lacking], features_schema(3), {})
    with pytest.raises(ValueError, match="'clip_id' is declared non-nullable but contains nulls"):
        write_shard(tmp_path / "a", [feature_rows(1)[0] | {"clip_id": None}], features_schema(3), {})
    assert list(tmp_path.iterdir()) == []


def test_an_empty_shard_is_a_table_without_rows(tmp_path):
    path = tmp_path / "shard-a.parquet"
    write_shard(path, [], features_schema(3), {})
    assert list(iterate_rows(path)) == []
    assert shards.to_numpy(read_columns(tmp_path, ["feature"])["feature"]).shape == (0, 3)


def test_a_missing_table_names_the_remedy(tmp_path):
    with pytest.raises(FileNotFoundError, match="dvc repro"):
        shards.shard_paths(tmp_path)


def test_equal_rows_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        write_shard(tmp_path / name, feature_rows(20), features_schema(3), {})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_spectrogram_schema_has_the_frames_asked_for():
    kind = spectrograms_schema(301).field("spectrogram").type
    assert isinstance(kind, shards.Tensor)
    assert (kind.dtype, kind.shape) == (np.dtype("float16"), (2, 257, 301))


def test_spectrograms_come_back_as_they_were_and_are_known_to_other_programs_as_bytes(tmp_path):
    rng = np.random.default_rng(0)
    spectrogram = rng.normal(size=(2, 257, 7)).astype(np.float16)
    row = {"clip_id": "s/v/1", "speaker_id": "s", "segment": 0, "start_s": 0.0, "duration_s": 6.0}
    rows = [row | {"spectrogram": spectrogram * factor} for factor in range(20)]
    path = tmp_path / "shard-a.parquet"
    write_shard(path, rows, spectrograms_schema(7), {})
    for factor, back in enumerate(iterate_rows(path)):
        np.testing.assert_array_equal(back["spectrogram"], spectrogram * factor)
    table = read_columns(tmp_path, ["spectrogram"])
    np.testing.assert_array_equal(shards.to_numpy(table["spectrogram"].take([3, 1])), [spectrogram * 3, spectrogram])
    reader = "import sys, pyarrow.parquet as pq; print(pq.read_table(sys.argv[1])['spectrogram'].type)"
    seen = subprocess.run([sys.executable, "-c", reader, str(path)], capture_output=True, text=True, check=True).stdout
    assert seen.strip() == f"fixed_size_binary[{2 * 257 * 7 * 2}]"


def test_a_part_of_a_column_of_tensors_is_that_part():
    kind = shards.Tensor("float16", (2, 3))
    values = np.arange(30, dtype=np.float16).reshape(5, 2, 3)
    column = kind.from_numpy(values)
    np.testing.assert_array_equal(kind.to_numpy(column[2:4]), values[2:4])
    np.testing.assert_array_equal(shards.to_numpy(pa.chunked_array([column[3:], column[:1]])), values[[3, 4, 0]])
    shards.to_numpy(pa.chunked_array([column]))[0] = 0  # a copy, which may be written to
    np.testing.assert_array_equal(kind.to_numpy(column), values)


@pytest.fixture
def table(tmp_path):
    """Twenty rows in three shards, whose names are in another order than their rows, and one without rows."""
    rows = feature_rows(20)
    for name, part in {"b": rows[:7], "c": rows[7:15], "a": rows[15:], "d": []}.items():
        write_shard(tmp_path / f"shard-{name}.parquet", part, features_schema(3), {})
    (tmp_path / ".shard-e.parquet.00.partial").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("no shard")
    return tmp_path


def test_a_table_is_its_shards(table):
    assert [path.name for path in shards.shard_paths(table)] == [f"shard-{name}.parquet" for name in "abcd"]
    assert read_columns(table, ["speaker_id"]).num_rows == 20


def test_shards_can_be_read_in_the_order_of_their_rows_whatever_their_names(table):
    ordered = shards.shards_in_order(table, "face_id")
    assert [path.name[6] for path in ordered] == ["d", "b", "a", "c"]  # as text: s/v/0, s/v/15, s/v/7
    with pytest.raises(FileNotFoundError, match="dvc repro"):
        shards.shards_in_order(table / "none", "face_id")


def test_the_contents_of_a_table_are_its_values_whatever_its_shards_are_called_and_made_from(table):
    before = shards.contents(table)
    assert len(set(before)) == 4
    (table / "shard-a.parquet").rename(table / "shard-z.parquet")
    rejects = [Reject("x", "silent", "x.wav: silent")]
    write_shard(
        table / "shard-c.parquet", [*rejects, *feature_rows(20)[7:15]], features_schema(3), {"fingerprint": "1"}
    )
    assert shards.contents(table) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[1:],
        lambda rows: rows[::-1],
        lambda rows: [rows[0] | {"face_id": "s/v/01"}, *rows[1:]],  # another picture of the video, as many as before
        lambda rows: [rows[0] | {"feature": np.nextafter(rows[0]["feature"], np.float32(9))}, *rows[1:]],
    ],
    ids=["rows", "order", "text", "last bit"],
)
def test_another_value_is_another_content(table, change):
    before, path = shards.contents(table), table / "shard-b.parquet"
    write_shard(path, change(feature_rows(20)[:7]), features_schema(3), {})
    assert len(set(before) - set(shards.contents(table))) == 1


def test_the_same_bytes_as_another_type_are_another_content(tmp_path):
    for kind in ("float16", "int16"):
        rows = [{"value": np.zeros((2,), kind)}]
        write_shard(
            tmp_path / f"shard-{kind}.parquet", rows, shards.table_schema(("value", shards.Tensor(kind, (2,)))), {}
        )
    assert len(set(shards.contents(tmp_path))) == 2


def test_only_the_columns_that_are_asked_for_are_read(table):
    (row, *_) = iterate_rows(table / "shard-b.parquet", ["speaker_id", "feature"])
    assert sorted(row) == ["feature", "speaker_id"]
    assert read_columns(table, ["clip_id"]).column_names == ["clip_id"]


def test_a_small_table_is_written_whole(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "speakers.parquet"
    shards.write_table(path, pa.table({"speaker_id": ["a"]}))

    def full_disk(table, where):
        where.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full_disk)
    with pytest.raises(OSError, match="No space left"):
        shards.write_table(path, pa.table({"speaker_id": ["b"]}))
    assert pq.read_table(path).to_pylist() == [{"speaker_id": "a"}]
    assert list(path.parent.iterdir()) == [path]
