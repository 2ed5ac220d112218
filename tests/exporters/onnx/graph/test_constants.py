"""Constant folding and elimination of identities."""

import pytest


def test_shape_computed_from_the_batch_becomes_constant(simplify):
    operators, result = simplify(
        """(float[N,3,2,4] x) => (float[N,24] y) <int64[1] z = {0}, int64[1] o = {1}, int64[1] k = {24}> {
        s = Shape(x)  b = Slice(s, z, o)  t = Concat <axis = 0> (b, k)  y = Reshape(x, t) }"""
    )
    assert operators == ["Reshape"]
    assert result.node(0).inputs[1].const_value.numpy().tolist() == [-1, 24]


def test_dead_nodes_and_identities_are_eliminated(simplify):
    operators, result = simplify(
        """(float[N,4] x) => (float[N,4] y)
        <float one = {1}, float zero = {0}, int64[2] s = {-1,4}, int64[1] from = {0}, int64[1] to = {9223372036854775807}> {
        i = Identity(x)  m = Mul(i, one)  a = Add(m, zero)  r = Reshape(a, s)  dead = Exp(r)  l = Slice(r, from, to)
        y = Relu(l) }"""
    )
    assert operators == ["Relu"] and not result.initializers


CASES = {  # name: (opset, remaining operators, graph)
    "shape_with_an_inferred_size": (
        13,
        ["Reshape"],
        """(float[N,3,2,4] x) => (float[N,24] y) <int64[1] z = {0}, int64[1] o = {1}, int64[1] k = {-1}> {
        s = Shape(x)  b = Slice(s, z, o)  t = Concat <axis = 0> (b, k)  y = Reshape(x, t) }""",
    ),
    "shape_with_two_free_sizes": (
        13,
        ["Shape", "Slice", "Concat", "Reshape"],
        """(float[N,M,4] x) => (float[N,M,2,2] y) <int64[1] z = {0}, int64[1] o = {2}, int64[2] k = {2,2}> {
        s = Shape(x)  b = Slice(s, z, o)  t = Concat <axis = 0> (b, k)  y = Reshape(x, t) }""",
    ),
    "shape_of_some_axes": (
        15,
        ["Reshape"],
        """(float[N,3,2,4] x) => (float[N,24] y) <int64[1] k = {24}> {
        b = Shape <start = 0, end = 1> (x)  t = Concat <axis = 0> (b, k)  y = Reshape(x, t) }""",
    ),
    "constant_output": (
        13,
        ["Add"],
        "(float[N,4] x) => (float[2] y) <float[2] a = {1,2}, float[2] b = {1,2}> { y = Add(a, b) }",
    ),
    "transpose_that_reverses_all_axes": (
        13,
        ["Transpose", "Relu"],
        "(float[N,4] x) => (float[4,N] y) { t = Transpose(x)  y = Relu(t) }",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_rules_apply_only_where_they_are_exact(name, simplify):
    opset, expected, text = CASES[name]
    assert simplify(text, opset)[0] == expected
