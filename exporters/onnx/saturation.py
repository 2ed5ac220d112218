"""Which INT8 files need exact sums: x86 processors without VNNI may add 8-bit products in 16 bits.

Their instruction (VPMADDUBSW of AVX2 and AVX-512) multiplies unsigned by signed 8-bit integers and adds two neighboring
products, saturated to 16 bits. Runtimes add 128 to signed activations for it. With weights of at most 64 in magnitude, two
products are at most 2 * 255 * 64 = 32,640, and 16 bits hold 32,767.
"""

import numpy as np
import onnx_ir as ir

from exporters.onnx.graph.edit import constant

LARGEST_WEIGHT = 64  # magnitude of a quantized weight up to which no sum of two products saturates
NOTE = (
    "the INT8 weights are from -127 to 127; GPUs, ARM and x86 processors with VNNI sum their products exactly. On other x86 "
    "processors, set session.x64quantprecision to 1 in onnxruntime and LP_TRANSFORMS_MODE to NO in OpenVINO"
)


def may_saturate(model: ir.Model) -> bool:
    """Return whether a model has a quantized weight that is too large for sums in 16 bits."""
    return any(_is_large(constant(node.inputs[0])) for node in model.graph if node.op_type == "DequantizeLinear")


def _is_large(weight):
    """Return whether a constant 8-bit tensor exceeds `LARGEST_WEIGHT`; a product of uint8 weights does in any case."""
    if weight is None or weight.dtype not in (np.int8, np.uint8) or not weight.size:
        return False
    return weight.dtype == np.uint8 or int(np.abs(weight.astype("int16")).max()) > LARGEST_WEIGHT
