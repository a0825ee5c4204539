"""Resampling a stream: windowed sinc, the same as of the whole."""

import math
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

import numpy as np
import torch
from torchaudio.transforms import Resample

from speech2face.audio.blocks import Samples

# The filter bank of a ratio p/q holds q filters of about p taps. Every usual rate is exact at 16 kHz with q <= 640; an odd one such
# as 15,999 Hz would take gigabytes, so its ratio is rounded, which moves no sample by more than some ms in 6 s.
LARGEST_DENOMINATOR = 1000
LARGEST_BANK = 1 << 22


def ratio_of(rate_hz: int, new_rate_hz: int) -> Fraction:
    """Old samples to new ones, p/q: `rate_hz / new_rate_hz`, or close to it where that would take a giant filter bank."""
    largest = min(LARGEST_DENOMINATOR, math.isqrt(max(1, LARGEST_BANK * new_rate_hz // rate_hz)))
    return Fraction(rate_hz, new_rate_hz).limit_denominator(max(1, largest))


@lru_cache(maxsize=8)
def _filter_bank(numerator: int, denominator: int) -> Resample:
    return Resample(numerator, denominator, dtype=torch.float64).float()  # designed in float64, applied in float32


def resample(blocks: Iterator[Samples], rate_hz: int, ratio: Fraction) -> Iterator[Samples]:
    """Runs of samples at `rate_hz`, one after the other, at `rate_hz` / `ratio`, about a second at a time: each sees its neighbours.

    n samples become ceil(n / ratio), the first at the time of the first.
    """
    if ratio == 1:
        yield from blocks
        return
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
