"""The program of an export against what it stands for: PyTorch's front end, warp and reader of recordings."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from speech2face import predict
from speech2face.audio import blocks, spectrogram
from speech2face.audio.reading import read_audio
from speech2face.audio.segments import fit_length
from speech2face.exporting import speech2face_onnx as program
from speech2face.models import voice_encoder, warp
from tests.exporting.small import write_wav
from tests.speaker_networks.sounds import voice


def test_what_it_repeats_is_what_the_package_says():
    assert program.NOTE == predict.NOTE
    assert (program.SAMPLE_RATE_HZ, program.N_FFT) == (spectrogram.SAMPLE_RATE_HZ, spectrogram.N_FFT)
    assert (program.WIN_LENGTH, program.HOP_LENGTH) == (spectrogram.WIN_LENGTH, spectrogram.HOP_LENGTH)
    assert (program.POWER, program.MIN_SAMPLES) == (spectrogram.POWER, spectrogram.MIN_SAMPLES)
    assert (program.MIN_FRAMES, program.AUDIBLE_RMS) == (voice_encoder.MIN_FRAMES, blocks.AUDIBLE_RMS)
    assert warp.MIN_SQUARED_DISTANCE == program.MIN_SQUARED_DISTANCE


@pytest.mark.parametrize("num_samples", [257, 1600, 41_440, 96_000, 96_159])
def test_the_spectrogram_is_pytorchs(num_samples: int):
    samples = voice(num_samples / 16_000)
    expected = spectrogram.stft(torch.from_numpy(samples)).numpy()
    found = program.stft(samples)
    assert found.shape == expected.shape == (257, spectrogram.num_frames(num_samples))
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)  # of at most 200
    double = spectrogram.stft(torch.from_numpy(samples.astype(np.float64)))
    np.testing.assert_allclose(found, double.numpy(), rtol=0, atol=1e-12)
    # After the power law, whose slope is infinite at 0, to be compared in float64.
    compressed = spectrogram.compress(torch.from_numpy(found.astype(np.complex64)))
    np.testing.assert_allclose(program.compress(found.astype(np.complex64)), compressed, rtol=0, atol=1e-6)
    np.testing.assert_allclose(program.spectrogram(samples), spectrogram.compress(double), rtol=0, atol=1e-3)
    assert program.spectrogram(samples).dtype == np.float32


def test_too_few_samples_are_refused():
    with pytest.raises(ValueError, match="at least 257 samples"):
        program.spectrogram(np.zeros(256, np.float32))


@pytest.mark.parametrize("spread_px", [0.0, 1.0, 8.0])
def test_the_warp_is_pytorchs(spread_px: float):
    random = np.random.default_rng(0)
    texture = random.random((3, 224, 224)).astype(np.float32)
    source = random.uniform(30, 190, (68, 2)).astype(np.float32)
    dest = source + random.normal(0, spread_px, (68, 2)).astype(np.float32)
    yx = [torch.from_numpy(points[None, :, ::-1].copy()) for points in (source, dest)]
    image, flow = warp.sparse_image_warp(torch.from_numpy(texture)[None], *yx, order=1, regularization=0.1)
    doubles = [points[0].double().numpy() for points in yx]
    np.testing.assert_allclose(program.flow(*doubles, 224, 224, 0.1), flow[0], rtol=0, atol=1e-4)
    found = program.warp(texture, source, dest, 0.1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, image[0], rtol=0, atol=1e-6)


def test_places_beyond_the_border_are_of_the_border():
    image = np.arange(12.0).reshape(1, 3, 4)
    y, x = np.array([[-5.0, 2.0, 9.0, 0.5]]), np.array([[-1.0, 3.0, 9.0, 1.5]])
    assert program.sample(image, y, x).tolist() == [[[0.0, 11.0, 11.0, 3.5]]]


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_recordings_are_read_as_the_package_reads_them(tmp_path: Path, width: int, channels: int):
    samples = np.stack([voice(1.0, seed=seed) for seed in range(channels)], 1)
    path = write_wav(tmp_path / "voice.wav", samples[:, 0] if channels == 1 else samples, width=width)
    found = program.read_wav(path)
    np.testing.assert_array_equal(found, read_audio(path))
    np.testing.assert_allclose(found, samples.mean(1), rtol=0, atol=2 / 2 ** (8 * width - 1) + 1e-7)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"text and no sound", "is not a wav file of plain integers"),
        (b"", "is not a wav file of plain integers"),
        (44_100, "has 44100 Hz, 16000 Hz are needed; convert it: ffmpeg -i "),
        (8_000, "has 8000 Hz, 16000 Hz are needed"),
    ],
)
def test_other_recordings_are_refused_in_words(tmp_path: Path, content: bytes | int, words: str):
    path = tmp_path / "voice.wav"
    if isinstance(content, int):
        write_wav(path, voice(1.0), content)
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=words):
        program.read_wav(path)


def test_a_recording_that_breaks_off_is_heard_as_far_as_it_goes(tmp_path: Path):
    path = write_wav(tmp_path / "voice.wav", np.stack([voice(1.0)] * 2, 1))
    path.write_bytes(path.read_bytes()[:-3])
    assert len(program.read_wav(path)) == 15_999


def test_segments_overlap_by_half_and_silent_ones_are_left_out():
    samples = np.ones(16_000 * 10, np.float32)
    lengths = [len(part) for part in program.segments(samples, 16_000 * 4)]
    assert lengths == [64_000] * 4
    samples[: 16_000 * 5] = 0
    assert len(list(program.segments(samples, 16_000 * 4))) == 3
    assert [len(part) for part in program.segments(samples, 16_000 * 20)] == [160_000]
    with pytest.raises(ValueError, match="silent"):
        list(program.segments(samples[:80_000], 16_000 * 4))
    with pytest.raises(ValueError, match=r"0\.5 s of sound; at least 1 s"):
        list(program.segments(samples[:8_000], 16_000 * 4))


@pytest.mark.parametrize("num_samples", [16_000, 60_000, 96_000])
def test_short_segments_are_repeated_as_the_package_does(num_samples: int):
    samples = voice(num_samples / 16_000)
    np.testing.assert_array_equal(np.resize(samples, 96_000), fit_length(samples, 96_000))


def test_without_its_folder_it_says_what_is_missing(tmp_path: Path):
    path = write_wav(tmp_path / "voice.wav", voice(1.0))
    alone = tmp_path / "speech2face_onnx.py"
    alone.write_bytes(Path(program.__file__).read_bytes())
    done = subprocess.run(
        [sys.executable, "-I", alone, path, tmp_path / "face.png"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("speech2face_onnx: error: ") and done.stderr.count("\n") == 1
    assert "about.json is missing: copy the whole folder" in done.stderr
    assert not (tmp_path / "face.png").exists()
