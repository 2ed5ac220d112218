"""Convert weight files of Caffe and PyTorch to Keras, without Caffe or PyTorch and without executing code in the files."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zoo.converters import caffe, torch
from zoo.errors import ZooError, did_you_mean

if TYPE_CHECKING:
    import keras

# First bytes of other formats, for the error message.
FOREIGN = {
    b"\x89HDF": "an HDF5 file, as Keras and Caffe's snapshot_format HDF5 write it",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"\x1f\x8b": "a gzip archive; unpack it",
    b"BZh": "a bzip2 archive; unpack it",
    b"%PDF": "a PDF document",
    b"<": "a web page",
}
TORCH = (b"PK\x03\x04", b"\x80")
CAFFE = tuple(bytes([tag]) for tag in b"\x0a\x12\x1a\x20\x22\x28\x32\x38\x42\xa2")  # tags of the fields for names and layers
SUFFIXES = {"caffe": ".caffemodel", "torch": ".pth"}
FEW = 16  # layers that a message lists at most


def recognize(path: str | os.PathLike) -> str:
    """Return the format of a file, "caffe" or "torch", by its first bytes.

    Raises:
        ZooError: if there is no such file, or it has another format.
    """
    if not Path(path).is_file():
        raise ZooError(f"no file {path}")
    with open(path, "rb") as file:
        start = file.read(4)
    if not start:
        raise ZooError(f"{path} is empty; download it again")
    for magic, what in FOREIGN.items():
        if start.startswith(magic):
            raise ZooError(f"{path} is {what}; only files of Caffe (.caffemodel) and PyTorch (.pth) can be converted")
    if not start.startswith(TORCH + CAFFE):
        raise ZooError(f"{path} is neither a file of Caffe (.caffemodel) nor of PyTorch (.pth)")
    return "torch" if start.startswith(TORCH) else "caffe"


def convert(net: "keras.Model", path: str | os.PathLike, names: dict[str, str], format: str) -> None:
    """Set the weights of a network from a foreign file.

    Convolution kernels are transposed from (out, in / groups, height, width) to (height, width, in / groups, out), and
    matrices from (out, in) to (in, out). The rows of a matrix after a Flatten are reordered from (channels, height, width)
    to (height, width, channels). Networks of Caffe take BGR: the channels of the first kernel are reversed, so that the
    network takes RGB. All shapes are compared before any weight is set. After any other error, the weights are undefined.

    Args:
        net: functional or Sequential Keras model, in which only convolutions and dense layers have weights.
        path: the file.
        names: name of each layer with weights in the network -> its name in the file.
        format: "caffe" or "torch".

    Raises:
        ZooError: if the file is damaged, belongs to another network, or contains values that are not finite.
    """
    path = os.fspath(path)
    found, layers = check(net, path, names, format)
    for layer in layers:
        own, foreign = [layer.kernel, *([layer.bias] if layer.use_bias else [])], found[names[layer.name]]
        for variable, array in zip(own, foreign, strict=True):
            values = array.load()
            if not np.isfinite(values).all():
                raise ZooError(
                    f"{path}: layer {names[layer.name]} contains values that are not finite; the file cannot be used"
                )
            if variable is layer.kernel:
                reverse = format == "caffe" and layer is layers[0] and net.input_shape[-1] == 3
                values = _transposed(layer, values, reverse)
            variable.assign(values.reshape(variable.shape))  # a bias in Caffe's old format has leading axes of 1
            del values  # free the memory before the next array is read


def check(
    net: "keras.Model", path: str | os.PathLike, names: dict[str, str], format: str
) -> "tuple[dict[str, list], list[keras.layers.Layer]]":
    """Compare the layers and shapes of a foreign file with those of a network, whose weights need not be allocated yet.

    Args:
        net, path, names, format: as for `convert`.

    Returns:
        (name of each layer in the file -> its arrays, not loaded yet; layers of the network with weights)

    Raises:
        ZooError: if the file is damaged or belongs to another network.
    """
    path = os.fspath(path)
    _check_format(path, format)
    found = _layers(path, format)
    layers = [layer for layer in net.layers if layer.weights]
    if unknown := {layer.name for layer in layers} ^ set(names):
        layer_names = ", ".join(sorted(unknown))
        raise ZooError(f"the network {net.name} and its [imports.{format}] differ in the layers {layer_names}")
    _check_layers(net, path, found, layers, names)
    return found, layers


def read_head(path: str | os.PathLike, names: dict[str, str], format: str) -> tuple[int, dict[str, str]]:
    """Return the number of classes of the network in a file, and the layer names with that of its last layer.

    The last layer of a fine-tuned network often has another name. If exactly one layer of the file is unknown, it is used as
    the last one.

    Args:
        path, names, format: as for `convert`; `names` in the order of the network.

    Returns:
        (number of classes, `names` with the name of the last layer in the file).

    Raises:
        ZooError: if the file is damaged or its last layer is not found.
    """
    _check_format(path, format)
    found = _layers(path, format)
    last = list(names)[-1]
    others = [name for name in found if name not in names.values()]
    if names[last] not in found and len(others) == 1:
        names = {**names, last: others[0]}
    if names[last] not in found:
        raise ZooError(f"{path} has no layer '{names[last]}'{did_you_mean(names[last], found)} Its layers: {_listed(found)}")
    shape = found[names[last]][0].shape
    return (shape[-2] if len(shape) > 1 else 0), names


def _check_format(path: str | os.PathLike, format: str) -> None:
    found = recognize(path)
    if found != format:
        raise ZooError(f"{path} is not a {SUFFIXES[format]} file of {format}, but seems to be one of {found}")


def _layers(path: str | os.PathLike, format: str) -> dict[str, list]:
    """Return name of each layer in a file -> [weights] or [weights, bias], not loaded yet."""
    if format == "caffe":
        return caffe.read(path)
    layers = {}
    for name, tensor in torch.read(path).items():
        layer, _, kind = name.rpartition(".")
        layers.setdefault(layer, {})[kind] = tensor
    order = {"weight": 0, "bias": 1}
    return {
        name: [tensors[kind] for kind in sorted(tensors, key=lambda kind: (order.get(kind, 2), kind))]
        for name, tensors in layers.items()
    }


def _check_layers(net: "keras.Model", path: str, found: dict[str, list], layers: list, names: dict[str, str]) -> None:
    """Refuse a file whose layers or shapes differ from those of the network."""
    for layer in layers:
        name = names[layer.name]
        if name not in found:
            raise ZooError(
                f"{path} has no layer '{name}', which {net.name} needs{did_you_mean(name, found)} "
                f"Its layers: {_listed(found)}"
            )
        expected = [_foreign_shape(layer), *([(layer.kernel.shape[-1],)] if layer.use_bias else [])]
        shapes = [array.shape for array in found[name]]
        same = len(shapes) == len(expected)
        if not same or any(_stripped(*pair) != pair[1] for pair in zip(shapes, expected, strict=True)):
            raise ZooError(
                f"layer {name} of {path} has {_written(shapes)}, and {net.name} expects {_written(expected)}; the file "
                f"belongs to another network. Its layers: {_listed(found)}"
            )
    if others := set(found) - set(names.values()):
        raise ZooError(
            f"{path} has layers that {net.name} lacks, {', '.join(sorted(others)[:FEW])}; it belongs to another network. "
            f"Its layers: {_listed(found)}"
        )


def _foreign_shape(layer: "keras.layers.Layer") -> tuple[int, ...]:
    """Return the shape of a layer's kernel in Caffe and PyTorch."""
    *window, inputs, outputs = layer.kernel.shape
    return outputs, inputs, *window


def _stripped(shape: tuple[int, ...], expected: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without leading ones: in Caffe's old format every array has four axes."""
    extra = max(0, len(shape) - len(expected))
    return tuple(shape[extra:]) if all(side == 1 for side in shape[:extra]) else tuple(shape)


def _transposed(layer: "keras.layers.Layer", values: np.ndarray, reverse: bool) -> np.ndarray:
    """Return the kernel of a layer in Keras' order; with `reverse`, the input channels are reversed, from BGR to RGB."""
    *window, inputs, outputs = layer.kernel.shape
    if window:
        values = values.reshape(outputs, inputs, *window).transpose(2, 3, 1, 0)
        return values[:, :, ::-1] if reverse else values
    values = values.reshape(outputs, inputs)
    if maps := _flattened(layer):
        height, width, channels = maps
        values = values.reshape(outputs, channels, height, width)
        values = values[:, ::-1] if reverse else values
        return values.transpose(2, 3, 1, 0).reshape(inputs, outputs)
    return values.T


def _flattened(layer: "keras.layers.Layer") -> tuple[int, int, int] | None:
    """Return (height, width, channels) of the feature maps that a dense layer takes flattened; None if it takes none.

    Layers that keep the order of values, such as a Dropout, may stand between the Flatten and the dense layer.
    """
    import keras

    while not isinstance(layer.input, list | dict) and len(layer.input.shape) == 2:
        layer = layer.input._keras_history.operation
        if isinstance(layer, keras.layers.Flatten):
            shape = layer.input.shape[1:]
            return tuple(shape) if len(shape) == 3 else None
        if isinstance(layer, keras.layers.InputLayer) or getattr(layer, "weights", ()):
            break
    return None


def _written(shapes: list[tuple[int, ...]]) -> str:
    return " and ".join("x".join(map(str, shape)) or "one value" for shape in shapes)


def _listed(found: dict[str, list]) -> str:
    """Return the first layers of a file with the shapes of their weights, for a message."""
    listed = [f"{name[:40]} {_written([arrays[0].shape])}" for name, arrays in list(found.items())[:FEW]]
    return ", ".join(listed) + (f" and {len(found) - FEW} more" if len(found) > FEW else "")
