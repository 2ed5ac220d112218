"""Models that take images of any size or sequences of any length, with one size."""

from collections.abc import Sequence

import keras

from zoo.errors import ZooError


def fixed(model: keras.Model, size: Sequence[int]) -> keras.Model:
    """Return a model of the same layers and weights whose input has one size.

    Args:
        model: Keras model with one input.
        size: for each axis of the input that is free, except for the batch, in their order: rows and columns, or steps.

    Raises:
        ZooError: if the model does not have as many free axes, or cannot take inputs of the size.
    """
    text = "x".join(map(str, size))
    inputs = getattr(model, "inputs", None)
    shape = inputs[0].shape if inputs and len(inputs) == 1 else ()
    free = [axis for axis in range(1, len(shape)) if shape[axis] is None]
    if len(free) != len(size):
        which = f"takes inputs of {tuple(shape)}, with {len(free)} free axes" if shape else "has no input of a known shape"
        raise ZooError(f"--size {text} gives {len(size)} sizes, but {model.name} {which} besides the batch")
    sizes = dict(zip(free, size, strict=True))
    (given,) = inputs
    shape = [sizes.get(axis, size) for axis, size in enumerate(shape)]
    try:
        image = keras.Input(batch_shape=shape, dtype=given.dtype, name=given.name)
        if isinstance(model, keras.Sequential):
            return keras.Model(image, model(image), name=model.name)
        return keras.models.clone_model(model, input_tensors=image, clone_function=lambda layer: layer)
    except Exception as error:  # whatever a layer raises
        reason = str(error).strip().splitlines()[0]
        raise ZooError(f"{model.name} cannot take inputs of {text}: {reason}") from error
