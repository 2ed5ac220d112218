import json
import os
import resource
import subprocess
import sys
from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

import exporters
import exports
import training.data
import zoo
from exporters import parity, samples, source
from exporters.onnx import activations, convert, export, files, half, metadata, runtimes
from exporters.quantization import calibrate, insert
from zoo.errors import CheckFailed, ZooError

# One memory of 190 MB is enough: those with more neighbors and deskewed pictures differ in what test_nearest_neighbor.py
# and linear.mnist-deskewed show.
LEFT_OUT = ("nearest-neighbor.mnist-k3", "nearest-neighbor.mnist-k5", "nearest-neighbor.mnist-deskewed")
# Each has the operators of a model that is not in this list: of alexnet, lenet5.mnist, mlp.mnist-300 and so on.
ALIKE = (
    *("alexnet-bvlc", "caffenet", "lenet5.mnist-affine", "adaline.mnist-alpha", "mark1.ef", "mark1.square-circle"),
    *("mlp.mnist-300-affine", "mlp.mnist-1000", "mlp.mnist-1000-affine"),
    *("mlp.mnist-300-100-affine", "mlp.mnist-500-150", "mlp.mnist-500-150-affine"),
)
# What half precision or eight bits are too coarse for, so that the gate refuses it: ratios of small differences, and sums of
# squares beyond what float16 holds.
REFUSED = {"fp16": ("nearest-neighbor.mnist",), "int8": ("neocognitron.glyphs", "neocognitron.mnist")}
# What is so near to it that a processor decides: thresholds of untrained nets, and one of those ratios.
ON_THE_EDGE = ("madaline", "madaline2", "neocognitron.glyphs")
# With weights from -64 to 64 its scores err by 27 % of their spread, from -127 to 127 by 15 %.
FULL_RANGE = ("nearest-neighbor.mnist",)
# Machines that know nothing before they learn: whatever the picture, and one weight, their scores are 0.
BLANK = ("mark1", "neocognitron", "nearest-neighbor")


def names():
    """All names but those left out; weights that are fitted need their data, and published ones a network."""
    for name in (*zoo.list_models(), *zoo.list_models(pretrained=True)):
        tag = name.partition(".")[2]
        weights = zoo.card(name).weights[tag] if tag else None
        marks = [pytest.mark.mnist] if weights and weights.fitted else []
        if name in ALIKE:
            marks.append(pytest.mark.slow("has the operators of another model here"))
        if name == "nearest-neighbor.mnist":
            marks.append(pytest.mark.slow("exports a memory of 190 MB"))
        if name not in LEFT_OUT and not (weights and weights.url):
            yield pytest.param(name, marks=marks)


def drawn(classifier):
    """Return the number of nodes of each operator that an engineer draws for a model of the zoo; None without an entry.

    A scale or a bias beside a convolution or a matrix product is folded into its weights and is no node.
    """
    dense = {"Cast": 1, "Reshape": 1, "Gemm": 1}
    distance = {"Unsqueeze": 1, "Sub": 1, "ReduceSumSquare": 1, "Mul": 1}
    sigmoid = {**dense, "Gemm": 2, "Sigmoid": 2, **distance, "Mul": 0, "Neg": 1}
    alexnet = {**dense, "Conv": 5, "Relu": 7, "LRN": 2, "MaxPool": 3, "Gemm": 3}
    hidden = len(classifier.options.get("hidden", (300,)))
    s_cells = {"Conv": 2, "ReduceSumSquare": 1, "Sqrt": 1, "Mul": 1, "Add": 1, "Div": 1, "Sub": 1, "Relu": 1}
    c_cells = {"Conv": 1, "Add": 3, "ReduceMean": 1, "Div": 2, "Sub": 1, "Relu": 1}
    normalized = 2 * classifier.options.get("normalization", True)
    stages = sum(layer.name[0] == "s" for layer in classifier.net.layers)
    return {
        **dict.fromkeys(("perceptron", "linear"), dense),
        # One unit that answers with one of several numbers has a distance to each.
        "adaline": {**dense, **distance, "Mul": 0, "Neg": 1} if "targets" in classifier.options else dense,
        **dict.fromkeys(("encoder", "parity", "symmetry"), sigmoid),
        "mark1": {**dense, "Cast": 3, "Mul": 1, "Greater": 2, "Gemm": 2},
        "madaline": {
            **{**dense, "Reshape": 2, "GreaterOrEqual": 1, "Where": 1, "ReduceSum": 1, "ReduceMean": 1, "Softsign": 1},
            **{"Mul": 1, "Sub": 1, "Add": 1},
        },
        "madaline2": {**dense, "Gemm": 2, "GreaterOrEqual": 1, "Where": 1},
        "nearest-neighbor": {
            **{**dense, "Cast": 2, "TopK": 1, "Gather": 1},
            **{"Mul": 1, "ReduceMax": 1, "ReduceSum": 1, "Add": 1},
        },
        "neocognitron": {key: stages * (s_cells.get(key, 0) + c_cells.get(key, 0)) for key in {**s_cells, **c_cells}}
        | dense,
        # The input goes on beside the hidden unit.
        "xor": {**sigmoid, "Mul": 1, "Concat": 1},
        "lenet5": {**dense, "Conv": 5, "Tanh": 6, **distance},
        "mlp": {**dense, "Gemm": 1 + hidden, "Tanh": 1 + hidden, **distance},
        "lenet5-modern": {**dense, "Conv": 2, "Relu": 4, "MaxPool": 2, "Gemm": 3},
        "lenet-caffe": {**dense, "Conv": 2, "Relu": 1, "MaxPool": 2, "Gemm": 2},
        **dict.fromkeys(("alexnet", "alexnet-bvlc", "caffenet"), alexnet),
        # The mean is subtracted before a border is made, which is to be 0 afterwards.
        "alexnet-owt": {**alexnet, "LRN": 0, "Add": 1},
        # Two groups of maps apart: each is a picture of its own to LRN. Within maps it is a pool that sums, and a power.
        "alexnet-asrun": {**alexnet, "Reshape": 5, "Conv": 6, "Add": 1, "Mul": 1, "Pow": 1, "Div": 1},
        # A layer without shared kernels gathers its windows, and multiplies each position by its own matrix.
        # A normalization over few maps is a convolution and two square roots.
        "alexnet-cifar": {
            **{**dense, "Conv": 2 + normalized, "Relu": 4, "MaxPool": 2, "Pad": 2, "Gather": 2, "MatMul": 2},
            **{"Transpose": 5, "Reshape": 7, "Add": 3},
            **{"Mul": 2 * normalized, "Sqrt": 2 * normalized, "Div": normalized},
        },
    }.get(classifier.card)


def run(path, pictures):
    """The scores of a file for pictures with channels last."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["scores"], {"pictures": np.moveaxis(pictures, -1, 1)})[0]


@pytest.fixture(scope="module", params=names())
def exported(request, shared_folder):
    """A model of the zoo, its file, and the report of its proof."""
    classifier = exports.load(request.param)
    return request.param, classifier, *exports.write(request.param, classifier, shared_folder)


def test_file_has_the_documented_inputs_and_outputs(exported):
    _, classifier, path, _ = exported
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    assert proto.ir_version == 8
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", 13)]
    assert {node.domain for node in proto.graph.node} <= {"", "ai.onnx"}
    (input,), (output,) = proto.graph.input, proto.graph.output
    assert (input.name, output.name) == ("pictures", "scores")
    assert input.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert output.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    height, width, channels = classifier.input_image_shape
    sizes = [dim.dim_param or dim.dim_value for dim in input.type.tensor_type.shape.dim]
    assert sizes == ["batch", channels, height, width]
    sizes = [dim.dim_param or dim.dim_value for dim in output.type.tensor_type.shape.dim]
    assert sizes == ["batch", len(classifier.class_names)]


def test_graph_equals_a_hand_drawn_graph(exported):
    _, classifier, path, _ = exported
    if classifier.preprocessing.deskew:
        pytest.skip("no hand-drawn graph for deskewing")
    graph = onnx.load(path).graph
    operators = Counter(node.op_type for node in graph.node)
    expected = drawn(classifier)
    assert expected is not None, f"{classifier.card} has no entry in drawn(); its file has {dict(sorted(operators.items()))}"
    assert operators == {operator: count for operator, count in expected.items() if count}


def test_names_are_those_of_the_layers_and_constants_are_unique(exported):
    name, classifier, path, _ = exported
    graph = onnx.load(path).graph
    layers = {layer.name for layer in (*classifier.net.layers, classifier.preprocessing)}
    tensors = [tensor for node in graph.node for tensor in node.output] + [each.name for each in graph.initializer]
    assert {tensor.split("/")[0] for tensor in tensors} - {"scores"} <= layers
    assert {node.name.split("/")[0] for node in graph.node} <= layers
    assert len({node.name for node in graph.node}) == len(graph.node)
    weights = {f"{weight.path.split('/')[-2]}/{weight.name}" for weight in classifier.weights}
    contents = Counter((each.data_type, *each.dims, each.raw_data) for each in graph.initializer if each.name not in weights)
    assert set(contents.values()) <= {1}, name


def test_tensor_named_like_a_layer_is_its_output(exported):
    _, classifier, path, _ = exported
    pictures = samples.shipped(classifier.image_spec)[:3]
    # Untrained, the Neocognitron's cells are the small rest of a subtraction.
    assert activations.first_difference(classifier, path, pictures, tolerance=1e-2) is None


def test_onnxruntime_scores_equal_those_of_keras(exported):
    _, classifier, path, report = exported
    pictures = samples.shipped(classifier.image_spec)
    expected = classifier.predict_on_batch(pictures)
    largest = 0.0
    for batch in (1, 2, 5, len(pictures)):
        output = run(path, pictures[:batch])
        np.testing.assert_allclose(output, expected[:batch], rtol=1e-4, atol=1e-4)
        assert (output.argmax(axis=1) == expected[:batch].argmax(axis=1)).all()
        largest = max(largest, np.abs(output - expected[:batch]).max())
    assert report.passed and report.flipped_labels == 0 and report.images > len(pictures)
    assert {"onnxruntime", "onnxruntime basic", "onnx reference", "openvino"} <= set(report.runtimes)
    assert not report.deviating
    # The proof has other pictures and runtimes, too; how a batch is composed changes the order of additions.
    assert report.largest_difference >= 0.5 * largest - 1e-5 * float(np.abs(expected).max())
    assert report.file == str(path)


def test_metadata_describe_the_model(exported):
    name, classifier, path, _ = exported
    proto = onnx.load(path)
    (entry,) = proto.metadata_props
    about = json.loads(entry.value)
    card = zoo.card(name)
    assert about["class_names"] == classifier.class_names
    assert about["picture"] == classifier.image_spec and about["layout"] == "NCHW"
    assert about["weights_sha256"] == classifier.fingerprint()
    assert about["model"].partition(".")[0] == card.name
    assert (about["card"]["title"], about["card"]["year"]) == (card.title, card.year)
    assert about["card"]["paper"]["title"] == card.paper.title
    assert card.title in proto.doc_string
    # What onnxruntime's clients read it with.
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map[entry.key]) == about


def test_fp16_passes_parity(exported, tmp_path):
    name, classifier, path, _ = exported
    full = files.load(path)
    lower(name, "fp16", full, lambda: half.to_half(full), classifier, tmp_path / "fp16.onnx", 0.6 * path.stat().st_size)


def test_int8_passes_parity(exported, tmp_path):
    name, classifier, path, _ = exported
    full = files.load(path)
    pictures = samples.shipped(classifier.image_spec)[:32]
    ranges = calibrate.ranges(full, insert.tensors(full), pictures)
    lower(
        name,
        "int8",
        full,
        lambda: insert.quantize(full, ranges, full_range=name in FULL_RANGE),
        classifier,
        tmp_path / "int8.onnx",
        path.stat().st_size,
    )


def lower(name, precision, full, make, classifier, path, largest):
    """Write a graph in lower precision behind the gate, or see it refused, and no file."""
    try:
        report = write(make(), precision, full, classifier, path)
    except ZooError:
        assert name in (*REFUSED[precision], *ON_THE_EDGE) and not path.exists()
        return
    assert name not in REFUSED[precision]
    assert report.passed and report.precision == precision and not report.deviating
    assert {"onnxruntime", "onnxruntime basic", "onnx reference", "openvino"} <= set(report.runtimes)
    assert path.stat().st_size < largest + 50_000


def write(graph, precision, full, classifier, path):
    metadata.describe(graph, {**metadata.find(full), "precision": precision})
    return export.write(graph, source.find(classifier), path, precision=precision)


def test_verify_passes_and_detects_one_changed_weight(exported, tmp_path):
    """The weight is of the last operator that has some: what is changed before a threshold may not show."""
    name, classifier, path, _ = exported

    def verify(path):
        if path.stat().st_size < 5e7:
            return exporters.verify(path, classifier)
        # The whole proof of a large net takes long: one runtime and a batch of eight notice the weight, too.
        run = {"onnxruntime": parity.Candidate(lambda: runtimes.scorer(path))}
        return parity.compare(
            classifier.predict_on_batch, run, samples.shipped(classifier.image_spec)[:8], parity.FileSpec(batches=(8,))
        )

    report = verify(path)
    assert report.passed and (report.images == 8 or report.images > samples.count(classifier.image_spec))
    if name in BLANK:
        return
    proto = onnx.load(path)
    weights = {tensor.name: tensor for tensor in proto.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    read = [weights[tensor] for node in proto.graph.node for tensor in node.input if tensor in weights]
    values = onnx.numpy_helper.to_array(read[-1]).copy()
    rows = values.reshape(max((1, *values.shape[:1])), -1)  # a row an input
    for row in range(len(rows) // 2, min(len(rows) // 2 + 8, len(rows))):  # no picture may wake the unit of the first
        rows[row, rows.shape[1] // 2] += 5
        read[-1].CopyFrom(onnx.numpy_helper.from_array(values, read[-1].name))
        onnx.save(proto, tmp_path / "changed.onnx")
        report = verify(tmp_path / "changed.onnx")
        if not report.passed:
            break
        rows[row, rows.shape[1] // 2] -= 5
    assert not report.passed
    with pytest.raises(CheckFailed, match="differ"):
        report.raise_if_failed()


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    """A linear classifier of three classes as a user's file, and its ONNX file beside it."""
    folder = tmp_path_factory.mktemp("linear")
    classifier = zoo.load("linear", classes=["kitten", "Äffchen", "dog"])
    generator = np.random.default_rng(0)
    classifier.set_weights([generator.normal(size=weight.shape) for weight in classifier.get_weights()])
    classifier.save(folder / "mine.keras")
    exporters.to_onnx(folder / "mine.keras", folder / "mine.onnx")
    return classifier, folder


def test_scores_equal_the_matrix_product(linear):
    classifier, folder = linear
    pictures = samples.shipped(classifier.image_spec)
    kernel, bias = classifier.get_weights()
    expected = pictures.reshape(256, -1) / 255 @ kernel + bias
    np.testing.assert_allclose(run(folder / "mine.onnx", pictures), expected, rtol=1e-4, atol=1e-4)


def test_float32_pixels_are_raw_pixels(linear, tmp_path):
    classifier, folder = linear
    assert exporters.to_onnx(classifier, tmp_path / "float.onnx", pixels="float32").passed
    proto = onnx.load(tmp_path / "float.onnx")
    assert proto.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    pictures = samples.shipped(classifier.image_spec)
    output = run(tmp_path / "float.onnx", pictures.astype("float32"))
    np.testing.assert_allclose(output, run(folder / "mine.onnx", pictures), rtol=1e-5, atol=1e-5)
    assert exporters.verify(tmp_path / "float.onnx", classifier).passed
    with pytest.raises(ZooError, match="uint8 or float32; given was 'float16'"):
        exporters.to_onnx(classifier, tmp_path / "half.onnx", pixels="float16")
    assert not (tmp_path / "half.onnx").exists()


@pytest.mark.parametrize(("opset", "ir"), [(9, 4), (11, 6), (15, 8), (18, 10)])
def test_opset_and_ir_version_are_as_given(linear, tmp_path, opset, ir):
    classifier, _ = linear
    exporters.to_onnx(classifier, tmp_path / "other.onnx", opset=opset, ir=ir)
    proto = onnx.load(tmp_path / "other.onnx")
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", opset)]
    assert proto.ir_version == ir


@pytest.mark.parametrize("wrong", [{"opset": 99}, {"opset": 8}, {"ir": 99}, {"ir": 1}], ids=str)
def test_invalid_options_are_errors_and_leave_no_file(linear, tmp_path, wrong):
    classifier, _ = linear
    with pytest.raises(ZooError):
        exporters.to_onnx(classifier, tmp_path / "other.onnx", **wrong)
    assert list(tmp_path.iterdir()) == []


def test_failed_verification_leaves_no_file_and_keeps_an_older_one(linear, tmp_path, monkeypatch):
    classifier, _ = linear
    right = convert.convert

    def wrong(*args, **options):
        graph = right(*args, **options)
        kernel = max(graph.graph.initializers.values(), key=lambda value: value.const_value.size)
        kernel.const_value = ir.tensor(kernel.const_value.numpy() * np.float32(1.1), name=kernel.name)
        return graph

    monkeypatch.setattr(convert, "convert", wrong)
    with pytest.raises(CheckFailed, match="does not compute what the model computes"):
        exporters.to_onnx(classifier, tmp_path / "new.onnx")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "new.onnx").write_bytes(b"older")
    with pytest.raises(CheckFailed):
        exporters.to_onnx(classifier, tmp_path / "new.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["new.onnx"]
    assert (tmp_path / "new.onnx").read_bytes() == b"older"
    monkeypatch.undo()
    exporters.to_onnx(classifier, tmp_path / "new.onnx")
    assert exporters.verify(tmp_path / "new.onnx", classifier).passed


def test_failed_verification_names_the_first_different_layer(tmp_path):
    classifier = zoo.load("lenet5-modern.mnist")
    exporters.to_onnx(classifier, tmp_path / "net.onnx")
    proto = onnx.load(tmp_path / "net.onnx")
    kernel = next(each for each in proto.graph.initializer if each.name == "c3/kernel")
    kernel.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(kernel) * np.float32(1.1), kernel.name))
    onnx.save(proto, tmp_path / "net.onnx")
    with pytest.raises(CheckFailed, match=r"the first layer that differs is c3 \(largest difference"):
        exporters.verify(tmp_path / "net.onnx", classifier).raise_if_failed()


def test_channels_last_input_is_transposed_once(linear, tmp_path):
    classifier, folder = linear
    assert exporters.to_onnx(classifier, tmp_path / "last.onnx", layout="nhwc").passed
    pictures = samples.shipped(classifier.image_spec)[:5]
    session = onnxruntime.InferenceSession(str(tmp_path / "last.onnx"), providers=["CPUExecutionProvider"])
    output = session.run(["scores"], {"pictures": pictures})[0]
    np.testing.assert_allclose(output, run(folder / "mine.onnx", pictures), rtol=1e-5, atol=1e-5)
    assert exporters.verify(tmp_path / "last.onnx", classifier).passed
    classifier = zoo.load("alexnet-cifar")
    assert exporters.to_onnx(classifier, tmp_path / "color.onnx", layout="nhwc").passed
    operators = [node.op_type for node in onnx.load(tmp_path / "color.onnx").graph.node]
    # One of the input, one to the locally connected layers, and two around the matrix product of each of them.
    assert operators.count("Transpose") == 6 and operators.index("Transpose") < operators.index("Conv")
    with pytest.raises(ZooError, match="nchw or nhwc; given was 'hwc'"):
        exporters.to_onnx(classifier, tmp_path / "other.onnx", layout="hwc")


def test_file_without_preprocessing_takes_the_input_of_the_network(linear, tmp_path):
    classifier, folder = linear
    assert exporters.to_onnx(classifier, tmp_path / "bare.onnx", raw_input=False).passed
    pictures = samples.shipped(classifier.image_spec)[:5]
    session = onnxruntime.InferenceSession(str(tmp_path / "bare.onnx"), providers=["CPUExecutionProvider"])
    output = session.run(["scores"], {"input": (pictures / 255).astype("float32").reshape(5, 1, 28, 28)})[0]
    np.testing.assert_allclose(output, run(folder / "mine.onnx", pictures), rtol=1e-4, atol=1e-4)
    assert exporters.verify(tmp_path / "bare.onnx", classifier).passed


def test_static_batch_rejects_other_batch_sizes(linear, tmp_path):
    classifier, folder = linear
    report = exporters.to_onnx(classifier, tmp_path / "four.onnx", static_batch=4)
    assert report.passed and report.batches == (4,)
    session = onnxruntime.InferenceSession(str(tmp_path / "four.onnx"), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [4, 1, 28, 28] and session.get_outputs()[0].shape == [4, 3]
    pictures = samples.shipped(classifier.image_spec)[:4]
    np.testing.assert_allclose(run(tmp_path / "four.onnx", pictures), run(folder / "mine.onnx", pictures), rtol=1e-5)
    with pytest.raises(ZooError, match="at least 1; given was 0"):
        exporters.to_onnx(classifier, tmp_path / "none.onnx", static_batch=0)


def test_target_rejects_unsupported_opsets(linear, tmp_path):
    classifier, _ = linear
    assert exporters.to_onnx(classifier, tmp_path / "nano.onnx", target="nano", pixels="float32").passed
    with pytest.raises(
        ZooError, match=r"TensorRT 8\.2\.1 of JetPack 4\.6.* reads operator sets up to 13; given was --opset 14"
    ):
        exporters.to_onnx(classifier, tmp_path / "new.onnx", opset=14, target="nano", pixels="float32")
    with pytest.raises(ZooError, match="no target 'orin-nanno'; did you mean 'orin-nano'"):
        exporters.to_onnx(classifier, tmp_path / "new.onnx", target="orin-nanno")
    with pytest.raises(ZooError, match="not known to read file format 10; give --ir 8"):
        exporters.to_onnx(classifier, tmp_path / "new.onnx", ir=10, target="orin-nano")
    assert not (tmp_path / "new.onnx").exists()


AGAIN = """
import sys, exporters
for name in sys.argv[2:]:
    exporters.to_onnx(name, f"{sys.argv[1]}/{name}.onnx")
"""


@pytest.mark.slow("exports four models twice")
def test_export_is_deterministic(tmp_path):
    """Also in a process that hashes, and so orders sets, otherwise."""
    names = ("lenet5.mnist", "neocognitron", "alexnet-cifar.cifar10", "madaline.mnist")
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
    for name in names:
        exporters.to_onnx(name, tmp_path / "here" / f"{name}.onnx")
    environment = {**os.environ, "PYTHONHASHSEED": "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"}
    command = [sys.executable, "-c", AGAIN, str(tmp_path / "there"), *names]
    subprocess.run(command, env=environment, check=True, timeout=300)
    files = sorted(each.name for each in (tmp_path / "here").iterdir())
    assert len(files) == 8  # an .onnx and a .json each
    for name in files:
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes(), name


def test_other_suffix_is_an_error(linear, tmp_path):
    classifier, _ = linear
    with pytest.raises(ZooError, match=r"must end in \.onnx; given was .*model\.pb\. Give .*model\.pb\.onnx"):
        exporters.to_onnx(classifier, tmp_path / "model.pb")
    assert list(tmp_path.iterdir()) == []


def test_given_images_are_used_for_verification(linear, digits, tmp_path):
    classifier, folder = linear
    adversarial = len(samples.adversarial(classifier.image_spec))
    assert exporters.to_onnx(classifier, tmp_path / "model.onnx", data=digits / "3").images == 183 + adversarial
    assert exporters.verify(folder / "mine.onnx", data=digits / "4").images == 181 + adversarial
    (tmp_path / "empty").mkdir()
    with pytest.raises(ZooError, match="no images"):
        exporters.to_onnx(classifier, tmp_path / "other.onnx", data=tmp_path / "empty")
    assert not (tmp_path / "other.onnx").exists()


def test_verify_finds_the_keras_file_beside_or_reports_that_it_is_missing(linear, tmp_path):
    _, folder = linear
    assert exporters.verify(folder / "mine.onnx").passed
    alone = tmp_path / "mine.onnx"
    alone.write_bytes((folder / "mine.onnx").read_bytes())
    with pytest.raises(
        ZooError, match=r"exported from mine\.keras, which is not in the same folder; name it with --against"
    ):
        exporters.verify(alone)
    assert exporters.verify(alone, folder / "mine.keras").passed


def test_verify_rejects_other_weights(linear):
    classifier, folder = linear
    other = zoo.load("linear", classes=classifier.class_names)
    with pytest.raises(ZooError, match="other weights"):
        exporters.verify(folder / "mine.onnx", other)
    with pytest.raises(ZooError, match="other weights"):
        exporters.verify(folder / "mine.onnx", "lenet5")


def test_verify_detects_other_class_names(linear, tmp_path):
    """A client on the board takes its labels from there."""
    classifier, folder = linear
    proto = onnx.load(folder / "mine.onnx")
    (entry,) = proto.metadata_props
    about = json.loads(entry.value)
    about["class_names"].reverse()
    entry.value = json.dumps(about)
    onnx.save(proto, tmp_path / "reversed.onnx")
    with pytest.raises(CheckFailed, match="metadata say class_names"):
        exporters.verify(tmp_path / "reversed.onnx", classifier).raise_if_failed()


def foreign(metadata=None):
    """A valid ONNX file that the zoo has not written."""
    sizes = ["batch", 28, 28, 1]
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sizes) for name in ("pictures", "scores")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["pictures"], ["scores"])], "g", ends[:1], ends[1:])
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    if metadata is not None:
        onnx.helper.set_model_props(proto, metadata)
    return proto.SerializeToString()


@pytest.mark.parametrize(
    "metadata", [None, {"author": "x"}, {"zoo": "not JSON"}, {"zoo": "{}"}, {"zoo": "[1]"}, {"zoo": '{"model": 3}'}], ids=str
)
def test_verify_rejects_a_foreign_file(tmp_path, metadata):
    (tmp_path / "foreign.onnx").write_bytes(foreign(metadata))
    with pytest.raises(ZooError, match="was not exported by the zoo"):
        exporters.verify(tmp_path / "foreign.onnx")


def test_verify_rejects_damaged_and_non_onnx_files(linear, tmp_path):
    _, folder = linear
    whole = (folder / "mine.onnx").read_bytes()
    path = tmp_path / "damaged.onnx"
    for content in (whole[: len(whole) // 2], whole[:-10], b"I am a text, not a model", b"", np.random.bytes(1000)):
        path.write_bytes(content)
        with pytest.raises(ZooError):
            exporters.verify(path)
    with pytest.raises(ZooError, match="no file"):
        exporters.verify(tmp_path / "missing.onnx")
    with pytest.raises(ZooError, match="only those can be verified"):
        exporters.verify(folder / "mine.keras")


def test_verify_reads_external_weights(linear, tmp_path):
    _, folder = linear
    proto = onnx.load(folder / "mine.onnx")
    onnx.save(proto, tmp_path / "mine.onnx", save_as_external_data=True, location="mine.bin", size_threshold=1024)
    (tmp_path / "mine.keras").write_bytes((folder / "mine.keras").read_bytes())
    assert exporters.verify(tmp_path / "mine.onnx").passed
    (tmp_path / "mine.bin").unlink()
    with pytest.raises(ZooError, match="missing"):
        exporters.verify(tmp_path / "mine.onnx")


FULL_DISK = """
import resource, sys
import exporters.onnx
import zoo
zoo.load("linear")  # so that only the export is left to do
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
from zoo.cli import main
sys.argv[0] = "zoo"
main()
"""


@pytest.mark.slow("starts the command in a process with a limit")
def test_full_disk_leaves_no_partial_file(linear, tmp_path):
    _, folder = linear
    path = tmp_path / "model.onnx"
    path.write_bytes(b"older")
    words = ["export", str(folder / "mine.keras"), "--to", "onnx", "--out", str(path)]
    result = subprocess.run([sys.executable, "-c", FULL_DISK, *words], capture_output=True, text=True, timeout=120)
    assert result.returncode == 1
    assert [line for line in result.stderr.splitlines() if line.startswith("zoo: ")] == [result.stderr.splitlines()[-1]]
    assert "File too large" in result.stderr.splitlines()[-1] and "Traceback" not in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"] and path.read_bytes() == b"older"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 10_000  # the limit was the child's


def test_export_and_verify_commands(linear, zoo_in_process, tmp_path):
    _, folder = linear
    (tmp_path / "mine.keras").write_bytes((folder / "mine.keras").read_bytes())
    result = zoo_in_process("export", "mine.keras", "--to", "onnx", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["file"], report["passed"], report["flipped_labels"]) == ("mine.onnx", True, 0)
    pictures = np.random.default_rng(1).integers(0, 256, (3, 28, 28, 1), "uint8")
    np.testing.assert_array_equal(run(tmp_path / "mine.onnx", pictures), run(folder / "mine.onnx", pictures))
    result = zoo_in_process("verify", "mine.onnx", "--json", cwd=tmp_path)
    assert result.returncode == 0 and json.loads(result.stdout)["passed"] is True, result.stderr
    assert result.stderr == ""


def test_verify_command_exits_with_1_for_a_difference_and_2_for_an_error(linear, zoo_in_process, tmp_path):
    _, folder = linear
    proto = onnx.load(folder / "mine.onnx")
    weights = next(tensor for tensor in proto.graph.initializer if len(tensor.raw_data) > 1000)
    values = onnx.numpy_helper.to_array(weights) * np.float32(1.5)
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    onnx.save(proto, tmp_path / "changed.onnx")
    result = zoo_in_process("verify", "changed.onnx", "--against", folder / "mine.keras", "--json", cwd=tmp_path)
    assert result.returncode == 1
    assert json.loads(result.stdout)["passed"] is False
    assert result.stderr.startswith("zoo: the file does not compute what the model computes")
    assert result.stderr.count("\n") == 1
    result = zoo_in_process("verify", "missing.onnx", cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", "zoo: no file missing.onnx\n")


@pytest.mark.mnist
@pytest.mark.slow("classifies all test images of MNIST")
def test_labels_of_all_mnist_test_images_equal_those_of_keras(tmp_path):
    classifier = zoo.load("lenet5.mnist")
    exporters.to_onnx("lenet5.mnist", tmp_path / "lenet5.onnx")
    test = training.data.load("mnist", classifier.image_spec).splits["test"]
    expected = classifier.predict(test.images, batch_size=1000, verbose=0)
    output = np.concatenate([run(tmp_path / "lenet5.onnx", test.images[i : i + 1000]) for i in range(0, 10_000, 1000)])
    assert len(output) == 10_000
    np.testing.assert_array_equal(output.argmax(axis=1), expected.argmax(axis=1))
    assert exporters.verify(tmp_path / "lenet5.onnx").passed  # it finds the pretrained model by the file's own word
