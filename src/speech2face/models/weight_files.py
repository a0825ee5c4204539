"""Weight files that rebuild their own network: `<name>.safetensors` and beside it `<name>.json` with the dimensions, and what else
there is to say about it.

Nothing is unpickled. The same text stands in the safetensors' own metadata, so that two files of different saves are noticed.
"""

import hashlib
import json
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from speech2face.pipeline.atomic import replacing, write_text

SUFFIX = ".safetensors"
METADATA_KEY = "network"

Dimension = int | float | str | bool
Network = TypeVar("Network", bound=nn.Module)


def save_network(
    module: nn.Module, path: str | Path, about: Mapping[str, Any] | None = None, **dimensions: Dimension
) -> None:
    """Write a network's weights and buffers, and the arguments that rebuild it.

    Args:
        path: with or without `.safetensors`.
        about: what else the file shall say of the network, as JSON (`read_about`).
        dimensions: arguments of the module's class, as `feature_dim=128`.

    Raises:
        ValueError: if a weight is NaN or infinite, or the dimensions do not make a network of these shapes. Nothing is
            written then.
    """
    weights_path, json_path = _paths(path)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    _check_finite(
        tensors, f"the {type(module).__name__} to save as {weights_path}", "it has diverged; nothing is written"
    )
    _check_shapes(_build(type(module), dimensions, weights_path), _shapes(tensors), weights_path)
    description = _describe(type(module), dimensions, about or {})
    with replacing(weights_path) as partial:
        save_file(tensors, partial, metadata={METADATA_KEY: description})
    write_text(json_path, description)


def load_network(cls: type[Network], path: str | Path, device: str | torch.device = "cpu") -> Network:
    """Rebuild a network of class `cls` from its files; leaves the random generators alone.

    Args:
        path: as given to `save_network`.

    Raises:
        FileNotFoundError: if one of the two files is missing.
        ValueError: if a file is truncated or foreign, of another class, does not fit its dimensions, belongs to another
            save, or holds NaN; the message names the file, what was expected and the remedy.
    """
    weights_path, json_path = _paths(path)
    for part in (weights_path, json_path):
        if not part.is_file():
            raise FileNotFoundError(f"{part} is missing: train the network, or copy both {SUFFIX} and .json there")
    dimensions, stored_shapes, tensors = _read(weights_path, json_path, cls)
    network = _build(cls, dimensions, json_path)
    _check_shapes(network, stored_shapes, weights_path)
    _check_finite(tensors, str(weights_path), "take it from an earlier save or train again")
    network.load_state_dict(tensors, assign=True)
    network.to(device)
    return network


def network_name(path: str | Path) -> str:
    """The class of the network whose files have this path, as `load_network` takes it; "" where there is none to be read."""
    try:
        return str(json.loads(_paths(path)[1].read_text("utf-8"))["network"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # load_network says what is wrong


def read_about(weights_path: Path) -> dict[str, Any]:
    """What a .safetensors file says of its network besides the dimensions; empty if it says nothing. The file may have any name, as
    those in DVC's cache have.

    Raises ValueError if the file is missing, not whole, or not of this project.
    """
    return _carried(weights_path)[1]


def write_description(weights_path: Path) -> None:
    """Write the json beside a .safetensors file, from what that file says itself. Raises as `read_about`."""
    write_text(_paths(weights_path)[1], _carried(weights_path)[0])


def _carried(weights_path: Path) -> tuple[str, dict[str, Any]]:
    """The description that a weight file carries, and what it says besides the dimensions."""
    try:
        with safe_open(weights_path, framework="pt") as file:
            description = (file.metadata() or {})[METADATA_KEY]
        return description, json.loads(description).get("about", {})
    except (SafetensorError, OSError, KeyError, ValueError, AttributeError) as error:
        raise ValueError(_unreadable(weights_path, "a weight file of this project", error)) from error


def tensors_digest(path: str | Path) -> str:
    """SHA-256 of the names, types, shapes and values of a weight file, whatever its metadata. Raises ValueError if it is not whole."""
    digest = hashlib.sha256()
    try:
        with safe_open(path, framework="numpy") as file:
            for name in sorted(file.keys()):
                values = file.get_tensor(name)
                digest.update(f"{name} {values.dtype} {values.shape}\n".encode())
                digest.update(np.ascontiguousarray(values).data)
    except (SafetensorError, OSError) as error:
        raise ValueError(_unreadable(Path(path), "a whole safetensors file", error)) from error
    return digest.hexdigest()


def _read(
    weights_path: Path, json_path: Path, cls: type[nn.Module]
) -> tuple[dict[str, Dimension], dict[str, list[int]], dict[str, Tensor]]:
    """Dimensions, stored shapes and tensors of two files that belong together and to `cls`."""
    try:
        description = json_path.read_text(encoding="utf-8")
        content = json.loads(description)
        name, dimensions = content["network"], content["dimensions"]
        plain = isinstance(dimensions, dict) and all(isinstance(value, Dimension) for value in dimensions.values())
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(_unreadable(json_path, "a json with the keys network and dimensions", error)) from error
    if not plain:
        found = reprlib.repr(dimensions)  # shortened, and lists within lists not followed to the end
        raise ValueError(_unreadable(json_path, "dimensions that are numbers or strings", found))
    if name != cls.__name__:
        raise ValueError(
            f"{json_path} is of a {name}, expected a {cls.__name__}: give the path of that network's weights"
        )
    try:
        with safe_open(weights_path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise ValueError(_unreadable(weights_path, "a whole safetensors file", error)) from error
    if metadata.get(METADATA_KEY) != description:
        raise ValueError(
            f"{weights_path} and {json_path.name} do not belong together "
            f"({_short(metadata.get(METADATA_KEY))} and {_short(description)}): copy both from one save, or save the network again"
        )
    return dimensions, _shapes(tensors), tensors


def _unreadable(path: Path, expected: str, found: object) -> str:
    return f"{path} cannot be read, expected {expected} ({found}): copy it again or save the network again"


def _build(cls: type[Network], dimensions: dict[str, Any], path: Path) -> Network:
    """The network without memory for its weights, whatever its dimensions."""
    try:
        with torch.device("meta"), _Undrawn():
            return cls(**dimensions)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: no {cls.__name__} has the dimensions {dimensions}: {error}") from error


class _Undrawn(TorchFunctionMode):
    """Leaves initial weights undrawn. There is nothing to fill on the device "meta", but PyTorch would import its compiler for it, which
    takes as long as importing PyTorch."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.__name__.endswith(("normal_", "uniform_")):
            return args[0] if args else kwargs["tensor"]
        return function(*args, **(kwargs or {}))


def _shapes(tensors: dict[str, Tensor]) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in tensors.items()}


def _check_shapes(network: nn.Module, stored: dict[str, list[int]], path: Path) -> None:
    expected = _shapes(network.state_dict())
    for name in sorted(expected.keys() | stored.keys()):
        if expected.get(name) != stored.get(name):
            raise ValueError(
                f"{path}: {name} is {stored.get(name, 'missing')}, expected {expected.get(name, 'no such tensor')} "
                f"in a {type(network).__name__} of these dimensions: use the dimensions that it was trained with"
            )


def _check_finite(tensors: dict[str, Tensor], where: str, remedy: str) -> None:
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{where}: {name} holds NaN or infinity: {remedy}")


def _describe(cls: type[nn.Module], dimensions: dict[str, Dimension], about: Mapping[str, Any]) -> str:
    content = {"network": cls.__name__, "dimensions": dimensions, **({"about": about} if about else {})}
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _short(description: str | None) -> str:
    """Network and dimensions of a description, for messages."""
    try:
        content = json.loads(description or "")
        return f"{content['network']} {content['dimensions']}"
    except (ValueError, KeyError, TypeError):
        return "no description"


def _paths(path: str | Path) -> tuple[Path, Path]:
    stem = str(path).removesuffix(SUFFIX)
    return Path(stem + SUFFIX), Path(stem + ".json")
