"""Readers of files that do what a damaged file may make a parser do; run only in a process of its own."""

import ctypes
import sys
import time
from pathlib import Path

import numpy as np


def whole(path: Path) -> bytes:
    return path.read_bytes()


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


def leave(path: Path) -> None:
    sys.exit(7)


def name_heavy_modules(path: Path) -> None:
    from speech2face.face_networks.files import keras_h5, matlab

    raise ValueError(f"{keras_h5.__name__}, {matlab.__name__}, {sorted({'torch', 'onnx'} & set(sys.modules))}")
