"""A Keras model compiled for prediction: its need for memory, batches that respect it, and the same graph in float64."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import keras
import numpy as np

from exporters import float64
from exporters.runner.board.gate import BATCHES
from zoo import machine
from zoo.errors import CheckFailed, ZooError

if TYPE_CHECKING:
    import tensorflow as tf

LARGEST_BATCH = 64  # inputs
FEWEST = 2  # inputs: with one, a batch size that was frozen to 1 would not show
ACTIVATIONS = 3 * 2**27  # bytes of the activations of one batch that exist at the same time
OUTPUTS = 2**23  # bytes of the outputs of one batch
HELD = 2**25  # bytes of all inputs and outputs of a comparison
OPERATIONS, WRITTEN = 5 * 10**10, 8 * 10**9  # multiply-adds, and bytes of activations; a runtime takes seconds for as many
FEWEST_INPUTS, MOST_INPUTS = 8, 512
ROUGH = 1e-2  # relative difference between compiled and eager outputs that rounding may cause
# Tensors that share the memory of their input.
VIEWS = {"Identity", "Reshape", "Squeeze", "ExpandDims", "StopGradient"}
CONSTANT = {"Placeholder", "Const"}  # the inputs of the graph, most of which are weights, and its constants


@dataclass(frozen=True)
class Cost:
    """What one input costs a model.

    Attributes:
        activations: bytes of all activations of one input that exist at the same time.
        outputs: bytes of the output for one input.
        operations: number of multiply-adds of one input.
        written: bytes of all activations of one input.
    """

    activations: int
    outputs: int
    operations: int
    written: int


class CompiledModel:
    """A Keras model as a function of arrays that TensorFlow has compiled.

    An eager Keras model keeps every activation until its last layer has run. A compiled one frees each after its last use.

    Args:
        model: built Keras model with one input and one output.
        shape: of one input, without the batch.
        dtype: of the input.
        batch: the only batch size that the model takes. Default: any.
    """

    def __init__(self, model: keras.Model, shape: Sequence[int], dtype: str, batch: int | None = None):
        self.model, self.shape, self.dtype, self.batch = model, tuple(shape), dtype, batch

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Return the model's outputs for an (n, ...) array, computed in batches of at most `largest_batch`.

        Raises:
            ZooError: if the model fails on a batch.
        """
        return self._in_batches(lambda batch: self._function(batch, *self.model.weights), inputs)

    def float64(self, inputs: np.ndarray) -> np.ndarray | None:
        """Return the outputs for an (n, ...) array, computed in float64 with the same weights.

        Returns:
            Array of float64, or None if TensorFlow cannot compute the model in float64.
        """
        if self._double is None:
            return None
        try:
            return self._in_batches(self._double, inputs).astype("float64")
        except ZooError:  # an operator without an implementation in float64
            return None

    @cached_property
    def cost(self) -> Cost:
        """The memory and the operations that one input takes, from the shapes in the compiled graph."""
        operators = self._function.graph.get_operations()
        last_use = {}
        for place, operator in enumerate(operators):
            for tensor in operator.inputs:
                last_use[_owner(tensor).ref()] = place
        alive = most = written = 0
        freed = {}
        for place, operator in enumerate(operators):
            sizes = (
                {} if operator.type in VIEWS else {tensor.ref(): _bytes(tensor, self.batch) for tensor in operator.outputs}
            )
            for tensor, size in sizes.items():
                freed.setdefault(last_use.get(tensor, place), []).append(size)
            alive += sum(sizes.values())
            written += sum(sizes.values())
            most = max(most, alive)
            alive -= sum(freed.pop(place, ()))
        outputs = sum(_bytes(tensor, self.batch) for tensor in self._function.outputs)
        return Cost(most, outputs, sum(map(_multiply_adds, operators)) // (self.batch or 1), written)

    @cached_property
    def largest_batch(self) -> int:
        """The batch size of predictions: a power of two, bounded by the memory of activations and outputs."""
        if self.batch:
            return self.batch
        fitting = min(ACTIVATIONS // max(1, self.cost.activations), OUTPUTS // max(1, self.cost.outputs), LARGEST_BATCH)
        return max(FEWEST, min(power_of_two(fitting), self._fast))

    @property
    def batches(self) -> tuple[int, ...]:
        """Batch sizes for a comparison: one input, a few, and as many as fit."""
        return tuple(sorted({min(size, self.largest_batch) for size in BATCHES}))

    def affordable(self, most: int = MOST_INPUTS) -> int:
        """Return the number of inputs, at most `most`, on which the model can be compared within seconds and memory.

        Raises:
            ZooError: if the memory of this machine is too small for two inputs.
        """
        cost, size = self.cost, math.prod(self.shape) * np.dtype(self.dtype).itemsize
        held = power_of_two(HELD // max(1, size + cost.outputs))
        fewest = self.batch or FEWEST
        # A runtime needs the activations; the outputs are held for the model, the runtime and their differences.
        needed = fewest * (2 * cost.activations + 6 * (size + cost.outputs))
        available = machine.memory()["available"]
        if needed > available:
            raise ZooError(
                f"{self.model.name} cannot be compared with a file on this machine: {fewest} inputs need "
                f"{needed / 1e9:.1f} GB of memory, {available / 1e9:.1f} GB are available; use a machine with more memory"
            )
        return min(most, max(fewest, min(held, self._fast)))

    @property
    def _fast(self):
        """The number of inputs that a runtime computes within seconds."""
        bounds = OPERATIONS // max(1, self.cost.operations), WRITTEN // max(1, self.cost.written), MOST_INPUTS
        return max(FEWEST_INPUTS, power_of_two(min(bounds)))

    def check_eager(self, inputs: np.ndarray) -> None:
        """Raise `CheckFailed` if the model, run eagerly on two of the inputs, computes something else than compiled."""
        some = inputs[np.linspace(0, len(inputs) - 1, self.batch or FEWEST).astype(int)]
        compiled = self(some).astype("float64")
        eager = np.asarray(keras.ops.convert_to_numpy(self.model(some, training=False)), "float64")
        self._check_alike(compiled, eager)

    def _check_alike(self, compiled, eager):
        """Raise `CheckFailed` unless a compiled output is about that of the model run eagerly."""
        scale = np.abs(compiled[np.isfinite(compiled)]).max(initial=0)
        with np.errstate(invalid="ignore"):
            different = ~np.isclose(compiled, eager, rtol=ROUGH, atol=ROUGH * scale, equal_nan=True)
        if compiled.shape != eager.shape or different.any():
            raise CheckFailed(
                f"the file does not compute what the model computes: {self.model.name} gives other outputs compiled with "
                "tf.function than run eagerly. A file contains the random numbers and Python variables of the moment of its "
                "export; use weights instead"
            )

    def _in_batches(self, function, inputs):
        """Apply a function to batches of inputs. If the model takes a single batch size, repeat inputs to fill the last."""
        size, results = self.largest_batch, []
        for start in range(0, len(inputs), size):
            given = inputs[start : start + size]
            batch = np.resize(given, (size, *given.shape[1:])) if self.batch else given
            try:
                results.append(keras.ops.convert_to_numpy(function(batch))[: len(given)])
            except Exception as error:  # TensorFlow and layers of users raise any type of error
                raise ZooError(f"{self.model.name} fails on a batch of {len(batch)}: {_reason(error)}") from error
        return np.concatenate(results)

    def _specs(self):
        """Return the specifications of the inputs."""
        import tensorflow as tf

        return [tf.TensorSpec((self.batch, *self.shape), self.dtype, name="inputs")]

    def _forward(self, inputs):
        """Return the outputs of the model for a list of tensors."""
        return self.model(inputs[0], training=False)

    @cached_property
    def _function(self) -> "tf.types.experimental.ConcreteFunction":
        import tensorflow as tf

        weights, specs = list(self.model.weights), self._specs()
        count = len(specs)

        def forward(*values):
            with keras.StatelessScope(state_mapping=list(zip(weights, values[count:], strict=True))):
                return self._forward(values[:count])

        specs += [tf.TensorSpec(each.shape, each.dtype) for each in weights]
        eagerly = tf.config.functions_run_eagerly()
        # Trace inner functions inline: Keras wraps grouped convolutions in one for XLA, which is six times slower.
        tf.config.run_functions_eagerly(True)
        try:
            return tf.function(forward, input_signature=specs).get_concrete_function()
        except Exception as error:  # layers of users raise any type of error
            raise ZooError(f"{self.model.name} cannot be compiled: {_reason(error)}") from error
        finally:
            tf.config.run_functions_eagerly(eagerly)

    @cached_property
    def _double(self):
        """The compiled graph in float64, a function of a batch; None if TensorFlow cannot build it."""
        function = self._function
        captured = [outer for outer, _ in function.graph.captures]
        try:
            double = float64.in_float64(function)
        except Exception:  # TensorFlow raises any type of error
            return None
        return lambda batch: double(*map(keras.ops.convert_to_tensor, (batch, *self.model.weights)), *captured)[0]


def power_of_two(number: int) -> int:
    """Return the largest power of two that is not larger than a number; 0 for 0."""
    return 1 << number.bit_length() - 1 if number else 0


def _bytes(tensor, batch):
    """Return the bytes of a tensor for one input; 0 if it does not depend on the batch or its shape is unknown."""
    sizes = tensor.shape
    if sizes.rank is None or (batch and tensor.op.type in CONSTANT):
        return 0
    if batch:  # every axis is known
        return math.prod(size or 1 for size in sizes) * tensor.dtype.size // batch
    return math.prod(size or 1 for size in sizes) * tensor.dtype.size if None in sizes else 0


def _owner(tensor):
    """Return the tensor whose memory a tensor shares, such as the input of a reshape."""
    while tensor.op.type in VIEWS:
        tensor = tensor.op.inputs[0]
    return tensor


def _multiply_adds(operator):
    """Return the multiply-adds of a convolution or matrix product for one input; 0 for other operators."""
    shapes = [tensor.shape for tensor in (*operator.inputs, *operator.outputs)]
    if any(shape.rank is None for shape in shapes) or len(shapes) < 3:
        return 0
    sizes = [[size or 1 for size in shape] for shape in shapes]
    first, second, result = sizes[0], sizes[1], sizes[-1]
    if operator.type == "Conv2D":
        return math.prod(result) * math.prod(second[:-1])
    if operator.type == "DepthwiseConv2dNative":
        return math.prod(result) * math.prod(second[:2])
    if operator.type in ("MatMul", "BatchMatMulV2"):
        return math.prod(result) * first[-1]
    return 0


def _reason(error):
    """Return the line of an error that says what failed, without those that Keras and TensorFlow put around it."""
    lines = [re.sub(r"\x1b\[[0-9;]*m|\{\{.*?\}\} ?| ?\[Op:.*", "", line).strip() for line in str(error).splitlines()]
    around = ("Graph execution error", "Detected at", "Exception encountered", 'File "', "[[")
    return next((line for line in lines if line and not line.startswith(around)), type(error).__name__)
