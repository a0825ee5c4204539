"""Resampling a stream: windowed sinc, the same as of the whole, and in step with it however long it is."""

import math
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torchaudio.transforms import Resample

from speech2face.audio.blocks import Samples

# The filter bank of a ratio p/q holds q filters of about p taps. Every usual rate is exact at 16 kHz with q <= 640; for an odd one
# such as 15,999 Hz it would take gigabytes, so there the filter is looked up in a table for each new sample.
LARGEST_DENOMINATOR = 1000
LARGEST_BANK = 1 << 22

# As torchaudio designs its filters (Smith, Digital Audio Resampling): a sinc in a window of cos^2.
ZEROS = 6
ROLLOFF = 0.99
PHASES = 1024  # between them the filter is a straight line, an error of some -110 dB
SAMPLES_AT_ONCE = 1024


def resample(blocks: Iterator[Samples], first: int, rate_hz: int, new_rate_hz: int) -> tuple[int, Iterator[Samples]]:
    """Runs of samples at `rate_hz`, one after the other, at `new_rate_hz`, about a second at a time: each sees its neighbours.

    Sample n of the result is at the time of sample n * rate_hz / new_rate_hz, counted from the start of the recording; `first` is the
    number of the first sample that `blocks` give. Returns the number of the first new sample, at most 63 ms after it, and the samples, up
    to the end of the last block.
    """
    ratio = Fraction(rate_hz, new_rate_hz)
    largest = min(LARGEST_DENOMINATOR, math.isqrt(max(1, LARGEST_BANK * new_rate_hz // rate_hz)))
    if ratio.denominator > largest:
        first_new = math.ceil(first / ratio)
        return first_new, _by_table(blocks, first, first_new, ratio)
    # A bank begins where an old and a new sample fall together.
    steps = -(-first // ratio.numerator)
    in_step = without_first(blocks, steps * ratio.numerator - first)
    return steps * ratio.denominator, in_step if ratio == 1 else _by_bank(in_step, rate_hz, ratio)


def without_first(pieces: Iterator[Samples], num_samples: int) -> Iterator[Samples]:
    """The samples but for so many at the start."""
    for piece in pieces:
        passed = min(num_samples, len(piece))
        num_samples -= passed
        if passed < len(piece):
            yield piece[passed:]


@lru_cache(maxsize=8)
def _filter_bank(numerator: int, denominator: int) -> Resample:
    return Resample(numerator, denominator, dtype=torch.float64).float()  # designed in float64, applied in float32


def _by_bank(blocks: Iterator[Samples], rate_hz: int, ratio: Fraction) -> Iterator[Samples]:
    """n samples become ceil(n / ratio), the first at the time of the first."""
    step, new_step = ratio.numerator, ratio.denominator  # `step` samples become `new_step`
    filters = _filter_bank(step, new_step)
    margin = step * math.ceil((filters.width + step) / step)  # reaches beyond the longest filter
    new_margin = margin // step * new_step
    block = step * max(1, rate_hz // step)
    pieces = [np.zeros(margin, np.float32)]
    num_held = margin
    for samples in blocks:
        pieces.append(samples)
        num_held += len(samples)
        if num_held < margin + block + margin:
            continue
        held = np.concatenate(pieces)
        while len(held) >= margin + block + margin:
            resampled = filters(torch.from_numpy(held[: block + 2 * margin])).numpy()
            yield resampled[new_margin : new_margin + block // step * new_step]
            held = held[block:]
        pieces, num_held = [held], len(held)
    held = np.concatenate([*pieces, np.zeros(margin, np.float32)])
    num_new = math.ceil((len(held) - 2 * margin) * new_step / step)
    if num_new:
        yield filters(torch.from_numpy(held)).numpy()[new_margin : new_margin + num_new]


@lru_cache(maxsize=8)
def _table(ratio: Fraction) -> tuple[int, npt.NDArray[np.float32]]:
    """Half the taps, and the filter [PHASES + 1, taps] for a new sample at each part of the way between two old ones."""
    base = ROLLOFF * min(1.0, 1 / float(ratio))  # cut-off, by half the old rate
    half = math.ceil(ZEROS / base) + 1
    times = np.arange(1 - half, half + 1) - np.arange(PHASES + 1)[:, None] / PHASES
    t = np.clip(times * base, -ZEROS, ZEROS)
    return half, (base * np.sinc(t) * np.cos(t * np.pi / (2 * ZEROS)) ** 2).astype(np.float32)


def _by_table(blocks: Iterator[Samples], first: int, number: int, ratio: Fraction) -> Iterator[Samples]:
    """The new samples from `number` on."""
    half, table = _table(ratio)
    held = np.zeros(half, np.float32)
    held_first = first - half  # number of the first old sample held

    def up_to(end: int) -> Iterator[Samples]:
        nonlocal number, held, held_first
        while number < (last := math.ceil(end / ratio)):
            numbers = np.arange(number, min(last, number + SAMPLES_AT_ONCE), dtype=np.int64)
            whole, part = np.divmod(numbers * ratio.numerator, ratio.denominator)
            way = part / ratio.denominator * PHASES
            phase = way.astype(np.int64)
            between = (way - phase).astype(np.float32)[:, None]
            taps = table[phase] * (1 - between) + table[phase + 1] * between
            old = sliding_window_view(held, 2 * half)[whole - held_first + 1 - half]
            yield np.einsum("nt,nt->n", old, taps)
            number += len(numbers)
        keep = max(0, number * ratio.numerator // ratio.denominator - half - held_first)
        held, held_first = held[keep:], held_first + keep

    for samples in blocks:
        held = np.concatenate([held, samples])
        yield from up_to(held_first + len(held) - half)
    end = held_first + len(held)
    held = np.concatenate([held, np.zeros(half, np.float32)])
    yield from up_to(end)
