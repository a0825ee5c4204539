"""The parts of a voice that can be used, from a recording's file or from a waveform in memory."""

import os
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from speech2face.audio.blocks import mixed
from speech2face.audio.extraction import Segment, read_segments, segment_samples
from speech2face.audio.reading import SAMPLE_RATES_HZ, Sound, checked
from speech2face.audio.resampling import resample
from speech2face.audio.spectrogram import SAMPLE_RATE_HZ
from speech2face.pipeline.rejects import UnusableError, errors_of

Waveform = npt.NDArray[np.float32] | torch.Tensor
Voice = str | os.PathLike[str] | Waveform
"""A recording's path, or a waveform [T] or [channels, T]: floats in -1..1, or integers of their whole range."""

MIN_CLIP_S = 1.0
DECODE_LIMIT_S = 300.0
REMEDIES = {
    "too_short": f"less than {MIN_CLIP_S:g} s of sound; use a longer recording",
    "timeout": "decoding takes too long; re-encode it, for example as wav",
}
"""What to say where the pipeline says to lower or to raise one of its parameters, of which a single prediction has none."""


class Heard:
    """The usable segments of a voice, float32 [T] at 16 kHz, one every half of their length; after they were gone through,
    `duration_s` says how much of the voice they cover.

    Nothing after the first `max_duration_s` is looked at; None looks at everything. A waveform comes with its `sample_rate_hz`, 1,000 to
    1,000,000; a file knows its own. Raises ValueError for a waveform of another form. Going through it raises UnusableError, whose
    remedy does not name parameters of the pipeline, if nothing can be used.
    """

    def __init__(
        self,
        voice: Voice,
        segment_s: float,
        sample_rate_hz: int | None = None,
        *,
        decode_limit_s: float = DECODE_LIMIT_S,
        max_duration_s: float | None = None,
    ) -> None:
        self.duration_s = 0.0
        self._num_samples = segment_samples(segment_s)
        self._decode_limit_s, self._max_duration_s = decode_limit_s, max_duration_s
        self._waveform: npt.NDArray[np.float32] | None = None
        if isinstance(voice, str | os.PathLike):
            if sample_rate_hz is not None:
                raise ValueError(
                    f"{os.fspath(voice)}: a file knows its own sample rate; leave sample_rate_hz out (got {sample_rate_hz})"
                )
            self._path = Path(voice)
        else:
            self._path = Path("waveform")
            self._waveform = _at_16_khz(voice, sample_rate_hz)

    def __iter__(self) -> Iterator[np.ndarray]:
        self.duration_s, end, reason = 0.0, 0, None
        try:
            with errors_of(self._path), closing(self._segments()) as segments:
                for _, first, sound in segments:
                    try:
                        yield checked(self._path, sound, SAMPLE_RATE_HZ, MIN_CLIP_S)
                    except UnusableError as error:  # a pause, as long as not all is
                        reason = reason or error
                        continue
                    self.duration_s += (first + len(sound.samples) - max(first, end)) / SAMPLE_RATE_HZ
                    end = first + len(sound.samples)
                if not end and reason:
                    raise reason
        except UnusableError as error:
            if remedy := REMEDIES.get(error.reason):
                raise UnusableError(error.reason, f"{self._path}: {remedy}") from None
            raise

    def _segments(self) -> Generator[Segment, None, None]:
        size, stride, end_s = self._num_samples, self._num_samples // 2, self._max_duration_s
        if self._waveform is None:
            return read_segments(self._path, size, stride, start_s=0.0, end_s=end_s, time_limit_s=self._decode_limit_s)
        return _cut(self._waveform[: None if end_s is None else round(end_s * SAMPLE_RATE_HZ)], size, stride)


def _cut(waveform: npt.NDArray[np.float32], size: int, stride: int) -> Generator[Segment, None, None]:
    """The segments of a waveform, as `read_segments` gives those of a file."""
    for number, first in enumerate(range(0, max(1, len(waveform) - size + 1), stride)):
        samples = waveform[first : first + size]
        yield number, first, Sound(samples, np.zeros(len(samples), np.bool_))


def _at_16_khz(waveform: Waveform, sample_rate_hz: int | None) -> npt.NDArray[np.float32]:
    """Float32 [T], mono, at 16 kHz. Raises ValueError for what is no waveform, or has no rate between `SAMPLE_RATES_HZ`."""
    lowest, highest = SAMPLE_RATES_HZ
    if sample_rate_hz is None or not lowest <= sample_rate_hz <= highest:
        raise ValueError(
            f"a waveform needs its sample_rate_hz, from {lowest} to {highest} (got {sample_rate_hz}), as in "
            "model.draw(waveform, sample_rate_hz=16000)"
        )
    array = waveform.detach().cpu().numpy() if isinstance(waveform, torch.Tensor) else np.asarray(waveform)
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.dtype.kind not in "iuf" or array.shape[0] > array.shape[1] > 0:
        raise ValueError(
            f"a waveform must be numbers [T] or [channels, T] (got {array.dtype} {list(np.shape(waveform))}); transpose [T, channels]"
        )
    block = mixed(array.T, sample_rate_hz, 0)
    _, pieces = resample(iter([block.samples]), 0, sample_rate_hz, SAMPLE_RATE_HZ)
    return np.concatenate([np.zeros(0, np.float32), *pieces])
