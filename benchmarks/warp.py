"""Time and memory of the sparse image warp, forward and backward, against the same spline with autograd and with scipy.

    python benchmarks/warp.py [--batch 16] [--threads 1]

Pictures of 224 x 224, 68 landmarks, order 1, regularization 0.1, 2 boundary points, float32. Each line is a process of
its own. It shows milliseconds a picture (fastest of five runs) and peak memory, less that of PyTorch and the pictures.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from scipy.interpolate import RBFInterpolator
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
from speech2face.models.warp import boundary_points, sparse_image_warp

SIZE_PX = 224
RUNS = 5


def ours(image: Tensor, source: Tensor, dest: Tensor) -> None:
    warped, _ = sparse_image_warp(image, source, dest)
    warped.square().sum().backward()


def ours_forward(image: Tensor, source: Tensor, dest: Tensor) -> None:
    with torch.no_grad():
        sparse_image_warp(image, source, dest)


def autograd(image: Tensor, source: Tensor, dest: Tensor) -> None:
    """The same float64 spline in the plainest PyTorch: every distance at once, gradients by autograd."""
    boundary = boundary_points(SIZE_PX, SIZE_PX, 2).expand(len(image), -1, -1)
    centers = torch.cat([dest.double(), boundary], 1)
    displacement = torch.cat([(dest - source).double(), torch.zeros_like(boundary)], 1)
    linear = torch.cat([centers, torch.ones_like(centers[..., :1])], 2)
    phi = ((centers[:, :, None] - centers[:, None]).square().sum(-1).clamp(min=1e-10)).sqrt()
    phi = phi + 0.1 * torch.eye(phi.shape[1], dtype=phi.dtype)
    zeros = torch.zeros(len(image), 3, 3, dtype=phi.dtype)
    system = torch.cat([torch.cat([phi, linear], 2), torch.cat([linear.mT, zeros], 2)], 1)
    solution = torch.linalg.solve(system, torch.cat([displacement, zeros[..., :2]], 1))
    axis = torch.arange(SIZE_PX, dtype=torch.float64)
    pixels = torch.cartesian_prod(axis, axis)
    basis = (pixels[:, None] - centers[:, None]).square().sum(-1).clamp(min=1e-10).sqrt()
    affine = torch.cat([pixels, torch.ones_like(pixels[:, :1])], 1).expand(len(image), -1, -1)
    flow = torch.cat([basis, affine], 2) @ solution
    grid = ((pixels - flow) * 2 / (SIZE_PX - 1) - 1).flip(-1).reshape(-1, SIZE_PX, SIZE_PX, 2).float()
    warped = torch.nn.functional.grid_sample(image, grid, padding_mode="border", align_corners=True)
    warped.square().sum().backward()


def scipy_flow(image: Tensor, source: Tensor, dest: Tensor) -> None:
    """The flow alone, without picture and gradients."""
    axis = torch.arange(SIZE_PX, dtype=torch.float64)
    pixels = torch.cartesian_prod(axis, axis).numpy()
    boundary = boundary_points(SIZE_PX, SIZE_PX, 2)
    for start, end in zip(source.detach().double(), dest.detach().double(), strict=True):
        displacement = torch.cat([end - start, torch.zeros_like(boundary)])
        spline = RBFInterpolator(torch.cat([end, boundary]), displacement, kernel="linear", smoothing=-0.1, degree=1)
        spline(pixels)


METHODS: dict[str, Callable[[Tensor, Tensor, Tensor], None]] = {
    "speech2face, forward and backward": ours,
    "speech2face, forward": ours_forward,
    "plain autograd, forward and backward": autograd,
    "scipy, flow only": scipy_flow,
}


def peak_mb() -> float:
    """Peak resident memory; Linux's VmHWM, as ru_maxrss starts at the parent's."""
    with Path("/proc/self/status").open() as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def measure(name: str, batch: int, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    image = torch.rand(batch, 3, SIZE_PX, SIZE_PX, requires_grad=True)
    source = 20 + 180 * torch.rand(batch, 68, 2)
    dest = (source + torch.randn(batch, 68, 2)).requires_grad_()
    ours(image[:1], source[:1], dest[:1])  # loads the libraries
    before = peak_mb()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        METHODS[name](image, source, dest)
        times.append(time.perf_counter() - start)
    print(f"{name:38} {1000 * min(times) / batch:8.1f} ms a picture {peak_mb() - before:8.0f} MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--method", choices=METHODS, help="measure this one, in this process")
    arguments = parser.parse_args()
    if arguments.method:
        measure(arguments.method, arguments.batch, arguments.threads)
        return
    print(f"batch {arguments.batch}, {arguments.threads} thread(s)", flush=True)
    for name in METHODS:
        options = ["--batch", str(arguments.batch), "--threads", str(arguments.threads), "--method", name]
        subprocess.run([sys.executable, __file__, *options], check=True)


if __name__ == "__main__":
    main()
