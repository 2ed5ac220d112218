"""Weight penalties of CS231n (2017), lecture 3: L2 is sum W², without a factor 1/2, and L1 is sum |W|.

L1 and L2 are Keras' own. Given as `kernel_regularizer`, they do not penalize biases.
"""

import keras
from keras.regularizers import L1, L2

from zoo.types import Config

__all__ = ["L1", "L2", "ElasticNet"]


@keras.saving.register_keras_serializable("zoo")
class ElasticNet(keras.regularizers.L1L2):
    """Elastic net penalty weight * sum(beta W² + |W|); beta multiplies only the square.

    Args:
        weight: lambda, factor of the whole penalty.
        beta: factor of the square.

    References:
        Zou, Hastie (2005), Regularization and variable selection via the elastic net; CS231n (2017), lecture 3.
    """

    def __init__(self, weight: float = 0.01, beta: float = 1.0) -> None:
        super().__init__(l1=weight, l2=weight * beta)
        self.weight = weight
        self.beta = beta

    def get_config(self) -> Config:
        return {"weight": self.weight, "beta": self.beta}
