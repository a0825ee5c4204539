"""ONNX files as plain data: the graph for `onnx_network.OnnxNetwork`, and its weights."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper

MIN_OPSET = 7
FLATTENING_SOFTMAX_BEFORE = 13  # operator set; until then Softmax took all axes from `axis` on as one


class OnnxGraph(NamedTuple):
    """A model of one input and one output: `graph` and `weights` as `OnnxNetwork` takes them, floats as float32."""

    graph: dict[str, Any]
    weights: dict[str, np.ndarray]


def read(path: Path) -> OnnxGraph:
    """Read a model file.

    Raises:
        ValueError: an unreadable file, more inputs or outputs, steps that do not connect, weights in other files or not
            finite, an operator set before 7.
    """
    model = read_model(path)
    if len(inputs(model.graph)) != 1 or len(model.graph.output) != 1:
        raise ValueError(
            f"must have one input and one output (got {len(inputs(model.graph))} and {len(model.graph.output)})"
        )
    constants = [(node.output[0], _constant(node)) for node in model.graph.node if node.op_type == "Constant"]
    weights = [(array.name, _array(array)) for array in model.graph.initializer] + constants
    names = {name: f"weight_{place}" for place, (name, _) in enumerate(weights)}
    graph = {
        "input": inputs(model.graph)[0].name,
        "output": model.graph.output[0].name,
        "weights": names,
        "steps": [_step(node, _opset(model)) for node in model.graph.node if node.op_type != "Constant"],
    }
    _check_connections(graph)
    return OnnxGraph(graph, {names[name]: array for name, array in weights})


def read_model(path: Path) -> onnx.ModelProto:
    """A model file, without any weights that it keeps in other files. ValueError if it cannot be read."""
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's DecodeError has no public base but Exception
        raise ValueError(f"not a readable ONNX file ({type(error).__name__}): truncated or damaged") from error
    if not model.graph.node:
        raise ValueError("an ONNX file without a graph: truncated or damaged")
    if _opset(model) < MIN_OPSET:
        raise ValueError(f"the operator set must be {MIN_OPSET} or later (got {_opset(model)})")
    return model


def inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """The inputs proper: before IR version 4 the weights are listed as inputs too."""
    weights = {array.name for array in graph.initializer}
    return [item for item in graph.input if item.name not in weights]


def _opset(model: onnx.ModelProto) -> int:
    return {item.domain: item.version for item in model.opset_import}.get("", 0)


def _step(node: onnx.NodeProto, opset: int) -> list[Any]:
    """Operator, attributes, inputs, output; further outputs (masks, running statistics) exist in training alone."""
    operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    attributes = {item.name: _attribute(operator, item) for item in node.attribute}
    if operator == "Softmax" and opset < FLATTENING_SOFTMAX_BEFORE:
        attributes = {"axis": 1, "flattening": 1} | attributes
    return [operator, attributes, list(node.input), node.output[0]]


def _attribute(operator: str, attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(item, int | float) for item in values):
        raise ValueError(f"{operator} has the attribute {attribute.name}, which is neither text nor numbers")
    return value


def _check_connections(graph: dict[str, Any]) -> None:
    known = {graph["input"], *graph["weights"], ""}
    for operator, _, sources, output in graph["steps"]:
        if missing := [name for name in sources if name not in known]:
            raise ValueError(f"{operator} needs {missing[0]}, which nothing gives")
        known.add(output)
    if graph["output"] not in known:
        raise ValueError(f"nothing gives the output {graph['output']}")


def _constant(node: onnx.NodeProto) -> np.ndarray:
    if len(node.attribute) != 1 or node.attribute[0].name != "value":
        raise ValueError("a Constant must hold a tensor as its value")
    return _array(node.attribute[0].t)


def _array(array: onnx.TensorProto) -> np.ndarray:
    if array.data_location == onnx.TensorProto.EXTERNAL:
        raise ValueError(f"{array.name} is kept in another file")
    values = numpy_helper.to_array(array)
    if values.dtype.kind != "f":
        return values
    if not np.isfinite(values).all():
        raise ValueError(f"{array.name} holds NaN or infinity")
    return values.astype(np.float32)
