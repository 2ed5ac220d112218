import io

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console

from exporters.quantization import accuracy, calibrate, insert, run, sensitivity
from zoo.errors import ZooError

SIZE = 8
PICTURES = np.random.default_rng(0).integers(0, 256, (400, SIZE, 1, 1), "uint8")
# Of two pixels the brighter; the others count nothing.
LABELS = (PICTURES[:, 1, 0, 0] > PICTURES[:, 0, 0, 0]).astype("int32")
SPREAD = 3000.0


def net():
    """Return a model with a fragile second layer: one input is so large that INT8 cannot distinguish the others.

    What is large is a constant of the first layer, and the second takes it away again; the third compares.
    """
    first = np.eye(SIZE, dtype="float32") / 255
    bias = np.zeros(SIZE, "float32")
    first[:, 7], bias[7] = 0, SPREAD
    second = np.eye(SIZE, dtype="float32")
    second[7] = 0
    third = np.zeros((SIZE, 2), "float32")
    third[0, 0] = third[1, 1] = 1
    nodes = [
        helper.make_node("Cast", ["pictures"], ["cast"], "cast", to=1),
        helper.make_node("Reshape", ["cast", "flat/shape"], ["flat"], "flat"),
        helper.make_node("Gemm", ["flat", "first/kernel", "first/bias"], ["first"], "first"),
        helper.make_node("Gemm", ["first", "second/kernel"], ["second"], "second"),
        helper.make_node("Gemm", ["second", "third/kernel"], ["scores"], "third"),
    ]
    arrays = {
        "flat/shape": np.array([-1, SIZE], "int64"),
        "first/kernel": first,
        "first/bias": bias,
        "second/kernel": second,
        "third/kernel": third,
    }
    ends = [
        helper.make_tensor_value_info("pictures", TensorProto.UINT8, ["batch", SIZE, 1, 1]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 2]),
    ]
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], constants)
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8))


@pytest.fixture
def ranges():
    return calibrate.ranges(net(), insert.tensors(net()), PICTURES, "minmax")


def evaluate(model):
    return sensitivity.accuracy(run.scores(run.session(model), PICTURES), LABELS)


def order():
    return [each.layer for each in measured().layers]


def measured(labels=LABELS):
    ranges = calibrate.ranges(net(), insert.tensors(net()), PICTURES, "minmax")
    return sensitivity.measure(net(), ranges, PICTURES, labels)


def test_fragile_layer_ranks_first():
    table = measured()
    assert table.accuracy == 100
    assert table.layers[0].layer == "second"
    worst, *others = table.layers
    assert worst.accuracy < 70
    assert all(each.accuracy > 98 for each in others)
    assert worst.difference > 0.5 > max(each.difference for each in others)


def test_without_labels_scores_are_compared():
    table = measured(None)
    assert table.accuracy is None
    assert table.layers[0].layer == "second"
    differences = [each.difference for each in table.layers]
    assert differences == sorted(differences, reverse=True)


def test_progress_counts_each_image_once_per_layer_and_once_for_float32(ranges):
    counts = []
    sensitivity.measure(net(), ranges, PICTURES, LABELS, counts.append)
    assert sum(counts) == 4 * len(PICTURES)


def test_search_excludes_only_the_fragile_layer(ranges):
    quantized, left_out = sensitivity.search(net(), ranges, evaluate, order, 2)
    assert left_out == ("second",)
    assert evaluate(quantized) >= 98
    assert "second/kernel" in quantized.graph.initializers


def test_search_excludes_nothing_if_any_drop_is_accepted(ranges):
    def never():
        raise AssertionError("no layer has to be ranked")

    _, left_out = sensitivity.search(net(), ranges, evaluate, never, 100)
    assert left_out == ()


def test_search_keeps_given_exclusions(ranges):
    _, left_out = sensitivity.search(net(), ranges, evaluate, order, 2, ["third"])
    assert left_out == ("third", "second")


def test_failed_search_reports_the_smallest_drop(ranges):
    drops = []

    def pretended(model):
        """Return an accuracy below that of float32, which drops with each quantized layer."""
        quantized = sum(name.endswith("_quantized") for name in model.graph.initializers)
        drops.append(10.0 * quantized)
        return 90 - drops[-1]

    with pytest.raises(ZooError, match=r"loses 0.5 points .* or less: 10.00 is the smallest drop, from 90.00 %"):
        sensitivity.search(net(), ranges, pretended, order, 0.5)
    assert drops == [0, 30, 20, 10]


def printed(table):
    console = Console(file=io.StringIO(), width=120)
    console.print(table)
    return console.file.getvalue()


def test_table_as_text_and_json():
    table = measured()
    text = printed(table)
    assert text.index("second") < text.index("first")
    assert "100.00" not in text.splitlines()[0]
    assert table.plain()["layers"][0]["layer"] == "second"
    assert "-" in printed(measured(None))


def test_files_are_compared_by_accuracy_size_and_latency(ranges, tmp_path):
    paths = {"fp32": tmp_path / "full.onnx", "int8": tmp_path / "int8.onnx"}
    ir.save(net(), paths["fp32"])
    ir.save(insert.quantize(net(), ranges), paths["int8"])
    counts = []
    comparison = accuracy.compare(paths, PICTURES, LABELS, ("left", "right", "neither"), counts.append)
    assert sum(counts) == 2 * len(PICTURES)
    full, int8 = comparison.files
    assert (full.precision, full.accuracy, full.by_class) == ("fp32", 100, (100, 100, None))
    expected = run.scores(run.session(paths["int8"]), PICTURES).argmax(axis=1) == LABELS
    assert int8.accuracy == pytest.approx(100 * expected.mean())
    assert int8.by_class[0] == pytest.approx(100 * expected[LABELS == 0].mean())
    assert [each.size for each in comparison.files] == [path.stat().st_size for path in paths.values()]
    assert min(each.latency for each in comparison.files) > 0
    assert comparison.cpu
    text = printed(comparison)
    assert "neither" not in text
    assert f"{full.size:,}" in text
    assert comparison.plain()["files"][0]["accuracy"] == 100
