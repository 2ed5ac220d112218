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

    References:
        Weston, Watkins (1999), Support vector machines for multi-class pattern recognition; CS231n (2017), lecture 3.
    """

    def __init__(self, margin=1.0, reduction="sum_over_batch_size", name="multiclass_hinge", **kwargs):
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.margin = margin

    def call(self, y_true, y_pred):
        target = _one_hot(y_true, y_pred)
        true = ops.sum(target * y_pred, axis=-1, keepdims=True)
        return ops.sum((1 - target) * ops.relu(y_pred - true + self.margin), axis=-1)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}
