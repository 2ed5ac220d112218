"""Affine folding: scales, offsets and batch normalizations in the weights of neighboring layers."""

import pytest


def test_scale_and_offset_after_convolution_are_folded(simplify):
    operators, _ = simplify(
        """(float[N,3,6,6] x) => (float[N,4,4,4] y) <float[4,3,3,3] w, float[1,4,1,1] wa, float[4] wb, float[1,4,1,1] wc> {
            c = Conv(x, w, wb)  m = Mul(c, wa)  y = Add(m, wc) }"""
    )
    assert operators == ["Conv"]


def test_batch_normalization_is_folded_into_the_neighboring_convolution(simplify):
    weights = "s = {1.5, 2, -1}, float[3] b = {0, 1, 2}, float[3] m = {3, 1, 2}, float[3] v = {1, 2, 0.5}"
    before = f"""(float[N,3,6,6] x) => (float[N,4,4,4] y) <float[4,3,3,3] w, float[3] {weights}> {{
        n = BatchNormalization(x, s, b, m, v)  y = Conv(n, w) }}"""
    weights = "s = {1.5, 2, -1, 1}, float[4] b = {0, 1, 2, 3}, float[4] m = {3, 1, 2, 0}, float[4] v = {1, 2, 0.5, 1}"
    behind = f"""(float[N,3,6,6] x) => (float[N,4,4,4] y) <float[4,3,3,3] w, float[4] {weights}> {{
        c = Conv(x, w)  y = BatchNormalization(c, s, b, m, v) }}"""
    assert simplify(before)[0] == simplify(behind)[0] == ["Conv"]


@pytest.mark.parametrize(("pads", "operators"), [("0,0,0,0", ["Conv"]), ("1,1,1,1", ["Add", "Conv"])])
def test_offset_before_convolution_is_not_folded_across_zero_padding(pads, operators, simplify):
    size = 4 if pads[0] == "0" else 6
    text = f"""(float[N,4,6,6] x) => (float[N,6,{size},{size}] y)
        <float[6,2,3,3] w, float[1,4,1,1] a = {{2,3,4,5}}, float[4,1,1] b = {{-1,1,2,3}}> {{
        m = Mul(x, a)  s = Add(m, b)  y = Conv <group = 2, pads = [{pads}]> (s, w) }}"""
    assert simplify(text)[0] == operators


def test_convolution_with_two_readers_keeps_its_weights(simplify):
    operators, _ = simplify(
        """(float[N,3,6,6] x) => (float[N,4,4,4] y, float[N,4,4,4] z) <float[4,3,3,3] w, float a = {3}> {
        c = Conv(x, w)  y = Mul(c, a)  z = Relu(c) }"""
    )
    assert sorted(operators) == ["Conv", "Mul", "Relu"]


def test_trainable_subsampling_becomes_depthwise_convolution(simplify):
    operators, result = simplify(
        """(float[N,2,4,4] x) => (float[N,2,2,2] y) <float[2,1,1] wa, float[2,1,1] wb> {
        p = AveragePool <kernel_shape = [2,2], strides = [2,2]> (x)  m = Mul(p, wa)  y = Add(m, wb) }"""
    )
    assert operators == ["Conv"] and result.node(0).attributes["group"].value == 2


def test_scale_after_a_sum_is_folded_into_where_constants(simplify):
    operators, _ = simplify(
        """(float[N,4] x) => (float[N] y)
        <float z = {0}, float one = {1}, float other = {-1}, int64[1] last = {1}, float half = {0.5}> {
        c = GreaterOrEqual(x, z)  w = Where(c, one, other)  a = Add(w, one)  s = ReduceSum <keepdims = 0> (a, last)
        y = Mul(s, half) }"""
    )
    assert operators == ["GreaterOrEqual", "Where", "ReduceSum"]


CASES = {  # name: (opset, remaining operators, graph)
    "negation_after_pool": (
        13,
        ["Conv"],
        """(float[N,2,4,4] x) => (float[N,2,2,2] y) <float[2,1,1] wb> {
        p = AveragePool <kernel_shape = [2,2], strides = [2,2]> (x)  n = Neg(p)  y = Add(n, wb) }""",
    ),
    "double_precision": (
        13,
        ["Gemm"],
        """(double[N,4] x) => (double[N,2] y) <double[4,2] m = {1,2,3,4,5,6,7,8}, double[2] b = {0.1,0.2}> {
        n = Neg(x)  p = MatMul(n, m)  y = Sub(p, b) }""",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_rules_apply_only_where_they_are_exact(name, simplify):
    opset, expected, text = CASES[name]
    assert simplify(text, opset)[0] == expected
