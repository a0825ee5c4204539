"""A csv or Parquet list of one's own."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from speech2face.corpus.paths import corpus_root
from speech2face.corpus.readers.own_list import list_own
from tests.corpus.trees import touch

ROWS = [
    {
        "clip_id": "007/v/1",
        "speaker_id": "007",
        "audio_path": "a.wav",
        "image_paths": "p 1.jpg;p2.jpg",
        "split": "train",
        "age": 31.0,
    },
    {
        "clip_id": "007/v/2",
        "speaker_id": "007",
        "audio_path": "b.wav",
        "image_paths": None,
        "split": "train",
        "age": None,
    },
    {
        "clip_id": "Z\u00f6/w/1",
        "speaker_id": "Z\u00f6",
        "audio_path": None,
        "image_paths": "q.jpg",
        "split": "test",
        "age": 20.0,
    },
]


def write(path: Path, rows: list[dict]) -> Path:
    table = pd.DataFrame(rows)
    if path.suffix == ".parquet":
        if "image_paths" in table:
            table["image_paths"] = table["image_paths"].map(lambda v: v.split(";") if isinstance(v, str) else None)
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep="\t" if path.name.startswith("tab") else ",")
    return path


def test_a_relative_list_is_found_from_a_copy_of_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    repository, copy = tmp_path / "repository", tmp_path / "copy"
    for folder in (repository, copy):
        folder.mkdir()
    write(repository / "mine.csv", ROWS)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(repository))
    assert len(list_own("mine.csv", "split", True).clips) == len(ROWS)
    assert corpus_root("mine.csv") == repository


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.parquet", "tab.csv", "mine.parquet"])
def test_a_list(tmp_path: Path, name: str):
    path = write(tmp_path / name, ROWS)
    listing = list_own(str(tmp_path if name.startswith("manifest") else path), "split", True)
    first, second, third = listing.clips
    assert (first.clip_id, first.speaker_id, first.audio_path) == ("007/v/1", "007", "a.wav")
    assert first.image_paths == ("p 1.jpg", "p2.jpg") and second.image_paths == () and third.audio_path is None
    assert first.attributes == {"age": 31.0} and second.attributes == {"age": None}
    assert {s: i.split for s, i in listing.identities.items()} == {"007": "train", "Z\u00f6": "test"}


def test_times_and_places(tmp_path: Path):
    row = {
        "clip_id": "a/v/1",
        "speaker_id": "a",
        "video_path": "v.mp4",
        "start_s": 1.5,
        "end_s": 3,
        "face_x": 0.5,
        "face_y": 0.25,
    }
    clip = next(iter(list_own(str(write(tmp_path / "l.csv", [row])), "split", False).clips))
    assert (clip.start_s, clip.end_s, clip.face_xy, clip.audio_path) == (1.5, 3.0, (0.5, 0.25), None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clip_id": "007/v/1"}, "line 3: clip_id 007/v/1 occurs twice, before in line 2"),
        ({"split": "dev"}, r"l.csv, column split: split of speaker 007 must be one of train, val, test"),
        ({"split": "val"}, "007 is in two splits, train and val"),
        ({"split": None}, "must be one of train, val, test"),
        ({"clip_id": "007/v"}, "must be <speaker_id>/<video>/<utterance>"),
        ({"clip_id": "008/v/1"}, "of speaker '007'"),
        ({"speaker_id": None}, "line 3 has no speaker_id"),
        ({"start_s": "soon"}, "line 3: start_s of 007/v/2 must be a number"),
        ({"start_s": -1}, "start_s of 007/v/2 must be a number in 0"),
        ({"start_s": 3, "end_s": 3}, "line 3: end_s of 007/v/2 must be after"),
        ({"face_x": 300}, "face_x of 007/v/2 must be a number in 0..1"),
    ],
)
def test_values_that_cannot_be(tmp_path: Path, change: dict, message: str):
    rows = [ROWS[0], {**ROWS[1], **change}, ROWS[2]]
    with pytest.raises(ValueError, match=message):
        list_own(str(write(tmp_path / "l.csv", rows)), "split", False)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.csv", b"", "is not a table"),
        ("l.csv", b"\xff\xfe\x00\x01", "is not a table"),
        ("l.csv", b'clip_id,speaker_id\n"a/b/c,a\n', "is not a table"),
        ("l.csv", b"clip_id,speaker_id\n", "has no rows"),
        ("l.csv", b"clip,speaker\n1,2\n", "lacks the columns clip_id, speaker_id"),
        ("l.parquet", b"PAR1 not really", "is not a table"),
    ],
)
def test_what_is_no_list(tmp_path: Path, name: str, content: bytes, message: str):
    with pytest.raises(ValueError, match=message):
        list_own(str(touch(tmp_path / name, content)), "split", False)


def test_a_column_of_splits_that_is_asked_for_must_be_there(tmp_path: Path):
    path = write(tmp_path / "l.csv", [{"clip_id": "a/v/1", "speaker_id": "a", "audio_path": "a.wav"}])
    with pytest.raises(ValueError, match="lacks the columns fold"):
        list_own(str(path), "fold", True)
    with pytest.raises(ValueError, match=r"folder with manifest\.parquet or manifest\.csv"):
        list_own(str(tmp_path), "split", True)


NAMES_LIKE_NOTHING = "clip_id,speaker_id,audio_path,country,nickname,height\n" + "".join(
    f"{speaker}/v/1,{speaker},{speaker}.wav,{country},{nickname},{height}\n"
    for speaker, country, nickname, height in [
        ("NA", "NA", "None", "1.5"),
        ("nan", "DE", "nan", "NA"),
        ("None", "", "null", ""),
    ]
)


def test_words_that_look_like_nothing_stay_words(tmp_path: Path):
    listing = list_own(str(touch(tmp_path / "l.csv", NAMES_LIKE_NOTHING.encode())), "split", False)
    assert [(clip.speaker_id, clip.clip_id, clip.audio_path) for clip in listing.clips] == [
        (name, f"{name}/v/1", f"{name}.wav") for name in ("NA", "None", "nan")
    ]
    assert [clip.attributes for clip in listing.clips] == [
        {"country": "NA", "nickname": "None", "height": 1.5},
        {"country": None, "nickname": "null", "height": None},
        {"country": "DE", "nickname": "nan", "height": None},
    ]


@pytest.mark.parametrize(("name", "place"), [("l.csv", "line 3"), ("l.parquet", "row 2")])
def test_infinite_attributes_are_refused_when_the_list_is_read(tmp_path: Path, name: str, place: str):
    rows = [ROWS[0] | {"age": 3.0}, ROWS[1] | {"age": float("inf")}]
    with pytest.raises(ValueError, match=rf"{name} {place}, column age: must be a finite number \(got inf\)"):
        list_own(str(write(tmp_path / name, rows)), "split", False)


def test_types_of_a_parquet_list(tmp_path: Path):
    frame = pd.DataFrame(ROWS).drop(columns=["image_paths", "age"])
    frame["speaker_id"], frame["clip_id"] = [7, 7, 8], ["7/v/1", "7/v/2", "8/w/1"]
    frame["code"], frame["smokes"] = ["1", "2", "NA"], [True, False, None]
    frame["sex"] = pd.Categorical(["f", "f", None])
    frame["age"], frame["height"] = [31, 32, None], [1.5, float("nan"), 2.0]
    frame.to_parquet(tmp_path / "l.parquet")
    listing = list_own(str(tmp_path / "l.parquet"), "split", True)
    assert [clip.speaker_id for clip in listing.clips] == ["7", "7", "8"]
    assert [clip.attributes for clip in listing.clips] == [
        {"code": "1", "smokes": "True", "sex": "f", "age": 31.0, "height": 1.5},
        {"code": "2", "smokes": "False", "sex": "f", "age": 32.0, "height": None},
        {"code": "NA", "smokes": None, "sex": None, "age": None, "height": 2.0},
    ]


@pytest.mark.parametrize("index", [["clip_id"], ["speaker_id", "clip_id"]])
def test_a_parquet_list_whose_ids_are_the_index(tmp_path: Path, index: list[str]):
    pd.DataFrame(ROWS).drop(columns=["image_paths"]).set_index(index).to_parquet(tmp_path / "l.parquet")
    clips = list_own(str(tmp_path / "l.parquet"), "split", True).clips
    assert [clip.clip_id for clip in clips] == [row["clip_id"] for row in ROWS]
    assert [clip.attributes for clip in clips] == [{"age": 31.0}, {"age": None}, {"age": 20.0}]


def test_an_index_without_a_name_is_no_attribute(tmp_path: Path):
    frame = pd.DataFrame(ROWS, index=[5, 3, 9]).drop(columns=["image_paths"])
    frame.to_parquet(tmp_path / "l.parquet")
    frame.to_csv(tmp_path / "l.csv")
    for name in ("l.parquet", "l.csv"):
        assert set(next(iter(list_own(str(tmp_path / name), "split", True).clips)).attributes) == {"age"}


@pytest.mark.parametrize(
    "header", ["clip_id,speaker_id,age,age", "clip_id,speaker_id,age, age ", "clip_id,speaker_id,a,clip_id"]
)
def test_a_repeated_header_is_refused(tmp_path: Path, header: str):
    with pytest.raises(ValueError, match=r"columns \d and 4 are both called (age|clip_id)"):
        list_own(str(touch(tmp_path / "l.csv", f"{header}\na/v/1,a,1,2\n".encode())), "split", False)


def test_a_header_in_the_middle_is_refused(tmp_path: Path):
    text = "clip_id,speaker_id,height\na/v/1,a,1.5\n\nclip_id,speaker_id,height\na/v/2,a,1.7\n"
    with pytest.raises(ValueError, match=r"l\.csv line 4 is the header again"):
        list_own(str(touch(tmp_path / "l.csv", text.encode())), "split", False)


def parquet(path: Path, **columns: pa.Array) -> str:
    """A list of two clips, some of its columns replaced."""
    texts = {"clip_id": ["a/v/1", "a/v/2"], "speaker_id": ["a", "a"], "audio_path": ["1.wav", "2.wav"]}
    pq.write_table(pa.table({name: pa.array(values) for name, values in texts.items()} | columns), path)
    return str(path)


NESTED = {
    "list": pa.array([["a/v/1"], ["a/v/2"]]),
    "struct": pa.array([{"a": 1}, {"a": 2}]),
    "map": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())),
    "list of lists": pa.array([[["a"]], []]),
}


@pytest.mark.parametrize("kind", NESTED)
@pytest.mark.parametrize(
    "name", ["clip_id", "speaker_id", "audio_path", "video_path", "start_s", "face_x", "split", "age"]
)
def test_parquet_columns_that_hold_neither_text_nor_numbers(tmp_path: Path, kind: str, name: str):
    with pytest.raises(ValueError, match=rf"l\.parquet, column {name}: must hold text or numbers \(got \w+<"):
        list_own(parquet(tmp_path / "l.parquet", **{name: NESTED[kind]}), "split", False)


@pytest.mark.parametrize("kind", ["struct", "map", "list of lists"])
def test_parquet_pictures_are_texts_or_lists_of_them(tmp_path: Path, kind: str):
    with pytest.raises(ValueError, match=r"column image_paths: must hold text or a list of texts \(got \w+<"):
        list_own(parquet(tmp_path / "l.parquet", image_paths=NESTED[kind]), "split", False)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([["p.jpg", "q.jpg"], None]),
        pa.array([["p.jpg", "q.jpg"], []], pa.large_list(pa.large_string())),
        pa.array([["p.jpg", "q.jpg"], None], pa.list_(pa.string(), 2)),
        pa.array(["p.jpg;q.jpg", None]).dictionary_encode(),
    ],
)
def test_kinds_of_lists_of_pictures(tmp_path: Path, values: pa.Array):
    clips = list_own(parquet(tmp_path / "l.parquet", image_paths=values), "split", False).clips
    assert [clip.image_paths for clip in clips] == [("p.jpg", "q.jpg"), ()]


def test_a_parquet_column_that_is_there_twice(tmp_path: Path):
    columns = [pa.array(["a/v/1"]), pa.array(["a"]), pa.array([1.0]), pa.array([2.0])]
    pq.write_table(pa.Table.from_arrays(columns, ["clip_id", "speaker_id", "h", "h"]), tmp_path / "l.parquet")
    with pytest.raises(ValueError, match=r"l\.parquet: columns 3 and 4 are both called h; rename one"):
        list_own(str(tmp_path / "l.parquet"), "split", False)


def test_parquet_values_that_are_not_of_their_type(tmp_path: Path):
    beyond = pa.array([2**55, 0], pa.timestamp("ms"))
    with pytest.raises(ValueError, match=r"l\.parquet, column born: holds a value that cannot be read as text"):
        list_own(parquet(tmp_path / "l.parquet", born=beyond), "split", False)


def test_a_folder_that_is_called_like_a_partition_adds_no_column(tmp_path: Path):
    (tmp_path / "height=1").mkdir()
    clips = list_own(parquet(tmp_path / "height=1" / "l.parquet"), "split", False).clips
    assert next(iter(clips)).attributes == {}


def test_parquet_text_that_is_marked_as_bytes(tmp_path: Path):
    path = parquet(
        tmp_path / "l.parquet", clip_id=pa.array([b"a/v/1", b"a/v/2"]), town=pa.array(["Z\u00f6".encode(), None])
    )
    assert [(c.clip_id, c.attributes) for c in list_own(path, "split", False).clips] == [
        ("a/v/1", {"town": "Z\u00f6"}),
        ("a/v/2", {"town": None}),
    ]
    with pytest.raises(
        ValueError, match=r"l\.parquet, column town: holds a value that cannot be read as text: .*utf-8"
    ):
        list_own(parquet(tmp_path / "l.parquet", town=pa.array([b"\xff", None])), "split", False)
