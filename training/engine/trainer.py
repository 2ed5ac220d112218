"""The Keras model that trains a classifier, with augmentation in front of it."""

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from training.distributed.strategy import Strategy
from training.engine import input_pipeline
from zoo.errors import ZooError
from zoo.images import batch_size_for, center_crop
from zoo.types import Tensor

if TYPE_CHECKING:
    from training.engine.freezing import GradualUnfreezing
    from zoo.classifier import Classifier
    from zoo.rules import Rule


@dataclass(frozen=True)
class TrainerOptions:
    """How a trainer samples its data, and what updates the weights.

    Attributes:
        repeat: number of times that an epoch shows each image.
        rule: learning rule that replaces the optimizer, or None.
        balance: sample all classes equally often. An epoch then has only some images of frequent classes, and images of rare
            classes several times.
        strategy: distribution strategy.
    """

    repeat: int = 1
    rule: "Rule | None" = None
    balance: bool = False
    strategy: Strategy = field(default_factory=Strategy)


class Trainer(keras.Model):
    """Train a classifier on augmented images. The augmentation is not saved with the classifier.

    Args:
        classifier: `zoo.classifier.Classifier`, raw images -> scores.
        augmentation: layers that take and return (batch, height, width, channels) float images of range 0-255.
        images: (rows, height, width, channels) uint8 array, larger than the classifier's input if the augmentation crops.
        labels: (rows,) int array.
        batch_size: images per step. The last step of an epoch takes the remaining ones.
        options: how to sample the data, and the learning rule. Default: `TrainerOptions()`.
    """

    description = "one step at a time"
    steps_per_element = 1  # steps that an element of `train_dataset` holds

    def __init__(
        self,
        classifier: "Classifier",
        augmentation: Iterable[keras.layers.Layer],
        images: np.ndarray,
        labels: np.ndarray,
        batch_size: int,
        options: TrainerOptions | None = None,
    ) -> None:
        super().__init__(name=f"{classifier.name}-trainer")
        options = options or TrainerOptions()
        self.classifier = classifier
        self.augmentation = list(augmentation)
        self.batch_size = batch_size
        self.rows = len(labels)
        self.repeat = options.repeat
        self.rule = options.rule
        self.balance = options.balance
        self.strategy = options.strategy
        self.unfreezing = None
        self._loss_is_mean = True
        self._data = self.to_device(images, labels)
        self._rows_of_class = [np.flatnonzero(np.asarray(labels) == label) for label in np.unique(labels)]
        self._cached_order = functools.lru_cache(2)(self.order)

    @staticmethod
    def to_device(images: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
        """Return images and labels as the steps read them: unchanged, unless a subclass copies them to the device."""
        return images, labels

    @property
    def images_per_epoch(self) -> int:
        """Number of images that an epoch shows, repetitions included."""
        return self.rows * self.repeat

    @property
    def steps(self) -> int:
        """Number of batches of an epoch, each one step of the optimizer or the rule."""
        return math.ceil(self.images_per_epoch / self.batch_size)

    @property
    def steps_per_epoch(self) -> int:
        """Number of elements of `train_dataset` in an epoch, the argument of Keras' `fit`."""
        return self.elements()

    def elements(self, step: int = 0) -> int:
        """Return the number of elements of `train_dataset` in an epoch that starts at a step."""
        return math.ceil((self.steps - step) / self.steps_per_element)

    def prepare(
        self,
        optimizer: keras.optimizers.Optimizer | None,
        loss: keras.losses.Loss,
        epochs: int = 1,
        unfreezing: "GradualUnfreezing | None" = None,
    ) -> None:
        """Compile the model and build all variables, so that a checkpoint can be restored before `fit`.

        Args:
            optimizer: Keras optimizer, or None with a learning rule.
            loss: Keras loss; with a learning rule it is only reported.
            epochs: number of epochs of the whole run.
            unfreezing: freezes pretrained layers at first, and scales their later updates.

        Raises:
            ZooError: if augmentation, loss, optimizer or rule do not fit the classifier. Two images are enough to find out.
        """
        self._check_augmentation()
        self.unfreezing = unfreezing
        self._loss_is_mean = loss.reduction != "sum"
        if self.rule is not None:
            self.rule.prepare(self.classifier.net, self.rows, self.images_per_epoch * epochs)
            optimizer = keras.optimizers.SGD()  # Keras does not compile without one; it is not used
        # On the CPU, TensorFlow's XLA takes 20 times as long as its own kernels for the gradient of a convolution.
        xla = keras.backend.backend() != "tensorflow"
        accuracy = keras.metrics.SparseCategoricalAccuracy("accuracy")
        self.compile(optimizer, loss, weighted_metrics=[accuracy], jit_compile=xla)
        # One image per device. Arrays of TensorFlow take slices, but no arrays of indices.
        few = max(2, self.strategy.replicas)
        rows = self.strategy.local_rows(np.arange(few))
        images, labels = (np.asarray(each[:few])[rows] for each in self._data)
        # Evaluating a batch builds metrics and loss, because a loop in a graph cannot create variables.
        try:
            self.evaluate(self._center_crop(images), labels, verbose=0)
            optimizer.build(self.trainable_variables)
        except Exception as error:  # Keras and its backends raise errors of many kinds here
            reason = str(error).strip().splitlines() or [type(error).__name__]
            updater = f"rule {type(self.rule).__name__}" if self.rule is not None else f"optimizer {optimizer.name}"
            raise ZooError(f"loss {loss.name} or {updater} do not fit {self.classifier.name}: {reason[0]}") from error

    def _check_augmentation(self):
        """Raise `ZooError` if the augmentation and the classifier take different sizes. Draws no random numbers."""
        given, expected = tuple(self._data[0].shape[1:]), self.classifier.input_image_shape
        shape = (None, *given)
        try:
            for layer in self.augmentation:
                if not layer.built:  # otherwise `fit` would build it with the shape of a dataset element
                    layer.build(shape)
                shape = layer.compute_output_shape(shape)
        except ValueError as error:
            raise ZooError(f"the augmentation does not fit images of {_size(given)}: {error}") from error
        if tuple(shape[1:]) != expected:
            raise ZooError(
                f"the augmentation turns images of {_size(given)} into images of {_size(shape[1:])}, and "
                f"{self.classifier.name} takes {_size(expected)}; change the size of the layer that crops, or [picture]"
            )

    def build(self, input_shape: Any) -> None:
        """Do nothing: the classifier is built already, and the augmentation is built by `prepare`."""
        self.built = True

    def call(self, images: Tensor, training: bool | None = None) -> Tensor:
        # On JAX, Keras first computes the shape of the scores outside of training, with images of the training split.
        return self.classifier(self._augment(images) if training else self._center_crop(images), training=training)

    def _augment(self, images):
        if self.augmentation:
            images = keras.ops.cast(images, self.compute_dtype)
        for layer in self.augmentation:
            images = layer(images, training=True)
        return images

    def train_step(self, *state_and_data: Any) -> Any:
        """Take a step of the optimizer, as Keras does, or of the learning rule."""
        jax = keras.backend.backend() == "jax"
        if self.rule is None and self.unfreezing is None:
            return super().train_step(*state_and_data)
        if self.rule is None:
            train_step = self.unfreezing.stateless_train_step if jax else self.unfreezing.train_step
            return train_step(self, super().train_step, *state_and_data)
        if not jax:
            return self._rule_step(*state_and_data)
        # On JAX a step is a function from the values of all variables to their next values.
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
        images, labels = data
        x = self.classifier.preprocessing(self._augment(images))
        scores = self.rule.train_on_batch(self.classifier.net, x, labels)
        loss = self.compute_loss(x, labels, scores, training=False)
        self._loss_tracker.update_state(loss, sample_weight=keras.ops.shape(labels)[0])
        return self.compute_metrics(x, labels, scores)

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """Return the (images per epoch,) int32 rows in the order of an epoch. It depends on seed and epoch only."""
        generator = np.random.default_rng([seed, epoch])
        if not self.balance:
            return np.concatenate([generator.permutation(self.rows) for _ in range(self.repeat)]).astype("int32")
        per_class = math.ceil(self.images_per_epoch / len(self._rows_of_class))
        sampled = [np.resize(generator.permutation(rows), per_class) for rows in self._rows_of_class]
        return generator.permutation(np.concatenate(sampled))[: self.images_per_epoch].astype("int32")

    def train_dataset(self, seed: int, epoch: int, step: int = 0) -> Any:
        """Return the endless dataset for Keras' `fit`: the batches of each epoch in its order.

        Args:
            seed: random seed of the run.
            epoch: first epoch, from 0.
            step: first step of that epoch, from 0.
        """
        batch = functools.partial(self._batch, seed)
        return input_pipeline.endless(batch, epoch * self.steps + step, self.batch_size * self._data[0][:1].nbytes)

    def _batch(self, seed, number):
        """Return the batch of a step of the run: images, labels and, for steps of an optimizer, sample weights."""
        images, labels = self._data
        epoch, step = divmod(number, self.steps)
        if self.rule is not None:
            rows = self._rows(seed, epoch, step)
            return images[rows], labels[rows]
        rows, weights = map(self.strategy.local_rows, self.padded_batch(seed, epoch, step))
        return images[rows], labels[rows], weights

    def padded_batch(self, seed: int, epoch: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of a batch and their sample weights, (batch,) int32 and (batch,) float32.

        All batches have the same size, so that several devices can share them and XLA compiles one graph: the last batch of
        an epoch is padded with rows of weight 0. The weights of its other rows are increased, so that the mean over the
        batch is the mean over these rows. In the metrics of an epoch that batch counts as a full one.
        """
        rows = self._rows(seed, epoch, step)
        weights = np.zeros(self.batch_size, "float32")
        weights[: len(rows)] = self.batch_size / len(rows) if self._loss_is_mean else 1.0
        return np.resize(rows, self.batch_size), weights

    def _rows(self, seed, epoch, step):
        return self._cached_order(seed, epoch)[step * self.batch_size : (step + 1) * self.batch_size]

    def loss_status(self, logs: dict) -> Any:
        """Return the argument of `first_nonfinite_step` for the steps that have just been started. Does not wait for them.

        Args:
            logs: the logs that Keras passes to callbacks at the end of a batch.
        """
        return logs["loss"]

    def first_nonfinite_step(self, status: Any, before: int, after: int) -> int | None:
        """Return the first step of an epoch, counted from 1, whose loss is not finite; None if all are finite.

        Args:
            status: result of `loss_status` for these steps.
            before: steps of the epoch that were done before them.
            after: steps of the epoch that are done after them.
        """
        return None if math.isfinite(status) else after

    def validation_dataset(self, images: np.ndarray, labels: np.ndarray) -> Any:
        """Return samples as the `validation_data` of Keras' `fit`. Larger images are center-cropped.

        If several devices share a batch, all batches have the same size, as in `train_dataset`. Rows of weight 0 pad the
        last one, and the weights of all others are increased, so that the mean over all batches is that of the samples.
        """
        images, replicas, rows = self._center_crop(images), self.strategy.replicas, len(labels)
        batches = math.ceil(rows / batch_size_for(images.shape[1:]))
        size = math.ceil(rows / batches / replicas) * replicas
        weight = batches * size / rows if self._loss_is_mean else 1.0

        def batch(number):
            chosen = np.arange(number * size, (number + 1) * size)
            if replicas == 1:
                chosen = chosen[chosen < rows]
                return images[chosen], labels[chosen]
            local = self.strategy.local_rows(chosen)
            return images[local % rows], labels[local % rows], np.where(local < rows, weight, 0.0).astype("float32")

        return input_pipeline.numbered(batch, batches)

    def _center_crop(self, images):
        return center_crop(images, *self.classifier.input_image_shape[:2])


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
