"""VGG-Face weights in PyTorch's files: a state_dict with the keys and shapes of the public `vgg_face_dag.pth`."""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from speech2face.face_networks.vgg_face_layout import another_network, check_names, check_size


def read(path: Path) -> tuple[str, dict[str, np.ndarray]]:
    """Read a state_dict, zipped or as before PyTorch 1.6. Nothing but tensors is unpickled.

    Returns:
        "pytorch" and the arrays by the names of `VggFace.state_dict`, as they lie in the file; bfloat16 as float32.

    Raises:
        ValueError: another network, something else than a state_dict, a pickle that asks for more than tensors.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"asks for {wanted[1]}" if wanted else "is damaged or asks for more than tensors"
        raise ValueError(f"the pickle in it {what}; it was refused and nothing in it was run") from error
    if not isinstance(content, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise another_network("the file must hold a state_dict, names to tensors, and nothing else")
    check_names(content)
    return "pytorch", {name: _array(name, tensor) for name, tensor in content.items()}


def _array(name: str, tensor: Tensor) -> np.ndarray:
    check_size(name, tensor.shape, is_dense=tensor.layout == torch.strided and not tensor.is_meta)
    if not tensor.is_floating_point():
        raise ValueError(f"{name} must be floating point (got {tensor.dtype})")
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy()
