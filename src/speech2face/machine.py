"""What only changes speed comes from the environment, so that one dvc.lock serves every machine."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def num_workers() -> int:
    """Worker processes of a map over shards: `S2F_WORKERS`, else the processors that this process may use.

    Raises ValueError if the setting is not a whole number of at least 1.
    """
    text = os.environ.get("S2F_WORKERS")
    if text is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not text.isdigit() or int(text) < 1:
        raise ValueError(
            f"S2F_WORKERS must be a whole number of at least 1 (got {text!r}); unset it to use all processors"
        )
    return int(text)


def device() -> "torch.device":
    """Where networks run: `S2F_DEVICE` (for example cpu, cuda, cuda:1), else the first GPU, else the CPU.

    Raises ValueError if the setting names no device or one that this machine lacks.
    """
    import torch  # here, because a stage that only lists files does without its half gigabyte

    text = os.environ.get("S2F_DEVICE")
    if text is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=torch.device(text))
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0]
        raise ValueError(
            f"S2F_DEVICE must name a device of this machine (got {text!r}: {why}); unset it for the default"
        ) from None
    return torch.device(text)
