"""Basic operations on an ONNX graph that the simplification rules are built from.

A value is never changed in place: an operation inserts a new node that computes the same and redirects the readers. Nodes
that nothing reads any more are removed at the end.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

WEIGHT = "weight"  # key in a constant's `meta`: name of the Keras weight that it holds or was computed from
LAYER = "layer"  # key in a value's `meta`: path of the Keras layer whose output it is
FLOATS = (ir.DataType.FLOAT16, ir.DataType.FLOAT, ir.DataType.DOUBLE)
_counter = itertools.count()


def temporary_name(prefix: str) -> str:
    """Return a name that no other value has; `names.rename` assigns the final names."""
    return f"{prefix}.{next(_counter)}"


def constant(value: ir.Value | None) -> np.ndarray | None:
    """Return the array of a constant, or None if the value is computed."""
    return None if value is None or value.const_value is None else value.const_value.numpy()


def new_constant(graph: ir.Graph, array: np.ndarray, weight: str | None = None) -> ir.Value:
    """Add an array to a graph as an initializer.

    Args:
        graph: graph to add the constant to.
        array: values; not copied.
        weight: name of the Keras weight that the values come from, if any.

    Returns:
        The new constant.
    """
    name = temporary_name("constant")
    value = ir.Value(
        name=name,
        shape=ir.Shape(array.shape),
        type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
        const_value=ir.Tensor(array, name=name),
    )
    if weight:
        value.meta[WEIGHT] = weight
    graph.register_initializer(value)
    return value


def constant_like(value: ir.Value, array: np.ndarray) -> ir.Value:
    """Return a new constant with other values, but the data type and weight name of an existing constant."""
    return new_constant(
        value.graph, np.ascontiguousarray(array.astype(constant(value).dtype, copy=False)), value.meta.get(WEIGHT)
    )


def cast_like(value: ir.Value, numbers: Any) -> np.ndarray:
    """Return numbers as an array of the data type of a value."""
    return np.asarray(numbers, value.dtype.numpy())


def insert(
    before: ir.Node,
    op_type: str,
    inputs: Sequence[ir.Value | None],
    attributes: Mapping[str, Any] | None = None,
    shape: Sequence | None = None,
    dtype: ir.DataType | None = None,
    layer_of: ir.Node | None = None,
) -> ir.Value:
    """Insert a node with one output before another node.

    Args:
        before: node to insert before.
        op_type: ONNX operator of the new node.
        inputs: input values, None for an omitted optional input.
        attributes: attributes of the new node.
        shape: shape of the output, if known.
        dtype: data type of the output, if known.
        layer_of: node whose Keras layer the new node belongs to. Default: `before`.

    Returns:
        The output of the new node.
    """
    output = ir.Value(name=temporary_name(op_type), shape=shape and ir.Shape(shape), type=dtype and ir.TensorType(dtype))
    node = ir.node(op_type, inputs, attributes, outputs=[output])
    node.meta.update((layer_of or before).meta)
    before.graph.insert_before(before, node)
    return output


def replace(
    node: ir.Node,
    op_type: str,
    inputs: Sequence[ir.Value | None],
    attributes: Mapping[str, Any] | None = None,
    layer_of: ir.Node | None = None,
) -> None:
    """Replace a node with one output by a new node that computes the same; the arguments are those of `insert`."""
    (old,) = node.outputs
    new = insert(node, op_type, inputs, attributes, layer_of=layer_of)
    replace_value(old, new)


def replace_value(old: ir.Value, new: ir.Value) -> None:
    """Redirect the readers of a value to an equal one and remove the node that computed it.

    The new value inherits the shape, the data type, the Keras layer and, for a graph output, the name.
    """
    new.shape, new.type = old.shape or new.shape, old.type or new.type
    if LAYER not in new.meta and LAYER in old.meta:
        new.meta[LAYER] = old.meta[LAYER]
    if old.is_graph_output():
        new.name = old.name
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    node = old.producer()
    node.graph.remove(node, safe=True)


def attributes(node: ir.Node, **replaced: Any) -> dict[str, Any]:
    """Return the attributes of a node as a dict for a new node, with some of them replaced."""
    return {**{name: attribute for name, attribute in node.attributes.items() if name not in replaced}, **replaced}


def attribute(node: ir.Node, name: str, default: Any = None) -> Any:
    """Return the value of an attribute, or a default if the node does not have it."""
    return node.attributes[name].value if name in node.attributes else default


def dims(value: ir.Value | None) -> list[int | None] | None:
    """Return the shape of a value with None for unknown sizes, or None if the rank is unknown."""
    if value is None or value.shape is None:
        return None
    return [size if isinstance(size, int) else None for size in value.shape]


def rank(value: ir.Value | None) -> int | None:
    """Return the number of axes of a value, or None if it is unknown."""
    return None if value is None or value.shape is None else len(value.shape)


def has_single_reader(value: ir.Value) -> bool:
    """Return whether exactly one node input reads a value, and it is not a graph output."""
    return len(value.uses()) == 1 and not value.is_graph_output()


def producer_of_type(value: ir.Value | None, *op_types: str) -> ir.Node | None:
    """Return the node that computes a value if it has one of the given ONNX operators, else None."""
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type in op_types and node.domain == "" else None


def pads_with_zeros(pad: ir.Node) -> bool:
    """Return whether a Pad node fills the border with zeros."""
    if attribute(pad, "mode", "constant") != "constant":
        return False
    if len(pad.inputs) == 1:  # before opset 11
        return attribute(pad, "value", 0.0) == 0
    fill = pad.inputs[2] if len(pad.inputs) > 2 else None
    return fill is None or (constant(fill) is not None and not constant(fill).any())


def reduction_axes(node: ir.Node) -> list[int] | None:
    """Return the non-negative axes of a reduction or Squeeze node, or None if they are not constant.

    They are an attribute or an input, depending on the opset.
    """
    axes = attribute(node, "axes")
    if axes is None and len(node.inputs) > 1:
        axes = constant(node.inputs[1])
    size = rank(node.inputs[0])
    if axes is None or size is None:
        return None
    return [int(axis) % size for axis in axes]
