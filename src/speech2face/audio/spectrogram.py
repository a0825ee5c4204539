"""The front end of the voice encoder: complex spectrogram, real and imaginary parts compressed by a power law.

Speech2Face (Oh et al. 2019, section 4): 16 kHz, Hann window of 25 ms, hop of 10 ms, 512-point transform, real and
imaginary parts each compressed as sign(x)|x|^0.3.
"""

import torch

SAMPLE_RATE_HZ = 16_000
WINDOW_MS = 25
HOP_MS = 10
N_FFT = 512
POWER = 0.3

WIN_LENGTH, _window_remainder = divmod(SAMPLE_RATE_HZ * WINDOW_MS, 1000)
HOP_LENGTH, _hop_remainder = divmod(SAMPLE_RATE_HZ * HOP_MS, 1000)
if _window_remainder or _hop_remainder:
    raise ValueError(f"{WINDOW_MS} and {HOP_MS} ms are not whole numbers of samples at {SAMPLE_RATE_HZ} Hz")
NUM_BINS = N_FFT // 2 + 1
MIN_SAMPLES = N_FFT // 2 + 1
"""Reflection at the ends takes more samples than it adds."""


def num_frames(num_samples: int) -> int:
    """Frames of a waveform: one centred on every multiple of the hop, the first sample included. 96,000 give 601."""
    return 1 + num_samples // HOP_LENGTH


def stft(waveform: torch.Tensor) -> torch.Tensor:
    """[..., T] float in -1..1 at 16 kHz to complex [..., 257, 1 + T // 160] (frequency, frame).

    Frame i is centred on sample 160 i, ends reflected; bin k is k * 31.25 Hz. The window is a periodic Hann of 400
    samples in the middle of the 512, not normalised. Raises `ValueError` below 257 samples.
    """
    length = waveform.shape[-1]
    if length < MIN_SAMPLES:
        raise ValueError(f"a spectrogram takes at least {MIN_SAMPLES} samples (got {length}); repeat the clip first")
    window = torch.hann_window(WIN_LENGTH, periodic=True, dtype=waveform.dtype, device=waveform.device)
    spectrum = torch.stft(
        waveform.reshape(-1, length),
        n_fft=N_FFT,
        hop_length=HOP_LENGTH,
        win_length=WIN_LENGTH,
        window=window,
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    return spectrum.reshape(*waveform.shape[:-1], *spectrum.shape[-2:])


def compress(stft: torch.Tensor) -> torch.Tensor:
    """Complex [..., 257, frames] to float [..., 2, 257, frames]: real and imaginary part x, each as sign(x)|x|^0.3.

    float32 for complex64. The window sums to 200, so a waveform in -1..1 stays within 200^0.3 < 5: float16 holds it.
    """
    parts = torch.view_as_real(stft).movedim(-1, -3).contiguous()
    return parts.abs().pow_(POWER).copysign_(parts)
