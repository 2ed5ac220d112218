"""Shape inference where a graph computes shapes from the sizes of its inputs."""

import onnx_ir as ir
import pytest

from exporters.onnx.graph import shapes
from exporters.onnx.graph.edit import dims


@pytest.fixture
def infer(parse):
    """Return the sizes of the outputs of each node of a graph, None for a free one, and its data type."""

    def inferred(text, opset=13):
        model = ir.from_proto(parse(text, opset))
        shapes.infer(model)
        return {value.name: (dims(value), value.dtype) for node in model.graph for value in node.outputs}

    return inferred


def test_the_batch_size_moves_through_a_computed_reshape(infer):
    found = infer(
        """(float[N,2,6] x) => (y) <int64[1] z = {0}, int64[1] o = {1}, int64[3] k = {3,2,2}> {
        s = Shape(x)  i = Cast <to = 6> (s)  b = Slice(i, z, o)  j = Cast <to = 7> (b)  t = Concat <axis = 0> (j, k)
        r = Reshape(x, t)  y = GlobalAveragePool(r) }"""
    )
    assert found["s"] == ([3], ir.DataType.INT64) and found["t"] == ([4], ir.DataType.INT64)
    assert found["r"] == ([None, 3, 2, 2], ir.DataType.FLOAT)
    assert found["y"] == ([None, 3, 1, 1], ir.DataType.FLOAT)


def test_sizes_that_depend_on_free_ones_stay_free(infer):
    found = infer(
        """(float[N,4,H,W] x) => (y) <int64[1] m = {-1}, int64[1] two = {2}, int64[1] three = {3}, int64[1] four = {4}> {
        s = Shape(x)  h = Slice(s, two, three)  w = Slice(s, three, four)  d = Sub(h, w)  e = Sub(d, d)  f = Add(e, two)
        t = Concat <axis = 0> (m, h, f)  p = MaxPool <kernel_shape = [2,2], strides = [2,2]> (x)  y = Reshape(x, t) }"""
    )
    assert found["p"][0] == [None, 4, None, None]
    assert found["y"][0] == [None, None, 2]  # the difference of two free sizes is free, twice its difference is 0


def test_free_sizes_of_the_same_name_are_equal(infer):
    assert infer("(float[N,M] x, float[N,M] y) => (z) { z = Add(x, y) }")["z"][0] == [None, None]
    found = infer(
        """(float[N,M] x, float[K,M] y) => (d) <int64[1] three = {3}> {
        a = Shape <start = 1> (x)  b = Shape <start = 1> (y)  d = Sub(a, b)  t = Add(d, three)
            u = Concat <axis = 0> (t, t)  e = Expand(d, u) }""",
        15,
    )
    assert found["e"][0] == [3, 3]


def test_an_operator_that_onnx_does_not_have_hides_nothing(infer):
    found = infer("(float[N,3] x) => (y) <float[3,2] w> { e = Erfc(x)  g = MatMul(e, w)  y = Relu(g) }")
    assert found["e"] == ([None, 3], ir.DataType.FLOAT) and found["y"] == ([None, 2], ir.DataType.FLOAT)
    assert infer("(float[N,3] x) => (y) { u = NoSuch(x)  y = Relu(u) }")["y"] == (None, None)


def test_a_shape_that_depends_on_data_stays_unknown(infer):
    found = infer("(float[N,3] x, int64[2] s) => (y) { r = Reshape(x, s)  n = NonZero(x)  y = Relu(r) }")
    assert found["y"] == (None, ir.DataType.FLOAT) and found["n"] == ([2, None], ir.DataType.INT64)
