"""The readers of speaker networks' public weight files. They run in a process of their own, see `face_networks.files.isolated`; nothing
but tensors is unpickled.
"""

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from speech2face.face_networks.files.saving import save
from speech2face.speaker_networks.campplus import BLOCKS, CamPlusPlus
from speech2face.speaker_networks.ge2e import Ge2e


def convert_ge2e(path: Path, directory: str) -> str:
    """Save resemblyzer's `pretrained.pt` in the form that `networks.open_network` opens; returns its digest.

    Raises ValueError for another network, a damaged file, and a pickle that asks for more than tensors.
    """
    state = _load(path).get("model_state")
    if not isinstance(state, Mapping):
        raise ValueError(f"{path} is not a GE2E checkpoint: it has no model_state")
    # The two others are the scale and shift of the training's similarities.
    wanted = {name: tensor for name, tensor in state.items() if not name.startswith("similarity_")}
    return _save(path, "ge2e", Ge2e(), wanted, directory)


def convert_campplus(path: Path, directory: str) -> str:
    """Save a state_dict of CAM++ with the names of 3D-Speaker, which trained it; returns its digest. Raises as `convert_ge2e`."""
    ours = dict(campplus_names())
    state = {}
    for name, tensor in _load(path).items():
        layer, _, part = str(name).rpartition(".")
        state[f"{ours.get(layer, layer)}.{part}"] = tensor.squeeze(-1) if layer == "xvector.dense.linear" else tensor
    return _save(path, "campplus", CamPlusPlus(), state, directory)


def campplus_names() -> Iterator[tuple[str, str]]:
    """Names of CAM++'s layers in 3D-Speaker and in `CamPlusPlus`."""
    for theirs, ours in (("1", "first"), ("2", "last")):
        yield f"head.conv{theirs}", f"front.{ours}.0"
        yield f"head.bn{theirs}", f"front.{ours}.1"
    for block in range(4):
        theirs, ours = f"head.layer{block // 2 + 1}.{block % 2}", f"front.blocks.{block}"
        for part, name in (("conv", "conv"), ("bn", "norm")):
            yield from ((f"{theirs}.{part}{i}", f"{ours}.{name}{i}") for i in (1, 2))
        yield from ((f"{theirs}.shortcut.{i}", f"{ours}.shortcut.{i}") for i in (0, 1))
    yield "xvector.tdnn.linear", "first.0"
    yield "xvector.tdnn.nonlinear.batchnorm", "first.1"
    for block, (num_layers, _) in enumerate(BLOCKS):
        for layer in range(num_layers):
            theirs, ours = f"xvector.block{block + 1}.tdnnd{layer + 1}", f"blocks.{block}.{layer}"
            yield f"{theirs}.nonlinear1.batchnorm", f"{ours}.bottleneck.0"
            yield f"{theirs}.linear1", f"{ours}.bottleneck.2"
            yield f"{theirs}.nonlinear2.batchnorm", f"{ours}.bottleneck.3"
            yield f"{theirs}.cam_layer.linear_local", f"{ours}.local"
            yield f"{theirs}.cam_layer.linear1", f"{ours}.mask.0"
            yield f"{theirs}.cam_layer.linear2", f"{ours}.mask.2"
        yield f"xvector.transit{block + 1}.nonlinear.batchnorm", f"blocks.{block}.{num_layers}.0"
        yield f"xvector.transit{block + 1}.linear", f"blocks.{block}.{num_layers}.2"
    yield "xvector.out_nonlinear.batchnorm", "last.0"
    yield "xvector.dense.linear", "dense"
    yield "xvector.dense.nonlinear.batchnorm", "norm"


def _load(path: Path) -> Mapping[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path} asks for more than tensors or is damaged; nothing in it was run") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({str(error).splitlines()[0] if str(error) else 'cut off'})") from error
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds a {type(content).__name__} and not the weights of a network")
    return content


def _save(path: Path, kind: str, network: nn.Module, state: Mapping[str, Any], directory: str) -> str:
    expected = network.state_dict()
    if unknown := sorted(state.keys() ^ expected.keys()):
        raise ValueError(f"{path} holds another network than {kind}: {unknown[0]} is in one and not in the other")
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor) or tensor.shape != expected[name].shape or tensor.layout != torch.strided:
            found = list(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
            raise ValueError(
                f"{path} holds another network than {kind}: {name} must be {list(expected[name].shape)} (got {found})"
            )
        if not tensor.isfinite().all():
            raise ValueError(f"{path}: {name} holds NaN or infinity")
    return save(
        Path(directory),
        {name: tensor.to(expected[name].dtype).numpy() for name, tensor in state.items()},
        {"kind": kind},
    )
