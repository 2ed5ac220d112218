import numpy as np
import pytest

from exporters.planner import dla, layers

FP16 = np.float16


def reason(graph, version="8.5.2", precision="fp16"):
    """Return the reason for the only layer of a graph."""
    (placement,) = dla.place(graph, version, precision).values()
    return placement


@pytest.fixture
def conv(graph_of):
    """Return a function: kernel and attributes -> a graph of one convolution."""

    def make(kernel=(3, 3), channels=8, maps=4, size=64, group=1, **attributes):
        weight = {"w": np.zeros((maps, channels // group, *kernel), FP16)}
        return graph_of(
            [("Conv", ["x", "w"], "y", {"group": group, **attributes})], (channels, size, size), weight, "float16"
        )

    return make


def one(graph_of, operator, shape=(8, 32, 32), constants=(), **attributes):
    names = list(dict(constants))
    return graph_of([(operator, ["x", *names], "y", attributes)], shape, constants, "float16")


def test_placement_of_alexnet_on_a_xavier(exported):
    # 8.x is told to compute in fp16, so the graph's float32 does not matter. 9,216 numbers are more than an axis may have.
    placement = dla.place(exported("alexnet"), "8.5.2", "fp16")
    taken = [name for name, why in placement.items() if why is None]
    assert taken == [
        *("conv1", "norm1", "pool1", "conv2", "norm2", "pool2", "conv3", "conv4", "conv5", "pool5", "fc7", "fc8")
    ]
    assert "uint8" in placement["preprocessing"]
    assert "9216" in placement["fc6"] and "8192" in placement["fc6"]


def test_float32_layers_of_typed_graphs_stay_on_the_gpu(exported):
    placement = dla.place(exported("alexnet", "fp16"), "10.3", "fp16")
    assert placement["conv1"] is placement["conv3"] is placement["pool1"] is None
    assert "float32" in placement["norm1"] and "float32" in placement["norm2"]
    before = dla.place(exported("alexnet", "fp16"), "8.5.2", "fp16")  # where the board's builder holds them in float32
    assert "float32" in before["norm1"] and before["conv1"] is None


def test_placement_of_lenet5(exported):
    placement = dla.place(exported("lenet5"), "8.5.2", "int8")
    assert [name for name, why in placement.items() if why is None] == ["c1", "s2", "c3", "s4", "c5", "f6"]
    assert "ReduceSumSquare: not documented as supported" in placement["rbf/reducesumsquare"]


@pytest.mark.parametrize("name", ["lenet5-modern", "alexnet-cifar", "neocognitron", "madaline", "nearest-neighbor"])
@pytest.mark.parametrize("version", ["8.2.1", "8.5.2", "10.3", "11.4.1"])
def test_every_layer_is_placed(exported, name, version):
    graph = exported(name)
    assert list(dla.place(graph, version, "fp16")) == [layer.name for layer in layers.read(graph)]


def test_float32_is_not_supported(exported):
    assert all(dla.place(exported("lenet5-modern"), "8.5.2", "fp32").values())
    # Told to compute in fp16, 8 and 10 do so in a graph of float32; 11 does as the graph says.
    for version, taken in (("8.5.2", True), ("10.3", True), ("11.4.1", False)):
        assert (dla.place(exported("lenet5-modern"), version, "fp16")["c1"] is None) == taken


def test_quantized_graphs_need_the_newest_version(exported):
    graph = exported("lenet5-modern", "int8")
    for version in ("8.5.2", "10.3"):
        placement = dla.place(graph, version, "int8")
        assert all("QuantizeLinear" in placement[name] for name in ("c1", "s2", "c3", "f5"))
    placement = dla.place(graph, "11.4.1", "int8")
    assert [name for name, why in placement.items() if why] == ["preprocessing"]


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"kernel": (33, 1)}, "kernel 33; documented are 1 to 32"),
        ({"strides": [9, 1]}, "stride 9; documented are 1 to 8"),
        ({"dilations": [33, 1], "kernel": (1, 1)}, "dilation 33; documented are 1 to 32"),
        ({"pads": [3, 0, 0, 0]}, "padding 3 is not less than the kernel size 3"),
        ({"kernel": (1, 33), "pads": [0, 32, 0, 32]}, "kernel 33"),
        ({"maps": 8193, "kernel": (1, 1), "size": 4}, "axis of 8193; the largest is 8192"),
        ({"channels": 8193, "kernel": (1, 1), "size": 4}, "axis of 8193"),
        ({"channels": 8193, "group": 8193, "maps": 8193, "kernel": (1, 1), "size": 4}, "8193"),
    ],
)
def test_convolutions_outside_the_documented_ranges(conv, wrong, expected):
    assert reason(conv()) is None
    assert expected in reason(conv(**wrong))


def test_convolutions_at_the_ends_of_the_ranges(conv):
    assert reason(conv(kernel=(32, 32), pads=[31, 31, 31, 31], strides=[8, 8])) is None
    assert reason(conv(kernel=(2, 2), dilations=[32, 32])) is None
    assert reason(conv(channels=8192, group=8192, maps=8192, size=4)) is None


def test_convolution_must_fit_the_buffer_of_sixteen_banks(conv):
    # 512 maps of 16 x 16 in 2 bytes are 8 banks of 32 KiB. Of the pixels 16 rows are held, in entries of 4 times 32 bytes:
    # 16 columns are 128 entries, so 128 x 16 / 256 = 8 banks; 18 are 144, so 9.
    large = {"channels": 512, "kernel": (16, 16), "maps": 1}
    assert reason(conv(**large, size=16)) is None
    assert "needs 17 banks of the convolution buffer, which has 16" in reason(conv(**large, size=18))
    assert reason(conv(**large, size=18), precision="int8") is None  # of one byte all is half as large
    # Spread over 33 rows, a kernel of two needs 320 x 33 / 256 = 42 banks for them.
    spread = {"channels": 512, "kernel": (2, 2), "maps": 1, "size": 40}
    assert reason(conv(**spread)) is None
    assert "needs 43 banks" in reason(conv(**spread, dilations=[32, 32]))


def test_convolution_needs_two_axes_and_constant_weights(graph_of):
    solid = graph_of([("Conv", ["x", "w"], "y", {})], (2, 4, 4, 4), {"w": np.zeros((2, 2, 1, 1, 1), FP16)}, "float16")
    assert "5 axes" in reason(solid)
    computed = graph_of([("Softsign", ["x"], "s", {}), ("MatMul", ["x", "s"], "y", {})], (4, 8, 8), (), "float16")
    assert "not constant" in dla.place(computed, "8.5.2", "fp16")["y"]


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"kernel_shape": [9, 9]}, "window 9; documented are 1 to 8"),
        ({"kernel_shape": [2, 2], "strides": [17, 1]}, "stride 17; documented are 1 to 16"),
        ({"kernel_shape": [1, 9]}, "window 9"),
    ],
)
def test_pools_within_the_documented_ranges(graph_of, operator, wrong, expected):
    assert reason(one(graph_of, operator, kernel_shape=[8, 8], pads=[7, 7, 7, 7], strides=[16, 16])) is None
    assert expected in reason(one(graph_of, operator, **wrong))


def test_normalization_between_maps_has_an_odd_window_up_to_nine(graph_of):
    for size in (3, 5, 7, 9):
        assert reason(one(graph_of, "LRN", size=size)) is None
    for size in (1, 4, 11):
        assert f"window {size}; documented are 3, 5, 7 and 9" in reason(one(graph_of, "LRN", size=size))


def test_activations(graph_of):
    for operator in ("Relu", "Sigmoid", "Tanh", "LeakyRelu", "Abs"):
        assert reason(one(graph_of, operator)) is None
    for operator in ("Softsign", "Elu", "Sqrt", "Neg", "Exp"):
        assert reason(one(graph_of, operator)) == f"{operator}: not documented as supported"
    assert "3 axes" in reason(one(graph_of, "Relu", shape=(8, 32)))


@pytest.mark.parametrize(
    ("low", "high", "taken"), [(0, 6, True), (0, 127, True), (0, 128, False), (0, 0.5, False), (-1, 1, False)]
)
def test_clipped_relu_is_supported_from_1_to_127(graph_of, low, high, taken):
    message = reason(one(graph_of, "Clip", constants={"low": np.array(low, FP16), "high": np.array(high, FP16)}))
    assert (message is None) == taken


def test_operators_added_in_later_versions(graph_of):
    for operator in ("Div", "Pow"):
        graph = one(graph_of, operator, constants={"b": np.array(2, FP16)})
        assert "not documented" in reason(graph, "8.5.2")
        assert reason(graph, "10.3") is None
    for operator in ("Add", "Sub", "Mul", "Max", "Min"):
        assert reason(one(graph_of, operator, constants={"b": np.ones((1, 8, 1, 1), FP16)}), "8.4.1") is None


def test_concatenation_is_along_the_channels(graph_of):
    for axis, taken in ((1, True), (-3, True), (2, False), (3, False)):
        graph = graph_of([("Concat", ["x", "x"], "y", {"axis": axis})], (8, 4, 4), (), "float16")
        assert (reason(graph) is None) == taken


@pytest.mark.parametrize(
    ("kernel", "wrong", "taken"),
    [
        ((4, 4), {}, True),
        ((4, 4), {"pads": [1, 1, 1, 1]}, False),
        ((4, 4), {"group": 2}, False),
        ((4, 4), {"dilations": [2, 2]}, False),
        ((1, 64), {}, True),
        ((1, 65), {}, False),
        ((24, 24), {}, False),
        ((4, 4), {"strides": [23, 1]}, False),
    ],
)
def test_transposed_convolutions(graph_of, kernel, wrong, taken):
    weight = {"w": np.zeros((4, 4 // wrong.get("group", 1), *kernel), FP16)}
    graph = graph_of([("ConvTranspose", ["x", "w"], "y", wrong)], (4, 8, 8), weight, "float16")
    assert (reason(graph) is None) == taken


def test_operators_with_undocumented_conditions_are_not_placed(graph_of):
    assert "not checked here" in reason(one(graph_of, "Softmax", axis=1))
