"""What it costs to load a VGG-Face weight file: the first time, again, and in several processes at once.

python benchmarks/weight_store.py WEIGHTS [--processes 2]

Each load is in a fresh process, after its imports, and converts into a temporary folder. Memory is Linux's, after one crop has been
embedded: resident memory counts pages that processes share once for each of them, the proportional part once for all.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from speech2face.face_networks import load_vgg_face, vgg_face_file

FIELDS = ("Rss", "Pss", "Private_Dirty")


def memory_mb() -> list[float]:
    """This process's, as `FIELDS`."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    sizes = {name: int(size.split()[0]) for name, size in (line.split(":") for line in lines)}
    return [sizes[name] * 1024 / 1e6 for name in FIELDS]


def load(path: Path) -> None:
    """In a process of its own: say how long it took; once all processes are ready (a line comes in), say what it takes of memory."""
    assert vgg_face_file  # imported before the clock starts
    before, start = memory_mb(), time.perf_counter()
    network = load_vgg_face(path)
    seconds = time.perf_counter() - start
    network.embed(torch.rand(1, 3, 224, 224))
    print(seconds, flush=True)
    sys.stdin.readline()
    print(*(after - b for after, b in zip(memory_mb(), before, strict=True)), flush=True)
    sys.stdin.readline()


def measure(path: Path, count: int, store: str) -> tuple[float, list[float]]:
    """Longest load in seconds of `count` processes at once, and their memory together in MB, as `FIELDS`, without that before loading."""
    command = [sys.executable, __file__, "--load", str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": os.environ | {"DVC_ROOT": store}}
    processes = [subprocess.Popen(command, **pipes) for _ in range(count)]
    seconds = [float(process.stdout.readline()) for process in processes]
    for process in processes:
        print(file=process.stdin, flush=True)
    sizes = [[float(size) for size in process.stdout.readline().split()] for process in processes]
    for process in processes:
        process.communicate("\n")
    return max(seconds), [sum(column) for column in zip(*sizes, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--load", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load:
        load(arguments.weights)
        return
    with tempfile.TemporaryDirectory() as store:
        for what, count in (("first load", 1), ("second load", 1), ("at once", arguments.processes)):
            seconds, sizes = measure(arguments.weights, count, store)
            memory = ", ".join(f"{name} {size:,.0f} MB" for name, size in zip(FIELDS, sizes, strict=True))
            print(f"{what:12} {count} processes: {seconds:5.1f} s; together {memory}")


if __name__ == "__main__":
    main()
