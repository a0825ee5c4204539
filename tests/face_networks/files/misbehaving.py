"""Readers of files that do what a damaged file may make a parser do; run only in a process of its own."""

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from speech2face.face_networks.files.isolated import IsolationError


def whole(path: Path, argument: str) -> dict[str, str]:
    return {"content": path.read_text(), "argument": argument}


def find_nothing(path: Path) -> None:
    raise FileNotFoundError("no model in the folder")


def write_nothing(path: Path) -> None:
    raise IsolationError("the disk is full")


def refuse(path: Path) -> None:
    raise ValueError(f"{path.name} is not what \x1b[31mit should be\nand more")


def fail(path: Path) -> None:
    raise KeyError(path.name)


def crash(path: Path) -> None:
    ctypes.string_at(0)


def hang(path: Path) -> None:
    while True:
        time.sleep(0.01)


def take_memory(path: Path) -> None:
    np.empty(2**28)  # 2 GiB, never touched


def take_memory_in_torch(path: Path) -> None:
    import torch

    torch.empty(2**29)


def be_killed(path: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave(path: Path) -> None:
    sys.exit(7)
