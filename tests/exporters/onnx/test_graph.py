"""The rules of the clean-up: what is left of small graphs, and that they compute what they computed, by onnxruntime."""

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest

from exporters.onnx import graph
from exporters.onnx.graph.edit import LAYER, WEIGHT
from exporters.onnx.graph.lrn import GROUPS


def model(text, opset=13):
    """A graph in ONNX' own notation; what is declared without a value there, a weight, is filled with fixed noise."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> g {text}')
    generator = np.random.default_rng(3)
    for declared in proto.graph.value_info:
        sizes = [dim.dim_value for dim in declared.type.tensor_type.shape.dim]
        kind = onnx.helper.tensor_dtype_to_np_dtype(declared.type.tensor_type.elem_type)
        values = generator.normal(size=sizes).astype(kind)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values, declared.name))
    del proto.graph.value_info[:]
    return proto


def noise(proto, batch):
    """An input for each of a graph."""
    generator = np.random.default_rng(4)
    given = {}
    for value in proto.graph.input:
        sizes = [dim.dim_value or batch for dim in value.type.tensor_type.shape.dim]
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        given[value.name] = (generator.normal(size=sizes) * 3).astype(kind)
    return given


def run(proto, given):
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, given)


def cleaned(text, opset=13, **marks):
    """Return the operators that are left, and the graph; it gives what it gave, at two batch sizes."""
    before = model(text, opset)
    after = ir.from_proto(model(text, opset))  # it keeps a hold on what it is made of
    for value in after.graph.initializers.values():
        if value.name.startswith("w"):
            value.meta[WEIGHT] = f"layer/{value.name}"
    for node in after.graph:
        for value in node.outputs:
            if value.name in marks:
                value.meta[LAYER] = marks[value.name]
    graph.simplify(after)
    onnx.checker.check_model(ir.to_proto(after), full_check=True)
    for batch in (1, 3):
        given = noise(before, batch)
        for one, other in zip(run(before, given), run(ir.to_proto(after), given), strict=True):
            np.testing.assert_allclose(other, one, rtol=2e-5, atol=2e-5)
    return [node.op_type for node in after.graph], after.graph


def test_a_factor_and_an_offset_behind_a_convolution_are_its_weights():
    left, _ = cleaned(
        """(float[N,3,6,6] x) => (float[N,4,4,4] y) <float[4,3,3,3] w, float[1,4,1,1] wa, float[4] wb, float[1,4,1,1] wc> {
            c = Conv(x, w, wb)  m = Mul(c, wa)  y = Add(m, wc) }"""
    )
    assert left == ["Conv"]


def test_a_batch_normalization_goes_into_the_convolution_before_it_or_behind_it():
    weights = "s = {1.5, 2, -1}, float[3] b = {0, 1, 2}, float[3] m = {3, 1, 2}, float[3] v = {1, 2, 0.5}"
    before = f"""(float[N,3,6,6] x) => (float[N,4,4,4] y) <float[4,3,3,3] w, float[3] {weights}> {{
        n = BatchNormalization(x, s, b, m, v)  y = Conv(n, w) }}"""
    weights = "s = {1.5, 2, -1, 1}, float[4] b = {0, 1, 2, 3}, float[4] m = {3, 1, 2, 0}, float[4] v = {1, 2, 0.5, 1}"
    behind = f"""(float[N,3,6,6] x) => (float[N,4,4,4] y) <float[4,3,3,3] w, float[4] {weights}> {{
        c = Conv(x, w)  y = BatchNormalization(c, s, b, m, v) }}"""
    assert cleaned(before)[0] == cleaned(behind)[0] == ["Conv"]


@pytest.mark.parametrize(("pads", "left"), [("0,0,0,0", ["Conv"]), ("1,1,1,1", ["Add", "Conv"])])
def test_an_offset_before_a_convolution_stays_where_zeros_are_put_around_it(pads, left):
    size = 4 if pads[0] == "0" else 6
    text = f"""(float[N,4,6,6] x) => (float[N,6,{size},{size}] y)
        <float[6,2,3,3] w, float[1,4,1,1] a = {{2,3,4,5}}, float[4,1,1] b = {{-1,1,2,3}}> {{
        m = Mul(x, a)  s = Add(m, b)  y = Conv <group = 2, pads = [{pads}]> (s, w) }}"""
    assert cleaned(text)[0] == left


def test_a_border_made_before_the_scaling_is_one_of_zeros():
    """The border has the value of a raw 0, so in raw pixels it is a border of zeros: the convolution makes it itself."""
    left, rest = cleaned(
        """(float[N,1,4,4] x) => (float[N,2,6,6] y)
        <float[2,1,3,3] w, int64[8] p = {0,0,2,2,0,0,2,2}, float a = {0.5}, float b = {-0.1}> {
        q = Pad(x, p)  m = Mul(q, a)  s = Add(m, b)  y = Conv(s, w) }"""
    )
    assert left == ["Conv"]
    assert list(rest.node(0).attributes["pads"].value) == [2, 2, 2, 2]


def test_a_border_of_something_else_stays():
    left, _ = cleaned(
        """(float[N,1,4,4] x) => (float[N,2,4,4] y) <float[2,1,3,3] w, int64[8] p = {0,0,1,1,0,0,1,1}, float f = {2}> {
        q = Pad(x, p, f)  y = Conv(q, w) }"""
    )
    assert left == ["Pad", "Conv"]


def test_a_convolution_that_others_read_keeps_its_weights():
    left, _ = cleaned(
        """(float[N,3,6,6] x) => (float[N,4,4,4] y, float[N,4,4,4] z) <float[4,3,3,3] w, float a = {3}> {
        c = Conv(x, w)  y = Mul(c, a)  z = Relu(c) }"""
    )
    assert sorted(left) == ["Conv", "Mul", "Relu"]


def test_a_negative_factor_does_not_pass_a_maximum():
    text = """(float[N,2,4,4] x) => (float[N,3,1,1] y) <float[3,2,2,2] w, float a = {FACTOR}> {
        m = Mul(x, a)  p = MaxPool <kernel_shape = [2,2], strides = [2,2]> (m)  y = Conv(p, w) }"""
    assert cleaned(text.replace("FACTOR", "2"))[0] == ["MaxPool", "Conv"]
    assert cleaned(text.replace("FACTOR", "-2"))[0] == ["Mul", "MaxPool", "Conv"]


def test_trainable_subsampling_is_a_depthwise_convolution():
    left, rest = cleaned(
        """(float[N,2,4,4] x) => (float[N,2,2,2] y) <float[2,1,1] wa, float[2,1,1] wb> {
        p = AveragePool <kernel_shape = [2,2], strides = [2,2]> (x)  m = Mul(p, wa)  y = Add(m, wb) }"""
    )
    assert left == ["Conv"] and rest.node(0).attributes["group"].value == 2


def test_a_flatten_after_channels_last_permutes_the_dense_kernel():
    left, _ = cleaned(
        """(float[N,3,2,4] x) => (float[N,5] y) <float[24,5] w, float[5] wb, int64[2] s = {-1,24}> {
        t = Transpose <perm = [0,2,3,1]> (x)  f = Reshape(t, s)  m = MatMul(f, w)  y = Add(m, wb) }"""
    )
    assert left == ["Reshape", "Gemm"]


def test_a_shape_that_is_computed_from_the_batch_is_written_down():
    left, rest = cleaned(
        """(float[N,3,2,4] x) => (float[N,24] y) <int64[1] z = {0}, int64[1] o = {1}, int64[1] k = {24}> {
        s = Shape(x)  b = Slice(s, z, o)  t = Concat <axis = 0> (b, k)  y = Reshape(x, t) }"""
    )
    assert left == ["Reshape"]
    assert rest.node(0).inputs[1].const_value.numpy().tolist() == [-1, 24]


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
def test_nothing_is_turned_between_two_convolutions(between):
    seen = 4 if "Concat" in between else 2
    left, _ = cleaned(
        f"""(float[N,2,5,5] x) => (float[N,3,A,B] y)
        <float[2,2,1,1] w, float[3,{seen},1,1] wk, float[2] wc, int64[8] p = {{0,1,2,0,0,0,0,0}}> {{
        c = Conv(x, w)  t = Transpose <perm = [0,2,3,1]> (c)  {between}  u2 = Transpose <perm = [0,3,1,2]> (z)
        y = Conv(u2, wk) }}"""
    )
    assert "Transpose" not in left and left.count("Conv") == 2


def test_a_reduction_over_the_places_needs_no_turning():
    left, rest = cleaned(
        """(float[N,2,5,4] x) => (float[N,2] y) {
        t = Transpose <perm = [0,2,3,1]> (x)  y = ReduceMax <axes = [1,2], keepdims = 0> (t) }"""
    )
    assert left == ["ReduceMax"] and list(rest.node(0).attributes["axes"].value) == [2, 3]


def test_pictures_with_channels_last_are_turned_once_before_all_else():
    left, _ = cleaned(
        """(float[N,5,5,3] x) => (float[N,2,3,3] y) <float[2,3,3,3] w, float[3] a = {1,2,3}> {
        m = Mul(x, a)  t = Transpose <perm = [0,3,1,2]> (m)  y = Conv(t, w) }"""
    )
    assert left == ["Transpose", "Conv"]


def test_one_channel_is_reshaped_which_moves_nothing():
    left, _ = cleaned(
        """(float[N,5,5,1] x) => (float[N,2,3,3] y) <float[2,1,3,3] w> {
        t = Transpose <perm = [0,3,1,2]> (x)  y = Conv(t, w) }"""
    )
    assert left == ["Reshape", "Conv"]


def test_a_choice_written_as_products_is_a_choice():
    left, _ = cleaned(
        """(float[N,4] x) => (float[N,4] y) <float z = {0}, float one = {2}, float other = {-3}> {
        c = GreaterOrEqual(x, z)  n = Not(c)  a = Cast <to = 1> (c)  b = Cast <to = 1> (n)
        m = Mul(a, one)  k = Mul(other, b)  y = Add(m, k) }"""
    )
    assert left == ["GreaterOrEqual", "Where"]


def test_a_factor_behind_votes_is_what_each_vote_counts():
    left, _ = cleaned(
        """(float[N,4] x) => (float[N] y)
        <float z = {0}, float one = {1}, float other = {-1}, int64[1] last = {1}, float half = {0.5}> {
        c = GreaterOrEqual(x, z)  w = Where(c, one, other)  a = Add(w, one)  s = ReduceSum <keepdims = 0> (a, last)
        y = Mul(s, half) }"""
    )
    assert left == ["GreaterOrEqual", "Where", "ReduceSum"]


def test_a_mean_over_the_places_is_one_operator():
    left, _ = cleaned(
        """(float[N,4,3,2] x) => (float[N,4] y) <int64[2] axes = {2,3}> {
        p = GlobalAveragePool(x)  y = Squeeze(p, axes) }"""
    )
    assert left == ["ReduceMean"]


def test_the_distance_to_prototypes_sums_squares_in_one_operator():
    left, _ = cleaned(
        """(float[N,4] x) => (float[N,3] y) <float[3,4] w, int64[1] axis = {1}, int64[1] last = {-1}, float a = {1.7}> {
        t = Tanh(x)  m = Mul(t, a)  e = Unsqueeze(m, axis)  d = Sub(e, w)  q = Mul(d, d)
        s = ReduceSum <keepdims = 0> (q, last)  y = Neg(s) }"""
    )
    assert left == ["Tanh", "Unsqueeze", "Sub", "ReduceSumSquare", "Mul"]


def test_the_product_of_each_place_is_one_einsum():
    left, rest = cleaned(
        """(float[N,6,3,3] x) => (float[N,4,3,3] y) <float[3,3,6,4] w, int64[1] one = {1}, int64[1] three = {3}> {
        e = Unsqueeze(x, one)  t = Transpose <perm = [0,3,4,1,2]> (e)  m = MatMul(t, w)  s = Squeeze(m, three)
        y = Transpose <perm = [0,3,1,2]> (s) }"""
    )
    assert left == ["Einsum"] and rest.node(0).attributes["equation"].value == "nkhw,hwkf->nfhw"


def test_what_nobody_reads_and_what_does_nothing_is_gone():
    left, rest = cleaned(
        """(float[N,4] x) => (float[N,4] y)
        <float one = {1}, float zero = {0}, int64[2] s = {-1,4}, int64[1] from = {0}, int64[1] to = {9223372036854775807}> {
        i = Identity(x)  m = Mul(i, one)  a = Add(m, zero)  r = Reshape(a, s)  dead = Exp(r)  l = Slice(r, from, to)
        y = Relu(l) }"""
    )
    assert left == ["Relu"] and not rest.initializers


def test_names_come_from_the_layers_and_equal_constants_are_one():
    _, rest = cleaned(
        """(float[N,1,4,4] x) => (float[N,2,2,2] z)
        <float[2,1,3,3] w, float[2] wb, float[2,2,1,1] w2, float k = {7}, float k2 = {7}> {
        c = Conv(x, w, wb)  r = Max(c, k)  d = Conv(r, w2)  z = Max(d, k2) }""",
        r="first",
    )
    assert [value.name for node in rest for value in node.outputs][1] == "first"
    assert {"layer/w", "layer/wb", "layer/w2"} < set(rest.initializers) and len(rest.initializers) == 4
    assert list(rest.initializers) == sorted(rest.initializers)


def test_a_layer_that_is_scaled_on_into_the_next_loses_its_name():
    """What is called as a layer holds what the layer gave: here only the tanh without its factor is left."""
    _, rest = cleaned(
        """(float[N,4] x) => (float[N,2] y) <float a = {1.7}, float[4,2] w> {
        t = Tanh(x)  m = Mul(t, a)  y = MatMul(m, w) }""",
        m="squash",
    )
    assert "squash" not in {value.name for node in rest for value in node.outputs}


SMALL = {
    "softmax_over_all_that_follow": (
        11,
        ["Conv", "Transpose", "Softmax"],
        """(float[N,3,4,4] x) => (float[N,4,4,2] y) <float[2,3,1,1] w> {
        c = Conv(x, w)  t = Transpose <perm = [0,2,3,1]> (c)  y = Softmax <axis = 3> (t) }""",
    ),
    "factor_of_one_element_behind_squeeze": (
        13,
        ["Squeeze", "Mul", "Tanh"],
        """(float[N,4,1,1] x) => (float[N,4] y) <float[1,1,1,1] a = {2}, int64[2] axes = {2,3}> {
        m = Mul(x, a)  s = Squeeze(m, axes)  y = Tanh(s) }""",
    ),
    "factor_of_one_element_behind_sum_of_squares": (
        13,
        ["ReduceSumSquare", "Mul", "Tanh"],
        """(float[N,4,2,2] x) => (float[N] y) <float[1,1,1,1] a = {2}> {
        m = Mul(x, a)  s = ReduceSumSquare <axes = [1,2,3], keepdims = 0> (m)  y = Tanh(s) }""",
    ),
    "negation_as_factor_of_a_pool": (
        13,
        ["Conv"],
        """(float[N,2,4,4] x) => (float[N,2,2,2] y) <float[2,1,1] wb> {
        p = AveragePool <kernel_shape = [2,2], strides = [2,2]> (x)  n = Neg(p)  y = Add(n, wb) }""",
    ),
    "shape_with_a_size_to_infer": (
        13,
        ["Shape", "Slice", "Concat", "Reshape"],
        """(float[N,3,2,4] x) => (float[N,24] y) <int64[1] z = {0}, int64[1] o = {1}, int64[1] k = {-1}> {
        s = Shape(x)  b = Slice(s, z, o)  t = Concat <axis = 0> (b, k)  y = Reshape(x, t) }""",
    ),
    "shape_of_some_axes": (
        15,
        ["Reshape"],
        """(float[N,3,2,4] x) => (float[N,24] y) <int64[1] k = {24}> {
        b = Shape <start = 0, end = 1> (x)  t = Concat <axis = 0> (b, k)  y = Reshape(x, t) }""",
    ),
    "border_of_fives_as_attribute": (
        9,
        ["Mul", "Pad", "Relu"],
        """(float[N,2,3,3] x) => (float[N,2,5,5] y) <float a = {2}> {
        m = Mul(x, a)  p = Pad <pads = [0,0,1,1,0,0,1,1], value = 5.0> (m)  y = Relu(p) }""",
    ),
    "border_of_zeros_as_attribute": (
        9,
        ["Pad", "Relu", "Mul"],
        """(float[N,2,3,3] x) => (float[N,2,5,5] y) <float a = {2}> {
        m = Mul(x, a)  p = Pad <pads = [0,0,1,1,0,0,1,1]> (m)  y = Relu(p) }""",
    ),
    "border_with_axes_in_another_order": (
        18,
        ["Pad", "Conv"],
        """(float[N,1,4,4] x) => (float[N,2,2,6] y)
        <float[2,1,3,3] w, int64[8] p = {0,0,2,0,0,0,2,0}, float f = {0}, int64[4] axes = {0,1,3,2}> {
        q = Pad(x, p, f, axes)  y = Conv(q, w) }""",
    ),
    "einsum_of_all_other_axes": (
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
    "einsum_without_a_result": (
        13,
        ["Transpose", "Einsum"],
        """(float[N,2,4,4] x) => (float[N,4,4,5] y) <float[2,5] w> {
        t = Transpose <perm = [0,2,3,1]> (x)  y = Einsum <equation = "ahwz,zy"> (t, w) }""",
    ),
    "offset_behind_a_tiny_factor": (
        13,
        ["Conv"],
        """(float[N,3,4,4] x) => (float[N,2,4,4] y)
        <float[2,3,1,1] w, float[3,1,1] a = {1e-40,1,1}, float[3,1,1] b = {1,2,3}> {
        m = Mul(x, a)  s = Add(m, b)  y = Conv(s, w) }""",
    ),
    "negations_of_whole_numbers": (13, ["Neg", "Neg"], "(int32[N,4] x) => (int32[N,4] y) { a = Neg(x)  y = Neg(a) }"),
    "product_of_whole_numbers": (
        13,
        ["MatMul"],
        "(int32[N,4] x) => (int32[N,2] y) <int32[4,2] m = {1,2,3,4,5,6,7,8}> { y = MatMul(x, m) }",
    ),
    "output_that_is_constant": (
        13,
        ["Add"],
        "(float[N,4] x) => (float[2] y) <float[2] a = {1,2}, float[2] b = {1,2}> { y = Add(a, b) }",
    ),
    "transpose_that_reverses": (
        13,
        ["Transpose", "Relu"],
        "(float[N,4] x) => (float[4,N] y) { t = Transpose(x)  y = Relu(t) }",
    ),
    "factors_of_a_row": (
        13,
        ["ReduceMax", "Mul", "Relu"],
        """(float[4,5] x) => (float[4] y) <float[4] a = {1,2,3,4}> {
        s = ReduceMax <axes = [1], keepdims = 0> (x)  m = Mul(s, a)  y = Relu(m) }""",
    ),
    "sum_over_no_axes": (
        13,
        ["Mul", "ReduceSum"],
        """(float[N,4] x) => (float[N,4] y) <int64[0] none> {
        m = Mul(x, x)  y = ReduceSum <noop_with_empty_axes = 1> (m, none) }""",
    ),
    "double_precision": (
        13,
        ["Gemm"],
        """(double[N,4] x) => (double[N,2] y) <double[4,2] m = {1,2,3,4,5,6,7,8}, double[2] b = {0.1,0.2}> {
        n = Neg(x)  p = MatMul(n, m)  y = Sub(p, b) }""",
    ),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_rule_applies_only_where_it_is_exact(name):
    opset, expected, text = SMALL[name]
    assert cleaned(text, opset)[0] == expected


def test_a_choice_in_double_precision_has_constants_of_double_precision():
    left, _ = cleaned(
        """(bool[N,4] x, double[N,4] z) => (double[N,4] y) {
        n = Not(x)  a = Cast <to = 11> (x)  b = Cast <to = 11> (n)  m = Mul(b, z)  y = Add(a, m) }"""
    )
    assert left == ["Where"]


def test_only_the_mark_of_the_zoo_says_that_maps_are_in_groups():
    text = "(float[N,6,4,4] x) => (float[N,6,4,4] y) { y = LRN <size = 3> (x) }"
    for name, expected in (("mine/in_groups_3", ["LRN"]), (f"{GROUPS}3", ["Reshape", "LRN", "Reshape"])):
        marked = ir.from_proto(model(text))
        marked.graph.node(0).name = name
        graph.simplify(marked)
        assert [node.op_type for node in marked.graph] == expected


def test_outputs_keep_their_names_and_layers_of_that_name_get_another():
    _, rest = cleaned("(float[N,4] x) => (float[N,4] y) { t = Tanh(x)  i = Identity(t)  y = Neg(i) }", t="y")
    assert [value.name for value in rest.outputs] == ["y"] and rest.node(0).outputs[0].name == "tanh"
