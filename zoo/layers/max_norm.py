import keras

from zoo.constraints import MaxNorm
from zoo.layers.traits import Traits
from zoo.types import Config


@keras.saving.register_keras_serializable("zoo")
class MaxNormDense(keras.layers.Dense):
    """Dense layer with a max-norm constraint: the weights into each unit have a norm of at most c. Biases are not limited.

    Args:
        units: number of units.
        max_norm: c, see `zoo.constraints.MaxNorm`. The authors' MNIST example has 3; other sources have 2 and 4.
        **kwargs: as for `keras.layers.Dense`.

    References:
        Srivastava et al. (2014), section 5.1.
    """

    traits = Traits()

    def __init__(self, units: int, max_norm: float = 3.0, **kwargs) -> None:
        super().__init__(units, kernel_constraint=MaxNorm(max_norm), **kwargs)

    def get_config(self) -> Config:
        return _with_max_norm(super().get_config(), self.kernel_constraint)


@keras.saving.register_keras_serializable("zoo")
class MaxNormConv2D(keras.layers.Conv2D):
    """Convolution with a max-norm constraint: the kernel of each output map has a norm of at most c.

    Biases are not limited.

    Args:
        filters: number of output maps.
        kernel_size: height and width of the kernels, in pixels, or one number for both.
        max_norm: c, see `zoo.constraints.MaxNorm`.
        **kwargs: as for `keras.layers.Conv2D`.

    References:
        Srivastava et al. (2014), section 5.1.
    """

    traits = Traits()

    def __init__(self, filters: int, kernel_size: int | tuple[int, int], max_norm: float = 3.0, **kwargs) -> None:
        super().__init__(filters, kernel_size, kernel_constraint=MaxNorm(max_norm), **kwargs)

    def get_config(self) -> Config:
        return _with_max_norm(super().get_config(), self.kernel_constraint)


def _with_max_norm(config, constraint):
    """Return the config of a Keras layer with max_norm instead of the constraint."""
    del config["kernel_constraint"]
    return {**config, "max_norm": constraint.max_value}
