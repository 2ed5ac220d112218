"""Small steps on an ONNX graph, of which the clean-up is made.

A value never changes under its name: a step puts another node in the place of one that computes the same. What nobody reads
any more goes in the end.
"""

import itertools

import numpy as np
import onnx_ir as ir

WEIGHT = "weight"  # key in a constant's `meta`: the name of the Keras weight that it holds, or was computed from
LAYER = "layer"  # key in a value's `meta`: the path of the Keras layer whose output it is
FLOATS = (ir.DataType.FLOAT16, ir.DataType.FLOAT, ir.DataType.DOUBLE)
_number = itertools.count()


def fresh(kind):
    """Return a name that no value has yet; `names.rename` gives the final ones."""
    return f"{kind}.{next(_number)}"


def constant(value):
    """Return the array of a constant, or None for what is computed."""
    return None if value is None or value.const_value is None else value.const_value.numpy()


def new_constant(graph, array, weight=None):
    """Add an array as a constant.

    Args:
        graph: `onnx_ir.Graph`.
        array: NumPy array; it is not copied.
        weight: name of the Keras weight that it comes from, if it comes from one.
    """
    name = fresh("constant")
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


def changed(value, array):
    """Return a new constant with other values in the place of one; it keeps the name of the weight."""
    return new_constant(
        value.graph, np.ascontiguousarray(array.astype(constant(value).dtype, copy=False)), value.meta.get(WEIGHT)
    )


def typed(value, numbers):
    """Return numbers as an array of the type of a value."""
    return np.asarray(numbers, value.dtype.numpy())


def insert(before, op_type, inputs, attributes=None, shape=None, dtype=None, of=None):
    """Insert a node with one output before another one, as a part of the layer of that or of a third; return its output."""
    output = ir.Value(name=fresh(op_type), shape=shape and ir.Shape(shape), type=dtype and ir.TensorType(dtype))
    node = ir.node(op_type, inputs, attributes, outputs=[output])
    node.meta.update((of or before).meta)
    before.graph.insert_before(before, node)
    return output


def replace(node, op_type, inputs, attributes=None, of=None):
    """Let a new node compute what a node with one output computed; see `insert`."""
    (old,) = node.outputs
    new = insert(node, op_type, inputs, attributes, of=of)
    take_over(old, new)


def take_over(old, new):
    """Let a value that is equal to another one stand in for it: its readers, shape, meaning, and name as an output."""
    new.shape, new.type = old.shape or new.shape, old.type or new.type
    if LAYER not in new.meta and LAYER in old.meta:
        new.meta[LAYER] = old.meta[LAYER]
    if old.is_graph_output():
        new.name = old.name
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    node = old.producer()
    node.graph.remove(node, safe=True)


def attributes(node, **others):
    """Return the attributes of a node as a dict for a new one, some of them replaced."""
    return {**{name: attribute for name, attribute in node.attributes.items() if name not in others}, **others}


def attribute(node, name, default=None):
    """Return the value of an attribute."""
    return node.attributes[name].value if name in node.attributes else default


def dims(value):
    """Return the sizes of a value as a list, None for one that is not known; None if not even their number is known."""
    if value is None or value.shape is None:
        return None
    return [size if isinstance(size, int) else None for size in value.shape]


def rank(value):
    """Return how many axes a value has, or None."""
    return None if value is None or value.shape is None else len(value.shape)


def read_once(value):
    """Tell whether a value has one reader only, and is no output of the graph."""
    return len(value.uses()) == 1 and not value.is_graph_output()


def made_by(value, *op_types):
    """Return the node that computes a value, if it is of one of these operators."""
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type in op_types and node.domain == "" else None


def fills_with_zeros(pad):
    """Tell whether the border that a Pad makes is one of zeros."""
    if attribute(pad, "mode", "constant") != "constant":
        return False
    if len(pad.inputs) == 1:  # before operator set 11
        return attribute(pad, "value", 0.0) == 0
    given = pad.inputs[2] if len(pad.inputs) > 2 else None
    return given is None or (constant(given) is not None and not constant(given).any())


def axes_of(node):
    """Return the axes of a reduction or Squeeze, attribute or input by operator set; None where they are not constant."""
    given = attribute(node, "axes")
    if given is None and len(node.inputs) > 1:
        given = constant(node.inputs[1])
    size = rank(node.inputs[0])
    if given is None or size is None:
        return None
    return [int(axis) % size for axis in given]
