"""Affine sinking: scales and offsets move down to a layer that can fold them."""

import pytest


def test_padding_before_the_input_scaling_is_zero_padding(simplify):
    """In raw pixels the padding is 0, so the convolution can pad by itself before the folded scale and offset apply."""
    operators, result = simplify(
        """(float[N,1,4,4] x) => (float[N,2,6,6] y)
        <float[2,1,3,3] w, int64[8] p = {0,0,2,2,0,0,2,2}, float a = {0.5}, float b = {-0.1}> {
        q = Pad(x, p)  m = Mul(q, a)  s = Add(m, b)  y = Conv(s, w) }"""
    )
    assert operators == ["Conv"]
    assert list(result.node(0).attributes["pads"].value) == [2, 2, 2, 2]


def test_negative_scale_does_not_sink_below_max_pool(simplify):
    text = """(float[N,2,4,4] x) => (float[N,3,1,1] y) <float[3,2,2,2] w, float a = {FACTOR}> {
        m = Mul(x, a)  p = MaxPool <kernel_shape = [2,2], strides = [2,2]> (m)  y = Conv(p, w) }"""
    assert simplify(text.replace("FACTOR", "2"))[0] == ["MaxPool", "Conv"]
    assert simplify(text.replace("FACTOR", "-2"))[0] == ["Mul", "MaxPool", "Conv"]


CASES = {  # name: (opset, remaining operators, graph)
    "single_element_scale_below_squeeze": (
        13,
        ["Squeeze", "Mul", "Tanh"],
        """(float[N,4,1,1] x) => (float[N,4] y) <float[1,1,1,1] a = {2}, int64[2] axes = {2,3}> {
        m = Mul(x, a)  s = Squeeze(m, axes)  y = Tanh(s) }""",
    ),
    "single_element_scale_below_sum_of_squares": (
        13,
        ["ReduceSumSquare", "Mul", "Tanh"],
        """(float[N,4,2,2] x) => (float[N] y) <float[1,1,1,1] a = {2}> {
        m = Mul(x, a)  s = ReduceSumSquare <axes = [1,2,3], keepdims = 0> (m)  y = Tanh(s) }""",
    ),
    "pad_with_fives_as_attribute": (
        9,
        ["Mul", "Pad", "Relu"],
        """(float[N,2,3,3] x) => (float[N,2,5,5] y) <float a = {2}> {
        m = Mul(x, a)  p = Pad <pads = [0,0,1,1,0,0,1,1], value = 5.0> (m)  y = Relu(p) }""",
    ),
    "pad_with_zeros_as_attribute": (
        9,
        ["Pad", "Relu", "Mul"],
        """(float[N,2,3,3] x) => (float[N,2,5,5] y) <float a = {2}> {
        m = Mul(x, a)  p = Pad <pads = [0,0,1,1,0,0,1,1]> (m)  y = Relu(p) }""",
    ),
    "offset_after_a_tiny_scale": (
        13,
        ["Conv"],
        """(float[N,3,4,4] x) => (float[N,2,4,4] y)
        <float[2,3,1,1] w, float[3,1,1] a = {1e-40,1,1}, float[3,1,1] b = {1,2,3}> {
        m = Mul(x, a)  s = Add(m, b)  y = Conv(s, w) }""",
    ),
    "negations_of_integers": (13, ["Neg", "Neg"], "(int32[N,4] x) => (int32[N,4] y) { a = Neg(x)  y = Neg(a) }"),
    "scale_per_row": (
        13,
        ["ReduceMax", "Mul", "Relu"],
        """(float[4,5] x) => (float[4] y) <float[4] a = {1,2,3,4}> {
        s = ReduceMax <axes = [1], keepdims = 0> (x)  m = Mul(s, a)  y = Relu(m) }""",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_rules_apply_only_where_they_are_exact(name, simplify):
    opset, expected, text = CASES[name]
    assert simplify(text, opset)[0] == expected
