"""Mel energies as convolutions, for networks that leave this package.

ONNX has operators for short-time Fourier transforms, which few programs that read it have. But cutting into frames, windows, pre-emphasis
and the transform are linear: together they are one convolution, whose kernel is what they make of unit vectors.
"""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
import torchaudio
from torch import Tensor, nn

from speech2face.speaker_networks.campplus import NUM_MELS, SAMPLE_RATE_HZ
from speech2face.speaker_networks.ge2e import N_FFT, Ge2e

FRAME = 400
"""Samples that one frame of either front end sees, 25 ms."""
HOP = 160
KALDI_N_FFT = 512
PREEMPHASIS = 0.97
POVEY_EXPONENT = 0.85
LOWEST_HZ = 20.0


class _MelEnergies(nn.Module):
    """Waveforms [B, T] to energies in mel bands, [B, frames, bands].

    Args:
        spectra: what the transform makes of each unit vector, complex [400, bins].
        filters: weights of the bins in each band, [bins, bands].
    """

    kernel: Tensor
    filters: Tensor

    def __init__(self, spectra: npt.NDArray[np.complex128], filters: Tensor) -> None:
        super().__init__()
        self.num_bins = spectra.shape[1]
        kernel = np.concatenate([spectra.real, spectra.imag], 1).T[:, None]
        self.register_buffer("kernel", torch.from_numpy(np.ascontiguousarray(kernel, np.float32)))
        self.register_buffer("filters", filters)

    def forward(self, waveforms: Tensor) -> Tensor:
        real, imaginary = F.conv1d(waveforms[:, None], self.kernel, stride=HOP).split(self.num_bins, 1)
        return (real.square() + imaginary.square()).mT @ self.filters


class KaldiFilterbank(nn.Module):
    """What `speaker_networks.campplus.fbank` computes: log mel energies, each less its mean over the recording.

    Shape:
        input: [B, T], -1..1, at least 400 samples at 16 kHz
        output: [B, frames, 80]
    """

    def __init__(self) -> None:
        super().__init__()
        frames = np.eye(FRAME)
        frames -= frames.mean(1, keepdims=True)
        frames -= PREEMPHASIS * np.concatenate([frames[:, :1], frames[:, :-1]], 1)
        frames *= np.hanning(FRAME) ** POVEY_EXPONENT
        bands, _ = torchaudio.compliance.kaldi.get_mel_banks(
            NUM_MELS, KALDI_N_FFT, SAMPLE_RATE_HZ, LOWEST_HZ, SAMPLE_RATE_HZ / 2, 100.0, -500.0, 1.0
        )
        self.energies = _MelEnergies(np.fft.rfft(frames, KALDI_N_FFT), F.pad(bands, (0, 1)).T.contiguous())

    def forward(self, waveforms: Tensor) -> Tensor:
        """See the class."""
        features = self.energies(waveforms).clamp(min=torch.finfo(torch.float32).eps).log()
        return features - features.mean(1, keepdim=True)


class Ge2eEnergies(nn.Module):
    """What `Ge2e.mel_energies` computes.

    Shape:
        input: [B, T], -1..1, at 16 kHz
        output: [B, 1 + T // 160, 40]
    """

    def __init__(self, network: Ge2e) -> None:
        super().__init__()
        spectra = np.fft.rfft(np.eye(N_FFT) * network.hann.double().numpy())
        self.energies = _MelEnergies(spectra, network.filters.clone())

    def forward(self, waveforms: Tensor) -> Tensor:
        """See the class."""
        return self.energies(F.pad(waveforms, (N_FFT // 2, N_FFT // 2)))
