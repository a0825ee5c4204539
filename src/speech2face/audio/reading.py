"""Reading recordings: any common file to mono float32 at one sample rate.

PyAV decodes (wav, flac, mp3, ogg, m4a, mp4, webm and more, with no system ffmpeg). Plain 16-bit wav, the format of
VoxCeleb1, goes through the standard library instead, which is some thirty times quicker. Both are read as a stream: no
more is decoded than is wanted, and resampling works on blocks of about a second.
"""

import math
import time
import wave
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import torch
from torchaudio.transforms import Resample

from speech2face.corpus.containers import OPEN_OPTIONS
from speech2face.pipeline.rejects import UnusableError

Samples = npt.NDArray[np.float32]

REASONS = ("unreadable", "no_audio_stream", "not_finite", "out_of_range", "too_short", "silent", "timeout")
"""Why a recording cannot be used: those of `rejects.REASONS` that a recording can have."""

SILENCE_RMS = 1e-4  # -80 dB full scale
LARGEST_PEAK = 8.0  # float files may overshoot full scale; 18 dB above it they are in other units
SAMPLE_RATES_HZ = (1_000, 1_000_000)

WAV_FRAMES_PER_READ = 1 << 17
# The filter bank of a ratio p/q holds q filters. Every usual rate is exact at 16 kHz with q <= 640; an odd one such as
# 15,999 Hz would take gigabytes, so its ratio is rounded, which moves no sample by more than some ms in 6 s.
LARGEST_DENOMINATOR = 1000


def read_audio(
    path: str | Path,
    sample_rate_hz: int = 16_000,
    *,
    start_s: float = 0.0,
    min_duration_s: float = 0.0,
    max_duration_s: float | None = None,
    time_limit_s: float = 60.0,
) -> Samples:
    """Read a recording as float32 [T], mono (the mean of its channels), in -1..1, at `sample_rate_hz`.

    Only `max_duration_s` seconds from `start_s` on are decoded; None reads everything. A file that breaks off, or is damaged
    from some point on, gives what comes before. Samples beyond full scale, as lossy codecs and resampling produce, are
    clipped to -1..1; a recording that was clipped when it was made is kept as it is.

    Raises `UnusableError` with reason
    `unreadable` (missing, empty, truncated within its header, not a recording, or a decoder that fails at the start),
    `no_audio_stream`, `not_finite` (NaN or infinite samples), `out_of_range` (float samples far above full scale),
    `too_short` (no samples, or less than `min_duration_s`), `silent` (rms below -80 dB full scale) or
    `timeout` (`time_limit_s` seconds did not suffice; looked at between blocks).
    All of them are judged on what was read, not on the rest of the file.
    """
    num_wanted = None if max_duration_s is None else round(max_duration_s * sample_rate_hz)
    pieces: list[Samples] = []
    num_read = 0
    with closing(stream_audio(path, sample_rate_hz, start_s=start_s, time_limit_s=time_limit_s)) as stream:
        for piece in stream:
            pieces.append(piece)
            num_read += len(piece)
            if num_wanted is not None and num_read >= num_wanted:
                break
    waveform = np.concatenate(pieces)[:num_wanted] if pieces else np.zeros(0, np.float32)
    return checked(path, waveform, sample_rate_hz, min_duration_s)


def stream_audio(
    path: str | Path, sample_rate_hz: int = 16_000, *, start_s: float = 0.0, time_limit_s: float = 60.0
) -> Generator[Samples, None, None]:
    """Yield a recording from `start_s` on as `read_audio` gives it, block by block, not yet `checked`.

    Raises `UnusableError` with reason `unreadable`, `no_audio_stream` or `timeout`; the time that the blocks' user takes does not count.
    """
    path = Path(path)
    spent_s, resumed = 0.0, time.monotonic()
    with closing(_decode(path, start_s, time_limit_s)) as decoded:
        for piece in _resample(decoded, sample_rate_hz):
            spent_s += time.monotonic() - resumed
            if spent_s > time_limit_s:
                raise UnusableError(
                    "timeout", f"{path}: decoding took longer than {time_limit_s:g} s; re-encode it or raise the limit"
                )
            yield piece
            resumed = time.monotonic()


def checked(path: str | Path, waveform: Samples, sample_rate_hz: int, min_duration_s: float = 0.0) -> Samples:
    """A waveform clipped to -1..1, or `UnusableError` with reason `too_short`, `not_finite`, `out_of_range` or `silent`."""
    duration_s = len(waveform) / sample_rate_hz
    if not len(waveform) or duration_s < min_duration_s:
        raise UnusableError(
            "too_short",
            f"{path}: {duration_s:.3g} s of sound, {min_duration_s:g} s are needed; leave it out or lower the minimum",
        )
    peak = float(max(waveform.max(), -waveform.min()))  # NaN and infinities come through
    if not math.isfinite(peak):
        raise UnusableError("not_finite", f"{path}: holds NaN or infinite samples; export it again")
    if peak > LARGEST_PEAK:
        raise UnusableError(
            "out_of_range", f"{path}: samples reach {peak:.6g}, full scale is 1; scale them to -1..1 and save again"
        )
    rms = math.sqrt(float(np.dot(waveform, waveform)) / len(waveform))
    if rms < SILENCE_RMS:
        level = f"{20 * math.log10(rms):.0f} dB full scale" if rms else "nothing but zeros"
        raise UnusableError("silent", f"{path}: silent ({level}, -80 dB are needed); leave it out or record it louder")
    return waveform if peak <= 1 else np.clip(waveform, -1.0, 1.0)


def _decode(path: Path, start_s: float, time_limit_s: float) -> Generator[tuple[int, Samples], None, None]:
    """Yield (sample rate in Hz, mono samples) block by block."""
    if not path.is_file():
        raise UnusableError(
            "unreadable", f"{path}: {'not a file' if path.exists() else 'no such file'}; check the path"
        )
    expected_hz = None
    for rate_hz, samples in _decode_blocks(path, start_s, time_limit_s):
        if expected_hz not in (None, rate_hz):
            raise UnusableError(
                "unreadable", f"{path}: changes from {expected_hz} to {rate_hz} Hz; re-encode it at one rate"
            )
        if not SAMPLE_RATES_HZ[0] <= rate_hz <= SAMPLE_RATES_HZ[1]:
            low, high = SAMPLE_RATES_HZ
            raise UnusableError(
                "unreadable", f"{path}: a sample rate of {rate_hz} Hz, {low} to {high} are read; resample it"
            )
        expected_hz = rate_hz
        yield rate_hz, samples


def _decode_blocks(path: Path, start_s: float, time_limit_s: float) -> Generator[tuple[int, Samples], None, None]:
    plain_wav = _open_plain_wav(path)
    if plain_wav is None:
        yield from _decode_any(path, start_s, time_limit_s)
        return
    with plain_wav:
        num_channels, rate_hz = plain_wav.getnchannels(), plain_wav.getframerate()
        plain_wav.setpos(min(round(start_s * rate_hz), plain_wav.getnframes()))
        while data := plain_wav.readframes(WAV_FRAMES_PER_READ):
            whole = len(data) - len(data) % (2 * num_channels)
            yield rate_hz, _to_mono(np.frombuffer(data[:whole], "<i2").reshape(-1, num_channels))


def _open_plain_wav(path: Path) -> wave.Wave_read | None:
    """The file as 16-bit PCM, or None for any other format and for headers that the strict reader refuses."""
    try:
        file = wave.open(str(path), "rb")  # noqa: SIM115 (the caller closes it)
    except (wave.Error, EOFError, OSError):
        return None
    if file.getsampwidth() == 2 and file.getnframes():
        return file
    file.close()
    return None


def _decode_any(path: Path, start_s: float, time_limit_s: float) -> Generator[tuple[int, Samples], None, None]:
    started = False
    try:
        with av.open(f"file:{path}", timeout=time_limit_s, **OPEN_OPTIONS) as container:
            stream = container.streams.best("audio")
            if stream is None:
                raise UnusableError(
                    "no_audio_stream", f"{path}: has no sound; leave it out or use a file with an audio stream"
                )
            if start_s > 0:
                start_s += (container.start_time or 0) / av.time_base
                # A file without an index cannot seek; it is decoded from its beginning.
                with suppress(av.FFmpegError, OSError):
                    container.seek(int(start_s * av.time_base))
            for frame in container.decode(stream):
                assert isinstance(frame, av.AudioFrame)
                started = True
                early = (
                    round((start_s - frame.time) * frame.sample_rate) if start_s > 0 and frame.time is not None else 0
                )
                if early >= frame.samples:
                    continue
                data = frame.to_ndarray()  # planar: [channels, T]; packed: [1, T * channels]
                if not frame.format.is_planar:
                    data = data.reshape(-1, frame.layout.nb_channels).T
                yield frame.sample_rate, _to_mono(data.T[max(early, 0) :])
    except TimeoutError as error:
        raise UnusableError(
            "timeout", f"{path}: reading took longer than {time_limit_s:g} s; copy it to a faster disk"
        ) from error
    except (av.FFmpegError, OSError) as error:
        if not started:
            raise UnusableError("unreadable", f"{path}: {_first_line(error)}; check that it is a recording") from error


def _first_line(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return str(text).splitlines()[0]


def _to_mono(data: npt.NDArray[Any]) -> Samples:
    """[T, channels] of integers or floats to float32 [T], full scale to -1..1."""
    scaled: Samples = data.astype(np.float32)
    if data.dtype == np.uint8:
        scaled = (scaled - np.float32(128)) / np.float32(128)
    elif data.dtype.kind == "i":
        scaled /= -float(np.iinfo(data.dtype).min)
    return scaled[:, 0] if data.shape[1] == 1 else scaled.mean(1, dtype=np.float32)


@lru_cache(maxsize=16)
def _filter_bank(numerator: int, denominator: int) -> Resample:
    return Resample(numerator, denominator, dtype=torch.float64).float()  # designed in float64, applied in float32


def _resample(blocks: Iterator[tuple[int, Samples]], sample_rate_hz: int) -> Iterator[Samples]:
    """Windowed-sinc resampling of a stream; the same as of the whole: each block sees its neighbours."""
    first = next(blocks, None)
    if first is None:
        return
    rate_hz = first[0]
    ratio = Fraction(rate_hz, sample_rate_hz).limit_denominator(LARGEST_DENOMINATOR)
    if ratio == 1:
        yield first[1]
        for _, samples in blocks:
            yield samples
        return
    step, new_step = ratio.numerator, ratio.denominator  # `step` samples become `new_step`
    filters = _filter_bank(step, new_step)
    margin = step * math.ceil((filters.width + step) / step)  # reaches beyond the longest filter
    new_margin = margin // step * new_step
    block = step * max(1, rate_hz // step)
    held = np.concatenate([np.zeros(margin, np.float32), first[1]])
    pieces = [held]
    num_held = len(held)
    for _, samples in blocks:
        pieces.append(samples)
        num_held += len(samples)
        while num_held >= margin + block + margin:
            held = np.concatenate(pieces)
            resampled = filters(torch.from_numpy(held[: block + 2 * margin])).numpy()
            yield resampled[new_margin : new_margin + block // step * new_step]
            pieces = [held[block:]]
            num_held -= block
    held = np.concatenate([*pieces, np.zeros(margin, np.float32)])
    num_new = math.ceil((len(held) - 2 * margin) * new_step / step)
    yield filters(torch.from_numpy(held)).numpy()[new_margin : new_margin + num_new]
