"""The synthetic corpus on disk: VoxCeleb1's layout, and shards that come back from their files."""

import io
import wave
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from speech2face.corpus.readers.voxceleb import list_voxceleb1
from speech2face.pipeline.params import Synthetic
from speech2face.pipeline.plan import Plan
from speech2face.pipeline.shards import iterate_rows, write_shard
from speech2face.synthetic.recordings import FILES, UNREAD, export, plan, render_shard, restorer
from speech2face.synthetic.speakers import draw_speaker

pytestmark = pytest.mark.slow

SETTINGS = Synthetic(
    seed=5, num_speakers=3, videos_per_speaker=2, clips_per_video=2, clip_s=1.0, size_px=128, samples_per_pixel=1
)


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one shard of three speakers."""
    path = tmp_path_factory.mktemp("store") / "0123abcd.parquet"
    (rows,) = plan(SETTINGS)
    write_shard(path, render_shard(rows, SETTINGS, {}), FILES, {"fingerprint": path.stem})
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
    assert [clip.clip_id for clip in list(listing.clips)[:3]] == [
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


def files_of(root: Path) -> dict[str, Path]:
    return {path.relative_to(root).as_posix(): path for path in root.rglob("*.*")}


def test_a_shard_comes_back_from_its_files(shard: Path, root: Path, tmp_path: Path):
    rows = restorer(lambda: files_of(root))(shard.stem)
    assert rows is not None
    write_shard(tmp_path / "again.parquet", rows, FILES, {"fingerprint": shard.stem})
    assert (tmp_path / "again.parquet").read_bytes() == shard.read_bytes()


def test_a_shard_that_is_not_whole_among_the_files_does_not_come_back(shard: Path, root: Path):
    files = files_of(root)
    assert restorer(lambda: files)("another") is None
    assert restorer(dict)(shard.stem) is None
    del files["wav/id90001/video00001/00002.wav"]
    assert restorer(lambda: files)(shard.stem) is None


def test_more_speakers_change_no_shard_but_the_last():
    many, more = (
        Plan("make_corpus", render_shard, partial(plan, settings), FILES, settings, unread=UNREAD)
        for settings in (SETTINGS.model_copy(update={"num_speakers": number}) for number in (40, 41))
    )
    assert [row["index"] for shard in more.shards() for row in shard] == list(range(41))
    before, after = ({made.fingerprint(rows) for rows in made.shards()} for made in (many, more))
    assert len(before) == len(list(many.shards())) >= 5 and len(after - before) == 1
