"""LRN with groups of channels."""

import onnx_ir as ir
import pytest

from exporters.choices import Runtime
from exporters.onnx import graph
from exporters.onnx.graph.lrn import GROUPS


def test_only_the_marker_in_the_name_splits_lrn_into_groups(parse):
    text = "(float[N,96,4,4] x) => (float[N,96,4,4] y) { y = LRN <size = 3> (x) }"
    for name, expected in (("mine/in_groups_3", ["LRN"]), (f"{GROUPS}3", ["Reshape", "LRN", "Reshape"])):
        marked = ir.from_proto(parse(text))
        marked.graph.node(0).name = name
        graph.simplify(marked)
        assert [node.op_type for node in marked.graph] == expected


@pytest.mark.parametrize("runtime", Runtime)
@pytest.mark.parametrize("channels, narrow", [(64, True), (66, False)])
def test_lrn_of_few_channels_is_a_convolution_for_every_runtime(parse, runtime, channels, narrow):
    text = f"(float[N,{channels},4,4] x) => (float[N,{channels},4,4] y) {{ y = LRN <size = 3> (x) }}"
    model = ir.from_proto(parse(text))
    graph.simplify(model, runtime)
    operators = [node.op_type for node in model.graph]
    expected = ["Mul", "Conv", "Sqrt", "Sqrt", "Mul", "Div"]
    assert operators == (expected if narrow or runtime == Runtime.ONNXRUNTIME else ["LRN"])
