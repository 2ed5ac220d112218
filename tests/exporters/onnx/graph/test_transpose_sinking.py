"""Transpose sinking."""

import pytest


@pytest.mark.parametrize(
    "between",
    [
        "z = Relu(t)",
        "z = Add(t, wc)",
        "z = Sub(wc, t)",
        "u = Sigmoid(t)  z = Mul(t, u)",
        "m = ReduceMean <axes = [3], keepdims = 1> (t)  z = Div(t, m)",
        "z = Pad(t, p)",
        "u = Relu(t)  z = Concat <axis = 3> (t, u)",
        "z = Softmax <axis = -1> (t)",
    ],
)
def test_no_transpose_remains_between_two_convolutions(between, simplify):
    seen = 4 if "Concat" in between else 2
    operators, _ = simplify(
        f"""(float[N,2,5,5] x) => (float[N,3,A,B] y)
        <float[2,2,1,1] w, float[3,{seen},1,1] wk, float[2] wc, int64[8] p = {{0,1,2,0,0,0,0,0}}> {{
        c = Conv(x, w)  t = Transpose <perm = [0,2,3,1]> (c)  {between}  u2 = Transpose <perm = [0,3,1,2]> (z)
        y = Conv(u2, wk) }}"""
    )
    assert "Transpose" not in operators and operators.count("Conv") == 2


def test_spatial_reduction_needs_no_transpose(simplify):
    operators, result = simplify(
        """(float[N,2,5,4] x) => (float[N,2] y) {
        t = Transpose <perm = [0,2,3,1]> (x)  y = ReduceMax <axes = [1,2], keepdims = 0> (t) }"""
    )
    assert operators == ["ReduceMax"] and list(result.node(0).attributes["axes"].value) == [2, 3]


def test_a_factor_per_channel_keeps_no_map_channels_last(simplify):
    operators, _ = simplify(
        """(float[N,3,4,4] x, float[N,2] v) => (float[N,3,2,2] y)
        <int64[4] s = {-1,1,1,2}, float[2,3,1,1] w, float[3,2,3,3] u> {
        c = Conv(x, w)  t = Transpose <perm = [0,2,3,1]> (c)  r = Reshape(v, s)  g = Sigmoid(r)  m = Mul(t, g)
        p = Transpose <perm = [0,3,1,2]> (m)  y = Conv(p, u) }"""
    )
    assert sorted(operators) == ["Conv", "Conv", "Mul", "Reshape", "Sigmoid"]


CASES = {  # name: (opset, remaining operators, graph)
    "softmax_over_all_following_axes": (
        11,
        ["Conv", "Transpose", "Softmax"],
        """(float[N,3,4,4] x) => (float[N,4,4,2] y) <float[2,3,1,1] w> {
        c = Conv(x, w)  t = Transpose <perm = [0,2,3,1]> (c)  y = Softmax <axis = 3> (t) }""",
    ),
    "slice_with_bounds_of_32_bits": (
        13,
        ["Conv", "Slice"],
        """(float[N,3,4,4] x) => (float[N,2,4,2] y)
        <float[2,3,1,1] w, int32[2] from = {0,1}, int32[2] to = {4,3}, int32[2] axes = {1,2}, int32[2] by = {1,1}> {
        c = Conv(x, w)  t = Transpose <perm = [0,2,3,1]> (c)  s = Slice(t, from, to, axes, by)
        y = Transpose <perm = [0,3,1,2]> (s) }""",
    ),
    "einsum_with_ellipsis": (
        13,
        ["Conv", "Transpose", "Einsum"],
        """(float[N,3,4,4] x) => (float[N,4,4,5] y) <float[2,3,1,1] w, float[2,5] wd> {
        c = Conv(x, w)  t = Transpose <perm = [0,2,3,1]> (c)  y = Einsum <equation = "...c,cd->...d"> (t, wd) }""",
    ),
    "einsum_with_spaces": (
        13,
        ["Einsum"],
        """(float[N,4,4,2] x) => (float[N,5,4,4] y) <float[2,5] w> {
        e = Einsum <equation = "nhwc, cd -> nhwd"> (x, w)  y = Transpose <perm = [0,3,1,2]> (e) }""",
    ),
    "einsum_without_output_subscripts": (
        13,
        ["Transpose", "Einsum"],
        """(float[N,2,4,4] x) => (float[N,4,4,5] y) <float[2,5] w> {
        t = Transpose <perm = [0,2,3,1]> (x)  y = Einsum <equation = "ahwz,zy"> (t, w) }""",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_rules_apply_only_where_they_are_exact(name, simplify):
    opset, expected, text = CASES[name]
    assert simplify(text, opset)[0] == expected
