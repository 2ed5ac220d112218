import keras
from keras import ops

from zoo.layers.traits import Traits
from zoo.types import Tensor


@keras.saving.register_keras_serializable("zoo")
class GroupedConv2D(keras.layers.Conv2D):
    """Grouped convolution, as on the two GPUs of 2012: each group of output maps sees one group of input maps.

    Weights and configuration are those of `keras.layers.Conv2D(groups=...)`. On TensorFlow, Keras compiles that layer with
    XLA, whose gradient takes seven times as long on a CPU; this layer computes one convolution per group.

    Args:
        filters: number of output maps of all groups.
        kernel_size: height and width of the kernels, in pixels, or one number for both.
        groups: number of groups; it must divide the input maps and the filters.
        **kwargs: as for `keras.layers.Conv2D`.

    References:
        Krizhevsky, Sutskever, Hinton (2012), section 3.2.
    """

    traits = Traits()

    def __init__(self, filters: int, kernel_size: int | tuple[int, int], groups: int = 2, **kwargs) -> None:
        super().__init__(filters, kernel_size, groups=groups, **kwargs)

    def convolution_op(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        axis = -1 if self.data_format == "channels_last" else 1
        groups = zip(ops.split(inputs, self.groups, axis=axis), ops.split(kernel, self.groups, axis=-1), strict=True)
        maps = [ops.conv(x, part, self.strides, self.padding, self.data_format, self.dilation_rate) for x, part in groups]
        return ops.concatenate(maps, axis=axis)
