"""An ONNX graph run by PyTorch, so that gradients flow through it to its input.

Only what the recognition and attribute models of insightface use: the operators below, float32, one input, one
output, operator sets from 7 on (where broadcasting became what it is). Semantics are those of ONNX's Operators.md.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

MIN_OPSET = 7
Attributes = dict[str, Any]


def _pads(attributes: Attributes) -> tuple[int, int, int, int]:
    """As `functional.pad` wants them: left, right, top, bottom (ONNX: top, left, bottom, right)."""
    if attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise ValueError(f"auto_pad {attributes['auto_pad'].decode()} is not supported")
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    return left, right, top, bottom


def _conv(attributes: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    left, right, top, bottom = _pads(attributes)
    padding = (top, left)
    if (left, top) != (right, bottom):
        x, padding = functional.pad(x, (left, right, top, bottom)), (0, 0)
    strides, dilations = (tuple(attributes.get(name, (1, 1))) for name in ("strides", "dilations"))
    return functional.conv2d(x, weight, bias, strides, padding, dilations, attributes.get("group", 1))


def _pool(attributes: Attributes, x: Tensor, outside: float) -> Tensor:
    if attributes.get("ceil_mode", 0) or any(step != 1 for step in attributes.get("dilations", ())):
        raise ValueError("pooling with ceil_mode or dilations is not supported")
    pads = _pads(attributes)
    return functional.pad(x, pads, value=outside) if any(pads) else x


def _max_pool(attributes: Attributes, x: Tensor) -> Tensor:
    x = _pool(attributes, x, -torch.inf)
    return functional.max_pool2d(x, attributes["kernel_shape"], attributes.get("strides", [1, 1]))


def _average_pool(attributes: Attributes, x: Tensor) -> Tensor:
    if any(attributes.get("pads", ())) and not attributes.get("count_include_pad", 0):
        raise ValueError("AveragePool that leaves its padding out of the count is not supported")
    return functional.avg_pool2d(
        _pool(attributes, x, 0.0), attributes["kernel_shape"], attributes.get("strides", [1, 1])
    )


def _batch_norm(attributes: Attributes, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    if attributes.get("training_mode", 0) or not attributes.get("spatial", 1):
        raise ValueError("BatchNormalization in training mode or with spatial = 0 is not supported")
    return functional.batch_norm(x, mean, var, scale, bias, eps=attributes.get("epsilon", 1e-5))


def _gemm(attributes: Attributes, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    a = a.T if attributes.get("transA", 0) else a
    b = b.T if attributes.get("transB", 0) else b
    product = attributes.get("alpha", 1.0) * (a @ b)
    return product if c is None else product + attributes.get("beta", 1.0) * c


def _flatten(attributes: Attributes, x: Tensor) -> Tensor:
    axis = attributes.get("axis", 1)
    return x.reshape(x.shape[: axis if axis >= 0 else axis + x.ndim].numel(), -1)


def _reshape(attributes: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    if attributes.get("allowzero", 0):
        raise ValueError("Reshape with allowzero is not supported")
    return x.reshape([x.shape[place] if size == 0 else size for place, size in enumerate(shape.tolist())])


def _unsqueeze(attributes: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    wanted = attributes["axes"] if axes is None else axes.tolist()
    ndim = x.ndim + len(wanted)
    for axis in sorted(axis % ndim for axis in wanted):
        x = x.unsqueeze(axis)
    return x


def _gather(attributes: Attributes, x: Tensor, indices: Tensor) -> Tensor:
    axis = attributes.get("axis", 0) % x.ndim
    picked = x.index_select(axis, indices.reshape(-1) % x.shape[axis])
    return picked.reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def _softmax(attributes: Attributes, x: Tensor) -> Tensor:
    if attributes.get("flattening"):
        return x.flatten(attributes["axis"]).softmax(-1).view_as(x)
    return x.softmax(attributes.get("axis", -1))


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Add": lambda attributes, a, b: a + b,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Concat": lambda attributes, *parts: torch.cat(parts, attributes["axis"]),
    "Conv": _conv,
    "Div": lambda attributes, a, b: a / b,
    "Dropout": lambda attributes, x, *_: x,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda attributes, x: x.mean((2, 3), keepdim=True),
    "Identity": lambda attributes, x: x,
    "LeakyRelu": lambda attributes, x: functional.leaky_relu(x, attributes.get("alpha", 0.01)),
    "MatMul": lambda attributes, a, b: a @ b,
    "MaxPool": _max_pool,
    "Mul": lambda attributes, a, b: a * b,
    "PRelu": lambda attributes, x, slope: torch.where(x < 0, slope * x, x),
    "Relu": lambda attributes, x: torch.relu(x),
    "Reshape": _reshape,
    "Shape": lambda attributes, x: torch.tensor(x.shape, device=x.device),
    "Sigmoid": lambda attributes, x: torch.sigmoid(x),
    "Softmax": _softmax,
    "Sub": lambda attributes, a, b: a - b,
    "Transpose": lambda attributes, x: x.permute(attributes.get("perm", tuple(reversed(range(x.ndim))))),
    "Unsqueeze": _unsqueeze,
}


FLATTENING_SOFTMAX_BEFORE = 13  # operator set; until then Softmax took all axes from `axis` on as one


class OnnxNetwork(nn.Module):
    """A model of one image input and one output as a PyTorch module, frozen; input and output as in the file.

    Raises:
        ValueError: an unreadable file, an operator that is not in `OPERATORS`, more inputs or outputs, weights in
            other files, an operator set before 7.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        model = read_model(path)
        graph = model.graph
        steps = [node for node in graph.node if node.op_type != "Constant"]
        unknown = sorted({node.op_type for node in steps if node.op_type not in OPERATORS or node.domain})
        if unknown:
            raise ValueError(f"{path}: unsupported operator {', '.join(unknown)}; supported: {', '.join(OPERATORS)}")
        if len(inputs(graph)) != 1 or len(graph.output) != 1:
            raise ValueError(
                f"{path}: must have one input and one output (got {len(inputs(graph))} and {len(graph.output)})"
            )
        self.input_name, self.output_name = inputs(graph)[0].name, graph.output[0].name
        constants = [(node.output[0], _constant(path, node)) for node in graph.node if node.op_type == "Constant"]
        weights = [(array.name, _tensor(path, array)) for array in graph.initializer] + constants
        self.weight_names = {name: f"weight_{place}" for place, (name, _) in enumerate(weights)}
        for name, tensor in weights:
            self.register_buffer(self.weight_names[name], tensor)
        known = {self.input_name, *self.weight_names, ""}
        last_use = {name: place for place, node in enumerate(steps) for name in node.input}
        self.steps = []
        for place, node in enumerate(steps):
            if missing := [name for name in node.input if name not in known]:
                raise ValueError(f"{path}: {node.op_type} needs {missing[0]}, which nothing gives")
            known.add(node.output[0])  # further outputs (masks, running statistics) exist in training alone
            used_up = [name for name in set(node.input) if last_use[name] == place and name not in self.weight_names]
            attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
            if node.op_type == "Softmax" and _opset(model) < FLATTENING_SOFTMAX_BEFORE:
                attributes = {"axis": 1, "flattening": 1} | attributes
            self.steps.append((node.op_type, attributes, tuple(node.input), node.output[0], used_up))
        if self.output_name not in known:
            raise ValueError(f"{path}: nothing gives the output {self.output_name}")
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        values: dict[str, Tensor | None] = {name: getattr(self, buffer) for name, buffer in self.weight_names.items()}
        values |= {self.input_name: x, "": None}
        for operator, attributes, sources, output, used_up in self.steps:
            values[output] = OPERATORS[operator](attributes, *(values[name] for name in sources))
            for name in used_up:
                if name not in ("", self.output_name):
                    del values[name]
        result = values[self.output_name]
        assert result is not None
        return result


def read_model(path: Path) -> onnx.ModelProto:
    """A model file, without any weights that it keeps in other files. ValueError if it cannot be read."""
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's DecodeError has no public base but Exception
        raise ValueError(f"{path}: not a readable ONNX file ({type(error).__name__}): truncated or damaged") from error
    if not model.graph.node:
        raise ValueError(f"{path}: an ONNX file without a graph: truncated or damaged")
    if _opset(model) < MIN_OPSET:
        raise ValueError(f"{path}: the operator set must be {MIN_OPSET} or later (got {_opset(model)})")
    return model


def _opset(model: onnx.ModelProto) -> int:
    return {item.domain: item.version for item in model.opset_import}.get("", 0)


def inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """The inputs proper: before IR version 4 the weights are listed as inputs too."""
    weights = {array.name for array in graph.initializer}
    return [item for item in graph.input if item.name not in weights]


def _constant(path: Path, node: onnx.NodeProto) -> Tensor:
    if len(node.attribute) != 1 or node.attribute[0].name != "value":
        raise ValueError(f"{path}: a Constant must hold a tensor as its value")
    return _tensor(path, node.attribute[0].t)


def _tensor(path: Path, array: onnx.TensorProto) -> Tensor:
    if array.data_location == onnx.TensorProto.EXTERNAL:
        raise ValueError(f"{path}: {array.name} is kept in another file")
    tensor = torch.from_numpy(numpy_helper.to_array(array).copy())
    if not tensor.is_floating_point():
        return tensor
    if not bool(tensor.isfinite().all()):
        raise ValueError(f"{path}: {array.name} holds NaN or infinity")
    return tensor.float()
