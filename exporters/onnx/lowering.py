"""Layers that ONNX has one operator for, traced as TensorFlow's own operator, from which tf2onnx makes that one.

In training they are written in the way that is fast there: a grouped convolution as several, a normalization across maps as
a product. For the trace alone they are written as what they are called.
"""

import contextlib

import tensorflow as tf

from exporters.onnx import clean
from zoo.layers import GroupedConv2D, LocalResponseNormalization


@contextlib.contextmanager
def one_operator_each(model):
    """Within it, such layers of a model are traced as one operator each; a trace of functions within functions is flat.

    Keras wraps grouped convolutions in a function of their own, which tf2onnx would leave as a call of something unknown.

    Args:
        model: Keras model or layer.
    """
    eagerly = tf.config.functions_run_eagerly()
    with contextlib.ExitStack() as undo:
        undo.callback(tf.config.run_functions_eagerly, eagerly)
        tf.config.run_functions_eagerly(True)
        for layer in model._flatten_layers():
            for name, function in _lowered(layer).items():
                setattr(layer, name, function)
                undo.callback(delattr, layer, name)
        yield


def _lowered(layer):
    """Return by name the methods that a layer has in a trace."""
    if isinstance(layer, GroupedConv2D):
        return {"convolution_op": super(GroupedConv2D, layer).convolution_op}
    if isinstance(layer, LocalResponseNormalization):
        return {"call": lambda x: _normalized(layer, x)}
    return {}


def _normalized(layer, x):
    """Normalize across maps in one operator, as if they were one group; its name tells `clean.regroup` how many."""
    name = f"{clean.GROUPS}{layer.groups}"
    return tf.nn.local_response_normalization(x, layer.size // 2, layer.k, layer.alpha, layer.beta, name=name)
