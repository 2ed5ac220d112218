"""A Keras model with several inputs or outputs, compiled for prediction."""

from functools import cached_property

import keras
import numpy as np

from exporters import float64
from exporters.compiled import FEWEST, CompiledModel
from exporters.signature import Signature
from zoo.errors import ZooError


class CompiledOutputs(CompiledModel):
    """A model as a function of a structured array that returns a list of arrays.

    Args:
        model: built Keras model.
        signature: its inputs and outputs.
        dtype: of one row of inputs, with a field for each.
    """

    def __init__(self, model: keras.Model, signature: Signature, dtype: np.dtype):
        super().__init__(model, (dtype.itemsize,), "uint8", signature.batch)
        self.signature, self.row = signature, dtype

    def __call__(self, inputs: np.ndarray) -> list[np.ndarray]:
        """Return the outputs for an (n,) structured array, as `CompiledModel` does."""
        return self._in_batches(lambda *arrays: self._function(*arrays, *self.model.weights), inputs)

    def float64(self, inputs: np.ndarray) -> list[np.ndarray] | None:
        """Return the outputs computed in float64, or None if TensorFlow cannot compute the model in float64."""
        if self._double is None:
            return None
        try:
            return [each.astype("float64") for each in self._in_batches(self._double, inputs)]
        except ZooError:  # an operator without an implementation in float64
            return None

    def check_eager(self, inputs: np.ndarray) -> None:
        """Raise `CheckFailed` if the model, run eagerly on two of the inputs, computes something else than compiled."""
        some = inputs[np.linspace(0, len(inputs) - 1, self.batch or FEWEST).astype(int)]
        eager = self.signature.call(self.model, self._arrays(some))
        for one, other in zip(self(some), eager, strict=True):
            self._check_alike(one.astype("float64"), np.asarray(keras.ops.convert_to_numpy(other), "float64"))

    def _arrays(self, inputs):
        return [np.ascontiguousarray(inputs[name]) for name in inputs.dtype.names]

    def _in_batches(self, function, inputs):
        """Apply a function of arrays to batches; see `CompiledModel`."""
        size, results = self.largest_batch, []
        for start in range(0, len(inputs), size):
            given = inputs[start : start + size]
            batch = np.resize(given, size) if self.batch else given
            try:
                found = function(*self._arrays(batch))
                results.append([keras.ops.convert_to_numpy(each)[: len(given)] for each in found])
            except Exception as error:  # TensorFlow and layers of users raise any type of error
                raise ZooError(f"{self.model.name} fails on a batch of {len(batch)}: {error}") from error
        return [np.concatenate(each) for each in zip(*results, strict=True)]

    def _specs(self):
        import tensorflow as tf

        return [tf.TensorSpec((self.batch, *self.row[name].shape), self.row[name].base.name) for name in self.row.names]

    def _forward(self, inputs):
        return self.signature.call(self.model, inputs)

    @cached_property
    def _double(self):
        """The compiled graph in float64, a function of arrays; None if TensorFlow cannot build it."""
        captured = [outer for outer, _ in self._function.graph.captures]
        try:
            double = float64.in_float64(self._function)
        except Exception:  # TensorFlow raises any type of error
            return None
        return lambda *arrays: double(*map(keras.ops.convert_to_tensor, (*arrays, *self.model.weights)), *captured)
