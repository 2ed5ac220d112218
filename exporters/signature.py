"""The named inputs and outputs of a Keras model, and a call of the model with a flat list of tensors."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras

from exporters.onnx.graph.names import unique_name
from zoo.errors import ZooError

AUTOMATIC = re.compile(r"keras_tensor(_\d+)?")  # name of an Input that was given none; it counts all tensors of the process


@dataclass(frozen=True)
class Tensor:
    """An input or output.

    Attributes:
        name: its name in exported files.
        shape: with the batch first; None for a size that is not fixed.
        dtype: such as "float32".
        free: (index, name) of each axis after the batch whose size is not fixed.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    free: tuple[tuple[int, str], ...] = ()

    def sized(self, sizes: dict[str, int]) -> tuple[int, ...]:
        """Return the shape without the batch; `sizes` has the size of each free axis by its name."""
        names = dict(self.free)
        return tuple(sizes[names[axis]] if axis in names else self.shape[axis] for axis in range(1, len(self.shape)))

    def named_shape(self, batch: str = "batch") -> list[int | str]:
        """Return the shape with names for the sizes that are not fixed."""
        names = {0: batch, **dict(self.free)}
        return [names[axis] if size is None else size for axis, size in enumerate(self.shape)]

    def plain(self) -> dict:
        """Return name, type and shape for JSON."""
        return {"name": self.name, "dtype": self.dtype, "shape": self.named_shape()}


@dataclass(frozen=True)
class Signature:
    """What a model takes and returns.

    Attributes:
        inputs: in the order of `keras.tree.flatten`, which sorts the keys of a dict.
        outputs: in the same order; empty as long as the model has not been run.
        arguments: positional arguments of the model: a structure with the index of an input at each leaf.
        structured: whether the model takes a dict, or returns a dict, list or tuple.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...] = ()
    arguments: Any = (0,)
    structured: bool = False

    @property
    def batch(self) -> int | None:
        """The only batch size that the model takes, or None for any."""
        return self.inputs[0].shape[0]

    @property
    def is_single(self) -> bool:
        """Whether the model takes one tensor of fixed size and returns one tensor."""
        return len(self.inputs) == len(self.outputs) == 1 and not self.inputs[0].free and not self.structured

    def as_in_file(self, batch: int | None, channels_first: bool) -> "Signature":
        """Return the signature of a file.

        Args:
            batch: the only batch size that the file takes. Default: that of the model, or any.
            channels_first: the file takes the channels of its only input on axis 1.
        """
        inputs, outputs = (
            tuple(replace(each, shape=(batch or each.shape[0], *each.shape[1:])) for each in tensors)
            for tensors in (self.inputs, self.outputs)
        )
        if channels_first:
            size, *rest = inputs[0].shape
            free = tuple((axis + 1, name) for axis, name in inputs[0].free)
            inputs = (replace(inputs[0], shape=(size, rest[-1], *rest[:-1]), free=free),)
        return replace(self, inputs=inputs, outputs=outputs)

    def call(self, model: keras.Model, tensors: Sequence[Any]) -> list[Any]:
        """Return the output tensors of a model for a list of input tensors."""
        return flatten(model(*keras.tree.map_structure(lambda index: tensors[index], self.arguments), training=False))

    def __str__(self) -> str:
        """Return the numbers and names of the tensors, such as "2 inputs (left, right) and 1 output (same)"."""
        kinds = ("input", self.inputs), ("output", self.outputs)
        return " and ".join(
            f"{len(tensors)} {kind}{'' if len(tensors) == 1 else 's'} ({', '.join(each.name for each in tensors)})"
            for kind, tensors in kinds
            if tensors
        )


def flatten(structure: Any) -> list[Any]:
    """Return the tensors of a structure of dicts, lists and tuples."""
    return [each for each in keras.tree.flatten(structure) if each is not None]


def inputs_of(model: keras.Model) -> Signature:
    """Return the inputs of a built model, with their names, and the structure in which the model takes them.

    An input of a functional model has the name that `keras.Input` was given. Other inputs are called "input", or by their
    keys. Of a subclass of `keras.Model` Keras stores the shapes alone: its inputs have the model's own type.

    Raises:
        ZooError: if the model has never been called, or an input has no batch axis.
    """
    functional = getattr(model, "_functional", None) or model  # a Sequential model has a functional one inside
    if not model.built or not (getattr(model, "inputs", None) or getattr(model, "_build_shapes_dict", None)):
        raise ZooError(f"{model.name} has never been called, so its input has no known shape; call it once on a batch")
    if getattr(model, "inputs", None):
        arguments = (functional._inputs_struct,)
        found = [
            ("input" if AUTOMATIC.fullmatch(each.name) else each.name, tuple(each.shape), each.dtype)
            for each in keras.tree.flatten(arguments)
        ]
    else:
        shapes = tuple(model._build_shapes_dict.values())
        arguments = keras.tree.map_shape_structure(_Shape, shapes)
        found = [
            ("/".join(map(str, path[1:])) or "input", (None, *each.sizes[1:]), model.input_dtype)
            for path, each in keras.tree.flatten_with_path(arguments)
        ]
    for name, shape, _ in found:
        if not shape:
            raise ZooError(
                f"{model.name} takes {name} without a batch; only inputs whose first axis is the batch are exported"
            )
    numbers = iter(range(len(found)))
    arguments = keras.tree.map_structure(lambda leaf: next(numbers), arguments)
    taken = set()
    tensors = [Tensor(unique_name(name, taken), shape, str(dtype)) for name, shape, dtype in found]
    return Signature(tuple(_with_free_axes(tensors)), (), arguments, structured=arguments not in ((0,), ([0],)))


@dataclass(frozen=True)
class _Shape:
    """A shape as the leaf of a structure; a tuple would be a structure itself."""

    sizes: Sequence[int | None]


def _with_free_axes(tensors):
    """Return inputs with a name for each axis of free size."""
    several = sum(None in each.shape[1:] for each in tensors) > 1
    for each in tensors:
        prefix = f"{each.name}_" if several else ""
        free = [(axis, prefix + axis_name(each, axis)) for axis, size in enumerate(each.shape) if axis and size is None]
        yield replace(each, free=tuple(free))


def axis_name(tensor: Tensor, axis: int) -> str:
    """Return what an axis of free size is called: height or width of an image, time of a sequence, else by its index."""
    return {4: {1: "height", 2: "width"}, 3: {1: "time"}, 2: {1: "time"}}.get(len(tensor.shape), {}).get(axis, f"axis{axis}")


def output_names(model: keras.Model, outputs: Any) -> list[str]:
    """Return a name for each tensor in the outputs of a model.

    It is the path of keys in a dict, such as "boxes" or "heads/0", else the name of the layer of a functional model, else
    "output". A name may occur several times.

    Args:
        model: Keras model.
        outputs: structure that the model returns.
    """
    layers = list(getattr(getattr(model, "_functional", None) or model, "output_names", None) or [])
    found = []
    for index, (path, tensor) in enumerate(keras.tree.flatten_with_path(outputs)):
        if tensor is not None:
            keyed = any(isinstance(part, str) for part in path)
            found.append("/".join(map(str, path)) if keyed else layers[index] if index < len(layers) else "output")
    return found
