"""A classifier while it learns: augmentation in front and, for data that fit in memory, a whole epoch in one graph."""

import itertools
import math

import keras
import numpy as np

from zoo.errors import ZooError

# Data up to this size are copied into the backend's memory and trained on by ResidentTrainer.
RESIDENT_BYTES = 2**30
VALIDATION_BATCH = 1000


class Trainer(keras.Model):
    """Train a classifier on augmented pictures; what is augmented in front of it never leaves with it.

    Args:
        classifier: `zoo.Classifier`, raw pictures -> scores.
        augmentation: layers that take and return (batch, height, width, channels) float raw pixels.
        pictures: (rows, height, width, channels) uint8 array.
        labels: (rows,) int array.
        batch_size: rows a step; the last step of an epoch takes what is left.
    """

    how = "Keras fit, a step at a time"

    def __init__(self, classifier, augmentation, pictures, labels, batch_size):
        super().__init__(name=f"{classifier.name}-trainer")
        self.classifier = classifier
        self.augmentation = list(augmentation)
        self.batch_size = batch_size
        self.rows = len(labels)
        self._data = pictures, labels

    @property
    def steps(self):
        """Optimizer steps of an epoch."""
        return math.ceil(self.rows / self.batch_size)

    @property
    def steps_per_epoch(self):
        """How many elements of `feed` are an epoch, as Keras' `fit` wants to know."""
        return self.steps

    def prepare(self, optimizer, loss):
        """Compile, and build all that has variables, so that a checkpoint can be put into them before `fit`.

        Raises:
            ZooError: if loss or optimizer do not fit the classifier, which shows on two pictures as well as in an epoch.
        """
        # TensorFlow's XLA takes 20 times as long as its own kernels for a convolution's gradient on the CPU.
        xla = keras.backend.backend() != "tensorflow"
        self.compile(optimizer, loss, metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")], jit_compile=xla)
        pictures, labels = self._data
        # One evaluated batch builds metrics and loss; the loop in the graph of ResidentTrainer may not make variables.
        try:
            self.evaluate(pictures[:2], labels[:2], verbose=0)
            optimizer.build(self.trainable_variables)
        except Exception as error:  # Keras and its backends raise errors of many kinds here
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise ZooError(
                f"loss {loss.name} or optimizer {optimizer.name} do not fit {self.classifier.name}: {reason[0]}"
            ) from error

    def build(self, input_shape):
        """Nothing of its own: the classifier is built, and augmentation has no weights."""
        self.built = True

    def call(self, pictures, training=None):
        if training and self.augmentation:
            pictures = keras.ops.cast(pictures, self.compute_dtype)
            for layer in self.augmentation:
                pictures = layer(pictures, training=True)
        return self.classifier(pictures, training=training)

    def order(self, seed, epoch):
        """Return the rows in the order of an epoch, which follows from seed and epoch alone."""
        return np.random.default_rng([seed, epoch]).permutation(self.rows).astype("int32")

    def feed(self, seed, first):
        """Return what Keras' `fit` reads: endlessly, from epoch `first` on, batches in the order of each epoch."""
        pictures, labels = self._data
        for epoch in itertools.count(first):
            order = self.order(seed, epoch)
            for start in range(0, self.rows, self.batch_size):
                rows = order[start : start + self.batch_size]
                yield pictures[rows], labels[rows]

    def validation(self, pictures, labels):
        """Return samples as the keywords with which Keras' `fit` validates on them."""
        return {"validation_data": (pictures, labels), "validation_batch_size": VALIDATION_BATCH}


class ResidentTrainer(Trainer):
    """Train with the data resident as uint8 and one graph an epoch: `fit` is fed an order of the rows, not the rows.

    Keras' own training step runs inside a loop of the graph, so losses, metrics, optimizers and the callbacks at the ends
    of epochs work as ever; only the step from Python to the graph and back is paid once an epoch. TensorFlow backend.
    """

    how = "one graph an epoch"

    def __init__(self, classifier, augmentation, pictures, labels, batch_size):
        import tensorflow as tf

        super().__init__(classifier, augmentation, tf.constant(pictures), tf.constant(labels), batch_size)

    @property
    def steps_per_epoch(self):
        return 1

    def feed(self, seed, first):
        import tensorflow as tf

        def order(epoch):
            rows = tf.numpy_function(lambda number: self.order(seed, number), [epoch], tf.int32)
            return tf.ensure_shape(rows, (self.rows,))

        # Not from_generator: that sets malloc's trim threshold to 128 KiB, and each step pays for it with page faults.
        return _untuned(tf.data.Dataset.range(first, tf.int64.max).map(order))

    def validation(self, pictures, labels):
        import tensorflow as tf

        data = tf.data.Dataset.from_tensor_slices((pictures, labels)).batch(VALIDATION_BATCH)
        return {"validation_data": _untuned(data)}

    def train_step(self, order):
        import tensorflow as tf

        pictures, labels = self._data

        def step(start):
            rows = order[start : start + self.batch_size]
            super(ResidentTrainer, self).train_step((tf.gather(pictures, rows), tf.gather(labels, rows)))
            return (start + self.batch_size,)

        tf.while_loop(lambda start: start < self.rows, step, (tf.constant(0),), parallel_iterations=1)
        return self.get_metrics_result()


def _untuned(dataset):
    """Return a tf.data set without autotuning.

    The thread that tunes sleeps twice as long each time and does not wake up to be ended: closing the data waits for it, up
    to as long again as the data were open. Keras' `fit` with one long step stalls by this.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def make(classifier, augmentation, pictures, labels, batch_size):
    """Return the trainer for these data and the backend in use: `ResidentTrainer` where it can be."""
    fits = keras.backend.backend() == "tensorflow" and pictures.nbytes <= RESIDENT_BYTES
    return (ResidentTrainer if fits else Trainer)(classifier, augmentation, pictures, labels, batch_size)
