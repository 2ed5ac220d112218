"""The runtimes that read ONNX files."""

import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from exporters import parity
from exporters.onnx import files, runtimes
from exporters.parity import CannotRun
from zoo.errors import ZooError

NAMES = ["onnxruntime", "onnxruntime basic", "onnx reference", "openvino", "opencv"]
GENERATOR = np.random.default_rng(0)
KERNEL = GENERATOR.normal(size=(6, 3, 2, 2)).astype("float32")
WEIGHTS = GENERATOR.normal(size=(6 * 4 * 3, 4)).astype("float32")
PICTURES = GENERATOR.integers(0, 256, (5, 5, 4, 3), "uint8")


def save(path, nodes, input, output, constants=(), opset=13, domains=(), **options):
    """Write a graph; input and output are (type, shape)."""
    ends = [helper.make_tensor_value_info(name, *end) for name, end in (("pictures", input), ("scores", output))]
    tensors = [numpy_helper.from_array(array, name) for name, array in dict(constants).items()]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], tensors)
    sets = [helper.make_opsetid(domain, version) for domain, version in (("", opset), *domains)]
    onnx.save(helper.make_model(graph, opset_imports=sets, ir_version=8), path, **options)
    return path


def save_net(path, layout="NCHW", pixels="uint8", scores="float32", scale=1.0, **options):
    """Write a model with a convolution and a dense layer for 5x4 images in a layout."""
    types = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}
    turn = [helper.make_node("Transpose", ["cast"], ["first"], perm=[0, 3, 1, 2])] if layout == "NHWC" else []
    nodes = [
        helper.make_node("Cast", ["pictures"], ["cast"], to=TensorProto.FLOAT),
        *turn,
        helper.make_node("Conv", ["first" if turn else "cast", "kernel"], ["conv"]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("Reshape", ["relu", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["product"]),
        helper.make_node("Cast", ["product"], ["scores"], to=types[scores]),
    ]
    constants = {"kernel": KERNEL * np.float32(scale / 255), "shape": np.array([-1, 72]), "weights": WEIGHTS}
    sizes = ["batch", 3, 5, 4] if layout == "NCHW" else ["batch", 5, 4, 3]
    return save(path, nodes, (types[pixels], sizes), (types[scores], ["batch", 4]), constants, **options)


def net(pictures):
    """The same model as NumPy loops."""
    scores = []
    for picture in np.asarray(pictures, "float64"):
        maps = np.zeros((6, 4, 3))
        for row, column in np.ndindex(4, 3):
            window = picture[row : row + 2, column : column + 2].transpose(2, 0, 1)
            for number in range(6):
                maps[number, row, column] = max(0, (window * KERNEL[number] / 255).sum())
        scores.append(maps.reshape(-1) @ WEIGHTS)
    return np.float32(scores)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(("pixels", "scores"), [("uint8", "float32"), ("float32", "float32"), ("float16", "float16")])
def test_each_runtime_equals_a_naive_loop(tmp_path, name, layout, pixels, scores):
    path = save_net(tmp_path / "net.onnx", layout, pixels, scores)
    run = runtimes.candidates(path, layout)[name].open()
    for batch in (5, 1, 3):
        output = run(PICTURES[:batch])
        assert output.dtype == scores
        tolerance = 1e-5 if scores == "float32" else 1e-2
        np.testing.assert_allclose(output, net(PICTURES[:batch]), rtol=tolerance, atol=tolerance)


def test_every_runtime_detects_a_changed_weight(tmp_path):
    pictures = GENERATOR.integers(0, 256, (70, 5, 4, 3), "uint8")
    report = parity.compare(net, runtimes.candidates(save_net(tmp_path / "net.onnx")), pictures)
    assert report.passed and list(report.runtimes) == NAMES and report.not_run == {}
    report = parity.compare(net, runtimes.candidates(save_net(tmp_path / "net.onnx", scale=1.01)), pictures)
    for name in NAMES:
        problems = (*report.problems, *(f"{other}: {problem}" for other, problem in report.deviating.items()))
        assert any(name in problem and "a batch of 3 differs" in problem for problem in problems)
    assert set(report.deviating) == set(NAMES[3:])  # onnxruntime, in two ways, and the reference decide


def test_reference_runs_at_full_precision_and_with_a_small_static_batch(tmp_path, monkeypatch):
    path = save_net(tmp_path / "net.onnx")
    binding = {name: runtimes.candidates(path, precision=name)["onnx reference"].binding for name in parity.TOLERANCES}
    assert binding == {"fp32": True, "fp16": False, "int8": False}
    pictures = GENERATOR.integers(0, 256, (20, 5, 4, 3), "uint8")
    report = parity.compare(net, runtimes.candidates(path, batch=8), pictures, parity.FileSpec(batches=(8,)))
    assert report.passed and "onnx reference" in report.runtimes
    monkeypatch.setattr(runtimes, "LARGE_FILE", 100)
    report = parity.compare(net, runtimes.candidates(path, batch=8), pictures, parity.FileSpec(batches=(8,)))
    assert report.passed and report.not_run["onnx reference"] == "too slow for batches of 8"


def test_inputs_other_than_images_are_not_transposed(tmp_path):
    """Rows have no channels, nor do four axes without a known layout."""
    relu = [helper.make_node("Relu", ["pictures"], ["scores"])]
    path = save(tmp_path / "rows.onnx", relu, (TensorProto.FLOAT, ["n", 7]), (TensorProto.FLOAT, ["n", 7]))
    rows = GENERATOR.normal(size=(3, 7))
    np.testing.assert_allclose(runtimes.scorer(path)(rows), np.maximum(rows, 0), rtol=1e-6)
    path = save(tmp_path / "axes.onnx", relu, (TensorProto.FLOAT, ["n", 2, 3, 4]), (TensorProto.FLOAT, ["n", 2, 3, 4]))
    assert runtimes.scorer(path, None)(np.zeros((5, 2, 3, 4))).shape == (5, 2, 3, 4)
    assert runtimes.scorer(path, "NCHW")(np.zeros((5, 3, 4, 2))).shape == (5, 2, 3, 4)


@pytest.mark.parametrize("name", NAMES)
def test_external_weights_are_found(tmp_path, name):
    outside = {"save_as_external_data": True, "location": "net.data", "size_threshold": 256}
    path = save_net(tmp_path / "net.onnx", **outside)
    assert (tmp_path / "net.data").stat().st_size >= WEIGHTS.nbytes
    np.testing.assert_allclose(runtimes.candidates(path)[name].open()(PICTURES), net(PICTURES), rtol=1e-5, atol=1e-5)


def normalized(x, size, alpha, beta, bias):
    """The formula of the ONNX documentation as loops."""
    y = np.empty(x.shape)
    for n, c, h, w in np.ndindex(*x.shape):
        low, high = max(0, c - (size - 1) // 2), min(x.shape[1] - 1, c + size // 2)
        total = sum(float(x[n, i, h, w]) ** 2 for i in range(low, high + 1))
        y[n, c, h, w] = x[n, c, h, w] / (bias + alpha / size * total) ** beta
    return y


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("size", "batch"), [(5, 2), (5, 11), (3, 1)])
def test_lrn_across_channels_equals_the_formula(tmp_path, name, size, batch):
    about = {"size": size, "alpha": 0.3, "beta": 0.75, "bias": 2.0}
    nodes = [helper.make_node("LRN", ["pictures"], ["scores"], **about)]
    path = save(tmp_path / "lrn.onnx", nodes, *[(TensorProto.FLOAT, ["n", 7, 2, 3])] * 2)
    x = GENERATOR.normal(0, 3, (batch, 7, 2, 3)).astype("float32")
    output = runtimes.candidates(path)[name].open()(x.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(output, normalized(x, **about), rtol=1e-4)


def test_even_lrn_window_extends_further_up():
    x = GENERATOR.normal(size=(2, 7, 1, 1))
    output = runtimes.LRN.eval(x, size=4, alpha=0.3, beta=0.75, bias=2.0)
    np.testing.assert_allclose(output, normalized(x, 4, 0.3, 0.75, 2.0), rtol=1e-6)


@pytest.mark.parametrize("opset", [13, 19])
def test_reference_reads_int8_of_older_opsets(tmp_path, opset):
    nodes = [
        helper.make_node("QuantizeLinear", ["pictures", "scale", "zero"], ["codes"]),
        helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["values"]),
        helper.make_node("DequantizeLinear", ["weights", "scales", "zeros"], ["columns"], axis=1),
        helper.make_node("MatMul", ["values", "columns"], ["scores"]),
    ]
    weights = GENERATOR.integers(-127, 128, (6, 4), "int8")
    scales = np.float32([0.1, 0.02, 0.3, 0.004])
    constants = {
        "scale": np.float32(0.05),
        "zero": np.int8(0),
        "weights": weights,
        "scales": scales,
        "zeros": np.zeros(4, "int8"),
    }
    path = save(
        tmp_path / "int8.onnx", nodes, (TensorProto.FLOAT, ["n", 6]), (TensorProto.FLOAT, ["n", 4]), constants, opset
    )
    x = GENERATOR.normal(size=(3, 6)).astype("float32")
    expected = np.clip(np.round(x / 0.05), -128, 127) * 0.05 @ (weights * scales)
    np.testing.assert_allclose(runtimes.candidates(path)["onnx reference"].open()(x), expected, rtol=1e-4, atol=1e-4)


def test_report_names_the_operators_of_the_reference_that_are_not_onnx_own(tmp_path):
    path = save_net(tmp_path / "net.onnx")
    assert runtimes.candidates(path, graph=files.load(path))["onnx reference"].changes == ""
    about = {"size": 5, "alpha": 0.3, "beta": 0.75, "bias": 2.0}
    nodes = [helper.make_node("LRN", ["pictures"], ["scores"], **about)]
    path = save(tmp_path / "lrn.onnx", nodes, *[(TensorProto.FLOAT, ["n", 7, 2, 3])] * 2)
    assert runtimes.candidates(path, graph=files.load(path))["onnx reference"].changes == "with LRN of the zoo"
    x = GENERATOR.normal(0, 3, (2, 7, 2, 3)).astype("float32")
    plain = onnx.reference.ReferenceEvaluator(str(path)).run(None, {"pictures": x})[0]
    # If this fails, ONNX has fixed its LRN, and it need not be replaced any more.
    assert np.abs(plain - normalized(x, **about)).max() > 0.1


def test_the_operator_that_the_reference_computes_wrongly_is_found(tmp_path):
    """Two errors of onnx 1.23: the logarithm of a softmax of 0, and a batch normalization below opset 14."""
    rows = [(TensorProto.FLOAT, ["n", 4])] * 2
    nodes = [helper.make_node("Mul", ["pictures", "factor"], ["x"]), helper.make_node("LogSoftmax", ["x"], ["scores"])]
    path = save(tmp_path / "log.onnx", nodes, *rows, {"factor": np.float32(3)})
    x = 100 * GENERATOR.normal(size=(3, 4)).astype("float32")
    assert runtimes.differing_operator(path, x) == "LogSoftmax (scores)"
    assert runtimes.differing_operator(path, x / 1000) is None

    def log_softmax(x):
        x = 3 * x.astype("float64")
        x = x - x.max(axis=1, keepdims=True)
        return (x - np.log(np.exp(x).sum(axis=1, keepdims=True))).astype("float32")

    report = parity.compare(log_softmax, runtimes.candidates(path), x)
    assert report.passed and "it computes LogSoftmax (scores) differently" in report.deviating["onnx reference"]
    # If the file is wrong, it is the cause.
    assert not parity.compare(lambda x: log_softmax(x) * np.float32(1.01), runtimes.candidates(path), x).passed
    statistics = {name: np.float32([0.2, 0.3, 0.4, 0.5]) for name in ("scale", "bias", "mean", "variance")}
    nodes = [helper.make_node("BatchNormalization", ["pictures", *statistics], ["scores"])]
    path = save(tmp_path / "normal.onnx", nodes, *rows, statistics)
    assert runtimes.differing_operator(path, x) == "BatchNormalization (scores)"
    path = save(tmp_path / "newer.onnx", nodes, *rows, statistics, opset=15)
    assert runtimes.differing_operator(path, x) is None


def test_the_reference_takes_one_image_of_a_net_with_many_operations(tmp_path):
    path = save_net(tmp_path / "net.onnx")
    assert [runtimes.candidates(path, operations=each)["onnx reference"].most for each in (0, 10**8, 10**9)] == [3, 3, 1]


def test_file_that_onnxruntime_cannot_read_is_an_error(tmp_path):
    (tmp_path / "text.onnx").write_text("I am a text")
    candidates = runtimes.candidates(tmp_path / "text.onnx")
    for name in NAMES[:2]:
        with pytest.raises(ZooError, match=r"onnxruntime cannot read .*text\.onnx"):
            candidates[name].open()
    with pytest.raises(ZooError, match="onnxruntime cannot read"):
        parity.compare(net, candidates, PICTURES)


@pytest.mark.parametrize("name", NAMES[2:])
def test_other_runtimes_report_why_they_cannot_run(tmp_path, name):
    (tmp_path / "damaged.onnx").write_bytes(b"\xff" * 50)
    with pytest.raises(CannotRun) as caught:
        runtimes.candidates(tmp_path / "damaged.onnx")[name].open()
    assert str(caught.value) and "\n" not in str(caught.value)


def test_runtimes_without_an_operator_are_skipped(tmp_path):
    nodes = [helper.make_node("BiasGelu", ["pictures", "bias"], ["scores"], domain="com.microsoft")]
    ends = [(TensorProto.FLOAT, ["n", 4])] * 2
    path = save(tmp_path / "own.onnx", nodes, *ends, {"bias": np.zeros(4, "float32")}, domains=[("com.microsoft", 1)])
    rows = GENERATOR.normal(size=(5, 4)).astype("float32")
    run = runtimes.scorer(path)
    report = parity.compare(run, runtimes.candidates(path), rows)
    assert report.passed and {"onnxruntime", "onnxruntime basic"} <= set(report.runtimes)
    assert "BiasGelu" in report.not_run["onnx reference"]


@pytest.mark.parametrize(("opset", "axes", "left_out"), [(13, [1, 2, 4], True), (18, [1, 2, 4], True), (13, [2, 3], False)])
def test_opencv_is_skipped_for_reductions_that_it_computes_wrongly(tmp_path, opset, axes, left_out):
    """If the last assertion fails, OpenCV has fixed its bug and need not be skipped any more."""
    constants = {"axes": np.array(axes)} if opset == 18 else {}
    node = helper.make_node("ReduceMean", ["pictures", *constants], ["scores"], **({} if constants else {"axes": axes}))
    ends = [(TensorProto.FLOAT, ["n", 4, 5, 6, 2]), (TensorProto.FLOAT, [1 if i in axes else None for i in range(5)])]
    path = save(tmp_path / "mean.onnx", [node], *ends, constants, opset)
    x = GENERATOR.normal(size=(3, 4, 5, 6, 2)).astype("float32")
    report = parity.compare(lambda x: x.mean(axis=tuple(axes), keepdims=True), runtimes.candidates(path), x)
    assert report.passed
    assert report.not_run == ({"opencv": "it computes ReduceMean over 3 axes wrongly"} if left_out else {})
    if left_out:
        cv2 = pytest.importorskip("cv2")
        net = cv2.dnn.readNetFromONNX(str(path))
        net.setInput(x)
        assert np.abs(net.forward() - x.mean(axis=tuple(axes), keepdims=True)).max() > 0.1


def test_runtimes_that_compute_loops_wrongly_are_skipped(tmp_path):
    kept = helper.make_node("Identity", ["go"], ["go_on"])
    doubled = helper.make_node("Add", ["state", "state"], ["next"])
    value = helper.make_tensor_value_info
    state, go = (TensorProto.FLOAT, ["n", 4]), (TensorProto.BOOL, [])
    inputs = [value("i", TensorProto.INT64, []), value("go", *go), value("state", *state)]
    body = helper.make_graph([kept, doubled], "body", inputs, [value("go_on", *go), value("next", *state)])
    node = helper.make_node("Loop", ["times", "true", "pictures"], ["scores"], body=body)
    path = save(tmp_path / "loop.onnx", [node], state, state, {"times": np.array(3), "true": np.array(True)})
    x = GENERATOR.normal(size=(3, 4)).astype("float32")
    report = parity.compare(lambda x: 8 * x, runtimes.candidates(path), x)
    assert report.passed and {"onnxruntime", "onnxruntime basic"} <= set(report.runtimes)
    wrong = "it computes Loop wrongly"
    assert (report.not_run["onnx reference"], report.not_run["opencv"]) == (wrong, wrong)


def test_missing_runtime_names_the_install_command():
    with pytest.raises(CannotRun, match=r"not installed; .*pip install '\.\[runtimes\]'"):
        runtimes._import_optional("a_runtime_that_nobody_wrote")


def test_onnxruntime_runs_on_the_cpu_with_and_without_its_optimizations(tmp_path):
    path = save_net(tmp_path / "net.onnx")
    level = onnxruntime.GraphOptimizationLevel
    for optimized, expected in ((True, level.ORT_ENABLE_ALL), (False, level.ORT_ENABLE_BASIC)):
        session = runtimes.session(path, optimized)
        assert session.get_providers() == ["CPUExecutionProvider"]
        assert session.get_session_options().graph_optimization_level == expected


@pytest.mark.parametrize(("largest", "exact_sums"), [(64, False), (65, True)])
def test_int8_file_runs_with_default_settings_if_its_sums_cannot_saturate(tmp_path, monkeypatch, largest, exact_sums):
    weight = np.full((6, 4), -largest, "int8")
    constants = {"weight": weight, "scale": np.float32(0.01), "zero": np.int8(0)}
    nodes = [
        helper.make_node("DequantizeLinear", ["weight", "scale", "zero"], ["read"]),
        helper.make_node("MatMul", ["pictures", "read"], ["scores"]),
    ]
    path = save(tmp_path / "int8.onnx", nodes, (TensorProto.FLOAT, ["n", 6]), (TensorProto.FLOAT, ["n", 4]), constants)
    settings, opened = [], onnxruntime.InferenceSession

    def open_session(path, options, providers):
        try:
            settings.append(options.get_session_config_entry("session.x64quantprecision"))
        except RuntimeError:  # it has not been set
            settings.append(None)
        return opened(path, options, providers=providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", open_session)
    candidates = runtimes.candidates(path, precision="int8", graph=files.load(path))
    for name in ("onnxruntime", "onnxruntime basic"):
        candidates[name].open()
    assert settings == ["1" if exact_sums else None] * 2


def test_openvino_sends_no_telemetry(tmp_path):
    """OpenVINO would send an event over the network on each import."""
    path = save_net(tmp_path / "net.onnx")
    script = (
        "import sys\n"
        "from exporters.onnx import runtimes\n"
        f"run = runtimes.candidates({str(path)!r})['openvino'].open()\n"
        "assert sys.modules['openvino'] and sys.modules['openvino_telemetry'] is None\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_shared_int8_weight_is_read_without_exact_sums(tmp_path):
    """Two products share an 8-bit weight, as another exporter may write it."""
    weight = np.eye(4, dtype="int8") * 100
    constants = {"weight": weight, "scale": np.float32(0.01), "zero": np.int8(0), "step": np.float32(0.1)}
    nodes = [helper.make_node("DequantizeLinear", ["weight", "scale", "zero"], ["read"])]
    for number, (x, output) in enumerate((("pictures", "between"), ("between", "scores"))):
        nodes += [
            helper.make_node("QuantizeLinear", [x, "step", "zero"], [f"q{number}"]),
            helper.make_node("DequantizeLinear", [f"q{number}", "step", "zero"], [f"dq{number}"]),
            helper.make_node("MatMul", [f"dq{number}", "read"], [f"mm{number}"]),
            helper.make_node("QuantizeLinear", [f"mm{number}", "step", "zero"], [f"p{number}"]),
            helper.make_node("DequantizeLinear", [f"p{number}", "step", "zero"], [output]),
        ]
    path = save(tmp_path / "twice.onnx", nodes, (TensorProto.FLOAT, ["n", 4]), (TensorProto.FLOAT, ["n", 4]), constants)
    x = np.float32([[1, 2, -3, 4]])
    np.testing.assert_allclose(runtimes.scorer(path)(x), x, atol=0.1)


def test_board_sums_equal_those_of_the_zoo():
    from exporters.runner.board import cpu

    assert cpu.EXACT_SUMS == runtimes.EXACT_SUMS
