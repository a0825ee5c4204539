"""Networks as ONNX files, compared with PyTorch before they are given away."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from torch.export import Dim

OPSET = 18
"""What PyTorch's operators are written in; onnxruntime 1.14 (2023) and later read it."""
LARGEST_DIFFERENCE = 1e-4
"""Between PyTorch and onnxruntime, as a part of the largest output, or of 1. Ordinary is 1e-6."""


@dataclass(frozen=True)
class OnnxNetwork:
    """A network of one input, and how it is written.

    example: an input, on which it is traced
    other: an input of other sizes along the free axes, on which the file is compared with the network
    free: names of the axes of the input that may have any size, and the smallest
    """

    module: nn.Module
    input: str
    outputs: tuple[str, ...]
    example: Tensor
    other: Tensor
    free: Mapping[int, tuple[str, int]]


def write_onnx(network: OnnxNetwork, path: Path, doc: str) -> float:
    """Write a network with its weights in one file; `doc` is what the file says of itself.

    Returns the largest difference between the file's and PyTorch's outputs of `other`, as a part of the largest. Raises RuntimeError if it
    is more than `LARGEST_DIFFERENCE`, and where onnxscript is not installed.
    """
    if find_spec("onnxscript") is None:
        raise RuntimeError(
            "onnxscript is not installed, by which PyTorch writes ONNX; run: pip install -r requirements.txt"
        )
    module = network.module.eval().requires_grad_(False)
    with _quiet():
        # The exporter by torch.export: the older one (dynamo=False) is deprecated and is to be removed.
        program = torch.onnx.export(
            module,
            (network.example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[network.input],
            output_names=list(network.outputs),
            dynamic_shapes=({axis: Dim(name, min=smallest) for axis, (name, smallest) in network.free.items()},),
            verbose=False,
        )
    assert program is not None
    _strip(program, doc)
    program.save(path, external_data=False)
    return _compare(module, path, network)


def _strip(program: torch.onnx.ONNXProgram, doc: str) -> None:
    """Without what each operator came from: it names this machine's folders, and is longer than small networks are."""
    model = program.model
    model.doc_string = doc
    model.metadata_props.clear()
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        graph.metadata_props.clear()
        for value in (*graph.inputs, *graph.initializers.values()):
            value.metadata_props.clear()
        for node in graph.all_nodes():
            node.metadata_props.clear()
            node.doc_string = None
            for value in node.outputs:
                value.metadata_props.clear()


@torch.inference_mode()
def _compare(module: nn.Module, path: Path, network: OnnxNetwork) -> float:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(list(network.outputs), {network.input: network.other.numpy()})
    expected = module(network.other)
    largest = 0.0
    for name, here, there in zip(
        network.outputs, expected if isinstance(expected, tuple) else (expected,), found, strict=True
    ):
        difference = np.abs(here.numpy() - there).max() / max(1.0, np.abs(there).max())
        if not difference <= LARGEST_DIFFERENCE:
            raise RuntimeError(
                f"{path.name}: {name} differs from PyTorch's by {difference:.1e} of the largest value, {LARGEST_DIFFERENCE:g} is the "
                "most; use the versions in requirements.txt"
            )
        largest = max(largest, float(difference))
    return largest


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on its own insides (operators of packages that are not installed, functions of PyTorch that will be
    renamed). Whether the file is right is seen by comparing it."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)
            warnings.filterwarnings("ignore", message="The tensor attributes? .* assigned during export")
            yield
    finally:
        logger.setLevel(before)
