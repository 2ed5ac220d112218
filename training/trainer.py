"""A classifier while it learns: augmentation in front and, for data that fit in memory, a whole epoch in one graph."""

import itertools
import math

import keras
import numpy as np

from training.evaluation import at_a_time
from zoo.errors import ZooError
from zoo.pictures import middle

# Data up to this size are copied into the backend's memory and trained on by ResidentTrainer.
RESIDENT_BYTES = 2**30


class Trainer(keras.Model):
    """Train a classifier on augmented pictures; what is augmented in front of it never leaves with it.

    Args:
        classifier: `zoo.Classifier`, raw pictures -> scores.
        augmentation: layers that take and return (batch, height, width, channels) float raw pixels.
        pictures: (rows, height, width, channels) uint8 array, larger than the classifier's where the augmentation cuts.
        labels: (rows,) int array.
        batch_size: rows a step; the last step of an epoch takes what is left.
        repeat: how often an epoch shows the rows.
        rule: `zoo.rules.Rule` that does the learning, instead of the optimizer.
    """

    how = "Keras fit, a step at a time"

    def __init__(self, classifier, augmentation, pictures, labels, batch_size, repeat=1, rule=None):
        super().__init__(name=f"{classifier.name}-trainer")
        self.classifier = classifier
        self.augmentation = list(augmentation)
        self.batch_size = batch_size
        self.rows = len(labels)
        self.repeat = repeat
        self.rule = rule
        self._data = pictures, labels

    @property
    def presentations(self):
        """Pictures that an epoch shows."""
        return self.rows * self.repeat

    @property
    def steps(self):
        """Batches of an epoch, each a step of the optimizer or of the rule."""
        return math.ceil(self.presentations / self.batch_size)

    @property
    def steps_per_epoch(self):
        """How many elements of `feed` are an epoch, as Keras' `fit` wants to know."""
        return self.steps

    def prepare(self, optimizer, loss, epochs=1):
        """Compile, and build all that has variables, so that a checkpoint can be put into them before `fit`.

        Args:
            optimizer: Keras optimizer, or None where a rule does the learning.
            loss: Keras loss; with a rule it is only reported.
            epochs: how many the whole run has.

        Raises:
            ZooError: if augmentation, loss, optimizer or rule do not fit the classifier; two pictures show it as well as an
                epoch.
        """
        self._check_augmentation()
        if self.rule is not None:
            self.rule.prepare(self.classifier.net, self.rows, self.presentations * epochs)
            optimizer = keras.optimizers.SGD()  # Keras compiles nothing without one; nobody asks it for a step
        # TensorFlow's XLA takes 20 times as long as its own kernels for a convolution's gradient on the CPU.
        xla = keras.backend.backend() != "tensorflow"
        self.compile(optimizer, loss, metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")], jit_compile=xla)
        pictures, labels = self._data
        # One evaluated batch builds metrics and loss; the loop in the graph of ResidentTrainer may not make variables.
        try:
            self.evaluate(self._middle(pictures[:2]), labels[:2], verbose=0)
            optimizer.build(self.trainable_variables)
        except Exception as error:  # Keras and its backends raise errors of many kinds here
            reason = str(error).strip().splitlines() or [type(error).__name__]
            teacher = f"rule {type(self.rule).__name__}" if self.rule is not None else f"optimizer {optimizer.name}"
            raise ZooError(f"loss {loss.name} or {teacher} do not fit {self.classifier.name}: {reason[0]}") from error

    def _check_augmentation(self):
        """Raise `ZooError` if the augmentation makes other pictures than the classifier takes; nothing random is drawn."""
        given, taken = tuple(self._data[0].shape[1:]), self.classifier.input_picture_shape
        shape = (None, *given)
        try:
            for layer in self.augmentation:
                shape = layer.compute_output_shape(shape)
        except ValueError as error:
            raise ZooError(f"the augmentation does not fit pictures of {_size(given)}: {error}") from error
        if tuple(shape[1:]) != taken:
            raise ZooError(
                f"the augmentation makes pictures of {_size(shape[1:])} of those of {_size(given)}, and "
                f"{self.classifier.name} takes {_size(taken)}; change the size of the layer that cuts, or picture"
            )

    def build(self, input_shape):
        """Nothing of its own: the classifier is built, and augmentation is by itself or when it is fitted."""
        self.built = True

    def call(self, pictures, training=None):
        # On JAX Keras asks first for the shape of the scores outside of training, and shows pictures of the training part.
        return self.classifier(self._augmented(pictures) if training else self._middle(pictures), training=training)

    def _augmented(self, pictures):
        if self.augmentation:
            pictures = keras.ops.cast(pictures, self.compute_dtype)
        for layer in self.augmentation:
            pictures = layer(pictures, training=True)
        return pictures

    def train_step(self, *state_and_data):
        """Take a step of the optimizer, as Keras does, or of the rule."""
        if self.rule is None:
            return super().train_step(*state_and_data)
        if keras.backend.backend() != "jax":
            return self._rule_step(*state_and_data)
        # On JAX a step is a function from the values of all variables to their next ones.
        values, data = state_and_data
        groups = (
            self.trainable_variables,
            self.non_trainable_variables,
            self.optimizer.variables,
            self.metrics_variables,
        )
        pairs = [pair for group, given in zip(groups, values, strict=True) for pair in zip(group, given, strict=True)]
        with keras.StatelessScope(state_mapping=pairs) as scope:
            logs = self._rule_step(data)
        return logs, tuple([scope.get_current_value(variable) for variable in group] for group in groups)

    def _rule_step(self, data):
        pictures, labels = data
        x = self.classifier.preprocessing(self._augmented(pictures))
        scores = self.rule.learn(self.classifier.net, x, labels)
        loss = self.compute_loss(x, labels, scores, training=False)
        self._loss_tracker.update_state(loss, sample_weight=keras.ops.shape(labels)[0])
        return self.compute_metrics(x, labels, scores)

    def order(self, seed, epoch):
        """Return the rows in the order of an epoch, which follows from seed and epoch alone."""
        generator = np.random.default_rng([seed, epoch])
        return np.concatenate([generator.permutation(self.rows) for _ in range(self.repeat)]).astype("int32")

    def feed(self, seed, first):
        """Return what Keras' `fit` reads: endlessly, from epoch `first` on, batches in the order of each epoch."""
        pictures, labels = self._data
        for epoch in itertools.count(first):
            order = self.order(seed, epoch)
            for start in range(0, self.presentations, self.batch_size):
                rows = order[start : start + self.batch_size]
                yield pictures[rows], labels[rows]

    def validation(self, pictures, labels):
        """Return samples as the keywords with which Keras' `fit` validates on them; of larger ones the middle counts."""
        return {"validation_data": (self._middle(pictures), labels), "validation_batch_size": at_a_time(pictures.shape[1:])}

    def _middle(self, pictures):
        """Return what the classifier sees of pictures that it does not learn from."""
        return middle(pictures, *self.classifier.input_picture_shape[:2])


class ResidentTrainer(Trainer):
    """Train with the data resident as uint8 and one graph an epoch: `fit` is fed an order of the rows, not the rows.

    Keras' own training step runs inside a loop of the graph, so losses, metrics, optimizers and the callbacks at the ends
    of epochs work as ever; only the step from Python to the graph and back is paid once an epoch. TensorFlow backend.
    """

    how = "one graph an epoch"

    def __init__(self, classifier, augmentation, pictures, labels, *settings):
        import tensorflow as tf

        super().__init__(classifier, augmentation, tf.constant(pictures), tf.constant(labels), *settings)

    @property
    def steps_per_epoch(self):
        return 1

    def feed(self, seed, first):
        import tensorflow as tf

        def order(epoch):
            rows = tf.numpy_function(lambda number: self.order(seed, number), [epoch], tf.int32)
            return tf.ensure_shape(rows, (self.presentations,))

        # Not from_generator: that sets malloc's trim threshold to 128 KiB, and each step pays for it with page faults.
        return _untuned(tf.data.Dataset.range(first, tf.int64.max).map(order))

    def validation(self, pictures, labels):
        import tensorflow as tf

        data = tf.data.Dataset.from_tensor_slices((self._middle(pictures), labels)).batch(at_a_time(pictures.shape[1:]))
        return {"validation_data": _untuned(data)}

    def train_step(self, order):
        import tensorflow as tf

        pictures, labels = self._data

        def step(start):
            rows = order[start : start + self.batch_size]
            super(ResidentTrainer, self).train_step((tf.gather(pictures, rows), tf.gather(labels, rows)))
            return (start + self.batch_size,)

        tf.while_loop(lambda start: start < self.presentations, step, (tf.constant(0),), parallel_iterations=1)
        return self.get_metrics_result()


def _size(shape):
    return "x".join(map(str, shape))


def _untuned(dataset):
    """Return a tf.data set without autotuning.

    The thread that tunes sleeps twice as long each time and does not wake up to be ended: closing the data waits for it, up
    to as long again as the data were open. Keras' `fit` with one long step stalls by this.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def make(classifier, augmentation, pictures, labels, batch_size, repeat=1, rule=None):
    """Return the trainer for these data and the backend in use: `ResidentTrainer` where it can be."""
    fits = keras.backend.backend() == "tensorflow" and pictures.nbytes <= RESIDENT_BYTES
    return (ResidentTrainer if fits else Trainer)(classifier, augmentation, pictures, labels, batch_size, repeat, rule)
