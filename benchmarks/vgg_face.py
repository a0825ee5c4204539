"""VGG-Face on this machine: crops a second at several batch sizes, and the share of the fastest matrix product.

python benchmarks/vgg_face.py [WEIGHTS] [--gradient]

Without a weight file the network has random weights, which take the same time.
"""

import argparse
import os
import resource
import time
from collections.abc import Callable

import torch

from make_vgg_face_weights import random_state
from speech2face.face_networks import load_vgg_face
from speech2face.face_networks.vgg_face import VggFace
from speech2face.face_networks.vgg_face_layout import CONVS_PER_BLOCK, FC_NAMES, SIZE_PX


def random_network() -> VggFace:
    network = VggFace().eval().requires_grad_(False)
    network.load_state_dict(random_state(seed=0))
    return network


def operations_per_crop(network: VggFace) -> float:
    """Multiplications and additions of one forward pass: two for each weight at each place. Products with the padding do not count,
    because oneDNN leaves them out."""
    total = 2 * sum(network.get_submodule(name).weight.numel() for name in FC_NAMES[:2])  # embed ends at fc7
    for block, count in enumerate(CONVS_PER_BLOCK, 1):
        side = SIZE_PX // 2 ** (block - 1)
        taps = (3 * side - 2) ** 2 / 9  # 3 x 3 at each place, one row or column fewer at the edges
        for index in range(1, count + 1):
            total += 2 * taps * network.get_submodule(f"conv{block}_{index}").weight.numel()
    return total


def best_s(function: Callable[[], object], device: torch.device, repeats: int) -> float:
    times = []
    for turn in range(repeats + 1):
        start = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if turn:  # the first run warms up
            times.append(time.perf_counter() - start)
    return min(times)  # other work on the machine only adds time


def matrix_peak(device: torch.device) -> float:
    """Most operations a second of a float32 product of square matrices, over some sizes and two ways to compute it.

    The ways are a matrix product and a convolution of 1 x 1. On a CPU, PyTorch computes them with two libraries (MKL and oneDNN),
    and either may be faster.
    """
    best = 0.0
    for size in (512, 1024, 2048, 4096):
        left, right = torch.rand(2, size, size, device=device)
        pixels, weights = left.T.reshape(1, size, size, 1), right.T.reshape(size, size, 1, 1)
        torch.testing.assert_close(torch.conv2d(pixels, weights)[0, :, :, 0].T, left @ right)
        for product in (lambda a=left, b=right: a @ b, lambda p=pixels, w=weights: torch.conv2d(p, w)):
            best = max(best, 2 * size**3 / best_s(product, device, 20))
    return best


def memory_mb(device: torch.device) -> float:
    """The process's peak so far (kB in Linux's ru_maxrss), or the device's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="?")
    parser.add_argument("--gradient", action="store_true", help="forward and backward with respect to the crops")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    device = torch.device(os.environ.get("S2F_DEVICE", "cpu"))
    start = time.perf_counter()
    network = (load_vgg_face(arguments.weights) if arguments.weights else random_network()).to(device)
    print(f"load {time.perf_counter() - start:.1f} s, peak memory {memory_mb(device):,.0f} MB")
    print(f"{device}, {torch.get_num_threads()} threads")
    operations = operations_per_crop(network) * (2 if arguments.gradient else 1)  # twice: no gradient of weights

    for batch_size in (1, 8, 32):
        crops = torch.rand(batch_size, 3, SIZE_PX, SIZE_PX, device=device, requires_grad=arguments.gradient)

        def run(crops: torch.Tensor = crops) -> None:
            with torch.set_grad_enabled(arguments.gradient):
                features = network.embed(crops)
                if arguments.gradient:
                    torch.autograd.grad(features.sum(), crops)

        seconds = best_s(run, device, arguments.repeats)
        peak = matrix_peak(device)  # measured again for each batch: the processor's clock changes
        share = operations * batch_size / seconds / peak
        print(
            f"batch {batch_size:2d}: {batch_size / seconds:6.2f} crops/s, {share:4.0%} of the {peak / 1e9:,.0f} GFLOP/s of a product, "
            f"peak memory {memory_mb(device):,.0f} MB"
        )


if __name__ == "__main__":
    main()
