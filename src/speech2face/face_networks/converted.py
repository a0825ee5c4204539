"""The form in which face networks are kept and loaded: a safetensors file, mapped into memory.

Its pages are read when they are needed and shared by all processes that map it. `files/` writes it, `store.py` finds it.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

if TYPE_CHECKING:  # not otherwise: the process that writes such a file does without PyTorch's seconds
    from torch import Tensor

SUFFIX = ".safetensors"
DESCRIPTION_KEY = "network"
"""Of the safetensors' metadata, the only one; its value is a json object whose key `kind` says which network it is."""


def read_converted(path: Path, kind: str) -> tuple[dict[str, "Tensor"], dict[str, Any]]:
    """The tensors of a converted network, on the CPU and not to be written to, and its description.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a converted network of this kind.
    """
    try:
        with safe_open(path, framework="pt") as file:
            description = json.loads((file.metadata() or {}).get(DESCRIPTION_KEY, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}): remove it, and it is made again") from error
    if description.get("kind") != kind:
        raise ValueError(f"{path} must be a converted network of kind {kind} (got {description.get('kind')})")
    return tensors, description
