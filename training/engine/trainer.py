"""A classifier while it learns, with augmentation in front of it."""

import functools
import math

import keras
import numpy as np

from training.distributed.strategy import Placement
from training.engine import input_pipeline
from zoo.errors import ZooError
from zoo.images import batch_size_for, center_crop


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
        balance: show each class as often as the others: of frequent ones some rows an epoch, rare ones several times.
        placement: `training.distributed.strategy.Placement`.
    """

    how = "a step at a time"
    stretch = 1  # steps that an element of the feed is

    def __init__(
        self,
        classifier,
        augmentation,
        pictures,
        labels,
        batch_size,
        repeat=1,
        rule=None,
        balance=False,
        placement=None,
    ):
        super().__init__(name=f"{classifier.name}-trainer")
        self.classifier = classifier
        self.augmentation = list(augmentation)
        self.batch_size = batch_size
        self.rows = len(labels)
        self.repeat = repeat
        self.rule = rule
        self.balance = balance
        self.placement = placement or Placement()
        self.thaw = None
        self._mean = True
        self._data = pictures, labels
        self._classes = [np.flatnonzero(np.asarray(labels) == label) for label in np.unique(labels)]
        self._order = functools.lru_cache(2)(self.order)

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
        return self.stretches()

    def stretches(self, step=0):
        """Return how many elements of `feed` the steps of an epoch from `step` on are."""
        return math.ceil((self.steps - step) / self.stretch)

    def prepare(self, optimizer, loss, epochs=1, thaw=None):
        """Compile, and build all that has variables, so that a checkpoint can be put into them before `fit`.

        Args:
            optimizer: Keras optimizer, or None where a rule does the learning.
            loss: Keras loss; with a rule it is only reported.
            epochs: how many the whole run has.
            thaw: `training.engine.freezing.Thaw`, for a net of which a part is to keep what it has learned before.

        Raises:
            ZooError: if augmentation, loss, optimizer or rule do not fit the classifier; two pictures show it as well as an
                epoch.
        """
        self._check_augmentation()
        self.thaw = thaw
        self._mean = loss.reduction != "sum"
        if self.rule is not None:
            self.rule.prepare(self.classifier.net, self.rows, self.presentations * epochs)
            optimizer = keras.optimizers.SGD()  # Keras compiles nothing without one; nobody asks it for a step
        # TensorFlow's XLA takes 20 times as long as its own kernels for a convolution's gradient on the CPU.
        xla = keras.backend.backend() != "tensorflow"
        accuracy = keras.metrics.SparseCategoricalAccuracy("accuracy")
        self.compile(optimizer, loss, weighted_metrics=[accuracy], jit_compile=xla)
        # One for each device. TensorFlow's arrays can be cut, but not indexed by others.
        few = max(2, self.placement.parts)
        own = self.placement.own(np.arange(few))
        pictures, labels = (np.asarray(part[:few])[own] for part in self._data)
        # One evaluated batch builds metrics and loss; a loop in a graph may not make variables.
        try:
            self.evaluate(self._middle(pictures), labels, verbose=0)
            optimizer.build(self.trainable_variables)
        except Exception as error:  # Keras and its backends raise errors of many kinds here
            reason = str(error).strip().splitlines() or [type(error).__name__]
            teacher = f"rule {type(self.rule).__name__}" if self.rule is not None else f"optimizer {optimizer.name}"
            raise ZooError(f"loss {loss.name} or {teacher} do not fit {self.classifier.name}: {reason[0]}") from error

    def _check_augmentation(self):
        """Raise `ZooError` if the augmentation makes other pictures than the classifier takes; nothing random is drawn."""
        given, taken = tuple(self._data[0].shape[1:]), self.classifier.input_image_shape
        shape = (None, *given)
        try:
            for layer in self.augmentation:
                if not layer.built:  # else Keras would do it in `fit`, by an element of the feed
                    layer.build(shape)
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
        jax = keras.backend.backend() == "jax"
        if self.rule is None and self.thaw is None:
            return super().train_step(*state_and_data)
        if self.rule is None:
            step = super().train_step
            return self.thaw.step_on_jax(self, step, *state_and_data) if jax else self.thaw.step(self, step, *state_and_data)
        if not jax:
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
        scores = self.rule.train_on_batch(self.classifier.net, x, labels)
        loss = self.compute_loss(x, labels, scores, training=False)
        self._loss_tracker.update_state(loss, sample_weight=keras.ops.shape(labels)[0])
        return self.compute_metrics(x, labels, scores)

    def order(self, seed, epoch):
        """Return the rows in the order of an epoch, which follows from seed and epoch alone."""
        generator = np.random.default_rng([seed, epoch])
        if not self.balance:
            return np.concatenate([generator.permutation(self.rows) for _ in range(self.repeat)]).astype("int32")
        each = math.ceil(self.presentations / len(self._classes))
        drawn = [np.resize(generator.permutation(rows), each) for rows in self._classes]
        return generator.permutation(np.concatenate(drawn))[: self.presentations].astype("int32")

    def feed(self, seed, epoch, step=0):
        """Return what Keras' `fit` reads: endlessly, from a step of an epoch on, batches in the order of each epoch."""
        batch = functools.partial(self._batch, seed)
        return input_pipeline.endless(batch, epoch * self.steps + step, self.batch_size * self._data[0][:1].nbytes)

    def _batch(self, seed, number):
        """Return the batch of a step of the run: pictures, labels and, where Keras takes the step, weights."""
        pictures, labels = self._data
        if self.rule is not None:
            rows = self._rows(seed, *divmod(number, self.steps))
            return pictures[rows], labels[rows]
        rows, weights = map(self.placement.own, self.drawn(seed, *divmod(number, self.steps)))
        return pictures[rows], labels[rows], weights

    def drawn(self, seed, epoch, step):
        """Return the rows of a batch and their weights, (batch,) int32 and (batch,) float32.

        All batches have one size, so that several devices can share them and XLA compiles one graph: the last of an epoch is
        filled up with rows of weight 0. Those that count weigh as much more as makes the mean of the batch theirs; in what
        `fit` reports of the epoch that batch counts as a full one.
        """
        rows = self._rows(seed, epoch, step)
        weights = np.zeros(self.batch_size, "float32")
        weights[: len(rows)] = self.batch_size / len(rows) if self._mean else 1.0
        return np.resize(rows, self.batch_size), weights

    def _rows(self, seed, epoch, step):
        return self._order(seed, epoch)[step * self.batch_size : (step + 1) * self.batch_size]

    def verdict(self, logs):
        """Return what `bad_step` judges steps by that were just begun; nothing waits for them yet.

        Args:
            logs: what Keras tells callbacks at the end of a batch.
        """
        return logs["loss"]

    def bad_step(self, verdict, begun, done):
        """Return in which of the steps of an epoch, counted from 1, the loss was no finite number, or None.

        Args:
            verdict: of these steps.
            begun, done: how many steps of the epoch were done before and after them.
        """
        return None if math.isfinite(verdict) else done

    def validation(self, pictures, labels):
        """Return samples as the keywords with which Keras' `fit` validates on them; of larger ones the middle counts.

        Where several devices share a batch all have one size, as in `feed`, and rows of weight 0 fill them up; the others
        weigh as much more as makes the mean of all batches theirs.
        """
        pictures, parts, rows = self._middle(pictures), self.placement.parts, len(labels)
        batches = math.ceil(rows / batch_size_for(pictures.shape[1:]))
        size = math.ceil(rows / batches / parts) * parts
        weight = batches * size / rows if self._mean else 1.0

        def batch(number):
            places = np.arange(number * size, (number + 1) * size)
            if parts == 1:
                places = places[places < rows]
                return pictures[places], labels[places]
            own = self.placement.own(places)
            return pictures[own % rows], labels[own % rows], np.where(own < rows, weight, 0.0).astype("float32")

        return {"validation_data": input_pipeline.numbered(batch, batches)}

    def _middle(self, pictures):
        """Return what the classifier sees of pictures that it does not learn from."""
        return center_crop(pictures, *self.classifier.input_image_shape[:2])


def _size(shape):
    return "x".join(map(str, shape))
