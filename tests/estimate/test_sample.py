from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from speech2face.audio.reading import stream_audio
from speech2face.corpus.readers.own_list import list_own
from speech2face.estimate.corpora import CORPORA
from speech2face.estimate.sample import (
    Voice,
    make_voices,
    on_canvas,
    pad,
    write_corpus,
    write_sound,
    write_video,
    write_wav,
)

TONE = (0.25 * np.sin(2 * np.pi * 200 * np.arange(24_000) / 16_000)).astype(np.float32)
GREY = np.full((64, 64, 3), 100, np.uint8)


def length_s(path: Path) -> float:
    return sum(len(piece.samples) for piece in stream_audio(path, 16_000, start_s=0.0, time_limit_s=60.0)) / 16_000


@pytest.mark.parametrize("name", ["a.wav", "a.m4a", "a.mp4"])
def test_recordings_are_read_as_long_as_they_were_written(tmp_path: Path, name: str):
    path = tmp_path / name
    if name == "a.wav":
        write_wav(path, TONE)
    elif name == "a.m4a":
        write_sound(path, TONE)
    else:
        write_video(path, GREY, 1.5, TONE)
    assert length_s(path) == pytest.approx(1.5, abs=0.13)  # AAC adds a frame or two


def test_videos_have_a_picture_every_40_ms(tmp_path: Path):
    write_video(tmp_path / "a.mp4", GREY, 2.0, None)
    with av.open(str(tmp_path / "a.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 50 and frames[0].shape == (64, 64, 3)
    assert abs(frames[0].mean() - 100) < 3


def test_padding_gives_the_size_and_changes_nothing_else(tmp_path: Path):
    path = tmp_path / "a.mp4"
    write_video(path, GREY, 1.5, TONE)
    before, size = length_s(path), path.stat().st_size
    pad(path, size - 1)
    assert path.stat().st_size == size
    pad(path, size + 5000)
    assert path.stat().st_size == size + 5000 and length_s(path) == before


def test_a_picture_lies_in_the_middle():
    shown = on_canvas(GREY, 128, 96)
    assert shown.shape == (96, 128, 3)
    assert (shown[16:80, 32:96] == 100).all() and (shown[:15] == 96).all()
    assert on_canvas(GREY, 32, 40).shape == (40, 32, 3)


def voices(folder: Path, face: str | None) -> list[Voice]:
    folder.mkdir()
    found = []
    for number in range(2):
        sound = folder / f"{number}.wav"
        write_wav(sound, (number + 1) * TONE / 2)
        picture = None if face is None else folder / f"{number}.{face}"
        if picture is not None:
            Image.fromarray(GREY).save(picture, "JPEG")
        found.append(Voice(sound, picture))
    return found


def test_a_corpus_has_files_of_its_own_for_each_clip(tmp_path: Path):
    root = write_corpus(tmp_path / "c", voices(tmp_path / "v", "jpg"), 3, speakers=5, videos=2, clips=4)
    listing = list_own(str(root), "split", True)
    clips = list(listing.clips)
    assert len(clips) == 5 * 2 * 4 == len({clip.audio_path for clip in clips})
    assert {len(clip.image_paths) for clip in clips} == {3}
    assert len({path for clip in clips for path in clip.image_paths}) == 5 * 2 * 3
    assert all((root / path).is_file() for clip in clips for path in (clip.audio_path, *clip.image_paths))
    assert [listing.identities[f"s00000{n}"].split for n in range(5)] == ["train", "train", "val", "test", "train"]


def test_a_larger_corpus_begins_with_the_smaller(tmp_path: Path):
    files = voices(tmp_path / "v", "jpg")
    small, large = (write_corpus(tmp_path / str(n), files, 1, n) for n in (4, 8))
    ids = [[clip.clip_id for clip in list_own(str(root), "split", True).clips] for root in (small, large)]
    assert ids[1][: len(ids[0])] == ids[0] and len(ids[1]) == 2 * len(ids[0])
    first, fifth = (large / f"sound/s00000{n}/v0000/00000.wav" for n in (0, 2))
    assert first.samefile(fifth) and not first.samefile(large / "sound/s000001/v0000/00000.wav")


def test_where_the_recording_is_the_video(tmp_path: Path):
    files = [Voice(voice.sound, None) for voice in voices(tmp_path / "v", None)]
    (clip, *_) = list_own(str(write_corpus(tmp_path / "c", files, 3, 1)), "split", True).clips
    assert clip.audio_path == clip.video_path and clip.image_paths == ()


@pytest.mark.slow
def test_faces_of_generated_recordings_are_found(tmp_path: Path):
    """Else crop_faces would be measured on pictures of nobody."""
    from speech2face.faces.detection import load_detector

    corpus = replace(CORPORA["voxceleb1"], clip_s=1.5, sound_bytes=0)
    (voice,) = make_voices(tmp_path, corpus, 1)
    assert voice.face is not None and voice.sound.suffix == ".wav"
    with Image.open(voice.face) as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (224, 224, 3)
    import torch

    from speech2face.faces.detection import detect_each

    load_detector(torch.device("cpu"))
    ((_, found),) = detect_each(iter([pixels]), lambda image: image, 0, torch.device("cpu"))
    assert len(found) == 1
