"""Sums of INT8 products on x86 processors without VNNI, in NumPy, with and without the full range of weights."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from exporters.onnx import saturation
from exporters.quantization import insert


def saturated_product(activations, weights):
    """Multiply int8 matrices as VPMADDUBSW does: two products of an unsigned and a signed factor are added in 16 bits.

    Activations are made unsigned by adding 128, which is subtracted from the exact sum of the weights afterwards.
    """
    unsigned, signed = activations.astype("int32") + 128, weights.astype("int32")
    pairs = unsigned[:, 0::2, None] * signed[0::2] + unsigned[:, 1::2, None] * signed[1::2]
    return np.clip(pairs, -(2**15), 2**15 - 1).sum(axis=1) - 128 * signed.sum(axis=0)


def matrices(largest):
    """Return int8 activations with many large values, and weights up to a magnitude, of both signs."""
    generator = np.random.default_rng(0)
    activations = np.clip(generator.normal(60, 80, (50, 32)), -128, 127).astype("int8")
    activations[0], activations[1] = 127, -128
    weights = generator.integers(-largest, largest + 1, (32, 8)).astype("int8")
    weights[:, 0], weights[:, 1] = largest, -largest
    return activations, weights


def test_sums_of_weights_up_to_64_are_exact_and_of_no_larger_ones():
    activations, weights = matrices(saturation.LARGEST_WEIGHT)
    exact = activations.astype("int32") @ weights.astype("int32")
    np.testing.assert_array_equal(saturated_product(activations, weights), exact)
    activations, weights = matrices(saturation.LARGEST_WEIGHT + 1)
    assert (saturated_product(activations, weights) != activations.astype("int32") @ weights.astype("int32")).any()


@pytest.mark.parametrize("full_range", [False, True])
def test_quantized_weights_saturate_only_with_the_full_range(full_range):
    model = product(np.random.default_rng(1).normal(0, 1, (32, 8)).astype("float32"))
    assert not saturation.may_saturate(model)
    quantized = insert.quantize(model, {"x": 4.0}, full_range=full_range)
    assert saturation.may_saturate(quantized) == full_range
    integers = quantized.graph.initializers["w_quantized"].const_value.numpy()
    activations, _ = matrices(1)
    exact = activations.astype("int32") @ integers.astype("int32")
    assert (saturated_product(activations, integers) == exact).all() == (not full_range)


def product(weight):
    """Return a model with one MatMul."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in (("x", 32), ("y", 8))]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [numpy_helper.from_array(weight, "w")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return ir.from_proto(model)
