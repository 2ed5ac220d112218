"""The layers of the historical machines that Keras lacks."""

from zoo.layers.association_units import AssociationUnits
from zoo.layers.c_cells import CCells
from zoo.layers.deskew import Deskew
from zoo.layers.fixed_logic import FixedLogic
from zoo.layers.grouped_conv2d import GroupedConv2D
from zoo.layers.hinge_loss import HingeLoss
from zoo.layers.local_response_normalization import LocalResponseNormalization
from zoo.layers.locally_connected2d import LocallyConnected2D
from zoo.layers.masked_conv2d import MaskedConv2D
from zoo.layers.max_norm import MaxNormConv2D, MaxNormDense
from zoo.layers.maxout import Maxout
from zoo.layers.nearest_neighbors import NearestNeighbors
from zoo.layers.rbf_output import RBFOutput
from zoo.layers.s_cells import SCells
from zoo.layers.scaled_tanh import ScaledTanh
from zoo.layers.signum import Signum
from zoo.layers.step import Step
from zoo.layers.stochastic_depth import StochasticDepth, linear_decay
from zoo.layers.trainable_subsampling import TrainableSubsampling
from zoo.layers.whitening import PCAWhitening, ZCAWhitening, ZeroCenter
from zoo.layers.within_map_normalization import WithinMapNormalization

__all__ = [
    "AssociationUnits",
    "CCells",
    "Deskew",
    "FixedLogic",
    "GroupedConv2D",
    "HingeLoss",
    "LocalResponseNormalization",
    "LocallyConnected2D",
    "MaskedConv2D",
    "MaxNormConv2D",
    "MaxNormDense",
    "Maxout",
    "NearestNeighbors",
    "PCAWhitening",
    "RBFOutput",
    "SCells",
    "ScaledTanh",
    "Signum",
    "Step",
    "StochasticDepth",
    "TrainableSubsampling",
    "WithinMapNormalization",
    "ZCAWhitening",
    "ZeroCenter",
    "linear_decay",
]
