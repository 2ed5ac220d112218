"""Traits of layers: what training, drawing and exporting must know about a layer besides its computation.

A layer of the zoo declares its traits in a class attribute, `traits = Traits(...)`; `KERAS` declares those of Keras' own
layers. Everyone else calls `of(layer)`, so a new layer is described in one place: its own class.

Methods that a layer may have besides `call`, and that are found by their names:

- `connections()`: (connections, multiply-accumulates) for one image; for `zoo.analysis.arithmetic`.
- `receptive_window()`: (size, stride, padding before) of square windows, in input units; for `zoo.analysis.receptive_field`.
- For `zoo.analysis.drawing`:
  - `images()`: list of (title, array) that shows the weights;
  - `full_kernel()`: kernel of a convolution, (height, width, inputs, outputs);
  - `project_to_input(weights)`: weights of the next layer, (units, outputs), as weights on the inputs of this one;
  - `examples(per_class)`: memorized patterns, (n, features), and the class index of each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import keras


@dataclass(frozen=True)
class Traits:
    """Traits of a layer class.

    Args:
        pointwise: each output unit depends only on the inputs at its own position, of any channel. The layer does not
            change the receptive field.
        keep_float32: the layer computes in float32 even in mixed precision, because rounding would spoil its result.
        fast_under_xla: a training step of a network of such layers is faster when XLA compiles it than with TensorFlow's own
            kernels, measured on a CPU.
    """

    pointwise: bool = False
    keep_float32: bool = False
    fast_under_xla: bool = False


# Layers that are not listed have the default traits. XLA takes half the time of TensorFlow's kernels for dense layers, and
# 20 times as long on a CPU for the gradient of a convolution.
KERAS = {
    keras.layers.Activation: Traits(pointwise=True),
    keras.layers.BatchNormalization: Traits(pointwise=True),
    keras.layers.Dense: Traits(fast_under_xla=True),
    keras.layers.Dropout: Traits(pointwise=True),
    keras.layers.ELU: Traits(pointwise=True),
    keras.layers.Flatten: Traits(fast_under_xla=True),
    keras.layers.InputLayer: Traits(fast_under_xla=True),
    keras.layers.LeakyReLU: Traits(pointwise=True),
    keras.layers.ReLU: Traits(pointwise=True),
    keras.layers.Softmax: Traits(pointwise=True),
}


def of(layer: keras.layers.Layer) -> Traits:
    """Return the traits of a layer: those of its class, or else of the nearest base class that declares any.

    A subclass does not inherit `fast_under_xla`: it was measured for the class itself, whose `call` may be another.

    Args:
        layer: any Keras layer.
    """
    for kind in type(layer).__mro__:
        traits = vars(kind).get("traits", KERAS.get(kind))
        if isinstance(traits, Traits):
            return traits if kind is type(layer) else replace(traits, fast_under_xla=False)
    return Traits()
