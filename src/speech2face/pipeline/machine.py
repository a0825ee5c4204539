"""What only changes speed comes from the environment, so that one dvc.lock serves every machine."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING

from speech2face.pipeline.rejects import first_line

if TYPE_CHECKING:
    import torch

GPUS_PER_WORKER = 0.25
"""Each holds its own copy of the network there. Several, because its threads cannot find landmarks side by side: dlib holds Python's lock
for 2.6 ms a face."""
LEAST_GPUS_PER_WORKER = 0.01

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Of glibc's malloc.h: how much free memory is kept, by how much the heap grows, and how many blocks at once may be taken past it."""

worker = 0
"""Number of this process among the workers of a map over shards, from 0; the engine sets it."""


def num_workers(on_device: bool = False) -> int:
    """Worker processes of a map over shards: `S2F_WORKERS`, else the processors that this process may use; for work whose networks run
    `on_device`, where that is a GPU, at most as many as share each GPU that `device` may give.

    Raises ValueError if a setting is out of range.
    """
    if (asked := asked_workers()) is not None:
        return asked
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if on_device and device().type == "cuda":
        import torch

        num_gpus = torch.cuda.device_count() if "S2F_DEVICE" not in os.environ else 1
        return min(processors, num_gpus * int(1 / gpus_per_worker()))
    return processors


def asked_workers() -> int | None:
    """`S2F_WORKERS`; None where it is not set. Raises ValueError if it is not a whole number of at least 1."""
    return _asked("S2F_WORKERS")


def gpus_per_worker() -> float:
    """The share of a GPU that a worker of a map over shards has: `S2F_GPUS_PER_WORKER`, else `GPUS_PER_WORKER`.

    Raises ValueError if the setting is not between `LEAST_GPUS_PER_WORKER` and 1.
    """
    text = os.environ.get("S2F_GPUS_PER_WORKER", str(GPUS_PER_WORKER))
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not LEAST_GPUS_PER_WORKER <= share <= 1:
        raise ValueError(
            f"S2F_GPUS_PER_WORKER must be a number from {LEAST_GPUS_PER_WORKER} to 1 (got {text!r}); unset it for the default"
        )
    return share


def num_processes(on: "torch.device", batch_size: int | None = None) -> int:
    """Processes that train one network together, on devices of the kind of `on`, which `device` gave: `S2F_PROCESSES`, else one for each
    GPU that `device` may give, or for as many of them as divide `batch_size`, and one on a CPU.

    Raises ValueError if the setting is not a whole number of at least 1, or greater than the number of GPUs where networks run there.
    """
    import torch

    asked = _asked("S2F_PROCESSES")
    if asked == 1 or on.type == "cpu":
        return asked or 1
    most = torch.cuda.device_count() if "S2F_DEVICE" not in os.environ else 1
    if asked is not None and asked > most:
        raise ValueError(
            f"S2F_PROCESSES must be at most {most}, the number of GPUs to train on (got {asked}); unset it for the default, or set "
            "S2F_DEVICE=cpu to train on processors"
        )
    return asked or max(n for n in range(1, most + 1) if batch_size is None or batch_size % n == 0)


def micro_batch() -> int | None:
    """Rows of a training's batch that each process works on at a time: `S2F_MICRO_BATCH`; None where it is not set, for all.

    Raises ValueError if it is not a whole number of at least 1.
    """
    return _asked("S2F_MICRO_BATCH")


def _asked(setting: str) -> int | None:
    text = os.environ.get(setting)
    if text is not None and (not text.isdigit() or int(text) < 1):
        raise ValueError(f"{setting} must be a whole number of at least 1 (got {text!r}); unset it for the default")
    return None if text is None else int(text)


def device() -> "torch.device":
    """Where networks run: `S2F_DEVICE` (for example cpu, cuda:1), else a GPU (workers of a map over shards take turns among all), else
    the CPU. From then on convolutions on GPUs compute in full float32, as on a CPU (PyTorch's default there, TF32, keeps 10 bits), and the
    process keeps the memory that it has had (`keep_memory`).

    Raises ValueError if the setting names no device or one that this machine lacks.
    """
    import torch  # here, because a stage that only lists files does without its half gigabyte

    torch.backends.cudnn.allow_tf32 = False
    keep_memory()
    text = os.environ.get("S2F_DEVICE")
    if text is None:
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", worker % torch.cuda.device_count())
    try:
        torch.empty(0, device=torch.device(text))
    except (RuntimeError, AssertionError) as error:
        why = first_line(error)
        raise ValueError(
            f"S2F_DEVICE must name a device of this machine (got {text!r}: {why}); unset it for the default"
        ) from None
    return torch.device(text)


@contextmanager
def threads(on_device: bool = False) -> Iterator[ThreadPool]:
    """A pool of `num_workers(on_device)` threads, one of which does the whole of a piece of work: PyTorch lets threads compute side by
    side, and a small piece keeps few threads of its own busy."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPool(num_workers(on_device)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)


def keep_memory() -> None:
    """Make this process keep the memory that it frees, for what it needs next; where the C library is not glibc, nothing changes.

    A network frees and takes the same blocks of tens of megabytes in every step. glibc gives those above 32 MiB back at once, and the
    system clears each page of them when it is touched again: a fifth of a training step on processors.
    """
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 2**28)  # room to spare, so that blocks find a place among those of before
