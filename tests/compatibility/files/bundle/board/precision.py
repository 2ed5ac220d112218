"""In which types an engine computes: those of the model, where they bind; where they do not, what the builder is told."""

from .files import BundleError


def binds(trt, dla_core, ranges):
    """Return whether the model's types bind. Beside ranges they cannot, and DLA takes flags wherever there are any.

    Args:
        trt: the module `tensorrt`.
        dla_core: number of the DLA core, or None.
        ranges: dict, name of a tensor -> largest magnitude, or None.
    """
    flags = hasattr(trt.BuilderFlag, "FP16")
    return hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED") and not (flags and (ranges or dla_core is not None))


def allow(trt, config, precision, typed, dla_core):
    """Allow the builder the types of the model where these do not bind; DLA computes nothing in float32.

    Args:
        trt: the module `tensorrt`.
        config: of the builder.
        precision: of the bundle, "fp32", "fp16" or "int8".
        typed: whether the model's types bind.
        dla_core: number of the DLA core, or None.
    """
    if not typed and hasattr(trt.BuilderFlag, "FP16"):
        if precision == "fp16" or dla_core is not None:
            config.set_flag(trt.BuilderFlag.FP16)
        if precision == "int8":
            config.set_flag(trt.BuilderFlag.INT8)
    # TF32 has the ten bits of float16, and computes what the gate of float32 refuses.
    if precision == "fp32" and hasattr(trt.BuilderFlag, "TF32"):
        config.clear_flag(trt.BuilderFlag.TF32)


def keep_float32(trt, network, config):
    """Keep in float32 the layers that the model has in it beside those in float16, which has no range for what they sum.

    A flag alone lets the builder compute any layer in float16 where that is faster. DLA leaves to the GPU what is held so.

    Args:
        trt: the module `tensorrt`.
        network: that has been read.
        config: of the builder.

    Returns:
        The number of these layers, or None where TensorRT tells no types, and may compute any layer in float16.
    """
    if not hasattr(trt.ILayer, "precision"):
        return None  # from 11 on, where the types of the model bind
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    types = [_types(layer) for layer in layers]
    if not any(trt.DataType.HALF in each for each in types):
        return None  # all would stay
    held = 0
    for layer, found in zip(layers, types):
        if found == {trt.DataType.FLOAT} and layer.type not in (trt.LayerType.CONSTANT, trt.LayerType.SHAPE):
            held += 1
            layer.precision = trt.DataType.FLOAT
            for index in range(layer.num_outputs):
                layer.set_output_type(index, trt.DataType.FLOAT)
    if hasattr(trt.BuilderFlag, "OBEY_PRECISION_CONSTRAINTS"):
        config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    else:
        config.set_flag(trt.BuilderFlag.STRICT_TYPES)
    return held


def _types(layer):
    """Return the set of the types of a layer's tensors."""
    tensors = [layer.get_input(index) for index in range(layer.num_inputs)]
    tensors += [layer.get_output(index) for index in range(layer.num_outputs)]
    return {tensor.dtype for tensor in tensors if tensor is not None}


def set_ranges(trt, network, ranges):
    """Set the range of each tensor that the calibration table names."""
    if not hasattr(trt.ITensor, "set_dynamic_range"):
        raise BundleError(
            f"TensorRT {trt.__version__} takes no calibration table; export the model again for this version of TensorRT"
        )
    found = {}
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        found[tensor.name] = tensor
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        for output in range(layer.num_outputs):
            tensor = layer.get_output(output)
            found[tensor.name] = tensor
    # What the parser leaves out, such as a reshape of nothing, has no tensor.
    named = sorted(set(ranges) & set(found))
    if not named:
        raise BundleError("the network has no tensor that the calibration table names; export the model again")
    for name in named:
        tensor = found[name]
        tensor.set_dynamic_range(-ranges[name], ranges[name])
