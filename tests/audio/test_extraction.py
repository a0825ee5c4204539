"""Rows of the spectrogram table: segments where they should be, values as computed by hand, and why a recording was left out."""

import json
import os
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io.wavfile
import torch

from speech2face.audio import extraction, wav
from speech2face.audio.extraction import read_segments, segment_frames, segment_samples, spectrogram_shard
from speech2face.audio.reading import read_audio, stream_audio
from speech2face.audio.spectrogram import compress, stft
from speech2face.pipeline.params import load_params
from speech2face.pipeline.rejects import Reject, UnusableError
from tests.audio.test_reading import encode, pcm16, tone, write_wav

RATE_HZ = 16_000
AUDIO = load_params(Path(__file__).parents[2] / "params.yaml").audio
SETTINGS = AUDIO.model_copy(update={"segment_s": 3.0, "stride_s": 2.0})


def noise(duration_s: float, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(round(duration_s * RATE_HZ))


def row(path: Path, **values: Any) -> dict[str, Any]:
    size = path.stat().st_size if path.exists() else None
    common = {"clip_id": "s/v/1", "speaker_id": "s", "audio_path": path.name, "audio_bytes": size}
    return common | {"start_s": None, "end_s": None} | values


def shard(path: Path, row_values: dict[str, Any] | None = None, **settings: Any) -> list[dict[str, Any] | Reject]:
    rows, changed = [row(path, **(row_values or {}))], SETTINGS.model_copy(update=settings)
    return list(spectrogram_shard(rows, changed, {"root": str(path.parent)}))


def reject(path: Path, **settings: Any) -> Reject:
    (found,) = shard(path, **settings)
    assert isinstance(found, Reject) and found.item == "s/v/1" and "\n" not in found.message
    return found


def test_lengths():
    assert segment_frames(6.0) == 601 and segment_samples(2.61) == 41_760
    for wrong in (3.001, 2.605):
        with pytest.raises(ValueError, match=r"audio\.segment_s must be a whole number of 0\.01 s steps"):
            segment_samples(wrong)


def test_the_first_segment(tmp_path: Path):
    path = write_wav(tmp_path / "a.wav", pcm16(noise(10)))
    (found,) = shard(path)
    assert {k: found[k] for k in ("clip_id", "speaker_id", "segment", "start_s", "duration_s")} == {
        "clip_id": "s/v/1", "speaker_id": "s", "segment": 0, "start_s": 0.0, "duration_s": 3.0,
    }  # fmt: skip
    expected = compress(stft(read_audio_tensor(path)[:48_000])).numpy()
    np.testing.assert_allclose(found["spectrogram"], expected, atol=2e-3)  # float16
    assert found["spectrogram"].shape == (2, 257, 301)


def read_audio_tensor(path: Path) -> torch.Tensor:
    return torch.from_numpy(read_audio(path))


@pytest.mark.parametrize("duration_s", [2.0, 3.0, 4.9, 5.0, 11.7])
@pytest.mark.parametrize("stride_s", [0.5, 2.0, 3.0, 4.5])
@pytest.mark.parametrize("block", [1000, 50_000, 1 << 17])
def test_all_segments_are_those_of_the_whole_recording(
    tmp_path: Path, duration_s: float, stride_s: float, block: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(wav, "FRAMES_PER_READ", block)
    path = write_wav(tmp_path / "a.wav", pcm16(noise(duration_s)))
    whole, stride = read_audio(path), round(stride_s * RATE_HZ)
    found = list(read_segments(path, 48_000, stride, start_s=0.0, end_s=None, time_limit_s=10))
    starts = [first for first in range(0, len(whole), stride) if first == 0 or first + 48_000 <= len(whole)]
    assert [(number, first) for number, first, _ in found] == list(enumerate(starts))
    for _, first, sound in found:
        np.testing.assert_array_equal(sound.samples, whole[first : first + 48_000])


def test_all_segments_as_rows(tmp_path: Path):
    found = shard(write_wav(tmp_path / "a.wav", pcm16(noise(10))), segments="all")
    assert [(r["segment"], r["start_s"], r["duration_s"]) for r in found] == [(n, 2.0 * n, 3.0) for n in range(4)]
    assert not np.array_equal(found[0]["spectrogram"], found[1]["spectrogram"])


def test_a_short_recording_is_repeated(tmp_path: Path):
    for segments in ("first", "all"):
        (found,) = shard(write_wav(tmp_path / "a.wav", pcm16(noise(1.5))), segments=segments)
        assert found["duration_s"] == 1.5
        middle = found["spectrogram"][:, :, 10:130]
        np.testing.assert_allclose(middle, found["spectrogram"][:, :, 160:280], atol=1e-3)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.wav", None), ("a.flac", "flac"), ("a.m4a", "aac"), ("a.webm", "libopus")]
)
def test_a_stretch_of_a_recording(tmp_path: Path, name: str, codec: str | None):
    # A tone that rises by 100 Hz a second is a clock.
    rate_hz = 48_000
    t = np.arange(20 * rate_hz) / rate_hz
    sweep = 0.5 * np.sin(2 * np.pi * (200 * t + 50 * t**2))
    path = (
        encode(tmp_path / name, codec, sweep, rate_hz) if codec else write_wav(tmp_path / name, pcm16(sweep), rate_hz)
    )
    (found,) = shard(path, {"start_s": 10.0, "end_s": 12.0})
    assert found["start_s"] == 10.0 and found["duration_s"] == pytest.approx(2.0, abs=1e-3)
    loudest = np.abs(found["spectrogram"].astype(np.float32)).sum(0).argmax(0) * 31.25
    for frame in (50, 150):
        assert loudest[frame] == pytest.approx(200 + 100 * (10 + frame / 100), abs=32)
    (after,) = shard(path, {"start_s": 30.0, "end_s": 32.0})
    assert isinstance(after, Reject) and after.reason == "too_short"


def test_silent_segments_are_rejected_by_themselves(tmp_path: Path):
    waveform = np.concatenate([noise(4), np.zeros(4 * RATE_HZ), noise(4)])
    found = shard(write_wav(tmp_path / "a.wav", pcm16(waveform)), segments="all", stride_s=4.0, segment_s=4.0)
    assert [r["segment"] for r in found if isinstance(r, dict)] == [0, 2]
    (left_out,) = [r for r in found if isinstance(r, Reject)]
    assert (left_out.item, left_out.reason) == ("s/v/1#1", "silent") and "from 4 s on" in left_out.message


def test_a_run_of_silent_segments_is_one_reject(tmp_path: Path):
    """So that a pause of hours is no more than one item that was left out."""
    parts = [noise(4), np.zeros(40 * RATE_HZ), noise(4), np.zeros(4 * RATE_HZ), noise(4), np.zeros(8 * RATE_HZ)]
    path = write_wav(tmp_path / "a.wav", pcm16(np.concatenate(parts)))
    found = shard(path, segments="all", stride_s=4.0, segment_s=4.0)
    assert [r["start_s"] for r in found if isinstance(r, dict)] == [0, 44, 52]
    left_out = [r for r in found if isinstance(r, Reject)]
    assert [(r.item, r.reason) for r in left_out] == [
        ("s/v/1#1", "silent"),
        ("s/v/1#12", "silent"),
        ("s/v/1#14", "silent"),
    ]
    assert "(from 4 s on) (and all segments up to s/v/1#10, 10 in all)" in left_out[0].message
    assert "in all" not in left_out[1].message and "up to s/v/1#15, 2 in all" in left_out[2].message


def test_a_run_of_silent_segments_before_a_damaged_end_is_kept(tmp_path: Path):
    content = write_wav(tmp_path / "a.wav", pcm16(np.concatenate([noise(4), np.zeros(16 * RATE_HZ)]))).read_bytes()
    (tmp_path / "a.wav").write_bytes(content[: len(content) // 2])
    found = shard(tmp_path / "a.wav", segments="all", stride_s=4.0, segment_s=4.0)
    assert [r["segment"] if isinstance(r, dict) else r.reason for r in found] == [0, "silent", "unreadable"]


def test_segments_without_speech_are_rejected(tmp_path: Path):
    path = write_wav(tmp_path / "noise.wav", pcm16(noise(3)))
    assert isinstance(shard(path)[0], dict)
    found = reject(path, min_speech_fraction=0.3)
    assert found.reason == "silent" and "0% of the segment from 0 s on is speech, 30% are needed" in found.message


def bad_recordings(folder: Path) -> dict[str, tuple[Path, str]]:
    good = write_wav(folder / "good.wav", pcm16(tone(duration_s=2)))
    scipy.io.wavfile.write(folder / "nan.wav", RATE_HZ, np.full(RATE_HZ * 2, np.nan, np.float32))
    (folder / "text.wav").write_text("this is no recording")
    (folder / "empty.wav").write_bytes(b"")
    (folder / "header.wav").write_bytes(good.read_bytes()[:30])
    return {
        "nan": (folder / "nan.wav", "not_finite"),
        "text": (folder / "text.wav", "unreadable"),
        "empty": (folder / "empty.wav", "unreadable"),
        "header": (folder / "header.wav", "unreadable"),
        "zeros": (write_wav(folder / "zeros.wav", np.zeros(RATE_HZ * 2, np.int16)), "silent"),
        "short": (write_wav(folder / "short.wav", pcm16(tone(duration_s=0.2))), "too_short"),
        "loud": (write_wav(folder / "loud.wav", (1000 * tone(duration_s=2)).astype(np.float32)), "out_of_range"),
        "mute": (encode(folder / "mute.mp4", None, tone(), video=True), "no_audio_stream"),
        "gone": (folder / "gone.wav", "vanished"),
    }


@pytest.mark.parametrize("segments", ["first", "all"])
@pytest.mark.parametrize("name", ["nan", "text", "empty", "header", "zeros", "short", "loud", "mute", "gone"])
def test_recordings_that_cannot_be_used(tmp_path: Path, name: str, segments: str):
    path, reason = bad_recordings(tmp_path)[name]
    (found,) = shard(path, segments=segments)
    assert isinstance(found, Reject) and found.reason == reason and path.name in found.message


def good_recordings(folder: Path) -> dict[str, Path]:
    clipped = np.clip(5 * tone(duration_s=2), -1, 1)
    truncated = folder / "truncated.wav"
    content = write_wav(folder / "whole.wav", pcm16(tone(duration_s=2))).read_bytes()
    truncated.write_bytes(content[: round(len(content) * 0.97)])
    return {
        "clipped": write_wav(folder / "clipped.wav", pcm16(clipped)),
        "8_bit": write_wav(folder / "8_bit.wav", np.round(127 * tone(duration_s=2) + 128).astype(np.uint8)),
        "192_khz": write_wav(folder / "192_khz.wav", pcm16(tone(440, 2, 192_000)), 192_000),
        "6_channels": write_wav(folder / "6_channels.wav", np.stack([pcm16(tone(duration_s=2))] * 6, axis=1)),
        "truncated": truncated,
        "video": encode(folder / "video.mp4", "aac", tone(440, 2, 48_000), video=True),
    }


@pytest.mark.parametrize("name", ["clipped", "8_bit", "192_khz", "6_channels", "truncated", "video"])
def test_recordings_of_every_kind_are_used(tmp_path: Path, name: str):
    (found,) = shard(good_recordings(tmp_path)[name])
    assert isinstance(found, dict) and found["duration_s"] == pytest.approx(2, abs=0.07)
    loudest = np.abs(found["spectrogram"].astype(np.float32)).sum(0)[:, 20:180].mean(1).argmax()
    assert loudest == round(440 / 31.25)


def test_decoding_has_a_time_limit(tmp_path: Path):
    path = write_wav(tmp_path / "a.wav", pcm16(noise(3)))
    found = reject(path, decode_limit_s=1e-9)
    assert found.reason == "timeout" and "raise the limit" in found.message


def test_a_path_that_leaves_the_root_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="must be a path below the corpus root"):
        shard(tmp_path / "a.wav", {"audio_path": "../a.wav"})


def test_streaming_gives_what_reading_gives(tmp_path: Path):
    path = encode(tmp_path / "a.m4a", "aac", tone(440, 5, 48_000))
    np.testing.assert_array_equal(
        np.clip(np.concatenate([sound.samples for sound in stream_audio(path)]), -1, 1), read_audio(path)
    )
    with pytest.raises(UnusableError, match="no such file"):
        list(stream_audio(tmp_path / "none.wav"))


PEAK = """
import json, resource, sys
from speech2face.audio.extraction import spectrogram_shard
from speech2face.pipeline.params import Audio
rows, settings, context = json.loads(sys.argv[1])
for _ in spectrogram_shard(rows, Audio(**settings), context):
    pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.slow
@pytest.mark.slow
def test_a_three_hour_recording_takes_no_more_memory_than_a_short_one(tmp_path: Path):
    path = tmp_path / "long.wav"
    block = pcm16(noise(60)).tobytes()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        for _ in range(180):
            file.writeframesraw(block)

    def peak_mb(seconds: float | None) -> float:
        rows = [row(path, end_s=seconds)]
        settings = SETTINGS.model_copy(update={"segments": "all", "stride_s": 30.0}).model_dump()
        arguments = json.dumps([rows, settings, {"root": str(tmp_path)}])
        source = str(Path(extraction.__file__).parents[2])
        environment = os.environ | {"PYTHONPATH": source}
        done = subprocess.run(
            [sys.executable, "-c", PEAK, arguments], capture_output=True, text=True, timeout=300, env=environment
        )
        assert done.returncode == 0, done.stderr
        return float(done.stdout)

    assert peak_mb(None) < peak_mb(60.0) + 20


def test_what_nobody_foresaw_is_the_reject_of_one_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    odd, good = (write_wav(tmp_path / f"{name}.wav", pcm16(noise(3))) for name in ("odd", "good"))
    read_segments = extraction.read_segments

    def fails(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.stem == "odd":
            raise UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "invalid start byte")
        return read_segments(path, *arguments, **options)

    monkeypatch.setattr(extraction, "read_segments", fails)
    rows = [row(odd), row(good) | {"clip_id": "s/v/2"}]
    first, second = spectrogram_shard(rows, SETTINGS, {"root": str(tmp_path)})
    assert isinstance(first, Reject) and (first.item, first.reason) == ("s/v/1", "failed")
    assert first.message.startswith(f"{odd}: UnicodeDecodeError: 'utf-8' codec can't decode")
    assert isinstance(second, dict) and second["clip_id"] == "s/v/2"
