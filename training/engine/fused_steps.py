"""Trainers for data that fit in memory: the data are resident on the device, and many steps are fused into one graph."""

import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from training.engine import input_pipeline
from training.engine.trainer import Trainer, TrainerOptions
from zoo.analysis import arithmetic
from zoo.layers import traits
from zoo.types import Tensor

if TYPE_CHECKING:
    from zoo.classifier import Classifier

# Data up to this size are copied to the memory of the device.
RESIDENT_BYTES = 2**30
# Upper bounds of a graph: multiply-accumulates of the forward passes, about a second on two cores, and number of steps.
# A run can be stopped and saved between two graphs. Augmentation is not counted, although it takes time too.
FUSED_MACS, FUSED_STEPS = 10**10, 128
# XLA compiles for one or two seconds, which a run with fewer weights does not win back.
XLA_WEIGHTS = 100_000


class ResidentTrainer(Trainer):
    """Train with resident uint8 data and many steps in one graph. The dataset for `fit` holds row numbers, not images.

    Keras' own training step runs in a loop inside the graph, so losses, metrics, optimizers and callbacks work as usual.
    Only the overhead between Python and the graph is paid once for many steps. It runs on one device. It takes the
    arguments of `Trainer`.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        macs = max(1, arithmetic.totals(arithmetic.table(self.classifier))["macs"]) * self.batch_size
        self.steps_per_element = max(1, min(self.steps, FUSED_STEPS, FUSED_MACS // macs))
        if self.steps_per_element > 1:
            self.description = f"{self.steps_per_element} steps per graph"

    def first_nonfinite_step(self, status: Any, before: int, after: int) -> int | None:
        """Return the first step whose loss is not finite, as `Trainer` does, from the number that the graph returns."""
        return before + int(status) if int(status) else None


class TensorFlowResidentTrainer(ResidentTrainer):
    """The resident trainer on TensorFlow. The last batch of an epoch has only the remaining rows."""

    @staticmethod
    def to_device(images: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return images and labels as TensorFlow tensors in the memory of the device."""
        import tensorflow as tf

        return tf.constant(images), tf.constant(labels)

    def prepare(
        self,
        optimizer: keras.optimizers.Optimizer | None,
        loss: keras.losses.Loss,
        epochs: int = 1,
        unfreezing: Any = None,
    ) -> None:
        """Compile the model as `Trainer` does. XLA compiles the step or the update of the weights if that is faster."""
        import tensorflow as tf

        super().prepare(optimizer, loss, epochs, unfreezing)
        # The first step of an element whose loss is not finite, from 1, or 0. No Keras variable: it is not in checkpoints.
        self._nonfinite_step = tf.Variable(0, trainable=False)
        self._step = super().train_step
        if self.rule is not None or self.classifier.count_params() < XLA_WEIGHTS:
            return
        plain = not self.augmentation and not self.classifier.preprocessing.deskew
        if plain and _is_fast_under_xla(self.classifier):
            self._step = tf.function(self._step, jit_compile=True)
        else:
            self.optimizer.apply = _compiled_update(self.optimizer.apply)

    def train_dataset(self, seed: int, epoch: int, step: int = 0) -> Any:
        """Return the rows of each epoch in its order as a `tf.data.Dataset`, `steps_per_element` batches per element."""
        import tensorflow as tf

        def elements(number):
            order = tf.numpy_function(lambda number: self.order(seed, number), [number], tf.int32)
            order = tf.ensure_shape(order, (self.images_per_epoch,))
            first = tf.where(number == epoch, tf.constant(step, tf.int64), 0) * self.batch_size
            rows = self.steps_per_element * self.batch_size
            starts = tf.data.Dataset.range(first, self.images_per_epoch, rows)
            return starts.map(lambda start: order[start : start + rows])

        return input_pipeline.without_autotuning(tf.data.Dataset.range(epoch, tf.int64.max).flat_map(elements))

    def loss_status(self, logs: dict) -> Any:
        """Return the first step of the graph whose loss is not finite, from 1, or 0, as a tensor."""
        return self._nonfinite_step.read_value()

    def train_step(self, order: Any) -> dict:
        """Take one step for each batch of an element of `train_dataset`, in a loop inside the graph."""
        import tensorflow as tf

        images, labels = self._data
        self._nonfinite_step.assign(0)

        def step(start, number):
            rows = order[start : start + self.batch_size]
            logs = self._step((tf.gather(images, rows), tf.gather(labels, rows)))
            is_first = (self._nonfinite_step == 0) & ~tf.math.is_finite(logs["loss"])
            self._nonfinite_step.assign(tf.where(is_first, number, self._nonfinite_step))
            return start + self.batch_size, number + 1

        end = tf.shape(order)[0]
        tf.while_loop(lambda start, _: start < end, step, (tf.constant(0), tf.constant(1)), parallel_iterations=1)
        return self.get_metrics_result()


class JaxResidentTrainer(ResidentTrainer):
    """The resident trainer on JAX. Batches are padded to one size with rows of weight 0, so that XLA compiles one graph."""

    _nonfinite_step = 0

    @staticmethod
    def to_device(images: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return images and labels as JAX arrays in the memory of the device."""
        import jax

        return jax.device_put(np.asarray(images)), jax.device_put(np.asarray(labels))  # they may be memory-mapped

    def train_dataset(self, seed: int, epoch: int, step: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (rows, weights), each (steps, batch). Batches of weight 0 pad the last element of an epoch."""
        for number in itertools.count(epoch):
            for first in range(step if number == epoch else 0, self.steps, self.steps_per_element):
                steps = range(first, min(first + self.steps_per_element, self.steps))
                batches = [self.padded_batch(seed, number, each) for each in steps]
                missing = self.steps_per_element - len(batches)
                yield tuple(np.pad(np.stack(each), ((0, missing), (0, 0))) for each in zip(*batches, strict=True))

    def make_train_function(self, force: bool = False) -> None:
        """Make the function with which Keras' `fit` trains on one element of the dataset."""
        import jax

        if self.train_function is not None and not force:
            return
        steps = jax.jit(self._steps, donate_argnums=0)

        def train(state, iterator):
            logs, state, self._nonfinite_step = steps(state, next(iterator), *self._data)
            return logs, state

        self.train_function = train

    def loss_status(self, logs: dict) -> Any:
        """Return the first step of the graph whose loss is not finite, from 1, or 0, as an array."""
        return self._nonfinite_step

    def _steps(self, state, element, images, labels):
        """Take all steps of an element, as a function from the values of all variables to their next values.

        Returns:
            (logs, state, first step whose loss is not finite, counted from 1, or 0).
        """
        import jax
        from jax import numpy as jnp

        rows, weights = element

        def step(number, carried):
            state, nonfinite_step = carried
            chosen = rows[number]
            logs, state = self.train_step(state, (images[chosen], labels[chosen], weights[number]))
            is_first = (nonfinite_step == 0) & ~jnp.isfinite(logs["loss"])
            return state, jnp.where(is_first, number + 1, nonfinite_step)

        count = (weights > 0).any(axis=1).sum()
        state, nonfinite_step = jax.lax.fori_loop(0, count, step, (state, 0))
        with keras.StatelessScope(state_mapping=zip(self.metrics_variables, state[3], strict=True)):
            return self.get_metrics_result(), state, nonfinite_step


def _compiled_update(apply):
    """Return an optimizer's `apply`, compiled by XLA.

    The compiled one goes through the memory of a variable once instead of once per operation, which was a quarter of the
    training time of AlexNet.
    """
    import tensorflow as tf

    def compiled(gradients, variables):
        variables = list(variables)
        tf.function(lambda *values: apply(list(values), variables), jit_compile=True)(*gradients)

    return compiled


def make(
    classifier: "Classifier",
    augmentation: Iterable[keras.layers.Layer],
    images: np.ndarray,
    labels: np.ndarray,
    batch_size: int,
    options: TrainerOptions | None = None,
) -> Trainer:
    """Return the fastest trainer for a classifier, its data and the Keras backend: a resident one where possible.

    Args:
        classifier: `zoo.classifier.Classifier`, raw images -> scores.
        augmentation: layers, as for `Trainer`.
        images: (rows, height, width, channels) uint8 array.
        labels: (rows,) int array.
        batch_size: images per step.
        options: as for `Trainer`.
    """
    kind, options = Trainer, options or TrainerOptions()
    if options.strategy.replicas == 1 and images.nbytes <= RESIDENT_BYTES:
        if keras.backend.backend() == "tensorflow":
            kind = TensorFlowResidentTrainer
        elif keras.backend.backend() == "jax" and options.rule is None and _can_loop(classifier, augmentation):
            kind = JaxResidentTrainer
    return kind(classifier, augmentation, images, labels, batch_size, options)


def _can_loop(classifier, augmentation):
    """Return whether XLA compiles all layers, as they declare, and a loop around them does not slow them down.

    On a CPU a convolution inside a loop takes three times as long.
    """
    import jax

    layers = itertools.chain(classifier._flatten_layers(), *(layer._flatten_layers() for layer in augmentation))
    if not all(getattr(layer, "supports_jit", True) for layer in layers):
        return False
    return jax.default_backend() != "cpu" or _is_fast_under_xla(classifier)


def _is_fast_under_xla(classifier):
    return all(traits.of(layer).fast_under_xla for layer in classifier.net.layers)
