"""Cutting recordings into segments of one length."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

Waveform = TypeVar("Waveform", torch.Tensor, npt.NDArray[np.generic])


def fit_length(waveform: Waveform, num_samples: int) -> Waveform:
    """The first `num_samples` of [..., T]; a shorter waveform is repeated from its start as often as that takes.

    Returns [..., num_samples]. Speech2Face (Oh et al. 2019, section 4) repeats clips of less than 6 s in this way.
    Raises `ValueError` for an empty waveform and for fewer than one sample wanted.
    """
    length = waveform.shape[-1]
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1 (got {num_samples})")
    if length == 0:
        raise ValueError(f"a waveform without samples cannot be repeated to {num_samples}; leave the clip out")
    if length >= num_samples:
        return waveform[..., :num_samples]
    repeats = -(-num_samples // length)
    if isinstance(waveform, torch.Tensor):
        return torch.cat([waveform] * repeats, dim=-1)[..., :num_samples]
    return np.concatenate([waveform] * repeats, axis=-1)[..., :num_samples]
