"""Which layers NVIDIA documents that a Jetson's deep learning accelerator (DLA) takes; the rest run on the GPU.

The rules are those of "DLA Supported Layers and Restrictions", as three texts have it: chapter 12 of the TensorRT Developer
Guide of about 8.4, as NVIDIA's blog translates it (TensorRT and DLA, developer.nvidia.com/zh-cn, 2022); chapter 12 of the
Developer Guide 8.5; and the documentation of TensorRT 11.4, whose predecessors call the chapter reference for the earlier
releases with a DLA. Those of 8.2 and 10.3 themselves were not at hand. What none of them lists is not claimed.

They say no more than that a layer can be there: the builder also weighs the board's memory and the layer's neighbours. Views
between the layers, as before a product of matrices, may run on the GPU. targets.toml says where a TensorRT has a DLA.
"""

import math

import onnx_ir as ir

from exporters.onnx.graph.edit import attribute, constant, dims
from exporters.planner import layers
from exporters.precision import Precision

LARGEST_BATCH = 4096  # and the profile's smallest, best and largest batch must be equal: General Restrictions, 8.4 to 11.4.1
LARGEST_SIZE = 8192  # of an axis but the batch: for all layers in 11.4.1; in 8.5 for some, and for the maps of a convolution
MATRICES = ("Gemm", "MatMul")  # "TensorRT can translate this to a 1x1 Conv": NVIDIA/Deep-Learning-Accelerator-SW, operators
ACTIVATIONS = ("Relu", "Sigmoid", "Tanh", "LeakyRelu", "Clip")
ELEMENTWISE = ("Add", "Sub", "Mul", "Max", "Min")
ELEMENTWISE_10 = (*ELEMENTWISE, "Div", "Pow")
UNARY = ("Abs",)
CONDITIONAL = ("Resize", "Softmax", "Slice", "Split", "Transpose", "PRelu", "Equal", "Greater", "Less", "ReduceMax")
BANKS = 16  # of the cache of a convolution, the CBUF, each of 32 KiB: 8.4
FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16)


def place(graph, tensorrt_version, precision):
    """Return for each layer why the DLA does not take it.

    Args:
        graph: `onnx_ir.Model`.
        tensorrt_version: such as "8.5.2".
        precision: `exporters.precision.Precision` that the engine is built for.

    Returns:
        dict, name of a layer of `exporters.planner.layers.read` -> None if the DLA takes it, else the reason.
    """
    version = tuple(map(int, tensorrt_version.split(".")))
    model = layers.for_one_picture(graph)
    precisions = {layer.name: layer.precision for layer in layers.read(graph)}
    # What such a graph has in float32 the board's builder keeps so, and TensorRT 11 keeps all types.
    typed = version >= (11,) or {Precision.FP16, Precision.INT8} & set(precisions.values())
    found = {}
    for name, nodes in layers.fused(model).items():
        if Precision.FP32 in (precision, precisions[name] if typed else None):
            found[name] = "in float32, and the DLA computes in fp16 and int8 alone"
        elif version < (11, 4, 1) and any(_quantized(node) for node in nodes):
            # 8.4 says so, and of 8.6 NVIDIA/Deep-Learning-Accelerator-SW, operators; TensorRT 11 has no other way to INT8.
            found[name] = f"has QuantizeLinear, which the DLA of TensorRT {tensorrt_version} does not take"
        else:
            width = 1 if precision == Precision.INT8 else 2
            reasons = ((node, _reason(node, nodes, version, width)) for node in nodes)
            found[name] = next((f"{node.op_type}: {reason}" for node, reason in reasons if reason), None)
    return found


def _quantized(node):
    above = (value.producer() for value in node.inputs if value is not None)
    return node.op_type == "QuantizeLinear" or any(each and each.op_type == "DequantizeLinear" for each in above)


def _reason(node, nodes, version, width):
    """Return why the DLA does not take a node of a layer, or None.

    Args:
        nodes: of the layer.
        version: of TensorRT, a tuple.
        width: bytes of a number.
    """
    kind = node.op_type
    elementwise = ELEMENTWISE_10 if version >= (10,) else ELEMENTWISE
    if kind == "QuantizeLinear" or (kind == "Cast" and {node.inputs[0].dtype, node.outputs[0].dtype} <= set(FLOATS)):
        return None  # a change of format on the way in or out
    if kind == "Cast":
        return f"from {node.inputs[0].dtype.name.lower()}, not documented as supported"
    if kind in CONDITIONAL:
        return "documented under conditions that are not checked here"
    if kind not in (*RULES, *MATRICES, *ACTIVATIONS, *elementwise, *UNARY, "BatchNormalization"):
        return "not documented as supported"
    computed = [value for value in (*node.inputs, *node.outputs) if value is not None and not _is_constant(value)]
    # A fully connected layer is documented as a convolution of one pixel, so what follows it has (batch, maps) of one too.
    ranks = (2, 4) if any(each.op_type in MATRICES for each in nodes) else (4,)
    for value in computed:
        if len(dims(value)) not in ranks:
            return f"{value.name} has {len(dims(value))} axes; documented for (batch, channels, rows, columns)"
        if max(dims(value)[1:]) > LARGEST_SIZE:
            return f"{value.name} has an axis of {max(dims(value)[1:])}; the largest is {LARGEST_SIZE}"
    if kind in (*MATRICES, "Conv", "ConvTranspose") and not _is_constant(node.inputs[1]):
        return "its weights are not constant"
    return RULES[kind](node, width) if kind in RULES else None


def _is_constant(value):
    return layers.stored(value).const_value is not None


def _outside(what, sizes, least, most):
    """Return that a size is outside a range, or None."""
    wrong = [size for size in sizes if not least <= size <= most]
    return f"{what} {wrong[0]}; documented are {least} to {most}" if wrong else None


def _convolution(node, width):
    channels, kernel = dims(node.inputs[0])[1], dims(node.inputs[1])[2:]
    padding = attribute(node, "pads", [0] * 4)
    dilation = attribute(node, "dilations", [1, 1])
    # So it is 31 at most, as is documented too, and there are no more groups than maps.
    if any(pad >= size for pad, size in zip(padding, [*kernel, *kernel], strict=True)):
        return f"padding {max(padding)} is not less than the kernel's {min(kernel)}"
    return (
        _outside("kernel", kernel, 1, 32)
        or _outside("stride", attribute(node, "strides", [1, 1]), 1, 8)
        or _outside("dilation", dilation, 1, 32)
        or _cache(channels, dims(node.inputs[0])[3], kernel, dilation[0], width)
    )


def _cache(channels, columns, kernel, dilation, width):
    """Return that the cache of a convolution is too small, or None: 8.4, "Convolution and Fully Connected Layers"."""
    kernel_banks = math.ceil(math.ceil(channels * math.prod(kernel) * width / 128) * 128 / 32768)
    entries = math.ceil(math.ceil(channels * width / 32) * columns / 4)
    data_banks = math.ceil(entries * ((kernel[0] - 1) * dilation + 1) / 256)
    needed = kernel_banks + data_banks
    return f"needs {needed} banks of the convolution's cache, which has {BANKS}" if needed > BANKS else None


def _deconvolution(node, _):
    kernel, strides = dims(node.inputs[1])[2:], attribute(node, "strides", [1, 1])
    slow = range(23, 33)
    if kernel[0] == kernel[1] in slow or any(stride in slow for stride in strides):
        return "square kernels and strides of 23 to 32 are switched off, as they take too long to compile"
    return (
        (None if 1 in kernel and max(kernel) in (64, 96, 128) else _outside("kernel", kernel, 1, 32))
        or _outside("padding", attribute(node, "pads", [0] * 4), 0, 0)
        or _outside("groups", [attribute(node, "group", 1)], 1, 1)
        or _outside("dilation", attribute(node, "dilations", [1, 1]), 1, 1)
    )


def _pool(node, _):
    return (
        _outside("window", attribute(node, "kernel_shape"), 1, 8)
        or _outside("padding", attribute(node, "pads", [0] * 4), 0, 7)
        or _outside("stride", attribute(node, "strides", [1, 1]), 1, 16)
    )


def _normalization(node, _):
    size = attribute(node, "size")
    return None if size in (3, 5, 7, 9) else f"window {size}; documented are 3, 5, 7 and 9"


def _clipped(node, _):
    """A clipped ReLU is all that is documented."""
    ends = [constant(value) for value in node.inputs[1:3]]
    if len(ends) < 2 or any(end is None for end in ends) or ends[0] != 0:
        return "documented is a ReLU that is clipped above"
    return _outside("largest value", [float(ends[1])], 1, 127)


def _concatenation(node, _):
    return None if attribute(node, "axis") in (1, -3) else "documented along the channels alone"


RULES = {
    "Conv": _convolution,
    "ConvTranspose": _deconvolution,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "LRN": _normalization,
    "Clip": _clipped,
    "Concat": _concatenation,
}
