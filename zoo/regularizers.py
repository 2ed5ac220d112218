"""The penalties on weights of CS231n (2017), lecture 3: L2 is sum W², without one half, L1 is sum |W|.

Keras' own L1 and L2 are these; biases go free as long as they are given as `kernel_regularizer`.
"""

import keras
from keras.regularizers import L1, L2

__all__ = ["L1", "L2", "ElasticNet"]


@keras.saving.register_keras_serializable("zoo")
class ElasticNet(keras.regularizers.L1L2):
    """Charge weight * sum(beta W² + |W|): beta multiplies the square alone.

    Args:
        weight: lambda, of the whole penalty.
        beta: of the square.

    References:
        Zou, Hastie (2005), Regularization and variable selection via the elastic net; CS231n (2017), lecture 3.
    """

    def __init__(self, weight=0.01, beta=1.0):
        super().__init__(l1=weight, l2=weight * beta)
        self.weight = weight
        self.beta = beta

    def get_config(self):
        return {"weight": self.weight, "beta": self.beta}
