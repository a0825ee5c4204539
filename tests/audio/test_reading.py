import hashlib
import pickle
import resource
import struct
import tracemalloc
import wave
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import scipy.io.wavfile
import torch
import torchaudio.functional
from PIL import Image

from speech2face.audio.reading import read_audio
from speech2face.pipeline.rejects import REASONS, UnusableError

pytestmark = pytest.mark.slow

RATE_HZ = 16_000
SAMPLE_FORMATS = {"flac": "s16", "aac": "fltp", "libopus": "flt", "libmp3lame": "fltp", "pcm_s16be": "s16"}


def tone(frequency_hz: float = 440, duration_s: float = 1.0, rate_hz: int = RATE_HZ) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(round(duration_s * rate_hz)) / rate_hz)


def write_wav(path: Path, samples: np.ndarray, rate_hz: int = RATE_HZ) -> Path:
    """[T] or [T, channels] of any type that scipy writes."""
    scipy.io.wavfile.write(path, rate_hz, samples)
    return path


def pcm16(samples: np.ndarray) -> np.ndarray:
    return np.round(samples * 32767).astype(np.int16)


_ENCODED: dict[tuple[object, ...], bytes] = {}
"""Files that `encode` has written, by all that they depend on: a hundred tests damage copies of the same few."""


def encode(
    path: Path,
    codec: str | None,
    samples: np.ndarray,
    rate_hz: int = 48_000,
    video: bool = False,
    codec_options: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Write `samples` with an audio codec, a few black pictures, or both."""
    sound_digest = samples.dtype, hashlib.sha256(samples).digest()
    key = (path.suffix, codec, sound_digest, rate_hz, video, str(codec_options), str(options))
    if key in _ENCODED:
        path.write_bytes(_ENCODED[key])
        return path
    with av.open(str(path), "w", options=options or {}) as container:
        pictures = container.add_stream("mpeg4", rate=25, width=64, height=48, pix_fmt="yuv420p") if video else None
        sound = container.add_stream(codec, rate=rate_hz, layout="mono", options=codec_options or {}) if codec else None
        if sound:
            sound.format = SAMPLE_FORMATS[codec]
        if pictures:
            for number in range(5):
                picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
                picture.pts = number
                container.mux(pictures.encode(picture))
            container.mux(pictures.encode(None))
        if sound:
            data = pcm16(samples) if sound.format.name == "s16" else samples.astype(np.float32)
            frame = av.AudioFrame.from_ndarray(data[None], format=sound.format.name, layout="mono")
            frame.sample_rate = rate_hz
            queue = av.AudioFifo()
            queue.write(frame)
            while piece := queue.read(sound.codec_context.frame_size or 4096, partial=True):
                container.mux(sound.encode(piece))
            container.mux(sound.encode(None))
    _ENCODED[key] = path.read_bytes()
    return path


def strength(waveform: np.ndarray, frequency_hz: float) -> float:
    """Amplitude of a tone in the middle half of a waveform at 16 kHz."""
    middle = waveform[len(waveform) // 4 : -len(waveform) // 4]
    window = np.hanning(len(middle))
    carrier = np.exp(-2j * np.pi * frequency_hz * np.arange(len(middle)) / RATE_HZ)
    return float(2 * np.abs(np.dot(middle * window, carrier)) / window.sum())


def test_16_bit_is_exact(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-32768, 32768, 5000).astype(np.int16)
    waveform = read_audio(write_wav(tmp_path / "a.wav", samples))
    assert waveform.dtype == np.float32
    np.testing.assert_array_equal(waveform, samples.astype(np.float32) / 32768)


@pytest.mark.parametrize(
    ("convert", "step"),
    [
        (lambda x: np.round(x * 127 + 128).astype(np.uint8), 1 / 127),
        (lambda x: np.round(x * (2**31 - 1)).astype(np.int32), 1e-6),
        (lambda x: x.astype(np.float32), 1e-6),
        (lambda x: x.astype(np.float64), 1e-6),
    ],
)
def test_sample_types(tmp_path: Path, convert: Callable[[np.ndarray], np.ndarray], step: float) -> None:
    waveform = read_audio(write_wav(tmp_path / "a.wav", convert(tone())))
    np.testing.assert_allclose(waveform, tone(), rtol=0, atol=step)


def test_24_bit(tmp_path: Path) -> None:
    values = np.round(tone() * (2**23 - 1)).astype("<i4")
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(3)
        file.setframerate(RATE_HZ)
        file.writeframes(values.view(np.uint8).reshape(-1, 4)[:, :3].tobytes())
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav"), tone(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_mono_is_the_mean_of_six_channels_at_192_khz(tmp_path: Path, dtype: type) -> None:
    parts = [tone(200 * (k + 1), 0.5, 192_000) for k in range(6)]
    samples = np.stack(parts, 1)
    samples = pcm16(samples) if dtype is np.int16 else samples.astype(np.float32)
    waveform = read_audio(write_wav(tmp_path / "a.wav", samples, 192_000))
    assert waveform.shape == (8000,)
    for k in range(6):
        assert strength(waveform, 200 * (k + 1)) == pytest.approx(0.5 / 6, rel=0.01)


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 48_000, 192_000])
def test_a_tone_keeps_its_pitch_and_level_at_any_rate(tmp_path: Path, rate_hz: int) -> None:
    waveform = read_audio(write_wav(tmp_path / "a.wav", pcm16(tone(1000, 2.5, rate_hz)), rate_hz))
    assert len(waveform) == 40_000
    np.testing.assert_allclose(waveform[2000:-2000], tone(1000, 2.5)[2000:-2000], rtol=0, atol=2e-3)


def test_what_16_khz_cannot_hold_vanishes(tmp_path: Path) -> None:
    high = tone(440, 2, 48_000) + 0.5 * tone(10_000, 2, 48_000)
    waveform = read_audio(write_wav(tmp_path / "a.wav", pcm16(high), 48_000))
    assert strength(waveform, 440) == pytest.approx(0.5, rel=0.01)
    assert strength(waveform, 6_000) < 0.01 * 0.25  # where it would fold to, 40 dB down at least


@pytest.mark.parametrize("rate_hz", [11_025, 44_100, 48_000])
def test_resampling_in_blocks_equals_resampling_the_whole(tmp_path: Path, rate_hz: int) -> None:
    samples = (0.1 * np.random.default_rng(0).standard_normal(rate_hz * 5 + 123)).astype(np.float32)
    whole = torchaudio.functional.resample(torch.from_numpy(samples).double(), rate_hz, RATE_HZ).numpy()
    waveform = read_audio(write_wav(tmp_path / "a.wav", samples, rate_hz))
    np.testing.assert_allclose(waveform, whole, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("rate_hz", [15_999, 44_099, 96_001])
@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_positions_are_exact_at_odd_rates(tmp_path: Path, rate_hz: int, name: str) -> None:
    """The phase of a tone says when a sample is, to a small part of it."""
    t = np.arange(60 * rate_hz) / rate_hz
    samples = 0.5 * np.sin(2 * np.pi * 1000 * t)
    path = tmp_path / name
    if name == "a.wav":
        write_wav(path, samples.astype(np.float32), rate_hz)
    else:
        encode(path, "flac", samples, rate_hz)
    waveform = read_audio(path)
    assert len(waveform) == 60 * RATE_HZ
    for found, start_s in ((waveform, 0.0), (read_audio(path, start_s=50.3, max_duration_s=2), 50.3)):
        truth = 0.5 * np.sin(2 * np.pi * 1000 * (start_s + np.arange(len(found)) / RATE_HZ))
        np.testing.assert_allclose(found[100:-100], truth[100:-100], rtol=0, atol=1e-3)


def test_an_odd_rate_needs_no_giant_filter_bank(tmp_path: Path) -> None:
    rate_hz = 44_099  # shares no factor with 16,000: an exact bank would hold 16,000 filters of 44,000 taps, 2.8 GB
    path = write_wav(tmp_path / "a.wav", tone(1000, 2, rate_hz).astype(np.float32), rate_hz)
    _, memory_limit = resource.getrlimit(resource.RLIMIT_AS)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + 2**30, memory_limit))
    try:
        waveform = read_audio(path)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (memory_limit, memory_limit))
    assert len(waveform) == 32_000
    assert strength(waveform, 1000) == pytest.approx(0.5, rel=0.01)


def test_an_odd_rate_does_not_fold(tmp_path: Path) -> None:
    high = tone(440, 2, 44_099) + 0.5 * tone(10_000, 2, 44_099)
    waveform = read_audio(write_wav(tmp_path / "a.wav", high.astype(np.float32), 44_099))
    assert strength(waveform, 440) == pytest.approx(0.5, rel=0.01)
    assert strength(waveform, 6_000) < 0.01 * 0.25


@pytest.mark.parametrize(
    ("name", "codec", "video"),
    [
        ("a.flac", "flac", False),
        ("a.m4a", "aac", False),
        ("a.mp4", "aac", True),
        ("a.webm", "libopus", False),
        ("a.mp3", "libmp3lame", False),
    ],
)
def test_encoded_formats(tmp_path: Path, name: str, codec: str, video: bool) -> None:
    waveform = read_audio(encode(tmp_path / name, codec, tone(440, 2, 48_000), video=video))
    assert len(waveform) == pytest.approx(32_000, abs=1000)
    assert strength(waveform, 440) == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("rate_hz", [RATE_HZ, 44_100])
def test_a_limit_gives_the_beginning(tmp_path: Path, rate_hz: int) -> None:
    path = write_wav(tmp_path / "a.wav", pcm16(tone(300, 4.3, rate_hz)), rate_hz)
    beginning = read_audio(path, max_duration_s=1.5)
    assert len(beginning) == 24_000
    np.testing.assert_array_equal(beginning, read_audio(path)[:24_000])
    assert len(read_audio(path, max_duration_s=60)) == pytest.approx(4.3 * RATE_HZ, abs=1)


@pytest.mark.parametrize("name", ["long.wav", "long.flac"])
def test_a_long_recording_is_not_loaded_whole(tmp_path: Path, name: str) -> None:
    samples = tone(300, 600, RATE_HZ)
    wav = name.endswith("wav")
    path = write_wav(tmp_path / name, pcm16(samples)) if wav else encode(tmp_path / name, "flac", samples, RATE_HZ)
    tracemalloc.start()
    waveform = read_audio(path, max_duration_s=6)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(waveform) == 96_000
    assert peak_bytes < 3e6  # the whole would be 38 MB


def test_clipped_sound_is_kept_and_overshoot_cut(tmp_path: Path) -> None:
    square = np.sign(tone(100)) * 32767
    assert np.abs(read_audio(write_wav(tmp_path / "a.wav", square.astype(np.int16)))).min() < 1
    loud = read_audio(write_wav(tmp_path / "b.wav", (3 * tone()).astype(np.float32)))
    np.testing.assert_allclose(loud, np.clip(3 * tone(), -1, 1), rtol=0, atol=1e-6)


def whole(path: Path, samples: np.ndarray) -> bytes:
    """A recording at 16 kHz whose header says how long it is."""
    name = path.name
    if name == "float.wav":
        write_wav(path, samples.astype(np.float32))
    elif name.endswith("wav"):
        write_wav(path, pcm16(samples))
    elif name.endswith("m4a"):  # the header in front
        encode(path, "aac", samples, RATE_HZ, options={"movflags": "+faststart"})
    else:
        encode(
            path,
            {"flac": "flac", "mp3": "libmp3lame", "avi": "libmp3lame", "aiff": "pcm_s16be"}[name[2:]],
            samples,
            RATE_HZ,
        )
    return path.read_bytes()


CUT = ["a.wav", "float.wav", "a.m4a", "a.flac", "a.mp3", "a.avi", "a.aiff"]


@pytest.mark.parametrize("name", CUT)
def test_a_recording_that_breaks_off_is_no_recording_if_more_than_a_small_part_is_missing(
    tmp_path: Path, name: str
) -> None:
    content = whole(tmp_path / name, tone(duration_s=8))
    (tmp_path / name).write_bytes(content[: len(content) // 2 + 1])
    with pytest.raises(UnusableError, match=r"[34]\.\d\d of .+ s are damaged or missing, 5% are passed over") as caught:
        read_audio(tmp_path / name)
    assert caught.value.reason == "unreadable"
    beginning = read_audio(tmp_path / name, max_duration_s=2)  # nothing of it is missing
    assert len(beginning) == 32_000 and strength(beginning, 440) == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("name", CUT)
def test_a_recording_that_lacks_a_small_part_gives_what_is_there(tmp_path: Path, name: str) -> None:
    content = whole(tmp_path / name, tone(duration_s=8))
    (tmp_path / name).write_bytes(content[: round(len(content) * 0.97)])
    waveform = read_audio(tmp_path / name)
    assert 7.6 * RATE_HZ < len(waveform) < 8.2 * RATE_HZ
    assert strength(waveform, 440) == pytest.approx(0.5, rel=0.05)


def test_a_wav_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    content = bytearray(write_wav(tmp_path / "a.wav", pcm16(tone())).read_bytes())
    content[4:8] = content[40:44] = struct.pack("<I", 0xFFFFFFFF)  # as written into a pipe
    (tmp_path / "a.wav").write_bytes(content)
    assert len(read_audio(tmp_path / "a.wav")) == 16_000


def bad_inputs(folder: Path) -> dict[str, tuple[Path, str]]:
    def file(name: str, content: bytes) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    float_tone = tone().astype(np.float32)
    plain = write_wav(folder / "plain.wav", pcm16(tone()))
    infinite, not_a_number = float_tone.copy(), float_tone.copy()
    infinite[100], not_a_number[100] = np.inf, np.nan
    Image.new("RGB", (32, 32)).save(folder / "picture.png")
    whole_m4a = encode(folder / "whole.m4a", "aac", tone(440, 2, 48_000)).read_bytes()
    return {
        "missing": (folder / "missing.wav", "unreadable"),
        "folder": (folder, "unreadable"),
        "empty": (file("empty.wav", b""), "unreadable"),
        "header cut": (file("header.wav", plain.read_bytes()[:20]), "unreadable"),
        "text": (file("text.wav", b"This is not a recording.\n" * 200), "unreadable"),
        "noise bytes": (file("bytes.wav", np.random.default_rng(0).bytes(50_000)), "unreadable"),
        "picture": (file("picture.wav", (folder / "picture.png").read_bytes()), "unreadable"),
        "m4a without its index": (file("cut.m4a", whole_m4a[: len(whole_m4a) // 2]), "unreadable"),
        "list of files": (file("list.wav", f"ffconcat version 1.0\nfile '{plain}'\n".encode()), "unreadable"),
        "playlist": (file("hls.wav", f"#EXTM3U\n#EXTINF:1,\n{plain}\n#EXT-X-ENDLIST\n".encode()), "unreadable"),
        "absurd rate": (write_wav(folder / "rate.wav", pcm16(tone()), 10), "unreadable"),
        "no samples": (write_wav(folder / "none.wav", pcm16(tone())[:0]), "unreadable or too_short"),
        "silent video": (encode(folder / "silent.mp4", None, tone(), video=True), "no_audio_stream"),
        "0.2 s": (write_wav(folder / "short.wav", pcm16(tone(duration_s=0.2))), "too_short"),
        "zeros": (write_wav(folder / "zeros.wav", np.zeros(16_000, np.int16)), "silent"),
        "-86 dB": (write_wav(folder / "faint.wav", (1e-4 * float_tone)), "silent"),
        "NaN": (write_wav(folder / "nan.wav", not_a_number), "not_finite"),
        "NaN resampled": (write_wav(folder / "nan8.wav", not_a_number, 8000), "not_finite"),
        "infinite": (write_wav(folder / "inf.wav", infinite), "not_finite"),
        "16-bit scale in floats": (write_wav(folder / "scale.wav", 32768 * float_tone), "out_of_range"),
    }


def test_bad_inputs_are_refused_with_a_reason_in_one_line(tmp_path: Path) -> None:
    for case, (path, reason) in bad_inputs(tmp_path).items():
        with pytest.raises(UnusableError) as caught:
            read_audio(path, min_duration_s=0.5)
        assert caught.value.reason in reason.split(" or "), f"{case}: {caught.value}"
        assert caught.value.reason in REASONS
        message = str(caught.value)
        assert str(path) in message and ";" in message and "\n" not in message, message


def test_a_slow_file_runs_out_of_time(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", pcm16(tone(duration_s=20)))
    with pytest.raises(UnusableError, match="longer than 0 s") as caught:
        read_audio(path, time_limit_s=0)
    assert caught.value.reason == "timeout"


@pytest.mark.parametrize(
    ("name", "codec"), [("a.wav", None), ("a.flac", "flac"), ("a.mp3", "libmp3lame"), ("a.mkv", "aac")]
)
def test_a_start_after_the_end_says_both(tmp_path: Path, name: str, codec: str | None) -> None:
    path = tmp_path / name
    if codec:
        encode(path, codec, tone(440, 3, 48_000))
    else:
        write_wav(path, pcm16(tone(440, 3)))
    for start_s in (5, 100):
        with pytest.raises(
            UnusableError, match=rf"start_s is {start_s} s, and the recording ends at 3\.0\d\d s"
        ) as caught:
            read_audio(path, start_s=start_s)
        assert caught.value.reason == "too_short"


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.m4a", "a.aac"])
@pytest.mark.parametrize("start_s", [0.0, 2.0])
def test_a_want_of_file_handles_is_no_fault_of_the_recording(tmp_path: Path, name: str, start_s: float) -> None:
    path = tmp_path / name
    if name == "a.wav":
        write_wav(path, pcm16(tone(duration_s=3)))
    else:
        encode(path, "flac" if name == "a.flac" else "aac", tone(440, 3, 48_000))
    read_audio(path)  # what is imported late is there
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            read_audio(path, start_s=start_s)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_errors_survive_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(UnusableError("silent", "a.wav: silent")))
    assert (error.reason, str(error)) == ("silent", "a.wav: silent")
    assert isinstance(error, ValueError)
