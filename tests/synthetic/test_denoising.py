"""The filter on pictures whose noise and edges are known."""

import numpy as np

from speech2face.synthetic.denoising import denoise


def layers(left: float, right: float, size: int = 48) -> np.ndarray:
    image = np.ones((size, size, 4), np.float32)
    image[:, : size // 2, :3], image[:, size // 2 :, :3] = left, right
    return image


def test_a_constant_stays_constant() -> None:
    np.testing.assert_allclose(denoise(layers(0.3, 0.3)), layers(0.3, 0.3), rtol=1e-5)


def test_an_edge_stays() -> None:
    np.testing.assert_allclose(denoise(layers(0.05, 0.6)), layers(0.05, 0.6), rtol=0.12)


def test_noise_on_a_flat_surface_is_quartered() -> None:
    clean = layers(0.4, 0.4)
    noisy = clean.copy()
    noisy[..., :3] *= np.random.default_rng(0).normal(1, 0.08, (48, 48, 1)).astype(np.float32)
    assert (denoise(noisy) - clean)[..., :3].std() < 0.25 * (noisy - clean)[..., :3].std()


def test_alpha_is_kept_apart() -> None:
    image = layers(0.4, 0.4)
    image[:, :24] = 0.0
    result = denoise(image)
    assert result[:, :20].max() < 1e-3 and np.abs(result[:, 28:, 3] - 1).max() < 1e-3
