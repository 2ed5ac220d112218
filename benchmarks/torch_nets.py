"""A zoo classifier in PyTorch with the same weights, as the peer in the benchmarks.

Each layer is written as is common in PyTorch, channels first, and the preprocessing as `x.float() * scale + shift`.
"""

import keras
import numpy as np
import torch
from torch import nn


def twin(classifier):
    """Return a PyTorch module that computes what a classifier computes.

    Args:
        classifier: `zoo.classifier.Classifier` of a plain chain of layers, such as LeNet-5 or AlexNet.

    Returns:
        `torch.nn.Module` in evaluation mode: (batch, channels, height, width) uint8 raw images -> (batch, classes) scores.

    Raises:
        TypeError: if a layer has no PyTorch counterpart here.
    """
    modules, maps = [Preprocessing(classifier.preprocessing)], None
    for layer in classifier.net.layers:
        modules += _modules(layer, maps)
        if isinstance(layer, keras.layers.Flatten | keras.layers.Dense):
            maps = layer.input.shape[1:] if isinstance(layer, keras.layers.Flatten) else None
    return nn.Sequential(*modules).eval()


def _modules(layer, maps):
    """Return the modules of one Keras layer, its activation included.

    Args:
        maps: (height, width, channels) of the tensor flattened before it, or None.
    """
    kind = type(layer).__name__
    if kind == "InputLayer":
        return []
    if kind == "Dropout":
        return [nn.Dropout(layer.rate)]
    if kind in ("Conv2D", "GroupedConv2D", "MaskedConv2D"):
        kernel = _tensor(layer.full_kernel() if kind == "MaskedConv2D" else layer.kernel).permute(3, 2, 0, 1)
        groups, strides, padding = (
            getattr(layer, name, other) for name, other in (("groups", 1), ("strides", 1), ("padding", 0))
        )
        border = {"same": kernel.shape[-1] // 2, "valid": 0}.get(padding, padding)
        module = nn.Conv2d(kernel.shape[1] * groups, len(kernel), kernel.shape[2:], strides, border, groups=groups)
        return [_filled(module, kernel, layer.bias), *_activation(layer)]
    if kind == "Dense":
        kernel = _tensor(layer.kernel)
        if maps:  # channels first are flattened in another order
            kernel = kernel.reshape(*maps, -1).permute(2, 0, 1, 3).reshape(kernel.shape)
        return [_filled(nn.Linear(*kernel.shape), kernel.T, layer.bias), *_activation(layer)]
    if kind == "MaxPooling2D":
        return [nn.MaxPool2d(layer.pool_size, layer.strides, ceil_mode=layer.padding == "same")]
    if kind == "ZeroPadding2D":
        (top, bottom), (left, right) = layer.padding
        return [nn.ZeroPad2d((left, right, top, bottom))]
    if kind == "Flatten":
        return [nn.Flatten()]
    if kind == "LocalResponseNormalization" and layer.groups == 1:
        return [nn.LocalResponseNorm(layer.size, layer.size * layer.alpha, layer.beta, layer.k)]
    own = {"ScaledTanh": ScaledTanh, "TrainableSubsampling": Subsampling, "RBFOutput": RBF, "LocallyConnected2D": Local}
    if kind not in own:
        raise TypeError(f"{layer.name} is a {kind}, which is not written in PyTorch here")
    return [own[kind](layer), *_activation(layer)]


def _activation(layer):
    name = getattr(getattr(layer, "activation", None), "__name__", "linear")
    return {"linear": [], "relu": [nn.ReLU()], "tanh": [nn.Tanh()]}[name]


def _tensor(value):
    return torch.from_numpy(np.array(value, "float32"))


def _filled(module, weight, bias):
    with torch.no_grad():
        module.weight.copy_(weight)
        module.bias.copy_(_tensor(bias))
    return module


class Preprocessing(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.border = [layer.padding] * 4
        self.register_buffer("scale", _tensor(layer.scale).reshape(-1, 1, 1))
        self.register_buffer("shift", _tensor(layer.shift).reshape(-1, 1, 1))

    def forward(self, x):
        x = x.float()
        if any(self.border):
            x = nn.functional.pad(x, self.border)
        return x * self.scale + self.shift


class ScaledTanh(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.amplitude, self.slope = layer.amplitude, layer.slope

    def forward(self, x):
        return self.amplitude * torch.tanh(self.slope * x)


class Subsampling(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.size = layer.pool_size
        self.coefficient = nn.Parameter(_tensor(layer.coefficient).reshape(-1, 1, 1) * layer.pool_size**2)
        self.bias = nn.Parameter(_tensor(layer.bias).reshape(-1, 1, 1))

    def forward(self, x):
        return nn.functional.avg_pool2d(x, self.size) * self.coefficient + self.bias


class RBF(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.register_buffer("prototypes", _tensor(layer.prototypes))

    def forward(self, x):
        return -((x[:, None] - self.prototypes) ** 2).sum(2)


class Local(nn.Module):
    """A locally connected layer: windows by `unfold`, then one matrix product per position."""

    def __init__(self, layer):
        super().__init__()
        height, width, inputs, maps = layer.kernel.shape
        self.size, self.shape = layer.kernel_size, (maps, height, width)
        kernel = _tensor(layer.kernel).reshape(height * width, layer.kernel_size**2, -1, maps)
        self.kernel = nn.Parameter(kernel.transpose(1, 2).reshape(height * width, inputs, maps).contiguous())
        self.bias = nn.Parameter(_tensor(layer.bias).permute(2, 0, 1).contiguous())

    def forward(self, x):
        windows = nn.functional.unfold(x, self.size, padding=self.size // 2)
        sums = torch.matmul(windows.permute(2, 0, 1), self.kernel)
        return sums.permute(1, 2, 0).reshape(-1, *self.shape) + self.bias
