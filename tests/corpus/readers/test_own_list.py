"""A csv or Parquet list of one's own."""

from pathlib import Path

import pandas as pd
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
    clip = list_own(str(write(tmp_path / "l.csv", [row])), "split", False).clips[0]
    assert (clip.start_s, clip.end_s, clip.face_xy, clip.audio_path) == (1.5, 3.0, (0.5, 0.25), None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clip_id": "007/v/1"}, "007/v/1 occurs twice"),
        ({"split": "dev"}, "must be one of train, val, test"),
        ({"split": "val"}, "007 is in two splits, train and val"),
        ({"split": None}, "must be one of train, val, test"),
        ({"clip_id": "007/v"}, "must be <speaker_id>/<video>/<utterance>"),
        ({"clip_id": "008/v/1"}, "of speaker '007'"),
        ({"speaker_id": None}, "row 2 has no speaker_id"),
        ({"start_s": "soon"}, "start_s of 007/v/2 must be a number"),
        ({"start_s": -1}, "start_s of 007/v/2 must be a number in 0"),
        ({"start_s": 3, "end_s": 3}, "end_s of 007/v/2 must be after"),
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
