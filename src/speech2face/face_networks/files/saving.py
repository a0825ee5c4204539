"""A converted network: tensors and a description in one safetensors file, named by the digest of both."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from speech2face.face_networks.converted import DESCRIPTION_KEY, SUFFIX
from speech2face.face_networks.files.isolated import IsolationError
from speech2face.pipeline.atomic import replacing


def save(directory: Path, tensors: Mapping[str, np.ndarray], description: dict[str, Any]) -> str:
    """Write `<digest>.safetensors` into `directory`, unless it is there, and return the digest.

    Raises IsolationError if it cannot be written.
    """
    tensors = {name: np.asarray(array, order="C") for name, array in tensors.items()}  # safetensors takes any for such
    text = json.dumps(description, sort_keys=True, allow_nan=False)
    digest = content_digest(tensors, text)
    path = directory / f"{digest}{SUFFIX}"
    try:
        if not path.is_file():
            with replacing(path) as partial:
                save_file(tensors, partial, metadata={DESCRIPTION_KEY: text})
    except (OSError, SafetensorError) as error:
        raise IsolationError(f"{path} cannot be written ({error}): make room, or let it be written") from error
    return digest


def content_digest(tensors: Mapping[str, np.ndarray], description: str) -> str:
    """SHA-256 of names, types, shapes, numbers and the description: the same whatever file they came from."""
    names = sorted(tensors)
    header = [[name, tensors[name].dtype.str, tensors[name].shape] for name in names]
    digest = hashlib.sha256(json.dumps([header, description]).encode())
    for name in names:
        digest.update(np.asarray(tensors[name], order="C").reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
