"""Placement of layers on a Jetson's deep learning accelerator (DLA), as documented by NVIDIA; the others run on the GPU.

The rules are from "DLA Supported Layers and Restrictions" in three sources: chapter 12 of the TensorRT Developer Guide of
about 8.4, as translated in NVIDIA's blog (TensorRT and DLA, developer.nvidia.com/zh-cn, 2022); chapter 12 of the Developer
Guide 8.5; and the documentation of TensorRT 11.4, whose predecessors refer to that chapter for earlier releases with a DLA.
The guides of 8.2 and 10.3 were not available. A layer that none of the sources lists is reported as unsupported.

A supported layer may still run on the GPU: the builder also considers the memory of the board and the neighboring layers,
and a view between layers, as before a matrix product, may need the GPU. targets.toml lists which TensorRT versions support a
DLA.
"""

import math

import onnx_ir as ir

from exporters.onnx.graph.edit import attribute, constant, dims
from exporters.planner import layers
from exporters.precision import Precision

LARGEST_SIZE = 8192  # of an axis except the batch: in 11.4.1 for all layers, in 8.5 for some and for convolution channels
MATRICES = ("Gemm", "MatMul")  # "TensorRT can translate this to a 1x1 Conv": NVIDIA/Deep-Learning-Accelerator-SW, operators
ACTIVATIONS = ("Relu", "Sigmoid", "Tanh", "LeakyRelu", "Clip")
ELEMENTWISE = ("Add", "Sub", "Mul", "Max", "Min")
ELEMENTWISE_10 = (*ELEMENTWISE, "Div", "Pow")
UNARY = ("Abs",)
CONDITIONAL = ("Resize", "Softmax", "Slice", "Split", "Transpose", "PRelu", "Equal", "Greater", "Less", "ReduceMax")
BANKS = 16  # of 32 KiB each in the convolution buffer (CBUF): 8.4
FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16)


def place(graph: ir.Model, tensorrt_version: str, precision: Precision | str) -> dict[str, str | None]:
    """Place each layer on the DLA or the GPU.

    Args:
        graph: exported model.
        tensorrt_version: full version, such as "8.5.2".
        precision: precision that the engine is built for.

    Returns:
        Name of a layer, as in `exporters.planner.layers.read` -> None if the DLA supports it, else the reason for the
        fallback to the GPU.
    """
    version = tuple(map(int, tensorrt_version.split(".")))
    model = layers.with_batch_of_one(graph)
    precisions = {layer.name: layer.precision for layer in layers.read(graph)}
    # The builder keeps the float32 nodes of a mixed-precision graph in float32; TensorRT 11 keeps all types.
    typed = version >= (11,) or {Precision.FP16, Precision.INT8} & set(precisions.values())
    placement = {}
    for name, nodes in layers.fuse(model).items():
        if precision == Precision.FP32 or (typed and precisions[name] == Precision.FP32):
            placement[name] = "computes in float32; the DLA only supports fp16 and int8"
        elif version < (11, 4, 1) and any(_is_quantized(node) for node in nodes):
            # Source: 8.4, and for 8.6 NVIDIA/Deep-Learning-Accelerator-SW, operators. TensorRT 11 only has explicit INT8.
            placement[name] = f"has QuantizeLinear, which the DLA of TensorRT {tensorrt_version} does not support"
        else:
            width = 1 if precision == Precision.INT8 else 2
            reasons = ((node, _reason(node, nodes, version, width)) for node in nodes)
            placement[name] = next((f"{node.op_type}: {reason}" for node, reason in reasons if reason), None)
    return placement


def _is_quantized(node):
    above = (value.producer() for value in node.inputs if value is not None)
    return node.op_type == "QuantizeLinear" or any(each and each.op_type == "DequantizeLinear" for each in above)


def _reason(node, nodes, version, width):
    """Return why the DLA does not support a node of a layer, or None.

    Args:
        node: node to check.
        nodes: all nodes of the layer.
        version: TensorRT version as a tuple of int.
        width: bytes per value.
    """
    kind = node.op_type
    elementwise = ELEMENTWISE_10 if version >= (10,) else ELEMENTWISE
    if kind == "QuantizeLinear" or (kind == "Cast" and {node.inputs[0].dtype, node.outputs[0].dtype} <= set(FLOATS)):
        return None  # a format conversion at the input or output
    if kind == "Cast":
        return f"from {node.inputs[0].dtype.name.lower()}, not documented as supported"
    if kind in CONDITIONAL:
        return "documented with conditions that are not checked here"
    if kind not in (*RULES, *MATRICES, *ACTIVATIONS, *elementwise, *UNARY, "BatchNormalization"):
        return "not documented as supported"
    computed = [value for value in (*node.inputs, *node.outputs) if value is not None and not _is_constant(value)]
    # A dense layer is documented as a 1x1 convolution, so the operators after it may have two axes, too.
    ranks = (2, 4) if any(each.op_type in MATRICES for each in nodes) else (4,)
    for value in computed:
        if len(dims(value)) not in ranks:
            return f"{value.name} has {len(dims(value))} axes; documented for (batch, channels, height, width)"
        if max(dims(value)[1:]) > LARGEST_SIZE:
            return f"{value.name} has an axis of {max(dims(value)[1:])}; the largest is {LARGEST_SIZE}"
    if kind in (*MATRICES, "Conv", "ConvTranspose") and not _is_constant(node.inputs[1]):
        return "its weights are not constant"
    return RULES[kind](node, width) if kind in RULES else None


def _is_constant(value):
    return layers.stored_tensor(value).const_value is not None


def _outside(name, sizes, minimum, maximum):
    """Return a reason if a size is outside a range, else None."""
    wrong = [size for size in sizes if not minimum <= size <= maximum]
    return f"{name} {wrong[0]}; documented are {minimum} to {maximum}" if wrong else None


def _convolution(node, width):
    channels, kernel = dims(node.inputs[0])[1], dims(node.inputs[1])[2:]
    padding = attribute(node, "pads", [0] * 4)
    dilation = attribute(node, "dilations", [1, 1])
    # With a kernel of at most 32, this also limits the padding to 31, as documented.
    if any(pad >= size for pad, size in zip(padding, [*kernel, *kernel], strict=True)):
        return f"padding {max(padding)} is not less than the kernel size {min(kernel)}"
    return (
        _outside("kernel", kernel, 1, 32)
        or _outside("stride", attribute(node, "strides", [1, 1]), 1, 8)
        or _outside("dilation", dilation, 1, 32)
        or _buffer(channels, dims(node.inputs[0])[3], kernel, dilation[0], width)
    )


def _buffer(channels, columns, kernel, dilation, width):
    """Return a reason if the convolution buffer is too small, else None: 8.4, "Convolution and Fully Connected Layers"."""
    kernel_banks = math.ceil(math.ceil(channels * math.prod(kernel) * width / 128) * 128 / 32768)
    entries = math.ceil(math.ceil(channels * width / 32) * columns / 4)
    data_banks = math.ceil(entries * ((kernel[0] - 1) * dilation + 1) / 256)
    needed = kernel_banks + data_banks
    return f"needs {needed} banks of the convolution buffer, which has {BANKS}" if needed > BANKS else None


def _deconvolution(node, _):
    kernel, strides = dims(node.inputs[1])[2:], attribute(node, "strides", [1, 1])
    slow = range(23, 33)
    if kernel[0] == kernel[1] in slow or any(stride in slow for stride in strides):
        return "square kernels and strides of 23 to 32 are disabled, because they take too long to compile"
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
    """Only a clipped ReLU is documented."""
    ends = [constant(value) for value in node.inputs[1:3]]
    if len(ends) < 2 or any(end is None for end in ends) or ends[0] != 0:
        return "documented only for a ReLU with an upper bound"
    return _outside("upper bound", [float(ends[1])], 1, 127)


def _concatenation(node, _):
    return None if attribute(node, "axis") in (1, -3) else "documented only along the channels"


RULES = {
    "Conv": _convolution,
    "ConvTranspose": _deconvolution,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "LRN": _normalization,
    "Clip": _clipped,
    "Concat": _concatenation,
}
