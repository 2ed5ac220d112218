"""Operator fusion."""

import pytest


def test_nonzero_padding_is_not_fused(simplify):
    operators, _ = simplify(
        """(float[N,1,4,4] x) => (float[N,2,4,4] y) <float[2,1,3,3] w, int64[8] p = {0,0,1,1,0,0,1,1}, float f = {2}> {
        q = Pad(x, p, f)  y = Conv(q, w) }"""
    )
    assert operators == ["Pad", "Conv"]


def test_masked_products_become_where(simplify):
    operators, _ = simplify(
        """(float[N,4] x) => (float[N,4] y) <float z = {0}, float one = {2}, float other = {-3}> {
        c = GreaterOrEqual(x, z)  n = Not(c)  a = Cast <to = 1> (c)  b = Cast <to = 1> (n)
        m = Mul(a, one)  k = Mul(other, b)  y = Add(m, k) }"""
    )
    assert operators == ["GreaterOrEqual", "Where"]


def test_spatial_mean_is_one_operator(simplify):
    operators, _ = simplify(
        """(float[N,4,3,2] x) => (float[N,4] y) <int64[2] axes = {2,3}> {
        p = GlobalAveragePool(x)  y = Squeeze(p, axes) }"""
    )
    assert operators == ["ReduceMean"]


def test_squared_distance_to_prototypes_uses_reduce_sum_square(simplify):
    operators, _ = simplify(
        """(float[N,4] x) => (float[N,3] y) <float[3,4] w, int64[1] axis = {1}, int64[1] last = {-1}, float a = {1.7}> {
        t = Tanh(x)  m = Mul(t, a)  e = Unsqueeze(m, axis)  d = Sub(e, w)  q = Mul(d, d)
        s = ReduceSum <keepdims = 0> (q, last)  y = Neg(s) }"""
    )
    assert operators == ["Tanh", "Unsqueeze", "Sub", "ReduceSumSquare", "Mul"]


def test_where_in_double_precision_has_double_constants(simplify):
    operators, _ = simplify(
        """(bool[N,4] x, double[N,4] z) => (double[N,4] y) {
        n = Not(x)  a = Cast <to = 11> (x)  b = Cast <to = 11> (n)  m = Mul(b, z)  y = Add(a, m) }"""
    )
    assert operators == ["Where"]


CASES = {  # name: (opset, remaining operators, graph)
    "pad_with_reordered_axes": (
        18,
        ["Pad", "Conv"],
        """(float[N,1,4,4] x) => (float[N,2,2,6] y)
        <float[2,1,3,3] w, int64[8] p = {0,0,2,0,0,0,2,0}, float f = {0}, int64[4] axes = {0,1,3,2}> {
        q = Pad(x, p, f, axes)  y = Conv(q, w) }""",
    ),
    "product_of_integers": (
        13,
        ["MatMul"],
        "(int32[N,4] x) => (int32[N,2] y) <int32[4,2] m = {1,2,3,4,5,6,7,8}> { y = MatMul(x, m) }",
    ),
    "sum_over_no_axes": (
        13,
        ["Mul", "ReduceSum"],
        """(float[N,4] x) => (float[N,4] y) <int64[0] none> {
        m = Mul(x, x)  y = ReduceSum <noop_with_empty_axes = 1> (m, none) }""",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_rules_apply_only_where_they_are_exact(name, simplify):
    opset, expected, text = CASES[name]
    assert simplify(text, opset)[0] == expected
