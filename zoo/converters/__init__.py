"""Foreign weights, of Caffe and of PyTorch, put into a Keras net; neither of the two is needed, and nothing is executed."""

import os
from pathlib import Path

import numpy as np

from zoo.converters import caffe, torch
from zoo.errors import ZooError, did_you_mean

# What a file of something else begins with: for the message, as every program knows these by their first bytes.
FOREIGN = {
    b"\x89HDF": "an HDF5 file, such as Keras or Caffe's snapshot_format HDF5 writes",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x1f\x8b": "a gzip archive; unpack it",
    b"BZh": "a bzip2 archive; unpack it",
    b"%PDF": "a PDF document",
    b"<": "a web page",
}
TORCH = (b"PK\x03\x04", b"\x80")
CAFFE = tuple(bytes([tag]) for tag in b"\x0a\x12\x1a\x20\x22\x28\x32\x38\x42\xa2")  # its fields, of a name or a layer
SUFFIXES = {"caffe": ".caffemodel", "torch": ".pth"}
FEW = 16  # layers that a message lists


def recognise(path):
    """Return the format of a file, "caffe" or "torch", by what it begins with.

    Raises:
        ZooError: if there is no such file, or it is clearly of something else.
    """
    if not Path(path).is_file():
        raise ZooError(f"no file {path}")
    with open(path, "rb") as file:
        start = file.read(4)
    if not start:
        raise ZooError(f"{path} is empty; fetch it again")
    for magic, what in FOREIGN.items():
        if start.startswith(magic):
            raise ZooError(f"{path} is {what}; only files of Caffe (.caffemodel) and of PyTorch (.pth) are converted")
    if not start.startswith(TORCH + CAFFE):
        raise ZooError(f"{path} begins neither like a file of Caffe (.caffemodel) nor like one of PyTorch (.pth)")
    return "torch" if start.startswith(TORCH) else "caffe"


def convert(net, path, names, format):
    """Put the weights of a foreign file into a net.

    Kernels of convolutions, (out, in / groups, height, width), become (height, width, in / groups, out), matrices (out, in)
    become (in, out), and the rows of the one behind a Flatten are sorted anew: it saw maps, rows, columns and now sees rows,
    columns, maps. Nets of Caffe take blue, green, red: the first layer is turned round, so that the net takes RGB.
    All shapes are compared before any weight is set; what is left of a net after another error is of no use.

    Args:
        net: a functional Keras model, or a Sequential one, whose layers with weights are convolutions and dense layers.
        path: the file.
        names: dict: name of each layer with weights in the net -> its name in the file.
        format: "caffe" or "torch".

    Raises:
        ZooError: if the file is damaged, of another net, or holds values that are not finite.
    """
    path = os.fspath(path)
    found, layers = check(net, path, names, format)
    for layer in layers:
        own, foreign = [layer.kernel, *([layer.bias] if layer.use_bias else [])], found[names[layer.name]]
        for variable, array in zip(own, foreign, strict=True):
            values = array.load()
            if not np.isfinite(values).all():
                raise ZooError(
                    f"{path}: layer {names[layer.name]} holds values that are not finite; nothing of it can be used"
                )
            if variable is layer.kernel:
                backwards = format == "caffe" and layer is layers[0] and net.input_shape[-1] == 3
                values = _turned(layer, values, backwards)
            variable.assign(values.reshape(variable.shape))  # a bias of Caffe's old kind has axes in front
            del values  # before the next is read


def check(net, path, names, format):
    """Compare the layers and shapes of a foreign file with those of a net, whose weights need not be there yet.

    Args:
        net, path, names, format: as for `convert`.

    Returns:
        (dict: foreign name of a layer -> its arrays, to be loaded; list of the layers of the net that have weights)

    Raises:
        ZooError: if the file is damaged or of another net.
    """
    path = os.fspath(path)
    _check_format(path, format)
    found = _layers(path, format)
    layers = [layer for layer in net.layers if layer.weights]
    if unknown := {layer.name for layer in layers} ^ set(names):
        raise ZooError(f"the net {net.name} and its [imports.{format}] differ in the layers {', '.join(sorted(unknown))}")
    _check_layers(net, path, found, layers, names)
    return found, layers


def read_head(path, names, format):
    """Return how many classes the net of a file tells apart, and the layers' names with that of its last one.

    Who fine-tunes a net for other classes often gives its last layer another name; it is taken where it is the only one that
    is not known.

    Args:
        path, names, format: as for `convert`; `names` in the order of the net.

    Returns:
        (number of classes, dict as `names`)
    """
    _check_format(path, format)
    found = _layers(path, format)
    last = list(names)[-1]
    others = [name for name in found if name not in names.values()]
    if names[last] not in found and len(others) == 1:
        names = {**names, last: others[0]}
    if names[last] not in found:
        raise ZooError(f"{path} has no layer '{names[last]}'{did_you_mean(names[last], found)} It holds {_listed(found)}")
    shape = found[names[last]][0].shape
    return (shape[-2] if len(shape) > 1 else 0), names


def _check_format(path, format):
    found = recognise(path)
    if found != format:
        raise ZooError(f"{path} is not of the format {format}, a {SUFFIXES[format]} file, but looks like one of {found}")


def _layers(path, format):
    """Return a dict: foreign name of a layer -> [weights] or [weights, bias], to be loaded."""
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


def _check_layers(net, path, found, layers, names):
    """Refuse a file whose layers or shapes are not those of the net."""
    for layer in layers:
        name = names[layer.name]
        if name not in found:
            raise ZooError(
                f"{path} has no layer '{name}', which {net.name} needs{did_you_mean(name, found)} It holds {_listed(found)}"
            )
        expected = [_foreign_shape(layer), *([(layer.kernel.shape[-1],)] if layer.use_bias else [])]
        shapes = [array.shape for array in found[name]]
        same = len(shapes) == len(expected)
        if not same or any(_stripped(*pair) != pair[1] for pair in zip(shapes, expected, strict=True)):
            raise ZooError(
                f"layer {name} of {path} has {_written(shapes)}, and {net.name} expects {_written(expected)}; the file is "
                f"of another net. It holds {_listed(found)}"
            )
    if others := set(found) - set(names.values()):
        raise ZooError(
            f"{path} has layers that {net.name} lacks, {', '.join(sorted(others)[:FEW])}; it is of another net. "
            f"It holds {_listed(found)}"
        )


def _foreign_shape(layer):
    """Return the shape that the weights of a layer have elsewhere."""
    *window, given, made = layer.kernel.shape
    return made, given, *window


def _stripped(shape, expected):
    """Return a shape of Caffe's old kind, which always has four axes, without the ones in front."""
    extra = max(0, len(shape) - len(expected))
    return tuple(shape[extra:]) if all(side == 1 for side in shape[:extra]) else tuple(shape)


def _turned(layer, values, backwards):
    """Return the weights of a layer as Keras has them, of the first one of Caffe with its colours backwards."""
    *window, given, made = layer.kernel.shape
    if window:
        values = values.reshape(made, given, *window).transpose(2, 3, 1, 0)
        return values[:, :, ::-1] if backwards else values
    values = values.reshape(made, given)
    if maps := _flattened(layer):
        height, width, channels = maps
        values = values.reshape(made, channels, height, width)
        values = values[:, ::-1] if backwards else values
        return values.transpose(2, 3, 1, 0).reshape(given, made)
    return values.T


def _flattened(layer):
    """Return (height, width, maps) of what a dense layer sees flattened; None where it sees no flattened maps.

    Only layers that keep the order of values, such as a Dropout, may lie between the Flatten and it.
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


def _written(shapes):
    return " and ".join("x".join(map(str, shape)) or "one value" for shape in shapes)


def _listed(found):
    """Return the layers of a file with the shapes of their weights, not more than fit into a message."""
    listed = [f"{name[:40]} {_written([arrays[0].shape])}" for name, arrays in list(found.items())[:FEW]]
    return ", ".join(listed) + (f" and {len(found) - FEW} more" if len(found) > FEW else "")
