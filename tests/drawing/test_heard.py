"""What of a recording or a waveform is heard, and how what cannot be heard is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from speech2face.drawing import heard as module
from speech2face.drawing.heard import Heard
from speech2face.pipeline.rejects import REASONS, UnusableError
from tests.trained import SEGMENT_S, noise, write_wav


def test_all_of_a_recording_is_heard_but_pauses(tmp_path: Path):
    sound = np.concatenate([noise(6), np.zeros(96_000, np.float32), noise(6, seed=1)])
    path = write_wav(tmp_path / "long.wav", sound)
    for heard in (Heard(path, SEGMENT_S), Heard(sound, SEGMENT_S, 16_000)):
        segments = list(heard)
        assert [len(segment) for segment in segments] == [96_000] * 4  # of five, the one in the middle is silent
        assert heard.duration_s == pytest.approx(18.0)
        assert list(map(len, heard)) == [96_000] * 4 and heard.duration_s == pytest.approx(18.0)  # once more


def test_nothing_is_looked_at_after_the_most_seconds(tmp_path: Path):
    sound = noise(30)
    sound[20 * 16_000] = np.nan
    path = write_wav(tmp_path / "long.wav", np.nan_to_num(sound))
    for heard in (Heard(path, SEGMENT_S, max_duration_s=16), Heard(sound, SEGMENT_S, 16_000, max_duration_s=16)):
        assert len(list(heard)) == 4 and heard.duration_s == pytest.approx(15.0)


@pytest.mark.parametrize("seconds", [1.5, 6.0, 8.9, 9.0, 20.0])
@pytest.mark.parametrize("sample_rate_hz", [16_000, 44_100])
def test_a_waveform_is_cut_as_its_file_is(seconds: float, sample_rate_hz: int, tmp_path: Path):
    sound = noise(seconds, sample_rate_hz=sample_rate_hz)
    of_file = Heard(write_wav(tmp_path / "v.wav", sound, sample_rate_hz), SEGMENT_S)
    of_waveform = Heard(sound, SEGMENT_S, sample_rate_hz)
    pairs = list(zip(of_file, of_waveform, strict=True))
    assert pairs and of_file.duration_s == of_waveform.duration_s > 0
    for a, b in pairs:
        assert np.abs(a - b).max() < 2e-4  # 16 bits


@pytest.mark.parametrize(
    "waveform",
    [
        noise(2),
        noise(2).astype(np.float64),
        torch.from_numpy(noise(2)),
        np.stack([noise(2)] * 3),
        (noise(2) * 32767).astype(np.int16),
        (noise(2) * (2**31 - 1)).astype(np.int32),
    ],
    ids=["float32", "float64", "tensor", "three channels", "int16", "int32"],
)
def test_full_scale_is_one_whatever_the_numbers_are(waveform):
    (segment,) = Heard(waveform, SEGMENT_S, 16_000)
    assert segment.dtype == np.float32 and np.abs(segment - noise(2)).max() < 1e-4


@pytest.mark.parametrize(
    ("waveform", "rate", "words"),
    [
        (noise(2), None, r"needs its sample_rate_hz, from 1000 to 1000000 \(got None\)"),
        (noise(2), 999, r"\(got 999\)"),
        (noise(2)[:, None].repeat(2, 1), 16_000, r"\[channels, T\] \(got float32 \[32000, 2\]\); transpose"),
        (noise(2) > 0, 16_000, "got bool"),
        (noise(2).astype(complex), 16_000, "got complex128"),
        (noise(2)[None, None], 16_000, r"\[1, 1, 32000\]"),
        ("voice.wav", 16_000, "voice.wav: a file knows its own sample rate"),
    ],
)
def test_what_is_no_waveform_is_refused_at_once(waveform, rate, words):
    with pytest.raises(ValueError, match=words):
        Heard(waveform, SEGMENT_S, rate)


@pytest.mark.parametrize("reason", REASONS)
def test_no_remedy_names_a_parameter_that_a_prediction_does_not_have(reason, monkeypatch):
    def fails(*arguments: object, **options: object):
        raise UnusableError(reason, "v.wav: too little or too much; raise the limit or lower the minimum")
        yield

    monkeypatch.setattr(module, "read_segments", fails)
    with pytest.raises(UnusableError) as caught:
        list(Heard("v.wav", SEGMENT_S))
    changed = "limit" not in str(caught.value)
    assert caught.value.reason == reason and str(caught.value).startswith("v.wav: ")
    assert changed == (reason in ("too_short", "timeout"))  # the reasons whose remedy is a parameter


def test_what_nobody_foresaw_is_one_line(monkeypatch):
    def fails(*arguments: object, **options: object):
        raise AttributeError("no decoder")
        yield

    monkeypatch.setattr(module, "read_segments", fails)
    with pytest.raises(UnusableError, match=r"^v.wav: AttributeError: no decoder$"):
        list(Heard("v.wav", SEGMENT_S))
