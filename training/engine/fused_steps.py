"""Training on data that fit in memory: they lie on the device, and many steps run in one graph."""

import itertools

import keras
import numpy as np

from training.engine import input_pipeline
from training.engine.trainer import Trainer
from zoo.analysis import arithmetic
from zoo.layers import traits

# Data up to this size are copied into the backend's memory.
RESIDENT_BYTES = 2**30
# Steps that run in one graph have so many multiply-accumulates forward, about a second on two cores: between two such graphs
# a run can be stopped and kept. Distortions are not counted, and take time, too.
STRETCH_MACS, STRETCH_STEPS = 10**10, 128
# XLA compiles for a second or two, which a run with fewer weights does not get back.
XLA_WEIGHTS = 100_000


class ResidentTrainer(Trainer):
    """Train with the data resident as uint8 and many steps in one graph: `fit` is fed an order of the rows, not the rows.

    Keras' own training step runs inside a loop of the graph, so losses, metrics, optimizers and callbacks work as ever; only
    the step from Python to the graph and back is paid once for many. One device.
    """

    def __init__(self, classifier, *settings, **named):
        super().__init__(classifier, *settings, **named)
        macs = max(1, arithmetic.totals(arithmetic.table(classifier))["macs"]) * self.batch_size
        self.stretch = max(1, min(self.steps, STRETCH_STEPS, STRETCH_MACS // macs))
        self.how = f"{self.stretch} steps in one graph" if self.stretch > 1 else super().how

    def bad_step(self, verdict, begun, done):
        return begun + int(verdict) if int(verdict) else None


class OnTensorFlow(ResidentTrainer):
    """The trainer on TensorFlow, which takes an epoch's last rows as they are."""

    def __init__(self, classifier, augmentation, pictures, labels, *settings, **named):
        import tensorflow as tf

        super().__init__(classifier, augmentation, tf.constant(pictures), tf.constant(labels), *settings, **named)
        self._bad = tf.Variable(0, trainable=False)  # none of Keras', as no run goes on from it

    def prepare(self, optimizer, loss, epochs=1, thaw=None):
        import tensorflow as tf

        super().prepare(optimizer, loss, epochs, thaw)
        self._step = super().train_step
        if self.rule is not None or self.classifier.count_params() < XLA_WEIGHTS:
            return
        plain = not self.augmentation and not self.classifier.preprocessing.deskew
        if plain and _is_fast_under_xla(self.classifier):
            self._step = tf.function(self._step, jit_compile=True)
        else:
            self.optimizer.apply = _in_one_pass(self.optimizer.apply)

    def feed(self, seed, epoch, step=0):
        import tensorflow as tf

        def stretches(number):
            order = tf.numpy_function(lambda number: self.order(seed, number), [number], tf.int32)
            order = tf.ensure_shape(order, (self.presentations,))
            first = tf.where(number == epoch, tf.constant(step, tf.int64), 0) * self.batch_size
            rows = self.stretch * self.batch_size
            return tf.data.Dataset.range(first, self.presentations, rows).map(lambda start: order[start : start + rows])

        return input_pipeline.untuned(tf.data.Dataset.range(epoch, tf.int64.max).flat_map(stretches))

    def verdict(self, logs):
        return self._bad.read_value()

    def train_step(self, order):
        import tensorflow as tf

        pictures, labels = self._data
        self._bad.assign(0)

        def step(start, number):
            rows = order[start : start + self.batch_size]
            logs = self._step((tf.gather(pictures, rows), tf.gather(labels, rows)))
            worse = (self._bad == 0) & ~tf.math.is_finite(logs["loss"])
            self._bad.assign(tf.where(worse, number, self._bad))
            return start + self.batch_size, number + 1

        end = tf.shape(order)[0]
        tf.while_loop(lambda start, _: start < end, step, (tf.constant(0), tf.constant(1)), parallel_iterations=1)
        return self.get_metrics_result()


class OnJax(ResidentTrainer):
    """The trainer on JAX, whose batches have one size, filled up with rows of weight 0: XLA compiles one graph."""

    def __init__(self, classifier, augmentation, pictures, labels, *settings, **named):
        import jax

        pictures, labels = (jax.device_put(np.asarray(each)) for each in (pictures, labels))  # they may lie in a file
        super().__init__(classifier, augmentation, pictures, labels, *settings, **named)
        self._bad = 0

    def feed(self, seed, epoch, step=0):
        """Yield (rows, weights), each (stretch, batch); after an epoch's last batch come batches without weight."""
        for number in itertools.count(epoch):
            for first in range(step if number == epoch else 0, self.steps, self.stretch):
                batches = [self.drawn(seed, number, each) for each in range(first, min(first + self.stretch, self.steps))]
                missing = self.stretch - len(batches)
                yield tuple(np.pad(np.stack(each), ((0, missing), (0, 0))) for each in zip(*batches, strict=True))

    def make_train_function(self, force=False):
        """Make the function by which Keras' `fit` takes one element of the feed."""
        import jax

        if self.train_function is not None and not force:
            return
        steps = jax.jit(self._steps, donate_argnums=0)

        def train(state, iterator):
            logs, state, self._bad = steps(state, next(iterator), *self._data)
            return logs, state

        self.train_function = train

    def verdict(self, logs):
        return self._bad

    def _steps(self, state, fed, pictures, labels):
        """Take all steps of an element of the feed, as a function from the values of all variables to their next ones.

        Returns:
            (logs, state, the first step whose loss is no finite number, counted from 1, or 0).
        """
        import jax
        from jax import numpy as jnp

        rows, weights = fed

        def step(number, carried):
            state, bad = carried
            chosen = rows[number]
            logs, state = self.train_step(state, (pictures[chosen], labels[chosen], weights[number]))
            return state, jnp.where((bad == 0) & ~jnp.isfinite(logs["loss"]), number + 1, bad)

        count = (weights > 0).any(axis=1).sum()
        state, bad = jax.lax.fori_loop(0, count, step, (state, 0))
        with keras.StatelessScope(state_mapping=zip(self.metrics_variables, state[3], strict=True)):
            return self.get_metrics_result(), state, bad


def _in_one_pass(apply):
    """Return an optimizer's `apply`, compiled by XLA.

    It goes through the memory of a variable once, not once for each operation: that was a quarter of AlexNet's time.
    """
    import tensorflow as tf

    def compiled(gradients, variables):
        variables = list(variables)
        tf.function(lambda *values: apply(list(values), variables), jit_compile=True)(*gradients)

    return compiled


def make(classifier, augmentation, pictures, labels, batch_size, placement=None, rule=None, **settings):
    """Return the trainer for these data and the backend in use: a `ResidentTrainer` where it can be, and is no slower."""
    kind = Trainer
    alone = placement is None or placement.parts == 1
    if alone and pictures.nbytes <= RESIDENT_BYTES:
        if keras.backend.backend() == "tensorflow":
            kind = OnTensorFlow
        elif keras.backend.backend() == "jax" and rule is None and _loops(classifier, augmentation):
            kind = OnJax
    return kind(classifier, augmentation, pictures, labels, batch_size, placement=placement, rule=rule, **settings)


def _loops(classifier, augmentation):
    """Tell whether XLA can compile all layers, by their own word, and is not slowed down by a loop around them.

    On a CPU a convolution within a loop takes three times as long.
    """
    import jax

    layers = itertools.chain(classifier._flatten_layers(), *(layer._flatten_layers() for layer in augmentation))
    if not all(getattr(layer, "supports_jit", True) for layer in layers):
        return False
    return jax.default_backend() != "cpu" or _is_fast_under_xla(classifier)


def _is_fast_under_xla(classifier):
    return all(traits.of(layer).fast_under_xla for layer in classifier.net.layers)
