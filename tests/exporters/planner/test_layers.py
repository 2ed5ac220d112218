import keras
import numpy as np
import pytest

import exports
import zoo
from exporters import source
from exporters.onnx import convert
from exporters.planner import layers
from zoo.analysis import arithmetic
from zoo.errors import ZooError


def by_name(graph):
    return {layer.name: layer for layer in layers.read(graph)}


@pytest.mark.parametrize("name", ["lenet5-modern", "alexnet", "mlp", "lenet-caffe", "alexnet-owt"])
def test_macs_equal_those_of_the_keras_model(exported, name):
    net = exports.load(name).net
    counted = {row.name: row.macs for row in arithmetic.table(net) if row.macs and row.kind != "RBFOutput"}
    assert {name: layer.macs for name, layer in by_name(exported(name)).items() if layer.macs} == counted


def test_locally_connected_layers_and_normalization_have_their_products(exported):
    counted = {row.name: row.macs for row in arithmetic.table(zoo.build("alexnet-cifar")) if row.macs}
    products = {f"{name}/matmul": counted.pop(name) for name in ("local3", "local4")}
    bands = 12 * 12 * 64 * 64  # each value of a normalization is a sum over all maps, with weights of 0 and alpha
    expected = {**counted, **products, "norm1/conv": bands, "norm2/conv": bands}
    assert {name: layer.macs for name, layer in by_name(exported("alexnet-cifar")).items() if layer.macs} == expected


def test_alexnet_has_the_published_724_million(exported):
    # Sze, Chen, Yang and Emer (2017), Efficient processing of deep neural networks, table II: 666 M, 58.6 M; 61 M weights.
    costs = layers.read(exported("alexnet"))
    convolutions = sum(layer.macs for layer in costs if layer.operator == "Conv")
    products = sum(layer.macs for layer in costs if layer.operator == "Gemm")
    assert round(convolutions / 1e6) == 666
    assert round(products / 1e6, 1) == 58.6
    assert round(sum(layer.weight_bytes for layer in costs) / 4e6) == 61


@pytest.mark.parametrize("name", ["lenet5-modern", "alexnet-cifar", "mlp", "madaline", "neocognitron", "xor"])
def test_weight_bytes_equal_those_of_the_initializers(exported, name):
    graph = exported(name)
    floats = {
        each.name: each.const_value.numpy() for each in graph.graph.initializers.values() if each.dtype.is_floating_point()
    }
    read = {name: size for layer in layers.read(graph) for name, size in layer.weights.items()}
    assert read == {name: array.nbytes for name, array in floats.items()}


def test_float16_halves_the_bytes(exported):
    single, half = by_name(exported("lenet5-modern")), by_name(exported("lenet5-modern", "fp16"))
    for name in ("c1", "c3", "f5", "f6"):
        assert single[name].precision == "fp32" and half[name].precision == "fp16"
        assert 2 * half[name].weight_bytes == single[name].weight_bytes
        assert 2 * half[name].output_bytes == single[name].output_bytes
        assert half[name].macs == single[name].macs


def test_int8_weights_and_activations_take_one_byte(exported):
    costs = by_name(exported("lenet5-modern", "int8"))
    assert [layer.operator for layer in costs.values()] == [
        *("Cast", "Conv", "MaxPool", "Conv", "MaxPool", "Gemm", "Gemm", "Gemm")
    ]
    assert {layer.precision for layer in costs.values()} == {"int8"}
    assert costs["f5"].weights["f5/kernel_quantized"] == 400 * 120
    # Beside the 8-bit kernel: a scale for each of 120 outputs, the biases, and the scales of the input and of the output.
    assert costs["f5"].weight_bytes == 400 * 120 + 4 * 120 + 4 * 120 + 2 * 4
    assert (costs["c1"].input_bytes, costs["c1"].output_bytes) == (28 * 28, 6 * 28 * 28)
    assert (costs["s4"].input_bytes, costs["s4"].output_bytes) == (16 * 10 * 10, 400)
    assert costs["scores"].output_bytes == 4 * 10  # the scores are float32


def test_input_cast_reads_bytes(exported):
    (first, second, *_) = layers.read(exported("alexnet"))
    assert first.inputs == {"pictures": 3 * 227 * 227}
    assert first.output_bytes == second.input_bytes == 4 * 3 * 227 * 227


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", ["lenet5", "neocognitron", "madaline", "nearest-neighbor", "mark1", "alexnet-cifar", "xor"])
def test_layers_are_in_execution_order(exported, name, precision):
    graph = exported(name, precision)
    written = {"pictures"}
    for layer in layers.read(graph):
        assert set(layer.inputs) <= written and not set(layer.outputs) & written
        written |= set(layer.outputs)
    assert "scores" in written


def test_graph_and_weights_are_not_modified(exported):
    graph = exported("lenet5-modern")
    before = [(node.name, [str(value.shape) for value in (*node.inputs, *node.outputs)]) for node in graph.graph]
    bound = layers.with_batch_of_one(graph)
    for name, value in graph.graph.initializers.items():
        assert bound.graph.initializers[name].const_value is value.const_value
    after = [(node.name, [str(value.shape) for value in (*node.inputs, *node.outputs)]) for node in graph.graph]
    assert before == after and str(graph.graph.inputs[0].shape) == "[batch,1,28,28]"


def naive_macs(pixels, weight, group=1, stride=1):
    """Count the multiplications of a convolution without padding, one by one."""
    count = 0
    for row in range(0, pixels.shape[1] - weight.shape[2] + 1, stride):
        for column in range(0, pixels.shape[2] - weight.shape[3] + 1, stride):
            for out in range(weight.shape[0]):
                first = out // (weight.shape[0] // group) * weight.shape[1]
                seen = pixels[
                    first : first + weight.shape[1], row : row + weight.shape[2], column : column + weight.shape[3]
                ]
                count += (seen * weight[out]).size
    return count


@pytest.mark.parametrize(("group", "stride"), [(1, 1), (2, 1), (4, 3)])
def test_each_product_of_a_convolution_is_counted_once(graph_of, group, stride):
    weight = np.ones((8, 4 // group, 3, 2), "float32")
    attributes = {"group": group, "strides": [stride, stride]}
    (cost,) = layers.read(graph_of([("Conv", ["x", "w"], "y", attributes)], (4, 9, 10), {"w": weight}))
    assert cost.macs == naive_macs(np.ones((4, 9, 10)), weight, group, stride)


def test_transposed_convolutions_and_products_of_matrices(graph_of):
    spread = graph_of([("ConvTranspose", ["x", "w"], "y", {"group": 2})], (4, 5, 5), {"w": np.ones((4, 3, 2, 2), "float32")})
    assert layers.read(spread)[0].macs == (4 * 5 * 5) * 3 * (2 * 2)  # each pixel onto a window of its group's 3 maps
    product = graph_of([("MatMul", ["x", "w"], "y", {})], (7, 5), {"w": np.ones((5, 3), "float32")})
    assert layers.read(product)[0].macs == 7 * 5 * 3
    transposed = graph_of([("Gemm", ["x", "w"], "y", {"transB": 1})], (5,), {"w": np.ones((3, 5), "float32")})
    assert layers.read(transposed)[0].macs == 5 * 3
    equation = graph_of(
        [("Einsum", ["x", "w"], "y", {"equation": "nij, jk -> nik"})], (7, 5), {"w": np.ones((5, 3), "float32")}
    )
    assert layers.read(equation)[0].macs == 7 * 5 * 3


def test_elementwise_operators_are_fused(graph_of):
    weights = {"w": np.ones((2, 4, 1, 1), "float32"), "b": np.ones((1, 2, 1, 1), "float32")}
    graph = graph_of(
        [("Conv", ["x", "w"], "c", {}), ("Add", ["c", "b"], "a", {}), ("Relu", ["a"], "y", {})], (4, 5, 5), weights
    )
    (cost,) = layers.read(graph)
    assert (cost.operator, cost.inputs, cost.outputs) == ("Conv", {"x": 4 * 4 * 25}, {"y": 4 * 2 * 25})
    assert cost.weights == {"w": 4 * 8, "b": 4 * 2}


def test_value_with_two_readers_is_not_fused(graph_of):
    weights = {"w": np.ones((4, 4, 1, 1), "float32")}
    graph = graph_of(
        [
            ("Conv", ["x", "w"], "c", {}),
            ("Relu", ["c"], "r", {}),
            ("MaxPool", ["c"], "p", {"kernel_shape": [1, 1]}),
            ("Add", ["r", "p"], "y", {}),
        ],
        (4, 5, 5),
        weights,
    )
    costs = by_name(graph)
    assert list(costs) == ["c", "p", "r"]  # r runs last, joined by what adds
    assert (
        costs["c"].outputs == {"c": 400} and costs["r"].inputs == {"c": 400, "p": 400} and costs["r"].outputs == {"y": 400}
    )


def test_broadcasting_operator_is_not_fused(graph_of):
    weights = {"w": np.ones((3, 4), "float32"), "b": np.ones((10, 1), "float32")}
    graph = graph_of([("MatMul", ["x", "w"], "m", {}), ("Sub", ["m", "b"], "y", {})], (1, 3), weights)
    assert [layer.operator for layer in layers.read(graph)] == ["MatMul", "Sub"]


def test_view_has_no_cost(graph_of):
    shape = {"s": np.array([0, 100], "int64"), "w": np.ones((100, 3), "float32")}
    graph = graph_of([("Reshape", ["x", "s"], "v", {}), ("Gemm", ["v", "w"], "y", {})], (4, 5, 5), shape)
    (cost,) = layers.read(graph)
    assert cost.inputs == {"x": 400} and cost.weights == {"w": 1200}


@pytest.mark.parametrize(
    ("nodes", "shape", "message"),
    [
        ([("Einsum", ["x", "w"], "y", {"equation": "...j,jk->...k"})], (7, 5), "ellipsis"),
        (
            [("Gather", ["x", "i"], "g", {"axis": 0}), ("NonZero", ["g"], "n", {}), ("Cast", ["n"], "y", {"to": 1})],
            (5,),
            "no static shape",
        ),
        ([("ConvInteger", ["x", "w"], "y", {})], (7, 5), "ConvInteger"),
    ],
)
def test_unknown_cost_is_an_error(graph_of, nodes, shape, message):
    weights = {"w": np.ones((5, 3), "float32"), "i": np.array([0])}
    with pytest.raises(ZooError, match=message):
        layers.read(graph_of(nodes, shape, weights))


def test_static_batch_is_an_error():
    fixed = convert.convert(source.find(zoo.load("lenet5-modern")), batch=4)
    with pytest.raises(ZooError, match="has a static batch of 4"):
        layers.read(fixed)
    single = convert.convert(source.find(zoo.load("lenet5-modern")), batch=1)
    assert sum(layer.macs for layer in layers.read(single)) == 416_520


@pytest.mark.parametrize(
    ("layer", "gates", "directions"),
    [
        (keras.layers.LSTM(16), 4, 1),
        (keras.layers.GRU(16), 3, 1),
        (keras.layers.Bidirectional(keras.layers.SimpleRNN(16, name="inner"), name="both"), 1, 2),
    ],
)
def test_recurrent_layer_multiplies_at_each_step(layer, gates, directions):
    steps = keras.Input((12, 8))
    model = keras.Model(steps, keras.layers.Dense(3)(layer(steps)))
    found = {each.operator: each for each in layers.read(convert.convert(source.find(model)))}
    recurrent = found[{4: "LSTM", 3: "GRU", 1: "RNN"}[gates]]
    assert recurrent.macs == 12 * directions * gates * 16 * (8 + 16)
    assert recurrent.name.startswith(f"{layer.name}/") and recurrent.weight_bytes == 4 * directions * gates * 16 * (
        8 + 16 + 2
    )
