"""GE2E: a voice as 256 numbers (Wan et al. 2018, "Generalized end-to-end loss for speaker verification", arXiv 1710.10467).

The network is that of resemblyzer 0.1.4, whose weights come with its package: three LSTM layers over 40 mel energies, a linear layer and
a ReLU on the last step, length 1. It hears 1.6 s at a time; a longer recording is the mean of overlapping windows. Of resemblyzer's
preparation the loudness is taken over, and not the cutting of pauses, which belongs to another package.
"""

from collections.abc import Sequence

import torch
import torchaudio
from torch import Tensor, nn
from torch.nn import functional as F

SAMPLE_RATE_HZ = 16_000
N_FFT = 400
HOP_LENGTH = 160
WINDOW_FRAMES = 160
WINDOW_S = WINDOW_FRAMES * HOP_LENGTH / SAMPLE_RATE_HZ
STEP_FRAMES = 77
"""Between the starts of two windows: resemblyzer's 1.3 windows a second."""
MIN_COVERAGE = 0.75
"""Part of the last window that must be sound and not padding."""
QUIETEST_DBFS = -30.0


class Ge2e(nn.Module):
    """Speech at 16 kHz to an embedding of length 1 with no negative number.

    Shape:
        input: waveforms [B, T], -1..1, at least one sample
        output: [B, 256]
    """

    embedding_dim = 256
    filters: Tensor
    hann: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(40, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, self.embedding_dim)
        filters = torchaudio.functional.melscale_fbanks(
            N_FFT // 2 + 1, 0.0, SAMPLE_RATE_HZ / 2, 40, SAMPLE_RATE_HZ, norm="slaney", mel_scale="slaney"
        )
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("hann", torch.hann_window(N_FFT), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Embeddings of whole recordings: the means of their windows'."""
        return self.embed(waveforms, [(0.0, waveforms.shape[1] / SAMPLE_RATE_HZ)])[:, 0]

    def embed(self, waveforms: Tensor, stretches_s: Sequence[tuple[float, float]]) -> Tensor:
        """Embeddings [B, S, 256] of stretches (start, end) of recordings, seconds: the mean of the windows whose middle they hold, of
        length 1. A stretch of at least 1.6 s holds one."""
        starts = window_starts(waveforms.shape[1])
        windows = self._windows(waveforms, starts)
        middles_s = torch.tensor(starts) * (HOP_LENGTH / SAMPLE_RATE_HZ) + WINDOW_S / 2
        held = [windows[:, (middles_s >= start) & (middles_s <= max(end, WINDOW_S))] for start, end in stretches_s]
        return F.normalize(torch.stack([part.mean(1) for part in held], 1), dim=-1)

    def _windows(self, waveforms: Tensor, starts: list[int]) -> Tensor:
        """Embeddings [B, W, 256] of windows of 1.6 s; what lies beyond a recording's end is silence."""
        needed = (starts[-1] + WINDOW_FRAMES) * HOP_LENGTH
        mels = self.mel_energies(F.pad(loud_enough(waveforms), (0, max(0, needed - waveforms.shape[1]))))
        cut = torch.stack([mels[:, start : start + WINDOW_FRAMES] for start in starts], 1)
        _, (hidden, _) = self.lstm(cut.flatten(0, 1))
        embeddings = F.normalize(self.linear(hidden[-1]).relu(), dim=-1)
        return embeddings.unflatten(0, (len(waveforms), len(starts)))

    def mel_energies(self, waveforms: Tensor) -> Tensor:
        """Energies [B, frames, 40] in Slaney's mel bands, not logarithmic, as librosa's `melspectrogram` gives them."""
        spectrum = torch.stft(waveforms, N_FFT, HOP_LENGTH, window=self.hann, pad_mode="constant", return_complex=True)
        return spectrum.abs().square().mT @ self.filters


def window_starts(num_samples: int) -> list[int]:
    """First frames of the windows of a recording; the last may go over its end by a quarter of a window."""
    num_frames = -(-(num_samples + 1) // HOP_LENGTH)
    starts = list(range(0, max(1, num_frames - WINDOW_FRAMES + STEP_FRAMES + 1), STEP_FRAMES))
    if len(starts) > 1 and num_samples - starts[-1] * HOP_LENGTH < MIN_COVERAGE * WINDOW_FRAMES * HOP_LENGTH:
        starts.pop()
    return starts


def loud_enough(waveforms: Tensor) -> Tensor:
    """Recordings [B, T] quieter than -30 dBFS are raised to it; digital silence stays."""
    rms = waveforms.square().mean(1, keepdim=True).sqrt()
    gain = 10 ** (QUIETEST_DBFS / 20) / rms
    return waveforms * torch.where(rms > 0, gain, 1.0).clamp(min=1.0)
