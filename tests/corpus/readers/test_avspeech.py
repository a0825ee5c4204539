"""AVSpeech's csv, and the ways in which downloaders name clips."""

from pathlib import Path

import pytest

from speech2face.corpus.readers.avspeech import list_avspeech
from tests.corpus.trees import touch

YOUTUBE_ID = "-a_Bcdefg12"
ROW = f"{YOUTUBE_ID},90.000000,93.566667,0.25,0.75\n"


@pytest.mark.parametrize(
    "name",
    [
        f"{YOUTUBE_ID}_90.000000_93.566667.mp4",
        f"{YOUTUBE_ID}_90.0_93.567.mp4",
        f"{YOUTUBE_ID}_90_93.mp4",
        f"{YOUTUBE_ID}_90.webm",
        f"{YOUTUBE_ID}_000090.mkv",
        f"train/{YOUTUBE_ID}/{YOUTUBE_ID}_90.000_93.567.MP4",
    ],
)
def test_cut_clips(tmp_path: Path, name: str):
    touch(tmp_path / "avspeech_train.csv", ROW.encode())
    touch(tmp_path / name)
    clip = next(iter(list_avspeech(tmp_path).clips))
    assert clip.clip_id == f"{YOUTUBE_ID}/90.000-93.567/00001" and clip.speaker_id == YOUTUBE_ID
    assert clip.video_path == clip.audio_path == name
    assert clip.face_xy == (0.25, 0.75) and clip.start_s is None


def test_a_whole_video_is_cut_by_the_times_of_the_csv(tmp_path: Path):
    touch(tmp_path / "avspeech_test.csv", (ROW + f"{YOUTUBE_ID},100.5,104,0.5,0.5\n").encode())
    touch(tmp_path / f"clips/{YOUTUBE_ID}.mp4")
    listing = list_avspeech(tmp_path)
    assert [(c.start_s, c.end_s) for c in listing.clips] == [(100.5, 104.0), (90.0, 93.566667)]  # by id
    assert len({c.clip_id for c in listing.clips}) == 2
    assert listing.identities[YOUTUBE_ID].official == "test"


def test_the_clip_of_the_right_start_is_taken(tmp_path: Path):
    touch(tmp_path / "avspeech_train.csv", (ROW + f"{YOUTUBE_ID},90.5,95,0.5,0.5\n").encode())
    for start in ("90.000000", "90.500000"):
        touch(tmp_path / f"{YOUTUBE_ID}_{start}.mp4")
    assert [c.video_path for c in list_avspeech(tmp_path).clips] == [
        f"{YOUTUBE_ID}_90.000000.mp4",
        f"{YOUTUBE_ID}_90.500000.mp4",
    ]


def test_what_is_not_downloaded_or_not_listed_is_named(tmp_path: Path):
    touch(tmp_path / "avspeech_train.csv", (ROW + "zzzzzzzzzzz,1,2,0.5,0.5\nzzzzzzzzzzz,3,4,0.5,0.5\n").encode())
    touch(tmp_path / f"{YOUTUBE_ID}_90.mp4")
    touch(tmp_path / "yyyyyyyyyyy_1.mp4")
    listing = list_avspeech(tmp_path)
    assert len(listing.clips) == 1
    messages = {r.item: r.message for r in listing.missing}
    assert set(messages) == {"zzzzzzzzzzz", "yyyyyyyyyyy"} and messages["zzzzzzzzzzz"].startswith("2 segments")


@pytest.mark.parametrize(
    "row",
    [
        "a,b,c,d,e",
        f"{YOUTUBE_ID},5,4,0.5,0.5",
        f"{YOUTUBE_ID},1,2,0.5",
        f"{YOUTUBE_ID},1,2,1.5,0",
        f"{YOUTUBE_ID},nan,2,0,0",
    ],
)
def test_a_row_that_is_not_one(tmp_path: Path, row: str):
    touch(tmp_path / "avspeech_train.csv", (ROW + row).encode())
    touch(tmp_path / f"{YOUTUBE_ID}_90.mp4")
    with pytest.raises(ValueError, match="line 2 must be id,start,end,x,y"):
        list_avspeech(tmp_path)


def test_no_csv_and_no_clips(tmp_path: Path):
    with pytest.raises(ValueError, match=r"avspeech_train\.csv"):
        list_avspeech(tmp_path)
    touch(tmp_path / "avspeech_train.csv", ROW.encode())
    with pytest.raises(ValueError, match="no videos named"):
        list_avspeech(tmp_path)
