"""Plans of models of the zoo agree with the model and with the settings."""

import itertools
import json
import shlex

import pytest

from exporters import source
from exporters.onnx import convert
from exporters.onnx.graph import edit
from exporters.options import EngineOptions, parse_batches
from exporters.planner.plan import plan
from exporters.planner.settings import resolve
from zoo.errors import ZooError

LENET = "lenet5.mnist"


def settings(target, precision=None, **options):
    return resolve(EngineOptions(target=target, precision=precision, **options))


@pytest.fixture(scope="module")
def graphs():
    """Return LeNet-5 exported with each type of pixels."""
    return {pixels: convert.convert(source.find(LENET, pixels=pixels)) for pixels in ("uint8", "float32")}


@pytest.fixture(scope="module")
def planned(graphs):
    """Return a function: target and settings -> the plan of LeNet-5."""

    def make(target, *words, **options):
        resolved = settings(target, *words, **options)
        return plan(graphs[resolved.pixels], resolved)

    return make


def test_macs_of_lenet5_equal_the_paper(planned):
    """Channels x pixels x weights per pixel; the file has a dense C3 kernel, with zeros for missing connections."""
    c1, s2, c3, s4 = 6 * 28**2 * 25, 6 * 14**2 * 4, 16 * 10**2 * (6 * 25), 16 * 5**2 * 4
    c5, f6 = 120 * (16 * 25), 84 * 120
    assert [layer.macs for layer in planned("orin-nano").layers if layer.macs] == [c1, s2, c3, s4, c5, f6]


def test_weight_size_is_proportional_to_the_precision(planned):
    full, half, quarter = (planned("orin-nano", precision).memory.weights for precision in ("fp32", "fp16", "int8"))
    assert half == pytest.approx(full / 2, rel=0.01)
    assert full / 4 < quarter < full / 3.5  # with a scale for each channel, and biases of float32


def test_layers_use_the_selected_precision(planned):
    for precision in ("fp32", "fp16", "int8"):
        assert {layer.precision for layer in planned("orin-nano", precision).layers if layer.macs} == {precision}


def test_estimates_are_for_one_image_and_the_optimal_batch(planned):
    one, best = planned("nano").estimates
    assert (one.batch, best.batch) == (1, 8)
    assert one.seconds < best.seconds < 8 * one.seconds
    (only,) = planned("nano", batches=(4,)).estimates
    assert only.batch == 4
    assert only.images_per_second == pytest.approx(4 / only.seconds)


def test_no_board_is_faster_than_its_memory(planned):
    """Each weight is read once, so an image takes at least the time to read the weights."""
    for name in ("nano", "orin-nano", "h100"):
        result = planned(name, "fp16")
        bandwidth = result.settings.target.memory_bandwidth_gbs * 1e9
        assert result.estimates[0].seconds >= result.memory.weights / bandwidth


def test_error_names_the_batch_that_fits(graphs):
    graph = graphs["float32"]
    with pytest.raises(
        ZooError, match=r"needs [\d,]+ MiB \(.*\); Jetson Nano has 3,072 MiB available.*Give --batch 1,8,\d+$"
    ) as refusal:
        plan(graph, settings("nano", batches=(1, 8, 2**20)))
    offered = parse_batches(str(refusal.value).rpartition(" ")[2])
    assert plan(graph, settings("nano", batches=offered)).memory.fits
    with pytest.raises(ZooError):
        plan(graph, settings("nano", batches=(1, 8, 2 * offered[2])))
    with pytest.raises(ZooError, match="No batch fits; choose a larger board: zoo targets"):
        plan(graph, settings("nano", batches=(2**20,)))


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("nano", {}),
        ("orin-nano", {"precision": "int8", "jetpack": "6.2", "opset": 17}),
        ("orin-nx", {"precision": "int8", "jetpack": "6.2.3", "dla": True, "batches": (4,)}),
        ("l4", {"precision": "fp32", "tensorrt": "8.6", "batches": (1, 2, 4)}),
    ],
)
def test_next_command_has_the_same_settings(planned, target, options):
    result = planned(target, **options)
    program, command, model, *words = shlex.split(result.next_command)
    assert (program, command, model) == ("zoo", "export", LENET)
    assert ("--dla" in words) == result.settings.dla
    arguments = dict(itertools.pairwise(words))
    assert arguments["--to"] == "tensorrt"
    assert ("--calibration" in arguments) == (result.settings.precision == "int8")
    again = settings(
        arguments["--target"],
        arguments["--precision"],
        jetpack=arguments.get("--jetpack"),
        tensorrt=arguments.get("--tensorrt"),
        dla="--dla" in words,
        opset=int(arguments["--opset"]) if "--opset" in arguments else None,
        batches=parse_batches(arguments.get("--batch")),
    )
    assert again == result.settings


def test_dla_placement_gives_reasons(planned):
    result = planned("agx-orin", "int8", jetpack="6.2.3", dla=True)
    assert result.placement["c3"] is None  # the model stays float32, so no QuantizeLinear keeps it from there
    assert "ReduceSumSquare" in result.placement["rbf/reducesumsquare"]
    assert result.recipe.startswith("the model stays float32")
    assert planned("agx-orin", "int8", jetpack="6.2.3").placement == {}


def test_plan_is_json(planned):
    result = planned("orin-nx", jetpack="6.2.3", dla=True)
    plain = json.loads(json.dumps(result.plain()))
    assert plain["target"] == "orin-nx" and plain["tensorrt"] == "10.3.0" and plain["python"] == "3.10"
    assert plain["input"] == {"name": "pictures", "dtype": "uint8", "layout": "NCHW", "shape": [1, 28, 28]}
    assert [each["name"] for each in plain["layers"]] == [each.name for each in result.layers]
    assert (
        sum(plain["memory"][part] for part in ("weights", "copies", "activations", "workspace", "runtime"))
        == (plain["memory"]["total"])
    )
    assert sum(each["seconds"] for each in plain["layers"]) == pytest.approx(plain["estimates"][-1]["seconds"])


def test_uint8_input_is_an_error_if_unsupported(graphs):
    with pytest.raises(ZooError, match=r"takes uint8 images.*zoo plan lenet5.mnist --target h100"):
        plan(graphs["uint8"], settings("h100", tensorrt="8.4"))


def test_unsupported_operator_is_an_error():
    """Einsum is in ONNX since opset 12, in TensorRT since 8.2."""
    for jetpack, known in (("4.6", False), ("4.6.2", True)):
        resolved = settings("nano", "fp32", jetpack=jetpack)
        graph = convert.convert(source.find(LENET, pixels=resolved.pixels), resolved.opset, resolved.ir)
        product = next(node for node in graph.graph if node.op_type == "Gemm")
        edit.replace(product, "Einsum", product.inputs[:2], {"equation": "nk,kf->nf"})
        if known:
            assert plan(graph, resolved).settings.opset == resolved.opset
        else:
            with pytest.raises(
                ZooError, match=r"TensorRT 8\.0\.1 of JetPack 4\.6 does not support Einsum.*--opset 11.*8\.2"
            ):
                plan(graph, resolved)


def test_locally_connected_layers_need_no_recent_tensorrt():
    for jetpack in ("4.6", "4.5.1"):
        resolved = settings("nano", "fp32", jetpack=jetpack)
        graph = convert.convert(source.find("alexnet-cifar", pixels=resolved.pixels), resolved.opset, resolved.ir)
        assert plan(graph, resolved).settings.opset == resolved.opset
