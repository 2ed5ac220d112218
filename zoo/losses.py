"""Loss functions that Keras lacks.

`y_pred` are scores, (batch, classes), of which the largest wins. `y_true` are class indices, (batch,) or (batch, 1), or
one-hot, (batch, classes). `call` returns one loss per row, (batch,); `reduction` and `name` are as for every Keras loss.
"""

import keras
from keras import ops

from zoo.types import Config, Tensor


def _one_hot(y_true, y_pred):
    """Return labels of either form as one-hot rows, (batch, classes), in the dtype of the scores."""
    classes = y_pred.shape[-1]
    y_true = ops.convert_to_tensor(y_true)
    if len(y_true.shape) == 2 and y_true.shape[-1] == classes and classes > 1:
        return ops.cast(y_true, y_pred.dtype)
    return ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), classes, dtype=y_pred.dtype)


def _on(y_true, y_pred):
    """Return targets, 1 for each unit that should be on and 0 for the others, and the scores, both (batch, units).

    A single unit is on for a positive label; its scores may be (batch,).
    """
    if len(y_pred.shape) == 1:
        y_pred = ops.expand_dims(y_pred, -1)
    target = ops.reshape(y_true, (-1, 1)) if y_pred.shape[-1] == 1 else _one_hot(y_true, y_pred)
    return ops.cast(target > 0, y_pred.dtype), y_pred


@keras.saving.register_keras_serializable("zoo")
class MinimumDistance(keras.losses.Loss):
    """Distance y_D to the prototype of the true class.

    References:
        LeCun et al. (1998), eq. 8. The scores are minus the distances y_i, see `zoo.layers.RBFOutput`.
    """

    def __init__(self, reduction: str = "sum_over_batch_size", name: str = "minimum_distance", **kwargs) -> None:
        super().__init__(name=name, reduction=reduction, **kwargs)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return -ops.sum(_one_hot(y_true, y_pred) * y_pred, axis=-1)


@keras.saving.register_keras_serializable("zoo")
class MaximumAPosteriori(keras.losses.Loss):
    """Maximum a posteriori criterion: y_D + log(exp(-j) + sum_i exp(-y_i)).

    It decreases the distance to the prototype of the true class and increases the distances to the others.

    Args:
        j: distance of a "rubbish" class that competes with all others, positive. Classes that are farther than j are hardly
            pushed farther. Its value in 1998 is not known; the default is a reconstruction.

    Raises:
        ValueError: if j is not positive.

    References:
        LeCun et al. (1998), eq. 9. The scores are minus the distances y_i, see `zoo.layers.RBFOutput`.
    """

    def __init__(
        self, j: float = 1.0, reduction: str = "sum_over_batch_size", name: str = "maximum_a_posteriori", **kwargs
    ) -> None:
        super().__init__(name=name, reduction=reduction, **kwargs)
        if j <= 0:
            raise ValueError(f"j of eq. 9 must be positive. Received: j={j}")
        self.j = j

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        true = ops.sum(_one_hot(y_true, y_pred) * y_pred, axis=-1)
        return ops.logaddexp(ops.cast(-self.j, y_pred.dtype), ops.logsumexp(y_pred, axis=-1)) - true

    def get_config(self) -> Config:
        return {**super().get_config(), "j": self.j}


@keras.saving.register_keras_serializable("zoo")
class MulticlassHinge(keras.losses.Loss):
    """Multiclass SVM loss of Weston and Watkins: sum over j != y of max(0, s_j - s_y + margin).

    Keras' CategoricalHinge counts only the wrong class with the largest score.

    Args:
        margin: by how much the true score must exceed the others, in units of the score.
        squared: square each term.

    References:
        Weston, Watkins (1999), Support vector machines for multi-class pattern recognition; CS231n (2017), lecture 3.
    """

    def __init__(
        self,
        margin: float = 1.0,
        squared: bool = False,
        reduction: str = "sum_over_batch_size",
        name: str = "multiclass_hinge",
        **kwargs,
    ) -> None:
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.margin = margin
        self.squared = squared

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        target = _one_hot(y_true, y_pred)
        true = ops.sum(target * y_pred, axis=-1, keepdims=True)
        short = ops.relu(y_pred - true + self.margin)
        return ops.sum((1 - target) * (ops.square(short) if self.squared else short), axis=-1)

    def get_config(self) -> Config:
        return {**super().get_config(), "margin": self.margin, "squared": self.squared}


@keras.saving.register_keras_serializable("zoo")
class BinaryHinge(keras.losses.Loss):
    """Binary SVM loss: max(0, margin - t s), where t = ±1 is the desired sign of the score.

    With one score per row the labels are 0 and 1, or -1 and +1, (batch,) or (batch, 1). With one score per class the loss is
    one-versus-rest: t = +1 for the true class and -1 for the others, and the terms are summed over the classes.

    Args:
        margin: required distance of a score from zero, in units of the score.
        squared: square each term.

    References:
        Cortes, Vapnik (1995), Support-vector networks.
    """

    def __init__(
        self,
        margin: float = 1.0,
        squared: bool = False,
        reduction: str = "sum_over_batch_size",
        name: str = "binary_hinge",
        **kwargs,
    ) -> None:
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.margin = margin
        self.squared = squared

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        on, y_pred = _on(y_true, y_pred)
        short = ops.relu(self.margin - (2 * on - 1) * y_pred)
        return ops.sum(ops.square(short) if self.squared else short, axis=-1)

    def get_config(self) -> Config:
        return {**super().get_config(), "margin": self.margin, "squared": self.squared}


@keras.saving.register_keras_serializable("zoo")
class PerceptronCriterion(keras.losses.Loss):
    """Perceptron criterion: sum_j (y_j - d_j) s_j with the outputs y_j = 1 if s_j > 0 else 0 and the targets d_j.

    The outputs y_j are constant in the gradient. So a step of SGD(alpha) on one row is Rosenblatt's rule for every unit,
    w += alpha (d - y) x. There is one R-unit per class, or a single unit with labels 0 and 1.

    References:
        Rosenblatt (1958), The perceptron: a probabilistic model for information storage and organization in the brain.
    """

    def __init__(self, reduction: str = "sum_over_batch_size", name: str = "perceptron_criterion", **kwargs) -> None:
        super().__init__(name=name, reduction=reduction, **kwargs)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        on, y_pred = _on(y_true, y_pred)
        wrong = ops.cast(y_pred > 0, y_pred.dtype) - on
        return ops.sum(ops.stop_gradient(wrong) * y_pred, axis=-1)


@keras.saving.register_keras_serializable("zoo")
class LMS(keras.losses.Loss):
    """Least mean squares: half the squared linear error, before any threshold, 1/2 sum_j (t_j - s_j)².

    A step of SGD(mu) on one row is w += mu e x; this mu is Widrow and Hoff's 2 mu.

    Args:
        low, high: target t_j of a unit that should be off, and on. A single unit is on for a positive label.

    References:
        Widrow, Hoff (1960), Adaptive switching circuits.
    """

    def __init__(
        self, low: float = -1.0, high: float = 1.0, reduction: str = "sum_over_batch_size", name: str = "lms", **kwargs
    ) -> None:
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.low = low
        self.high = high

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        on, y_pred = _on(y_true, y_pred)
        target = self.low + (self.high - self.low) * on
        return ops.sum(ops.square(target - y_pred), axis=-1) / 2

    def get_config(self) -> Config:
        return {**super().get_config(), "low": self.low, "high": self.high}
