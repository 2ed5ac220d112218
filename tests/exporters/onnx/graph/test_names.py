"""Names of nodes, values and constants."""


def test_values_are_named_after_layers_and_equal_constants_are_merged(simplify):
    _, result = simplify(
        """(float[N,1,4,4] x) => (float[N,2,2,2] z)
        <float[2,1,3,3] w, float[2] wb, float[2,2,1,1] w2, float k = {7}, float k2 = {7}> {
        c = Conv(x, w, wb)  r = Max(c, k)  d = Conv(r, w2)  z = Max(d, k2) }""",
        r="first",
    )
    assert [value.name for node in result for value in node.outputs][1] == "first"
    assert {"layer/w", "layer/wb", "layer/w2"} < set(result.initializers) and len(result.initializers) == 4
    assert list(result.initializers) == sorted(result.initializers)


def test_layer_whose_scale_moved_into_the_next_loses_its_name(simplify):
    """A value named after a layer holds that layer's output: here only the tanh without its scale remains."""
    _, result = simplify(
        """(float[N,4] x) => (float[N,2] y) <float a = {1.7}, float[4,2] w> {
        t = Tanh(x)  m = Mul(t, a)  y = MatMul(m, w) }""",
        m="squash",
    )
    assert "squash" not in {value.name for node in result for value in node.outputs}


def test_outputs_keep_their_names_and_layers_of_that_name_are_renamed(simplify):
    _, result = simplify("(float[N,4] x) => (float[N,4] y) { t = Tanh(x)  i = Identity(t)  y = Neg(i) }", t="y")
    assert [value.name for value in result.outputs] == ["y"] and result.node(0).outputs[0].name == "tanh"
