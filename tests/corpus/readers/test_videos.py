"""A folder of one's own videos."""

from pathlib import Path

import pytest

from speech2face.corpus.readers.videos import list_videos
from tests.corpus.trees import touch


def test_one_clip_a_video(tmp_path: Path):
    for name in ("Ann/a.mp4", "Ann/a.webm", "Bo B\u00e5/holiday 1.MKV", "Bo B\u00e5/notes.txt", ".trash/b.mp4"):
        touch(tmp_path / name)
    (tmp_path / "Empty").mkdir()
    listing = list_videos(tmp_path)
    assert [(c.clip_id, c.speaker_id, c.audio_path, c.video_path) for c in listing.clips] == [
        ("Ann/a.mp4/00001", "Ann", "Ann/a.mp4", "Ann/a.mp4"),
        ("Ann/a.webm/00001", "Ann", "Ann/a.webm", "Ann/a.webm"),
        ("Bo B\u00e5/holiday 1.MKV/00001", "Bo B\u00e5", "Bo B\u00e5/holiday 1.MKV", "Bo B\u00e5/holiday 1.MKV"),
    ]
    assert [(r.item, r.reason) for r in listing.missing] == [("Empty", "missing_file")]


def test_no_videos(tmp_path: Path):
    touch(tmp_path / "a.mp4")
    with pytest.raises(ValueError, match="a folder for each speaker"):
        list_videos(tmp_path)
