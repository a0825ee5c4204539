"""Segments as tables store them, spectrograms or 16-bit waveforms, and the spectrograms of a batch of either."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from speech2face.audio.spectrogram import HOP_LENGTH, N_FFT, compress, num_frames, stft

FULL_SCALE = 32_768
MARGIN_FRAMES = -(-N_FFT // 2 // HOP_LENGTH)
"""Frames that a part of a waveform needs on either side, so that what lies within is transformed as in the whole."""


def to_16_bit(waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """[T] in -1..1 to the nearest multiples of 2^-15, ties to even, at most 1 - 2^-15. A recording of 16 bits at 16 kHz stays as
    it is."""
    return np.rint(waveform * FULL_SCALE).clip(-FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


class Crop(NamedTuple):
    """`frames` frames of each of a batch's spectrograms, from frame `first` on, int [B]."""

    first: torch.Tensor
    frames: int


def count_frames(stored: torch.Tensor) -> int:
    """Frames of the spectrograms of stored segments, which are as in `spectrograms`."""
    return num_frames(stored.shape[-1]) if _are_waveforms(stored) else stored.shape[-1]


def spectrograms(stored: torch.Tensor, device: torch.device, crop: Crop | None = None) -> torch.Tensor:
    """Stored segments, spectrograms [B, 2, 257, F] or waveforms int16 [B, T], to spectrograms float32 [B, 2, 257, frames] on `device`,
    where those of waveforms are computed; whole, or no more than `crop`, whose frames are those of the whole."""
    if _are_waveforms(stored):
        waveforms = stored.to(device, non_blocking=True)
        if crop is None:
            return compress(stft(waveforms.float() / FULL_SCALE))
        parts = _with_margins(waveforms, Crop(crop.first.to(device, non_blocking=True), crop.frames))
        return compress(stft(parts.float() / FULL_SCALE)[..., MARGIN_FRAMES:-MARGIN_FRAMES])
    if crop is not None:
        places = zip(stored, crop.first.tolist(), strict=True)
        stored = torch.stack([clip[..., first : first + crop.frames] for clip, first in places])
    return stored.to(device, non_blocking=True).float()


def _are_waveforms(stored: torch.Tensor) -> bool:
    return stored.dtype == torch.int16


def _with_margins(waveforms: torch.Tensor, crop: Crop) -> torch.Tensor:
    """The samples of a crop and of a margin on either side; beyond the ends of a waveform [B, T] it is reflected, as `stft` reflects it."""
    last = waveforms.shape[-1] - 1
    steps = torch.arange((crop.frames - 1 + 2 * MARGIN_FRAMES) * HOP_LENGTH + 1, device=waveforms.device)
    place = (crop.first[:, None] - MARGIN_FRAMES) * HOP_LENGTH + steps
    return waveforms.gather(1, last - (last - place.abs()).abs())
