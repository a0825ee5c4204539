import numpy as np
import pytest
import torch

from speech2face.audio.segments import fit_length


@pytest.mark.parametrize("length", [1, 3, 4, 7, 9, 10, 11, 25])
def test_sample_i_is_sample_i_modulo_the_length(length: int) -> None:
    waveform = np.arange(length, dtype=np.float32)
    fitted = fit_length(waveform, 10)
    np.testing.assert_array_equal(fitted, np.arange(10) % length)
    assert fitted.dtype == np.float32
    torch.testing.assert_close(fit_length(torch.from_numpy(waveform), 10), torch.from_numpy(fitted))


@pytest.mark.parametrize("length", [3, 20])
def test_leading_dimensions_are_kept(length: int) -> None:
    waveforms = torch.arange(2.0 * length).reshape(2, 1, length)
    expected = waveforms[..., torch.arange(10) % length]
    torch.testing.assert_close(fit_length(waveforms, 10), expected)
    np.testing.assert_array_equal(fit_length(waveforms.numpy(), 10), expected.numpy())


def test_nothing_cannot_be_repeated() -> None:
    with pytest.raises(ValueError, match="without samples"):
        fit_length(np.zeros(0, np.float32), 10)
    with pytest.raises(ValueError, match=r"at least 1 \(got 0\)"):
        fit_length(np.zeros(5, np.float32), 0)
