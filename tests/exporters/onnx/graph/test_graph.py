"""The loop that applies the rules, and rules that fail."""

import logging

import onnx_ir as ir
import pytest

from exporters.onnx import graph
from exporters.onnx.graph.edit import attributes, constant, insert, new_constant, replace

NET = """(float[N,4] x) => (float[N,4] y) <float one = {1}, float two = {2}> {
    i = Identity(x)  e = Exp(i)  m = Mul(e, one)  y = Add(m, two) }"""


def half_done(node):
    """Change the input, an attribute and the constants of a Exp, then fail."""
    if node.op_type != "Exp":
        return False
    doubled = insert(node, "Add", [node.inputs[0], node.inputs[0]])
    node.replace_input_with(0, doubled)
    new_constant(node.graph, constant(next(iter(node.graph.initializers.values()))) * 3)
    return node.outputs[0].shape[7] == 1  # IndexError


def test_a_rule_that_fails_is_undone_and_logged(simplify, monkeypatch, caplog):
    monkeypatch.setattr(graph, "RULES", (half_done, *graph.RULES))
    with caplog.at_level(logging.WARNING):
        operators, result = simplify(NET)
    assert operators == ["Exp", "Add"]  # the other rules applied
    assert len(result.initializers) == 1
    (record,) = {record.getMessage() for record in caplog.records if record.name == "exporters.onnx.graph"}
    assert "without a simplification of Exp at e: rule test_graph.half_done failed with IndexError" in record
    assert record.endswith("This is a bug of the zoo; please report it")


def test_a_rule_that_fails_at_one_node_applies_at_the_others(simplify, monkeypatch, caplog):
    def negation(node):
        if node.op_type != "Neg":
            return False
        replace(node, "Sub", [new_constant(node.graph, constant(node.graph.initializers["zero"])), node.inputs[0]])
        if node.outputs[0].name == "b":
            raise ValueError("not this one")
        return True

    monkeypatch.setattr(graph, "RULES", (negation,))
    operators, _ = simplify(
        "(float[N,4] x) => (float[N,4] y) <float zero = {0}> { a = Neg(x)  b = Neg(a)  c = Exp(b)  y = Neg(c) }"
    )
    assert operators == ["Sub", "Neg", "Exp", "Sub"]
    assert "simplification of Neg at b: rule test_graph.negation failed with ValueError: not this one" in caplog.text
    assert caplog.text.count("test_graph.negation") == 1


def test_the_user_sees_the_warning(parse, monkeypatch, capfd):
    monkeypatch.setattr(graph, "RULES", (half_done,))
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    graph.simplify(ir.from_proto(parse(NET)))
    assert "rule test_graph.half_done failed" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("opset", "operators"), [(9, ["Gemm"]), (10, ["Gemm"]), (11, ["Gemm"])], ids=lambda value: str(value)
)
def test_a_gemm_has_the_bias_that_old_operator_sets_require(opset, operators, simplify):
    found, result = simplify("(float[N,4] x) => (float[N,2] y) <float[4,2] w> { y = MatMul(x, w) }", opset)
    assert found == operators and len(result.node(0).inputs) == (3 if opset < 11 else 2)
    assert attributes(result.node(0)) == {}


def test_a_graph_that_needs_more_rounds_is_written_as_it_is(simplify, monkeypatch, caplog):
    monkeypatch.setattr(graph, "MAX_ROUNDS", 1)
    operators, _ = simplify(NET)
    assert operators == ["Exp", "Add"]
    assert "rules still apply after 1 rounds" in caplog.text


def test_many_computed_shapes_take_few_rounds(simplify, monkeypatch, caplog):
    monkeypatch.setattr(graph, "MAX_ROUNDS", 3)
    steps, value = [], "x"
    for index in range(20):
        steps.append(
            f"s{index} = Shape({value})  b{index} = Slice(s{index}, z, o)  t{index} = Concat <axis = 0> (b{index}, k) "
            f"r{index} = Reshape({value}, t{index})  e{index} = Exp(r{index})  v{index} = Sigmoid(e{index})"
        )
        value = f"v{index}"
    operators, _ = simplify(
        f"""(float[N,2,6] x) => (float[N,3,4] y) <int64[1] z = {{0}}, int64[1] o = {{1}}, int64[2] k = {{3,4}}> {{
        {" ".join(steps)}  y = Tanh({value}) }}"""
    )
    assert operators.count("Reshape") == 1 and set(operators) == {"Reshape", "Exp", "Sigmoid", "Tanh"}
    assert not caplog.records
