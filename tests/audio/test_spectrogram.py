from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import torch

from speech2face.audio.spectrogram import HOP_LENGTH, N_FFT, NUM_BINS, WIN_LENGTH, compress, num_frames, stft

GOLDEN = Path(__file__).parents[1] / "golden" / "librosa_stft_a.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def spectrum(golden: dict[str, np.ndarray]) -> torch.Tensor:
    return stft(torch.from_numpy((golden["pcm_int16"] / 32768).astype(np.float32)))


def noise(*shape: int) -> torch.Tensor:
    return 0.2 * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def tone(frequency_hz: float, num_samples: int = 16_000) -> torch.Tensor:
    return torch.sin(2 * torch.pi * frequency_hz * torch.arange(num_samples, dtype=torch.float64) / 16_000).float()


def test_lengths_are_those_of_the_paper() -> None:
    assert (N_FFT, WIN_LENGTH, HOP_LENGTH, NUM_BINS) == (512, 400, 160, 257)
    assert num_frames(96_000) == 601


def test_stft_equals_librosa(golden: dict[str, np.ndarray], spectrum: torch.Tensor) -> None:
    assert (*spectrum.shape, 2) == tuple(golden["full_shape"])
    assert spectrum.dtype == torch.complex64
    kept = spectrum.numpy()[np.ix_(golden["freq_idx"], golden["frame_idx"])]
    np.testing.assert_allclose(kept, golden["stft_sub"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(spectrum.abs().sum(0).numpy(), golden["stft_abs_sum_per_frame"], rtol=1e-4)


def test_compressed_equals_librosa_to_the_power(golden: dict[str, np.ndarray], spectrum: torch.Tensor) -> None:
    compressed = compress(spectrum)
    assert compressed.dtype == torch.float32 and compressed.is_contiguous()
    kept = compressed.permute(1, 2, 0).numpy()[np.ix_(golden["freq_idx"], golden["frame_idx"], [0, 1])]
    raw = np.stack([golden["stft_sub"].real, golden["stft_sub"].imag], -1)
    well_conditioned = np.abs(raw) > 1e-3  # the slope of |x|^0.3 is infinite at 0
    assert well_conditioned.sum() > 1000
    np.testing.assert_allclose(kept[well_conditioned], golden["comp_sub"][well_conditioned], rtol=0, atol=1e-4)
    np.testing.assert_allclose(compressed.abs().mean(2).T.numpy(), golden["comp_absmean_per_freq"], atol=1e-4)
    np.testing.assert_allclose(compressed.double().mean((1, 2)).numpy(), golden["comp_mean"], atol=1e-5)
    np.testing.assert_allclose(compressed.double().std((1, 2)).numpy(), golden["comp_std"], rtol=1e-4)


@pytest.mark.parametrize("num_samples", [600, 4001, 47_840, 96_000])
def test_stft_equals_scipy(num_samples: int) -> None:
    waveform = noise(num_samples)
    window = np.pad(scipy.signal.get_window("hann", 400), 56)
    _, _, expected = scipy.signal.stft(
        waveform.double().numpy(), window=window, nperseg=512, noverlap=352, boundary="even", padded=False
    )
    expected = expected * window.sum()
    spectrum = stft(waveform)
    assert spectrum.shape == (257, num_frames(num_samples))
    np.testing.assert_allclose(spectrum.numpy(), expected[:, : spectrum.shape[1]], rtol=0, atol=2e-5)


@pytest.mark.parametrize("bin_index", [8, 32, 100, 250])
def test_the_energy_of_a_tone_sits_in_its_bin(bin_index: int) -> None:
    energy = stft(tone(bin_index * 31.25)).abs().square()[:, 5:-5]
    assert (energy.argmax(0) == bin_index).all()
    # the main lobe of a Hann window of 400 is 4 * 512 / 400 = 5.1 bins wide
    assert (energy[bin_index - 3 : bin_index + 4].sum(0) / energy.sum(0)).min() > 0.9999


def test_a_shift_by_one_hop_shifts_the_frames() -> None:
    waveform = noise(8000)
    later, earlier = stft(waveform[:-HOP_LENGTH]), stft(waveform[HOP_LENGTH:])
    torch.testing.assert_close(later[:, 4:-3], earlier[:, 3:-4], rtol=0, atol=1e-5)


def test_a_constant_sits_at_zero_frequency_with_the_sum_of_the_window() -> None:
    spectrum = stft(torch.full((1600,), 0.5))
    torch.testing.assert_close(spectrum[0].real, torch.full((11,), 0.5 * 200), rtol=1e-5, atol=0)
    # the main lobe of a Hann window of 400 reaches to 2 * 512 / 400 = 2.6 bins, the highest side lobe is at -31 dB
    assert spectrum[3:].abs().max() < 100 * 10 ** (-31 / 20)
    torch.testing.assert_close(compress(spectrum)[0, 0], torch.full((11,), 100**0.3), rtol=1e-5, atol=0)


def test_stft_is_linear() -> None:
    one, other = noise(2, 5000)
    torch.testing.assert_close(stft(2 * one - other), 2 * stft(one) - stft(other), rtol=0, atol=2e-5)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3)])
def test_leading_dimensions_are_kept(shape: tuple[int, ...]) -> None:
    waveforms = noise(*shape, 3200)
    compressed = compress(stft(waveforms))
    assert compressed.shape == (*shape, 2, 257, 21)
    last = tuple(n - 1 for n in shape)
    torch.testing.assert_close(compressed[last], compress(stft(waveforms[last])), rtol=0, atol=1e-4)


def test_compress_acts_on_real_and_imaginary_parts_and_keeps_their_signs() -> None:
    spectrum = torch.tensor([[0, 1, -1, 8j, -0.5 + 32j, 1e-6 - 1e-6j]], dtype=torch.complex64)
    real = [[0, 1, -1, 0, -(0.5**0.3), 1e-6**0.3]]
    imaginary = [[0, 0, 0, 8**0.3, 32**0.3, -(1e-6**0.3)]]
    torch.testing.assert_close(compress(spectrum), torch.tensor([real, imaginary]), rtol=1e-6, atol=0)


def test_float16_holds_the_loudest_waveform() -> None:
    compressed = compress(stft(torch.sign(tone(1000)) * 1.0))
    assert compressed.abs().max() < 5
    half = compressed.half()
    assert torch.isfinite(half).all()
    torch.testing.assert_close(half.float(), compressed, rtol=1e-3, atol=1e-6)


def test_too_short_to_reflect() -> None:
    with pytest.raises(ValueError, match=r"at least 257 samples \(got 256\)"):
        stft(torch.zeros(256))
