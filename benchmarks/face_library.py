"""dlib's networks by dlib and by PyTorch, on one CPU in one run: milliseconds, ratios and peak memory.

Usage: python benchmarks/face_library.py [--threads 1 2] [--repeats 5]

Every measurement runs in a process of its own, because libraries keep their threads and their memory. Times are the best of
the repeats, because other work on the machine only adds time. dlib's networks always run on one thread.
Memory is the peak resident set during the calls, less that before them with library and model loaded (Linux only).
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

FACES_FOLDER = Path(__file__).parents[1] / "tests" / "golden" / "faces"
SIZES = {"224x224": (224, 224), "640x480": (640, 480)}  # width, height
BATCH_SIZES = (1, 8, 32)


def face_picture(width: int, height: int) -> np.ndarray:
    """A rendered face, uint8 [height, width, 3]."""
    path = sorted(FACES_FOLDER.glob("*.jpg"))[0]
    return np.array(Image.open(path).convert("RGB").resize((width, height)))


def dlib_task(task: str, size: str) -> tuple[Callable[[], object], int]:
    """A call of dlib, and how many pictures it handles."""
    import dlib

    from speech2face.dlib_nets.weights import DETECTOR, EMBEDDER, model_path

    if task == "detector":
        detector = dlib.cnn_face_detection_model_v1(str(model_path(DETECTOR)))
        picture = face_picture(*SIZES[size])
        return lambda: detector(picture, 0), 1
    embedder = dlib.face_recognition_model_v1(str(model_path(EMBEDDER)))
    chips = [face_picture(150, 150)] * int(size)
    return lambda: embedder.compute_face_descriptor(chips), int(size)


def torch_task(task: str, size: str, threads: int) -> tuple[Callable[[], object], int]:
    """The same call of this project."""
    import torch

    from speech2face.dlib_nets import load_detector, load_embedder

    torch.set_num_threads(threads)
    if task == "detector":
        detector = load_detector(device="cpu")
        picture = torch.from_numpy(face_picture(*SIZES[size]))[None]
        return lambda: detector(picture), 1
    embedder = load_embedder(device="cpu")
    chip = torch.from_numpy(face_picture(150, 150)).permute(2, 0, 1).float()
    chips = chip.repeat(int(size.split()[0]), 1, 1, 1)
    if size.endswith("backward"):
        chips.requires_grad_()
        return lambda: torch.autograd.grad(embedder(chips).sum(), chips), len(chips)
    return lambda: embedder(chips), len(chips)


def measure(library: str, task: str, size: str, threads: int, repeats: int) -> dict[str, float]:
    """Milliseconds for each picture, and the MB that the calls took."""
    call, num_pictures = dlib_task(task, size) if library == "dlib" else torch_task(task, size, threads)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before_kb = status_kb("VmRSS")
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return {"ms": 1e3 * min(seconds) / num_pictures, "mb": (status_kb("VmHWM") - before_kb) / 1e3}


def status_kb(field: str) -> int:
    """A memory figure of this process in kB: VmRSS, resident now; VmHWM, its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def in_a_process(*arguments: str | int) -> dict[str, float]:
    """`measure` in a process of its own."""
    command = [sys.executable, __file__, "--measure", *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Print one line for each task, size and number of threads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--measure", nargs=5, metavar=("ENGINE", "TASK", "SIZE", "THREADS", "REPEATS"))
    options = parser.parse_args()
    if options.measure:
        library, task, size, threads, repeats = options.measure
        print(json.dumps(measure(library, task, size, int(threads), int(repeats))))
        return
    print(
        f"{'task':<10}{'size':<14}{'threads':>8}{'dlib ms':>10}{'torch ms':>10}{'ratio':>8}{'dlib MB':>9}{'torch MB':>10}"
    )
    tasks = [("detector", size) for size in SIZES] + [("embedder", str(size)) for size in BATCH_SIZES]
    for task, size in tasks:
        theirs = in_a_process("dlib", task, size, 1, options.repeats)
        for threads in options.threads:
            ours = in_a_process("torch", task, size, threads, 3 * options.repeats)
            print(f"{task:<10}{size:<14}{threads:>8}{theirs['ms']:>10.1f}{ours['ms']:>10.2f}"
                  f"{theirs['ms'] / ours['ms']:>8.1f}{theirs['mb']:>9.0f}{ours['mb']:>10.0f}", flush=True)  # fmt: skip
    for threads in options.threads:
        ours = in_a_process("torch", "embedder", "32 backward", threads, options.repeats)
        print(
            f"{'embedder':<10}{'32 + backward':<14}{threads:>8}{'':>10}{ours['ms']:>10.2f}{'':>8}{'':>9}{ours['mb']:>10.0f}"
        )


if __name__ == "__main__":
    main()
