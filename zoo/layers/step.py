import keras

from zoo.layers.traits import Traits


@keras.saving.register_keras_serializable("zoo")
class Step(keras.layers.Layer):
    """Answer 1 above a threshold and 0 elsewhere: the photocell, and every unit that fires or does not.

    It has no gradient: nothing in front of it learns by one.

    Args:
        threshold: what an input must exceed; at the threshold itself the unit is off.

    References:
        Rosenblatt (1958), The perceptron: a probabilistic model for information storage and organization in the brain.
    """

    traits = Traits(pointwise=True, keep_float32=True)  # a threshold turns a rounding error into the largest difference

    def __init__(self, threshold=0.0, **kwargs):
        super().__init__(**kwargs)
        self.threshold = threshold

    def call(self, x):
        return keras.ops.cast(x > self.threshold, x.dtype)

    def get_config(self):
        return {**super().get_config(), "threshold": self.threshold}
