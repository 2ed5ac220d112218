import keras

from zoo.constraints import MaxNorm
from zoo.layers.traits import Traits


@keras.saving.register_keras_serializable("zoo")
class MaxNormDense(keras.layers.Dense):
    """Dense layer whose weights into each unit keep a norm of at most c; the bias goes free.

    Args:
        units: number of units.
        max_norm: c, see `zoo.constraints.MaxNorm`. 3 is that of the authors' MNIST example; other sources say 2 and 4.
        **kwargs: as for `keras.layers.Dense`.

    References:
        Srivastava et al. (2014), section 5.1.
    """

    traits = Traits()

    def __init__(self, units, max_norm=3.0, **kwargs):
        super().__init__(units, kernel_constraint=MaxNorm(max_norm), **kwargs)

    def get_config(self):
        return _with_max_norm(super().get_config(), self.kernel_constraint)


@keras.saving.register_keras_serializable("zoo")
class MaxNormConv2D(keras.layers.Conv2D):
    """Convolution whose kernel for each output map keeps a norm of at most c; the bias goes free.

    Args:
        filters: number of output maps.
        kernel_size: height and width of the kernels, in pixels, or one number for both.
        max_norm: c, see `zoo.constraints.MaxNorm`.
        **kwargs: as for `keras.layers.Conv2D`.

    References:
        Srivastava et al. (2014), section 5.1.
    """

    traits = Traits()

    def __init__(self, filters, kernel_size, max_norm=3.0, **kwargs):
        super().__init__(filters, kernel_size, kernel_constraint=MaxNorm(max_norm), **kwargs)

    def get_config(self):
        return _with_max_norm(super().get_config(), self.kernel_constraint)


def _with_max_norm(config, constraint):
    """Return the config of a Keras layer with the constraint given by its c."""
    del config["kernel_constraint"]
    return {**config, "max_norm": constraint.max_value}
