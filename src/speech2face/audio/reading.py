"""Reading recordings: any common file to mono float32 at one sample rate.

PyAV decodes (flac, mp3, ogg, m4a, mp4, webm and more, with no system ffmpeg), plain wav is read directly. Both are streams: no
more is decoded than is wanted, and resampling works on blocks of about a second.
"""

import math
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path

import numpy as np

from speech2face.audio.blocks import AUDIBLE_RMS, Block, Deadline, Samples
from speech2face.audio.decoding import LARGEST_PEAK, decode_any
from speech2face.audio.resampling import ratio_of, resample
from speech2face.audio.wav import decode_wav, open_wav
from speech2face.pipeline.rejects import UnusableError

REASONS = ("unreadable", "no_audio_stream", "not_finite", "out_of_range", "too_short", "silent", "timeout")
"""Why a recording cannot be used: those of `rejects.REASONS` that a recording can have."""

SAMPLE_RATES_HZ = (1_000, 1_000_000)
CANCELLED_S = 0.5


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
    deadline = Deadline(path, time_limit_s)
    with closing(_blocks(path, start_s, deadline)) as blocks:
        first = next(blocks, None)
        if first is None:
            return
        ratio = ratio_of(first.rate_hz, sample_rate_hz)
        # Resampling begins where an old and a new sample fall together, so that it gives what resampling from the start gives.
        in_step = -(-first.first // ratio.numerator)
        samples = _without_first(
            (block.samples for block in chain([first], blocks)), in_step * ratio.numerator - first.first
        )
        early = max(0, round(start_s * sample_rate_hz) - in_step * ratio.denominator)
        for piece in _without_first(resample(samples, first.rate_hz, ratio), early):
            deadline.check()
            deadline.pause()
            yield piece
            deadline.resume()


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
    if rms < AUDIBLE_RMS:
        level = f"{20 * math.log10(rms):.0f} dB full scale" if rms else "nothing but zeros"
        raise UnusableError("silent", f"{path}: silent ({level}, -80 dB are needed); leave it out or record it louder")
    return waveform if peak <= 1 else np.clip(waveform, -1.0, 1.0)


def _blocks(path: Path, start_s: float, deadline: Deadline) -> Generator[Block, None, None]:
    """The recording block by block, from `start_s` or up to two seconds before it."""
    if not path.is_file():
        raise UnusableError(
            "unreadable", f"{path}: {'not a file' if path.exists() else 'no such file'}; check the path"
        )
    wav = open_wav(path)
    early_s = max(0.0, start_s - 1)
    blocks = decode_any(path, start_s, deadline) if wav is None else decode_wav(wav, early_s)
    num_cancelled = num_heard = 0
    for block in blocks:
        if not SAMPLE_RATES_HZ[0] <= block.rate_hz <= SAMPLE_RATES_HZ[1]:
            low, high = SAMPLE_RATES_HZ
            raise UnusableError(
                "unreadable", f"{path}: a sample rate of {block.rate_hz} Hz, {low} to {high} are read; resample it"
            )
        num_heard += len(block.samples)
        num_cancelled += len(block.samples) if block.cancels else 0
        if num_cancelled > max(num_heard / 2, CANCELLED_S * block.rate_hz):
            raise UnusableError(
                "silent", f"{path}: its channels cancel each other, their mean is next to nothing; save one of them"
            )
        yield block


def _without_first(pieces: Iterator[Samples], num_samples: int) -> Iterator[Samples]:
    for piece in pieces:
        passed = min(num_samples, len(piece))
        num_samples -= passed
        if passed < len(piece):
            yield piece[passed:]
