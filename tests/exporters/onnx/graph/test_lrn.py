"""LRN with groups of channels."""

import onnx_ir as ir

from exporters.onnx import graph
from exporters.onnx.graph.lrn import GROUPS


def test_only_the_marker_in_the_name_splits_lrn_into_groups(parse):
    text = "(float[N,6,4,4] x) => (float[N,6,4,4] y) { y = LRN <size = 3> (x) }"
    for name, expected in (("mine/in_groups_3", ["LRN"]), (f"{GROUPS}3", ["Reshape", "LRN", "Reshape"])):
        marked = ir.from_proto(parse(text))
        marked.graph.node(0).name = name
        graph.simplify(marked)
        assert [node.op_type for node in marked.graph] == expected
