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

BATCH_NORM_EPS = 1e-5


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
    """Save a state_dict of CAM++ with the names of 3D-Speaker, which trained it; returns its digest.

    Its batch norms become part of the layer before them, or a weight and a bias where there is none. Raises as `convert_ge2e`.
    """
    left = {str(name): tensor for name, tensor in _load(path).items()}
    state: dict[str, Tensor] = {}
    for ours, layer, norm in campplus_layers():
        try:
            weight, bias = _take(path, left, layer, norm)
        except RuntimeError as error:
            raise ValueError(f"{path} holds another network than campplus: {layer} and {norm} do not fit") from error
        state[f"{ours}.weight"] = weight
        if bias is not None:
            state[f"{ours}.bias"] = bias
    if left:
        raise ValueError(f"{path} holds another network than campplus: {min(left)} is too much")
    network = CamPlusPlus()
    expected = network.state_dict()
    # The 1 x 1 convolutions are matrix products here.
    fitting = {n: t.squeeze(-1) if n in expected and t.ndim == expected[n].ndim + 1 else t for n, t in state.items()}
    return _save(path, "campplus", network, fitting, directory)


def campplus_layers() -> Iterator[tuple[str, str | None, str | None]]:
    """For each layer of `CamPlusPlus`: its name, and those of the layer and of the batch norm behind it in 3D-Speaker."""
    yield "front.first", "head.conv1", "head.bn1"
    yield "front.last", "head.conv2", "head.bn2"
    for block in range(4):
        ours, theirs = f"front.blocks.{block}", f"head.layer{block // 2 + 1}.{block % 2}"
        yield from ((f"{ours}.conv{i}", f"{theirs}.conv{i}", f"{theirs}.bn{i}") for i in (1, 2))
        if block % 2 == 0:
            yield f"{ours}.shortcut", f"{theirs}.shortcut.0", f"{theirs}.shortcut.1"
    yield "first", "xvector.tdnn.linear", "xvector.tdnn.nonlinear.batchnorm"
    for block, (num_layers, _) in enumerate(BLOCKS):
        for layer in range(num_layers):
            ours, theirs = f"blocks.{block}.{layer}", f"xvector.block{block + 1}.tdnnd{layer + 1}"
            yield f"{ours}.norm", None, f"{theirs}.nonlinear1.batchnorm"
            yield f"{ours}.bottleneck", f"{theirs}.linear1", f"{theirs}.nonlinear2.batchnorm"
            yield f"{ours}.local", f"{theirs}.cam_layer.linear_local", None
            yield f"{ours}.mask.0", f"{theirs}.cam_layer.linear1", None
            yield f"{ours}.mask.2", f"{theirs}.cam_layer.linear2", None
        yield f"blocks.{block}.{num_layers}.0", None, f"xvector.transit{block + 1}.nonlinear.batchnorm"
        yield f"blocks.{block}.{num_layers}.2", f"xvector.transit{block + 1}.linear", None
    yield "last.0", None, "xvector.out_nonlinear.batchnorm"
    yield "dense", "xvector.dense.linear", "xvector.dense.nonlinear.batchnorm"


def _take(path: Path, left: dict[str, Any], layer: str | None, norm: str | None) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a layer with the batch norm behind it, or of a batch norm alone; what was used is taken out of `left`."""

    def tensor(name: str) -> Tensor:
        found = left.pop(name, None)
        if not isinstance(found, Tensor) or found.layout != torch.strided:
            raise ValueError(f"{path} holds another network than campplus: it has no tensor {name}")
        return found.double()

    weight = None if layer is None else tensor(f"{layer}.weight")
    bias = tensor(f"{layer}.bias") if f"{layer}.bias" in left else None
    if norm is None:
        assert weight is not None
        return weight, bias
    left.pop(f"{norm}.num_batches_tracked", None)
    mean, variance = tensor(f"{norm}.running_mean"), tensor(f"{norm}.running_var")
    scale = (variance + BATCH_NORM_EPS).rsqrt()
    shift = -mean * scale
    if f"{norm}.weight" in left:  # the last one has neither
        gain, offset = tensor(f"{norm}.weight"), tensor(f"{norm}.bias")
        scale, shift = scale * gain, shift * gain + offset
    if weight is None:
        return scale, shift
    return weight * scale.view(-1, *[1] * (weight.ndim - 1)), shift if bias is None else bias * scale + shift


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
