"""Time and peak memory of a step of the published encoder on a whole batch and in micro-batches (S2F_MICRO_BATCH).

    python benchmarks/micro_batches.py [--device cpu] [--width 16] [--batch 32] [--precision float32]

Each in a process of its own. On a GPU memory is that of the GPU, else all of the process, less what it has before the first step; on a
CPU the rows that wait are a part of that.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

import torch

from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.training.micro_batches import over_micro_batches

FRAMES, STEPS = 601, 3


def step(network: VoiceEncoder, optimizer: torch.optim.Optimizer, clips: torch.Tensor, precision: str) -> None:
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(clips.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        predicted = network(clips)
    predicted.float().square().mean().backward()
    optimizer.step()


def measure(device: torch.device, width: int, batch: int, precision: str) -> None:
    torch.set_num_threads(1)
    network = VoiceEncoder(width, 4096, 64 * width).to(device, memory_format=torch.channels_last).train()
    over_micro_batches(network.convolutions)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-5, fused=True)
    clips = torch.randn(batch, 2, 257, FRAMES, device=device).contiguous(memory_format=torch.channels_last)
    before, used = peak_bytes(device), 0.0
    for number in range(STEPS):
        started = time.process_time() if device.type == "cpu" else time.perf_counter()
        step(network, optimizer, clips, precision)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        ended = time.process_time() if device.type == "cpu" else time.perf_counter()
        used = ended - started if not number else min(used, ended - started)
    print(f"{used:.2f} s a step, {(peak_bytes(device) - before) / 2**20:.0f} MiB", flush=True)


def peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.device, arguments.width, arguments.batch, arguments.precision)
        return
    for size in (None, arguments.batch // 4, 1):
        name = "whole batch" if size is None else f"micro-batches of {size}"
        print(f"{arguments.batch} clips, {name}: ", end="", flush=True)
        environment = {name: value for name, value in os.environ.items() if name != "S2F_MICRO_BATCH"}
        environment |= {} if size is None else {"S2F_MICRO_BATCH": str(size)}
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--measure"], env=environment, check=True)


if __name__ == "__main__":
    main()
