"""The criteria of the historical machines that Keras lacks.

All take scores of which the largest wins, and labels as integers, (batch,) or (batch, 1), or one-hot, (batch, classes).
"""

import keras
from keras import ops


def _one_hot(y_true, y_pred):
    """Return labels of any of the two forms as one-hot rows in the type of the scores."""
    classes = y_pred.shape[-1]
    y_true = ops.convert_to_tensor(y_true)
    if len(y_true.shape) == 2 and y_true.shape[-1] == classes and classes > 1:
        return ops.cast(y_true, y_pred.dtype)
    return ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), classes, dtype=y_pred.dtype)


def _on(y_true, y_pred):
    """Return 1 for each unit that should be on and 0 for the others, and the scores, both (batch, units).

    A unit that stands alone is on for a positive label; its scores may be (batch,).
    """
    if len(y_pred.shape) == 1:
        y_pred = ops.expand_dims(y_pred, -1)
    target = ops.reshape(y_true, (-1, 1)) if y_pred.shape[-1] == 1 else _one_hot(y_true, y_pred)
    return ops.cast(target > 0, y_pred.dtype), y_pred


@keras.saving.register_keras_serializable("zoo")
class MinimumDistance(keras.losses.Loss):
    """Pull the net towards the prototype of the true class: the mean of y_D, the distance to it.

    References:
        LeCun et al. (1998), eq. 8. The scores are minus the distances y_i, see `zoo.layers.RBFOutput`.
    """

    def __init__(self, reduction="sum_over_batch_size", name="minimum_distance", **kwargs):
        super().__init__(name=name, reduction=reduction, **kwargs)

    def call(self, y_true, y_pred):
        return -ops.sum(_one_hot(y_true, y_pred) * y_pred, axis=-1)


@keras.saving.register_keras_serializable("zoo")
class MaximumAPosteriori(keras.losses.Loss):
    """Pull the net towards the true prototype and push it from the others: y_D + log(exp(-j) + sum_i exp(-y_i)).

    Args:
        j: the distance of the rubbish class that competes with all others, positive. It keeps classes that are already
            farther than j from being pushed farther. Its value in 1998 is not known; the default is a reconstruction.

    Raises:
        ValueError: if j is not positive.

    References:
        LeCun et al. (1998), eq. 9. The scores are minus the distances y_i, see `zoo.layers.RBFOutput`.
    """

    def __init__(self, j=1.0, reduction="sum_over_batch_size", name="maximum_a_posteriori", **kwargs):
        super().__init__(name=name, reduction=reduction, **kwargs)
        if j <= 0:
            raise ValueError(f"j of eq. 9 must be positive. Received: j={j}")
        self.j = j

    def call(self, y_true, y_pred):
        true = ops.sum(_one_hot(y_true, y_pred) * y_pred, axis=-1)
        return ops.logaddexp(ops.cast(-self.j, y_pred.dtype), ops.logsumexp(y_pred, axis=-1)) - true

    def get_config(self):
        return {**super().get_config(), "j": self.j}


@keras.saving.register_keras_serializable("zoo")
class MulticlassHinge(keras.losses.Loss):
    """Charge every wrong class whose score comes within the margin: sum over j != y of max(0, s_j - s_y + margin).

    This is the multiclass SVM loss of Weston and Watkins. Keras' CategoricalHinge charges the worst wrong class only.

    Args:
        margin: how far the true score must lead, in units of the score.
        squared: charge the square of each term instead.

    References:
        Weston, Watkins (1999), Support vector machines for multi-class pattern recognition; CS231n (2017), lecture 3.
    """

    def __init__(self, margin=1.0, squared=False, reduction="sum_over_batch_size", name="multiclass_hinge", **kwargs):
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.margin = margin
        self.squared = squared

    def call(self, y_true, y_pred):
        target = _one_hot(y_true, y_pred)
        true = ops.sum(target * y_pred, axis=-1, keepdims=True)
        short = ops.relu(y_pred - true + self.margin)
        return ops.sum((1 - target) * (ops.square(short) if self.squared else short), axis=-1)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin, "squared": self.squared}


@keras.saving.register_keras_serializable("zoo")
class BinaryHinge(keras.losses.Loss):
    """Charge a score on the wrong side of the margin: max(0, margin - t s), t = ±1 the side where it should be.

    With one score a row the labels are 0 and 1, or -1 and +1, (batch,) or (batch, 1). With a score a class, each class is
    its own machine against the rest, t = +1 for the true one, and their charges are summed.

    Args:
        margin: how far from zero a score must be, in units of the score.
        squared: charge the square of each term instead.

    References:
        Cortes, Vapnik (1995), Support-vector networks.
    """

    def __init__(self, margin=1.0, squared=False, reduction="sum_over_batch_size", name="binary_hinge", **kwargs):
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.margin = margin
        self.squared = squared

    def call(self, y_true, y_pred):
        on, y_pred = _on(y_true, y_pred)
        short = ops.relu(self.margin - (2 * on - 1) * y_pred)
        return ops.sum(ops.square(short) if self.squared else short, axis=-1)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin, "squared": self.squared}


@keras.saving.register_keras_serializable("zoo")
class PerceptronCriterion(keras.losses.Loss):
    """Charge each unit that answers wrongly its score: sum_j (y_j - d_j) s_j, y_j = 1 if s_j > 0 else 0.

    The answers y_j are held constant in the gradient. So a step of SGD(alpha) on one row is Rosenblatt's rule for every
    unit, w += alpha (d - y) x: one R-unit a class, or one unit alone with labels 0 and 1.

    References:
        Rosenblatt (1958), The perceptron: a probabilistic model for information storage and organization in the brain.
    """

    def __init__(self, reduction="sum_over_batch_size", name="perceptron_criterion", **kwargs):
        super().__init__(name=name, reduction=reduction, **kwargs)

    def call(self, y_true, y_pred):
        on, y_pred = _on(y_true, y_pred)
        wrong = ops.cast(y_pred > 0, y_pred.dtype) - on
        return ops.sum(ops.stop_gradient(wrong) * y_pred, axis=-1)


@keras.saving.register_keras_serializable("zoo")
class LMS(keras.losses.Loss):
    """Half the squared linear error, before any threshold, summed over the units: 1/2 sum_j (t_j - s_j)².

    A step of SGD(mu) on one row is w += mu e x; Widrow and Hoff's 2 mu is one number here.

    Args:
        low, high: the target t_j of a unit that should be off, and on. One unit alone is on for a positive label.

    References:
        Widrow, Hoff (1960), Adaptive switching circuits.
    """

    def __init__(self, low=-1.0, high=1.0, reduction="sum_over_batch_size", name="lms", **kwargs):
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.low = low
        self.high = high

    def call(self, y_true, y_pred):
        on, y_pred = _on(y_true, y_pred)
        target = self.low + (self.high - self.low) * on
        return ops.sum(ops.square(target - y_pred), axis=-1) / 2

    def get_config(self):
        return {**super().get_config(), "low": self.low, "high": self.high}
