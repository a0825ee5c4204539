"""The synthetic corpus on disk: VoxCeleb1's layout, and shards that come back from their files."""

import io
import json
import wave
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from speech2face.corpus.readers.voxceleb import list_voxceleb1
from speech2face.pipeline.params import Synthetic
from speech2face.pipeline.shards import iterate_rows, write_shard
from speech2face.synthetic.recordings import FILES, RECORD_NAME, export, plan, render_shard, rendering_settings, restore
from speech2face.synthetic.speakers import draw_speaker

SETTINGS = Synthetic(
    seed=5, num_speakers=3, videos_per_speaker=2, clips_per_video=2, clip_s=1.0, size_px=128, samples_per_pixel=1
)


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one shard of three speakers."""
    path = tmp_path_factory.mktemp("store") / "0123abcd.parquet"
    (rows,) = plan(SETTINGS)
    write_shard(path, render_shard(rows, SETTINGS, {}), FILES, path.stem)
    return path


@pytest.fixture(scope="module")
def root(shard: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recordings of that shard as files."""
    root = tmp_path_factory.mktemp("recordings")
    export([shard], root, SETTINGS)
    return root


def test_pictures_and_recordings_are_what_the_settings_say(shard: Path):
    files = {row["path"]: row["content"] for row in iterate_rows(shard)}
    assert len(files) == 3 * 2 * (1 + 2)
    for name, content in files.items():
        if name.endswith(".jpg"):
            with Image.open(io.BytesIO(content)) as picture:
                assert (picture.format, picture.size) == ("JPEG", (128, 128))
        else:
            with wave.open(io.BytesIO(content)) as recording:
                assert recording.getparams()[:4] == (1, 2, 16_000, 16_000)
    assert len(set(files.values())) == len(files)


def test_the_reader_of_voxceleb_finds_all_of_it(root: Path):
    listing = list_voxceleb1(root)
    assert not listing.missing and not listing.rejects
    assert [clip.clip_id for clip in listing.clips[:3]] == [
        "id90000/video00000/00001",
        "id90000/video00000/00002",
        "id90000/video00001/00001",
    ]
    assert len(listing.clips) == 12 and all(len(clip.image_paths) == 1 for clip in listing.clips)
    for clip in listing.clips:
        speaker = draw_speaker(5, int(clip.speaker_id[-4:]))
        assert clip.attributes["sex"] == speaker.sex
        assert clip.attributes["age_years"] == pytest.approx(speaker.age_years)


def test_the_words_of_every_recording_are_written_down(root: Path):
    words = pd.read_csv(root / "attributes.csv").set_index("clip_id")["words"]
    assert words["id90000/video00000/00001"] != words["id90000/video00000/00002"]


def test_a_shard_comes_back_from_its_files(shard: Path, root: Path, tmp_path: Path):
    record = json.loads((root / RECORD_NAME).read_text())
    rows = restore(record, shard.stem, lambda path: (root / path).read_bytes())
    assert rows is not None
    write_shard(tmp_path / "again.parquet", rows, FILES, shard.stem)
    assert (tmp_path / "again.parquet").read_bytes() == shard.read_bytes()


def test_a_shard_that_is_not_among_the_files_does_not_come_back(shard: Path, root: Path):
    record = json.loads((root / RECORD_NAME).read_text())
    assert restore(record, "another", lambda path: b"") is None
    rows = restore(record, shard.stem, lambda path: (root / "nowhere" / path).read_bytes())
    assert rows is not None
    with pytest.raises(FileNotFoundError):
        next(rows)


def test_more_speakers_change_no_shard_but_the_last():
    many, more = (SETTINGS.model_copy(update={"num_speakers": number}) for number in (40, 41))
    assert rendering_settings(many) == rendering_settings(more)
    first, second = plan(many), plan(more)
    assert sum(shard not in first for shard in second) == 1
    assert [row["index"] for shard in second for row in shard] == list(range(41))
    assert rendering_settings(many) != rendering_settings(many.model_copy(update={"seed": 6}))
