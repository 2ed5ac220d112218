"""The layers of the historical machines that Keras lacks."""

from zoo.layers.masked_conv2d import MaskedConv2D
from zoo.layers.rbf_output import RBFOutput
from zoo.layers.scaled_tanh import ScaledTanh
from zoo.layers.trainable_subsampling import TrainableSubsampling

__all__ = ["MaskedConv2D", "RBFOutput", "ScaledTanh", "TrainableSubsampling"]
