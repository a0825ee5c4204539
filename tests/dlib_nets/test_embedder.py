"""The embedder against dlib's descriptor on the same chips, and its gradient against finite differences."""

import dlib
import numpy as np
import pytest
import torch

from speech2face.dlib_nets import load_embedder
from speech2face.dlib_nets.embedder import Embedder, Residual
from speech2face.dlib_nets.weights import EMBEDDER, model_path
from tests.dlib_nets import pictures

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return load_embedder(device="cpu")


@pytest.fixture(scope="module")
def chips() -> np.ndarray:
    """uint8 [24, 150, 150, 3]: heads, blurred, noisy and dark ones, noise, and flat grey."""
    rng = np.random.default_rng(0)
    heads = [
        pictures.picture(rng, kind, 150) for kind in ("scaled", "rotated", "blurred", "noisy", "lit") for _ in range(4)
    ]
    noise = list(rng.integers(0, 256, (2, 150, 150, 3), dtype=np.uint8))
    return np.stack([*heads, *noise, np.zeros_like(noise[0]), np.full_like(noise[0], 255)])


@pytest.fixture(scope="module")
def descriptors(chips) -> np.ndarray:
    model = dlib.face_recognition_model_v1(str(model_path(EMBEDDER)))
    return np.array([model.compute_face_descriptor(chip) for chip in chips])


def as_tensor(chips: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(chips).permute(0, 3, 1, 2).float()


def test_one_chip_after_the_other_is_dlibs(embedder, chips, descriptors):
    for chip, descriptor in zip(as_tensor(chips), descriptors, strict=True):
        np.testing.assert_allclose(embedder(chip[None])[0].numpy(), descriptor, rtol=0, atol=1e-5)


@pytest.mark.parametrize("batch_size", [2, 7, 24])
def test_batches_are_dlibs(embedder, chips, descriptors, batch_size):
    found = torch.cat([embedder(batch) for batch in as_tensor(chips).split(batch_size)])
    np.testing.assert_allclose(found.numpy(), descriptors, rtol=0, atol=1e-5)


def test_an_empty_batch(embedder):
    assert embedder(torch.zeros(0, 3, 150, 150)).shape == (0, 128)


def test_padding_goes_to_the_right_the_bottom_and_the_last_channels():
    first, second = torch.nn.Conv2d(1, 2, 3, stride=2), torch.nn.Conv2d(2, 2, 1)
    for layer in (first, second):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.ones_(layer.bias)
    out = Residual(first, second, torch.nn.AvgPool2d(2))(torch.full((1, 1, 8, 8), 5.0))
    # the block gives ones on 3 x 3 in both channels, the shortcut 5 on 4 x 4 in the first only
    expected = torch.zeros(2, 4, 4)
    expected[:, :3, :3] += 1
    expected[0] += 5
    torch.testing.assert_close(out[0], expected)


def test_gradient_to_the_chip_is_the_finite_difference(chips):
    embedder = load_embedder(device="cpu").double()
    generator = torch.Generator().manual_seed(0)
    # noise, as equal pixels make ties in the max pool, which have no derivative
    chip = as_tensor(chips[:1]).double() + torch.rand(1, 3, 150, 150, generator=generator, dtype=torch.float64)
    chip.requires_grad_()
    weights = torch.linspace(-1, 1, 128, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((embedder(chip)[0] * weights).sum(), chip)
    assert gradient.abs().sum() > 0
    direction = torch.randn(chip.shape, generator=generator, dtype=torch.float64)
    step = 1e-6  # small enough that hardly a ReLU switches
    with torch.no_grad():
        ahead, behind = ((embedder(chip + sign * step * direction)[0] * weights).sum() for sign in (1, -1))
    assert float((gradient * direction).sum()) == pytest.approx(float((ahead - behind) / (2 * step)), rel=1e-4)


def test_parameters_are_frozen(embedder):
    assert not any(parameter.requires_grad for parameter in embedder.parameters())
    assert not embedder.training


@pytest.mark.parametrize(
    "bad",
    [
        torch.zeros(1, 3, 149, 150),
        torch.zeros(1, 150, 150, 3),
        torch.zeros(3, 150, 150),
        torch.zeros(1, 3, 150, 150, dtype=torch.uint8),
    ],
)
def test_bad_chips(embedder, bad):
    with pytest.raises(ValueError, match=r"chips must be a float tensor \[B, 3, 150, 150\] in 0..255, got"):
        embedder(bad)
