"""An ONNX graph run by PyTorch, so that gradients flow through it to its input.

Only what the recognition and attribute models of insightface use: the operators below, float32, one input, one
output, operator sets from 7 on (where broadcasting became what it is). Semantics are those of ONNX's Operators.md.
`files/onnx_graph.py` reads the graph from its file.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Attributes = dict[str, Any]


def _pads(attributes: Attributes) -> tuple[int, int, int, int]:
    """As `functional.pad` wants them: left, right, top, bottom (ONNX: top, left, bottom, right)."""
    if attributes.get("auto_pad", "NOTSET") != "NOTSET":
        raise ValueError(f"auto_pad {attributes['auto_pad']} is not supported")
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


class OnnxNetwork(nn.Module):
    """A model of one image input and one output as a PyTorch module, frozen; input and output as in the file.

    Args:
        graph: json's types alone. `input` and `output`: their names. `weights`: names of values to names of tensors.
            `steps`: in the order of running, [operator, attributes, names of its inputs ("" for one left out), name of
            its output].
        weights: tensors by name.

    Raises:
        ValueError: an operator that is not in `OPERATORS`.
    """

    def __init__(self, graph: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        if unknown := sorted({operator for operator, *_ in graph["steps"]} - set(OPERATORS)):
            raise ValueError(f"unsupported operator {', '.join(unknown)}; supported: {', '.join(OPERATORS)}")
        self.input_name, self.output_name = graph["input"], graph["output"]
        self.weight_names = dict(graph["weights"])
        for name in self.weight_names.values():
            self.register_buffer(name, weights[name])
        last_use = {name: place for place, (_, _, sources, _) in enumerate(graph["steps"]) for name in sources}
        kept = {"", self.output_name, *self.weight_names}
        self.steps = [
            (operator, attributes, sources, output, [n for n in set(sources) if last_use[n] == place and n not in kept])
            for place, (operator, attributes, sources, output) in enumerate(graph["steps"])
        ]
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        values: dict[str, Tensor | None] = {name: getattr(self, buffer) for name, buffer in self.weight_names.items()}
        values |= {self.input_name: x, "": None}
        for operator, attributes, sources, output, used_up in self.steps:
            values[output] = OPERATORS[operator](attributes, *(values[name] for name in sources))
            for name in used_up:
                del values[name]
        result = values[self.output_name]
        assert result is not None
        return result
