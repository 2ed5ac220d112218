"""Run a model on zeros: the shapes of its outputs, and sizes for axes that are not fixed, such as height, width and time."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import keras
import numpy as np

from exporters.onnx.graph.names import unique_name
from exporters.signature import Signature, Tensor, axis_name, output_names
from zoo.errors import ZooError

COUNT = 2  # inputs in a batch, if the model takes any number
# Sizes for the first, second, ... free axis, in two runs; an image has multiples of its unit, a sequence of the other.
PATTERNS = ((2, 3, 4, 5), (3, 2, 5, 4)), ((7, 10, 13, 16), (12, 9, 15, 11))
UNITS = (32, 1), (64, 4), (112, 32)
ODD = 5  # pixels more, in a third run of images: not every model takes sizes that are no multiple of a power of two


def resolve(model: keras.Model, signature: Signature) -> tuple[Signature, tuple[dict[str, int], ...]]:
    """Return a signature with outputs, and sizes of the free axes with which the model runs.

    If the model does not run with different sizes for all axes, axes share sizes and names: the same axes of all inputs, or
    all axes.

    Args:
        model: built Keras model.
        signature: of `exporters.signature.inputs_of`.

    Returns:
        (`Signature`, tuple of dicts, name of a free axis -> size). Without free axes, the dict is empty.

    Raises:
        ZooError: if the model fails, or an output has not one row for each input.
    """
    failure = None
    for attempt, choices in _attempts(signature):
        runs = []
        for sizes in choices:
            try:
                runs.append((sizes, _run(model, attempt, sizes)))
            except ZooError:
                raise
            except Exception as error:  # layers of users raise any type of error
                failure = failure or error
                if len(runs) < 2:
                    runs.clear()
                    break
        if runs:
            return _with_outputs(model, attempt, runs), tuple(sizes for sizes, _ in runs)
    batch = signature.batch or COUNT
    what = f"a batch of {batch} zeros"
    if any(each.free for each in signature.inputs):
        what += " with every size that was tried for its free axes; build it for one size"
    raise ZooError(f"{model.name} fails on {what}: {type(failure).__name__}: {failure}") from failure


def _attempts(signature) -> Iterator[tuple[Signature, list[dict[str, int]]]]:
    """Yield signatures whose free axes share more and more names, with the sizes to try."""
    if not any(each.free for each in signature.inputs):
        yield signature, [{}]
        return
    variants = {}
    for naming in (lambda each, axis, name: name, lambda each, axis, name: axis_name(each, axis), lambda *_: "size"):
        inputs = [
            replace(each, free=tuple((axis, naming(each, axis, name)) for axis, name in each.free))
            for each in signature.inputs
        ]
        variants.setdefault(tuple(each.free for each in inputs), replace(signature, inputs=tuple(inputs)))
    for units in UNITS:
        for variant in variants.values():
            yield variant, _sizes(variant, units)


def _sizes(signature, units):
    """Return three assignments of sizes to the names of free axes; the third is for images only."""
    kinds = {}
    for each in signature.inputs:
        for _, name in each.free:
            kinds[name] = min(kinds.get(name, 1), 0 if len(each.shape) > 3 else 1)
    assignments = [
        {
            name: units[kind] * PATTERNS[kind][run][position % 4] + position // 4
            for position, (name, kind) in enumerate(kinds.items())
        }
        for run in (0, 1)
    ]
    odd = {name: size + ODD * (1 - kinds[name]) for name, size in assignments[0].items()}
    return assignments + ([odd] if odd != assignments[0] else [])


@dataclass(frozen=True)
class _Outputs:
    """Names, shapes and types of the outputs for zeros, and whether they are in a structure."""

    names: list[str]
    shapes: list[tuple[int, ...]]
    dtypes: list[str]
    structured: bool


def _run(model, signature, sizes):
    """Return the `_Outputs` of a model."""
    count = signature.batch or COUNT
    tensors = [keras.ops.zeros((count, *each.sized(sizes)), each.dtype) for each in signature.inputs]
    structure = keras.tree.map_structure(lambda index: tensors[index], signature.arguments)
    result = model(*structure, training=False)
    names = output_names(model, result)
    found = [each for each in keras.tree.flatten(result) if each is not None]
    for name, each in zip(names, found, strict=True):
        if tuple(each.shape[:1]) != (count,):
            raise ZooError(
                f"{model.name} returns an output of {tuple(each.shape)} for a batch of {count}, called {name}; only models "
                "with one row per input in each output can be exported"
            )
    dtypes = [keras.backend.standardize_dtype(each.dtype) for each in found]
    return _Outputs(names, [tuple(each.shape) for each in found], dtypes, isinstance(result, dict | list | tuple))


def _with_outputs(model, signature, runs):
    """Return a signature with the outputs of several runs; a size that differs between them is free."""
    first, taken, outputs = runs[0][1], {each.name for each in signature.inputs}, []
    for index, (name, dtype) in enumerate(zip(first.names, first.dtypes, strict=True)):
        name, shapes = unique_name(name, taken), np.array([found.shapes[index] for _, found in runs])
        output = Tensor(name, (signature.batch, *shapes[0][1:].tolist()), dtype)
        axes = [axis for axis in range(1, shapes.shape[1]) if (shapes[:, axis] != shapes[0, axis]).any()]
        free = tuple((axis, _name(output, axis, shapes[:, axis], [sizes for sizes, _ in runs])) for axis in axes)
        shape = tuple(None if axis in axes else size for axis, size in enumerate(output.shape))
        outputs.append(replace(output, shape=shape, free=free))
    return replace(signature, outputs=tuple(outputs), structured=signature.structured or first.structured)


def _name(output, axis, column, runs):
    """Return the name of the input's axis that has the same size in all runs, else one of its own."""
    for name in runs[0]:
        if all(sizes[name] == size for sizes, size in zip(runs, column, strict=True)):
            return name
    return f"{output.name}_{axis_name(output, axis)}"
