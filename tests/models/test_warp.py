"""Against TensorFlow Addons 0.21 (tests/golden), finite differences, scipy's splines, and what a warp must do."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.interpolate import RBFInterpolator
from torch import Tensor

from speech2face.models import warp
from speech2face.models.warp import boundary_points, sparse_image_warp

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"


@pytest.fixture(scope="module")
def golden_64() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "tfa_warp_64.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def golden_grad() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "tfa_warp_grad.npz") as file:
        return dict(file)


def channels_first(pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(pictures).double().movedim(-1, -3)


def face_like(batch: int, size_px: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """A smooth picture [B, 3, H, W] and 68 points [B, 68, 2] that move by a few pixels, float64."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size_px, :size_px] / size_px
    waves = rng.uniform(2, 9, size=(batch, 3, 2, 1, 1))
    image = 0.5 + 0.4 * np.sin(waves[:, :, 0] * y + waves[:, :, 1] * x)
    grid = np.stack(np.meshgrid(np.linspace(0.2, 0.8, 9), np.linspace(0.2, 0.8, 8), indexing="ij"), -1).reshape(-1, 2)
    source = grid[None, :68] * size_px + rng.uniform(-0.02, 0.02, size=(batch, 68, 2)) * size_px
    dest = source + rng.uniform(-0.015, 0.015, size=(batch, 68, 2)) * size_px
    return torch.from_numpy(image), torch.from_numpy(source), torch.from_numpy(dest)


class TestAgainstTensorFlowAddons:
    @pytest.mark.parametrize("case", [0, 1, 2])
    def test_flow_and_picture(self, golden_64: dict[str, np.ndarray], case: int) -> None:
        order, regularization, num_boundary_points = golden_64["cases"][case]
        warped, flow = sparse_image_warp(
            channels_first(golden_64["image_uint8"][None]) / 255,
            torch.from_numpy(golden_64["source_yx"][None]).double(),
            torch.from_numpy(golden_64["dest_yx"][None]).double(),
            int(order),
            float(regularization),
            int(num_boundary_points),
        )
        np.testing.assert_allclose(flow[0].numpy(), golden_64[f"flow_{case}"], rtol=0, atol=1e-5)
        np.testing.assert_allclose(warped[0].movedim(0, -1).numpy(), golden_64[f"warped_{case}"], rtol=0, atol=1e-6)

    def test_gradients(self, golden_grad: dict[str, np.ndarray]) -> None:
        order, regularization, num_boundary_points = golden_grad["case"]
        image = (channels_first(golden_grad["image_uint8"]) / 255).requires_grad_()
        source = torch.from_numpy(golden_grad["source_yx"]).double().requires_grad_()
        dest = torch.from_numpy(golden_grad["dest_yx"]).double().requires_grad_()
        warped, flow = sparse_image_warp(
            image, source, dest, int(order), float(regularization), int(num_boundary_points)
        )
        loss = (warped * channels_first(golden_grad["upstream"])).sum()
        loss.backward()
        assert image.grad is not None and source.grad is not None and dest.grad is not None
        assert loss.item() == pytest.approx(float(golden_grad["loss"]), abs=1e-6)
        np.testing.assert_allclose(flow.detach().numpy(), golden_grad["flow"], rtol=0, atol=1e-5)
        np.testing.assert_allclose(image.grad.movedim(1, -1).numpy(), golden_grad["grad_image"], rtol=0, atol=1e-6)
        np.testing.assert_allclose(source.grad.numpy(), golden_grad["grad_source"], rtol=0, atol=1e-6)
        np.testing.assert_allclose(dest.grad.numpy(), golden_grad["grad_dest"], rtol=0, atol=1e-6)

    @pytest.mark.parametrize("size", [(64, 64), (48, 72), (224, 224)])
    @pytest.mark.parametrize("n", [1, 2, 3, 5])
    def test_boundary_points(self, golden_grad: dict[str, np.ndarray], size: tuple[int, int], n: int) -> None:
        expected = golden_grad[f"boundary_{size[0]}x{size[1]}_nb{n}"].astype(float)
        points = boundary_points(*size, n).numpy()
        assert points.shape == (4 * n, 2)
        assert set(map(tuple, points.round(3))) == set(map(tuple, expected.round(3)))


class TestGradients:
    """Closed-form gradients against finite differences, for both orders."""

    @pytest.mark.slow
    @pytest.mark.parametrize(("order", "regularization"), [(1, 0.1), (1, 0.0), (2, 0.05), (2, 0.0)])
    def test_gradcheck(self, order: int, regularization: float) -> None:
        generator = torch.Generator().manual_seed(3)
        image = torch.rand(2, 2, 7, 9, generator=generator, dtype=torch.float64, requires_grad=True)
        source = torch.tensor([[1.3, 2.4], [4.2, 6.3], [5.1, 1.7], [2.2, 7.1]], dtype=torch.float64).repeat(2, 1, 1)
        dest = source + 0.37 * torch.randn(2, 4, 2, generator=generator, dtype=torch.float64)

        def warp(image: Tensor, source: Tensor, dest: Tensor) -> tuple[Tensor, Tensor]:
            return sparse_image_warp(image, source, dest, order, regularization, 1)

        assert torch.autograd.gradcheck(
            warp, (image, source.requires_grad_(), dest.requires_grad_()), eps=1e-6, atol=1e-6
        )

    def test_a_dest_point_on_a_pixel_has_a_finite_gradient(self) -> None:
        image, source, _ = face_like(1, 24)
        dest = source.round().requires_grad_()
        for order in (1, 2):
            warped, _ = sparse_image_warp(image, source, dest, order)
            (grad,) = torch.autograd.grad(warped.square().sum(), dest)
            assert grad.isfinite().all() and grad.abs().max() > 0

    def test_pulling_a_bright_square_with_gradient_descent(self) -> None:
        """The points move a picture to where another has it: the gradient points the right way."""
        image = torch.zeros(1, 1, 32, 32, dtype=torch.float64)
        image[..., 12:20, 12:20] = 1.0
        image = torch.nn.functional.avg_pool2d(image, 5, stride=1, padding=2)
        wanted = image.roll((2, -1), dims=(2, 3))
        source = torch.tensor([[[12.0, 12.0], [12.0, 19.0], [19.0, 12.0], [19.0, 19.0]]], dtype=torch.float64)
        dest = source.clone().requires_grad_()
        optimiser = torch.optim.Adam([dest], lr=0.1)
        for _ in range(100):
            optimiser.zero_grad()
            (sparse_image_warp(image, source, dest)[0] - wanted).square().sum().backward()
            optimiser.step()
        moved = (dest.detach() - source).mean(dim=1)[0]
        assert moved.tolist() == pytest.approx([2.0, -1.0], abs=0.25)


class TestWhatAWarpDoes:
    def test_equal_points_change_nothing(self) -> None:
        image, source, _ = face_like(2, 40)
        warped, flow = sparse_image_warp(image, source, source)
        torch.testing.assert_close(warped, image, rtol=0, atol=1e-12)
        assert flow.abs().max() < 1e-12

    @pytest.mark.parametrize("order", [1, 2])
    def test_content_at_source_arrives_at_dest(self, order: int) -> None:
        """(y, x), source and dest in their places: a picture of the coordinates shows those of the source at dest."""
        height, width = 30, 44
        y, x = torch.meshgrid(
            torch.arange(height, dtype=torch.float64), torch.arange(width, dtype=torch.float64), indexing="ij"
        )
        coordinates = torch.stack([y, x])[None]
        source = torch.tensor([[[8.0, 9.0], [9.0, 33.0], [21.0, 12.0], [20.0, 30.0]]], dtype=torch.float64)
        dest = torch.tensor([[[10.0, 8.0], [8.0, 35.0], [20.0, 14.0], [22.0, 29.0]]], dtype=torch.float64)
        warped, flow = sparse_image_warp(coordinates, source, dest, order, regularization=0.0)
        for (sy, sx), (dy, dx) in zip(source[0].tolist(), dest[0].tolist(), strict=True):
            assert warped[0, :, int(dy), int(dx)].tolist() == pytest.approx([sy, sx], abs=1e-9)
            assert flow[0, int(dy), int(dx)].tolist() == pytest.approx([dy - sy, dx - sx], abs=1e-9)
        for row, column in ((0, 0), (0, 43), (29, 0), (29, 43)):
            assert flow[0, row, column].abs().max() < 1e-9

    @pytest.mark.parametrize("regularization", [0.0, 0.1])
    @pytest.mark.parametrize("order", [1, 2])
    def test_flow_is_scipys_spline(self, order: int, regularization: float) -> None:
        """scipy's linear kernel is -r, so its smoothing counts the other way; on a centre it is 0, ours sqrt(1e-10)."""
        _, source, dest = face_like(1, 32)
        boundary = boundary_points(32, 32, 2)
        centers = torch.cat([dest[0], boundary]).numpy()
        displacement = torch.cat([dest[0] - source[0], torch.zeros_like(boundary)]).numpy()
        kernel, smoothing = {1: ("linear", -regularization - 1e-5), 2: ("thin_plate_spline", regularization)}[order]
        spline = RBFInterpolator(centers, displacement, kernel=kernel, degree=1, smoothing=smoothing)
        pixels = np.stack(np.mgrid[:32, :32], -1).reshape(-1, 2).astype(float)
        _, flow = sparse_image_warp(torch.zeros(1, 1, 32, 32, dtype=torch.float64), source, dest, order, regularization)
        np.testing.assert_allclose(flow[0].reshape(-1, 2).numpy(), spline(pixels), rtol=0, atol=1e-6)

    def test_a_batch_is_its_samples(self) -> None:
        image, source, dest = face_like(3, 37)
        warped, flow = sparse_image_warp(image, source, dest)
        for i in range(3):
            one = slice(i, i + 1)
            torch.testing.assert_close(
                sparse_image_warp(image[one], source[one], dest[one]), (warped[one], flow[one]), rtol=0, atol=1e-12
            )

    def test_pixels_beyond_the_border_repeat_it(self) -> None:
        image = torch.arange(20.0, dtype=torch.float64).expand(1, 1, 20, 20).contiguous()
        source = torch.tensor([[[2.0, 2.0], [2.0, 17.0], [17.0, 2.0]]], dtype=torch.float64)
        warped, _ = sparse_image_warp(image, source, source + torch.tensor([0.0, 5.0]), 1, 0.0, 0)
        torch.testing.assert_close(warped[0, 0, 0], (torch.arange(20.0, dtype=torch.float64) - 5).clamp(min=0))


class TestPrecision:
    def test_float32_picture_at_224_is_that_of_float64(self) -> None:
        generator = torch.Generator().manual_seed(3)
        image = torch.rand(2, 3, 224, 224, generator=generator)
        source = 30 + 160 * torch.rand(2, 68, 2, generator=generator)
        dest = source + 3 * torch.randn(2, 68, 2, generator=generator)
        exact, _ = sparse_image_warp(image.double(), source.double(), dest.double())
        assert (sparse_image_warp(image, source, dest)[0] - exact).abs().max() < 1e-6

    def test_float32_flow_at_224_is_that_of_float64(self) -> None:
        image, source, dest = (tensor.float() for tensor in face_like(1, 224))
        _, exact = sparse_image_warp(image.double(), source.double(), dest.double())
        warped, flow = sparse_image_warp(image, source, dest)
        assert warped.dtype == flow.dtype == torch.float32
        torch.testing.assert_close(flow.double(), exact, rtol=0, atol=1e-6)

    def test_autocast_and_mixed_dtypes_do_not_change_the_flow(self) -> None:
        image, source, dest = face_like(2, 48)
        expected, expected_flow = sparse_image_warp(image, source.float(), dest.float())
        image16, dest32 = image.bfloat16().requires_grad_(), dest.float().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            warped, flow = sparse_image_warp(image16, source.float(), dest32)
            warped.float().square().sum().backward()
        assert warped.dtype == torch.bfloat16 and flow.dtype == torch.float32
        torch.testing.assert_close(flow, expected_flow, rtol=0, atol=1e-6)
        torch.testing.assert_close(warped.double(), expected, rtol=0, atol=0.01)

        dest64 = dest.float().requires_grad_()
        sparse_image_warp(image16.detach().float(), source.float(), dest64)[0].square().sum().backward()
        assert dest32.grad is not None and dest64.grad is not None
        difference = (dest32.grad - dest64.grad).norm() / dest64.grad.norm()
        assert difference < 0.02  # the picture's own bfloat16 rounding

    def test_low_matmul_precision_does_not_reach_the_warp(self) -> None:
        image, source, dest = (tensor.float() for tensor in face_like(1, 64))
        expected = sparse_image_warp(image, source, dest)[1]
        before = torch.get_float32_matmul_precision()
        try:
            torch.set_float32_matmul_precision("medium")
            torch.testing.assert_close(sparse_image_warp(image, source, dest)[1], expected, rtol=0, atol=0)
        finally:
            torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("block", [1, 76 * 64 * 10, 76 * 64 * 64 * 2, 2**26])
def test_size_of_the_blocks_changes_nothing(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    image, source, dest = face_like(3, 64)
    found = []
    for size in (warp.CPU_BLOCK, block):
        monkeypatch.setattr(warp, "CPU_BLOCK", size)
        moved = dest.clone().requires_grad_()
        warped, flow = sparse_image_warp(image, source, moved)
        warped.square().sum().backward()
        found.append((warped, flow, moved.grad))
    for seen, expected in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(seen, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_peak_memory_of_16_pictures_with_gradients() -> None:
    """Less than 1 GB above what PyTorch and the pictures take; all of phi at once would be 0.5 GB in float32 alone."""
    code = """
import torch
from speech2face.models import warp
from speech2face.models.warp import sparse_image_warp
def peak():  # ru_maxrss would start at the parent's
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
torch.manual_seed(0)
image = torch.rand(16, 3, 224, 224, requires_grad=True)
source = torch.rand(16, 68, 2) * 180 + 20
dest = (source + torch.randn(16, 68, 2)).requires_grad_()
sparse_image_warp(image[:1, :, :8, :8], source[:1], dest[:1])[0].sum().backward()
before = peak()
sparse_image_warp(image, source, dest)[0].square().sum().backward()
print(peak() - before)
"""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert 0 < float(run.stdout) < 300  # MB; the limit is 1024


class TestErrors:
    image = torch.zeros(1, 1, 16, 16)
    points = torch.tensor([[[3.0, 3.0], [3.0, 12.0], [12.0, 5.0]]])

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"image": torch.zeros(1, 16, 16)}, r"image must be .* \[B, C, H, W\].*\[1, 16, 16\]"),
            ({"image": torch.zeros(1, 1, 16, 1)}, "H, W >= 2"),
            ({"image": torch.zeros(1, 1, 16, 16, dtype=torch.uint8)}, "image must be floating point.*uint8"),
            ({"source": torch.zeros(1, 3, 3)}, r"source must be .*\[B, N, 2\]"),
            ({"dest": torch.zeros(3, 2)}, r"dest must be .*\[B, N, 2\]"),
            ({"dest": points.long()}, "dest must be floating point"),
            ({"source": points[:, :2]}, "must agree"),
            ({"source": points.repeat(2, 1, 1), "dest": points.repeat(2, 1, 1)}, "must agree"),
            ({"order": 3}, r"order must be one of \(1, 2\) \(got 3\)"),
            ({"regularization": -0.1}, r"regularization must be at least 0 .*\(got -0.1\)"),
            ({"regularization": float("nan")}, "regularization must be at least 0"),
            ({"num_boundary_points": -1}, r"num_boundary_points must be at least 0 \(got -1\)"),
            ({"source": points * float("nan")}, "source has points that are NaN"),
            ({"dest": points / 0}, "dest has points that are NaN or infinite"),
            ({"dest": points[:, [0, 0, 2]], "regularization": 0.0}, "coincide"),
            ({"dest": points.index_fill(1, torch.tensor([0]), 0.0), "regularization": 0.0}, "coincide"),
            ({"dest": points[:, [0, 1, 1]], "num_boundary_points": 0}, "on one line"),
            ({"dest": points[:, :2], "source": points[:, :2], "num_boundary_points": 0}, "on one line"),
        ],
    )
    def test_bad_input_is_a_value_error(self, arguments: dict, message: str) -> None:
        good = {"image": self.image, "source": self.points, "dest": self.points}
        with pytest.raises(ValueError, match=message):
            sparse_image_warp(**(good | arguments))

    def test_coinciding_points_are_fine_with_regularization(self) -> None:
        dest = self.points[:, [0, 0, 2]]
        warped, flow = sparse_image_warp(torch.rand(1, 1, 16, 16), self.points, dest, order=1, regularization=0.1)
        assert warped.isfinite().all() and flow.isfinite().all()
