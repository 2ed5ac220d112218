import keras
from keras import ops

from zoo.layers.traits import Traits


@keras.saving.register_keras_serializable("zoo")
class GroupedConv2D(keras.layers.Conv2D):
    """Convolve groups of maps apart from each other, as the two GPUs of 2012 did.

    It is Keras' own Conv2D(groups=...), weights and configuration included. But that one is compiled by XLA on TensorFlow,
    whose gradient takes seven times as long on a CPU; here each group is a convolution of its own.

    Args:
        filters: number of output maps of all groups.
        kernel_size: height and width of the kernels, in pixels, or one number for both.
        groups: number of groups, which divides the maps of the input and the filters.
        **kwargs: as for `keras.layers.Conv2D`.

    References:
        Krizhevsky, Sutskever, Hinton (2012), section 3.2.
    """

    traits = Traits()

    def __init__(self, filters, kernel_size, groups=2, **kwargs):
        super().__init__(filters, kernel_size, groups=groups, **kwargs)

    def convolution_op(self, inputs, kernel):
        axis = -1 if self.data_format == "channels_last" else 1
        parts = zip(ops.split(inputs, self.groups, axis=axis), ops.split(kernel, self.groups, axis=-1), strict=True)
        maps = [ops.conv(x, part, self.strides, self.padding, self.data_format, self.dilation_rate) for x, part in parts]
        return ops.concatenate(maps, axis=axis)
