"""A Keras model with several inputs or outputs, or with inputs of free size, such as any height, width or time."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np

from exporters.compiled_outputs import CompiledOutputs
from exporters.signature import Signature
from zoo.errors import ZooError
from zoo.weights import fingerprint

MOST = 64  # inputs of a comparison, over all sizes
PROBES = 4  # inputs on which limits of whole numbers are tried
LARGEST = 1000  # magnitude of whole numbers


@dataclass(frozen=True)
class GeneralSource:
    """A model whose file has its inputs and outputs, by the names of its layers.

    A batch of inputs is a structured NumPy array: its fields are the inputs, and its rows belong together.

    Attributes:
        model: Keras model.
        signature: its inputs and outputs.
        sizes: sizes of the free axes for which a file is compared with the model, by their names.
        origin: name of the model or of its file, for the metadata.
        policy: policy of half precision that the model had before it was rebuilt in float32.
        size: that a model of any size was given; see `exporters.sizes`.
    """

    model: keras.Model
    signature: Signature
    sizes: tuple[dict[str, int], ...]
    origin: str
    policy: str | None = None
    size: tuple[int, ...] | None = None

    classifier, described, raw_input = None, None, False  # as of an `exporters.source.Source` that is no classifier

    @property
    def assumed(self) -> tuple[str, ...]:
        """One sentence for each fact about the model that nobody has stated."""
        return (f"float32 in place of {self.policy}, with the weights of the model",) if self.policy else ()

    @property
    def is_image(self) -> bool:
        """Whether the model takes one tensor with rows, columns and channels, which may be first in a file."""
        return len(self.signature.inputs) == 1 and len(self.signature.inputs[0].shape) == 4

    def fingerprint(self) -> str:
        """Return the hex sha256 of all weights."""
        return fingerprint(self.model.weights)

    def call(self, inputs: np.ndarray) -> list[Any]:
        """Return the output tensors of the model for an (n,) structured array, in the order of its signature."""
        return self.signature.call(self.model, [np.ascontiguousarray(inputs[name]) for name in inputs.dtype.names])

    def compiled(self, dtype: np.dtype) -> CompiledOutputs:
        """Return the model, compiled for rows of a structured type, for predictions in batches that fit in memory."""
        return self._compiled.setdefault(dtype, CompiledOutputs(self.model, self.signature, dtype))

    @cached_property
    def _compiled(self):
        return {}

    def predict(self, inputs: np.ndarray) -> list[np.ndarray]:
        """Return the outputs of the model as arrays."""
        return self.compiled(inputs.dtype)(inputs)

    def inputs(self, sizes: dict[str, int], batch: int | None = None) -> np.ndarray:
        """Return random inputs on which the model is finite and does not fail, if there are any.

        Args:
            sizes: of the free axes.
            batch: the only batch size that the file takes.

        Returns:
            (n,) structured array. Values are zeros, ones, and of the standard normal distribution or larger; if the model is
            not finite on them, from 0 to 1. Whole numbers are up to 1000 of both signs; of an input on which the model fails
            then, below the size of an embedding, or 0 and 1.

        Raises:
            ZooError: if the model fails on all of them.
        """
        row = np.dtype([(each.name, each.dtype, each.sized(sizes)) for each in self.signature.inputs])
        count, failure, first = self.compiled(row).affordable(MOST // len(self.sizes)), None, None
        if batch := batch or self.signature.batch:
            count = -(-count // batch) * batch
        limits = self._limits(row, batch)
        for draw in (_any, _positive, _unit):
            inputs = self._draw(draw, row, count, limits)
            try:
                outputs = self.predict(inputs)
            except ZooError as error:
                failure = failure or error
                continue
            if all(np.isfinite(each).all() for each in outputs if each.dtype.kind == "f"):
                return inputs
            first = inputs if first is None else first
        if first is None:
            raise failure
        return first

    def _limits(self, row, batch):
        """Return (lowest, highest) for each input of whole numbers, by name: the widest on which the model does not fail."""
        layers = self.model._flatten_layers()
        tables = sorted({each.input_dim for each in layers if isinstance(each, keras.layers.Embedding)}, reverse=True)
        whole = [name for name in row.names if row[name].base.kind in "iu"]
        limits = dict.fromkeys(whole, (0, min(tables, default=2) - 1))
        for name in whole:
            known = np.iinfo(row[name].base)
            widest = max(known.min, -LARGEST), min(known.max, LARGEST)
            for low, high in (widest, *((0, rows - 1) for rows in tables), (0, 1)):
                inputs = self._draw(_any, row, batch or PROBES, {**limits, name: (low, high)})
                inputs[name].flat[0], inputs[name].flat[-1] = low, high
                try:
                    self.predict(inputs)
                except ZooError:
                    continue
                limits[name] = low, high
                break
        return limits

    def _draw(self, draw, row, count, limits):
        """Return inputs whose values a function draws. The second is all ones, and the first all zeros where they may be."""
        generator = np.random.default_rng(0)
        inputs = np.zeros(count, row)
        start = 1 if draw is _any else 0
        for name in inputs.dtype.names:
            field = inputs[name]
            field[start:] = draw(generator, field.dtype, field[start:].shape, limits.get(name))
            field[1:2] = 1
        return inputs


def _any(generator, dtype, shape, limits):
    """Return normal values, every fourth ten times as large and every fourth from 0 to 1; whole numbers within limits."""
    if dtype.kind == "f":
        values = generator.normal(size=shape)
        values[2::4] *= 10
        values[3::4] = generator.random(values[3::4].shape)
        return values
    if dtype.kind == "b":
        return generator.integers(0, 2, shape)
    return generator.integers(*limits, shape, endpoint=True)


def _positive(generator, dtype, shape, limits):
    """Return values from 0 to 1, without 0; whole numbers as `_any`."""
    return generator.uniform(1e-3, 1, shape) if dtype.kind == "f" else _any(generator, dtype, shape, limits)


def _unit(generator, dtype, shape, limits):
    """Return values from 0 to 1; whole numbers 0 and 1."""
    return _positive(generator, dtype, shape, limits) if dtype.kind == "f" else generator.integers(0, 2, shape)
