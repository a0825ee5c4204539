"""Checkpoints: everything that the rest of a run depends on, written atomically, read without unpickling code."""

import pickle
from pathlib import Path
from typing import Any

import torch

from speech2face.pipeline.atomic import replacing


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors, numbers, strings, lists and dictionaries; the old checkpoint stays until the new one is complete."""
    with replacing(path) as partial:
        torch.save(state, partial)


def load_checkpoint(path: Path, map_location: torch.device) -> dict[str, Any] | None:
    """The state saved at `path`, or None if there is none. Raises ValueError if the file is damaged."""
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({type(error).__name__}); delete it to train from the start") from None
