"""Reading recordings: any common file to mono float32 at one sample rate.

PyAV decodes (flac, mp3, ogg, m4a, mp4, webm and more, with no system ffmpeg), plain wav is read directly. Both are streams: no
more is decoded than is wanted, and resampling works on blocks of about a second.
"""

import math
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from speech2face.audio.blocks import AUDIBLE_RMS, Block, Samples
from speech2face.audio.decoding import LARGEST_PEAK, decode_any
from speech2face.audio.resampling import resample, without_first
from speech2face.audio.wav import decode_wav, open_wav
from speech2face.pipeline.deadline import Deadline
from speech2face.pipeline.rejects import UnusableError

SAMPLE_RATES_HZ = (1_000, 1_000_000)
CANCELLED_PART = 0.1  # of what is silent


class Sound(NamedTuple):
    """A run of a recording: float32 [T], mono; `cancels`, bool [T]: where the channels that it is the mean of cancel each other."""

    samples: Samples
    cancels: npt.NDArray[np.bool_]


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

    Only `max_duration_s` seconds from `start_s` on are decoded; None reads everything. What is damaged or missing within them is
    silence of its length, up to a twentieth of them. Samples beyond full scale, as lossy codecs and resampling produce, are
    clipped to -1..1; a recording that was clipped when it was made is kept as it is.

    Raises `UnusableError` with reason
    `unreadable` (missing, empty, truncated within its header, not a recording, or more than a twentieth damaged or cut off),
    `no_audio_stream`, `not_finite` (NaN or infinite samples), `out_of_range` (float samples far above full scale),
    `too_short` (no samples, less than `min_duration_s`, or an end before `start_s`), `silent` (rms below -80 dB full scale) or
    `timeout` (`time_limit_s` seconds did not suffice; looked at between blocks).
    All of them are judged on what was read, not on the rest of the file.
    """
    num_wanted = None if max_duration_s is None else round(max_duration_s * sample_rate_hz)
    pieces = [Sound(np.zeros(0, np.float32), np.zeros(0, np.bool_))]
    num_read = 0
    with closing(stream_audio(path, sample_rate_hz, start_s=start_s, time_limit_s=time_limit_s)) as stream:
        for piece in stream:
            pieces.append(piece)
            num_read += len(piece.samples)
            if num_wanted is not None and num_read >= num_wanted:
                break
    samples, cancels = (np.concatenate(parts)[:num_wanted] for parts in zip(*pieces, strict=True))
    return checked(path, Sound(samples, cancels), sample_rate_hz, min_duration_s)


def stream_audio(
    path: str | Path, sample_rate_hz: int = 16_000, *, start_s: float = 0.0, time_limit_s: float = 60.0
) -> Generator[Sound, None, None]:
    """Yield a recording from `start_s` on as `read_audio` gives it, block by block, not yet `checked`.

    Raises `UnusableError` with reason `unreadable`, `no_audio_stream`, `timeout`, or `too_short` if it ends before `start_s`; the time
    that the blocks' user takes does not count.
    """
    path = Path(path)
    deadline = Deadline(path, time_limit_s)
    with closing(_blocks(path, start_s, deadline)) as blocks:
        first = next(blocks, None)
        if first is None:
            return
        wanted = round(start_s * sample_rate_hz)
        channels = _Channels(Fraction(first.rate_hz, sample_rate_hz), wanted)
        samples = channels.samples(chain([first], blocks))
        number, resampled = resample(samples, first.first, first.rate_hz, sample_rate_hz)
        for piece in without_first(resampled, wanted - number):
            deadline.check()
            deadline.pause()
            yield Sound(piece, channels.cancel(len(piece)))
            deadline.resume()
        if channels.failure is not None:
            raise channels.failure
        if channels.number == wanted > 0:
            raise UnusableError(
                "too_short",
                f"{path}: start_s is {start_s:g} s, and the recording ends at {channels.end / first.rate_hz:.3f} s; correct start_s",
            )


class _Channels:
    """Which samples are the mean of channels that cancel each other, after resampling by `ratio`."""

    def __init__(self, ratio: Fraction, number: int) -> None:
        self.number = number
        """Of the next new sample."""
        self.end = 0
        """Position of the end of what was read, in old samples."""
        self.failure: UnusableError | None = None
        self._ratio = float(ratio)
        self._runs: deque[tuple[int, bool]] = deque()
        """Of old samples: where a run ends, and whether channels cancel in it."""

    def samples(self, blocks: Iterator[Block]) -> Iterator[Samples]:
        """Those of the blocks, which are looked at on their way; what ends them too early is kept, so that all before it can be used."""
        try:
            for block in blocks:
                self.end = block.first + len(block.samples)
                if self._runs and self._runs[-1][1] == block.cancels:
                    self._runs.pop()
                self._runs.append((self.end, block.cancels))
                yield block.samples
        except UnusableError as error:
            self.failure = error

    def cancel(self, num_new: int) -> npt.NDArray[np.bool_]:
        """For each of the next new samples, whether it is made of channels that cancel."""
        flags = np.full(num_new, self._runs[-1][1])
        for end, cancels in list(self._runs)[-2::-1]:
            flags[: max(0, math.ceil(end / self._ratio) - self.number)] = cancels
        self.number += num_new
        while len(self._runs) > 1 and self._runs[0][0] <= self.number * self._ratio:
            self._runs.popleft()
        return flags


def checked(path: str | Path, sound: Sound, sample_rate_hz: int, min_duration_s: float = 0.0) -> Samples:
    """A waveform clipped to -1..1, or `UnusableError` with reason `too_short`, `not_finite`, `out_of_range` or `silent`."""
    waveform = sound.samples
    duration_s = len(waveform) / sample_rate_hz
    if not len(waveform):
        raise UnusableError("too_short", f"{path}: 0 s of sound; leave it out")
    if duration_s < min_duration_s:
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
        if sound.cancels.mean() > CANCELLED_PART:
            raise UnusableError(
                "silent", f"{path}: its channels cancel each other, their mean is next to nothing; save one of them"
            )
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
    for block in blocks:
        if not SAMPLE_RATES_HZ[0] <= block.rate_hz <= SAMPLE_RATES_HZ[1]:
            low, high = SAMPLE_RATES_HZ
            raise UnusableError(
                "unreadable", f"{path}: a sample rate of {block.rate_hz} Hz, {low} to {high} are read; resample it"
            )
        yield block
