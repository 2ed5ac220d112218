"""Weights that are too large for tf2onnx go around it: the nearest neighbor's memory, and large kernels."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest

import exporters
import zoo
from exporters import samples
from zoo import registry, rules


def filled(capacity=300, **options):
    """A nearest neighbor that has memorized random pictures."""
    net = zoo.build("nearest-neighbor", capacity=capacity, **options)
    classifier = registry.wrap(net, zoo.card("nearest-neighbor"), range(10))
    generator = np.random.default_rng(1)
    pictures = generator.integers(0, 256, (capacity - 20, 28, 28, 1), "uint8")  # 20 places stay free
    rules.Memorize().train_on_batch(net, classifier.preprocessing(pictures), generator.integers(0, 10, capacity - 20))
    return classifier


def scores(path, pictures):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["scores"], {"pictures": pictures.reshape(len(pictures), 1, *pictures.shape[1:3])})[0]


@pytest.mark.parametrize("options", [{"k": 1}, {"k": 5}, {"k": 3, "metric": "l1"}], ids=str)
def test_exported_file_finds_the_same_neighbors(options, tmp_path):
    classifier = filled(**options)
    report = exporters.to_onnx(classifier, tmp_path / "nn.onnx")
    assert report.passed and report.flipped_labels == 0
    pictures = np.random.default_rng(2).integers(0, 256, (50, 28, 28, 1), "uint8")
    expected = classifier.predict_on_batch(pictures)
    np.testing.assert_allclose(scores(tmp_path / "nn.onnx", pictures), expected, rtol=1e-6)
    assert len(set(expected.argmax(axis=1))) > 3
    operators = {node.op_type for node in onnx.load(tmp_path / "nn.onnx").graph.node}
    assert {"TopK", "Loop" if options.get("metric") == "l1" else "Gemm"} <= operators


LARGE_EXPORT = r"""
import json, re, sys
from pathlib import Path
import numpy as np, onnx
import exporters, zoo
from zoo import registry

net = zoo.build("nearest-neighbor", k=3)
generator = np.random.default_rng(0)
memory = generator.integers(-128, 128, (784, 60000)).astype("float32")
labels = np.eye(10, dtype="float32")[generator.integers(0, 10, 60000)]
net.set_weights([memory, -(memory**2).sum(0) / 2, labels])
classifier = registry.wrap(net, zoo.card("nearest-neighbor"), range(10))
report = exporters.to_onnx(classifier, sys.argv[1])
# Not ru_maxrss, which begins with what the process that started this one has used.
peak = 1024 * int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
graph = onnx.load(sys.argv[1]).graph
same = any(tensor.raw_data == memory.tobytes() for tensor in graph.initializer)
operators = [node.op_type for node in graph.node]
print(json.dumps({"passed": report.passed, "peak": peak, "same": same, "operators": operators}))
"""


@pytest.mark.slow("exports a memory of 190 MB")
def test_sixty_thousand_images_stay_within_memory(tmp_path):
    child = subprocess.run(
        [sys.executable, "-c", LARGE_EXPORT, str(tmp_path / "nn.onnx")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert child.returncode == 0, child.stderr
    answer = json.loads(child.stdout.splitlines()[-1])
    assert answer["passed"] and answer["same"] and {"Gemm", "TopK"} <= set(answer["operators"])
    # The memory alone is 0.19 GB, the packages are 0.8 GB, and each of five runtimes holds copies of it; tf2onnx with it as
    # a constant takes many times that.
    assert answer["peak"] < 3e9


def large_kernels():
    """A convolution and a dense layer of more than a million values each, and small ones."""
    image = keras.Input((12, 12, 1), name="image")
    x = keras.layers.Conv2D(128, 3, activation="relu", name="small")(image)
    x = keras.layers.Conv2D(1000, 3, activation="relu", bias_initializer="normal", name="large")(x)
    x = keras.layers.MaxPooling2D(4, name="pool")(x)
    x = keras.layers.Dense(1001, activation="tanh", name="wide")(keras.layers.Flatten(name="flatten")(x))
    net = keras.Model(image, keras.layers.Dense(10, name="scores")(x), name="large")
    card = zoo.card("linear")
    picture = card.picture.model_copy(update={"height": 12, "width": 12})
    return registry.wrap(net, card.model_copy(update={"picture": picture}), range(10))


def test_large_kernels_are_constants_without_a_transpose(tmp_path):
    classifier = large_kernels()
    exporters.to_onnx(classifier, tmp_path / "large.onnx")
    proto = onnx.load(tmp_path / "large.onnx")
    assert sorted(np.prod(each.dims) for each in proto.graph.initializer)[-2:] == [128 * 9 * 1000, 4000 * 1001]
    assert [each.name for each in proto.graph.input] == ["pictures"]
    assert "Transpose" not in {node.op_type for node in proto.graph.node}
    pictures = samples.shipped(classifier.image_spec)
    np.testing.assert_allclose(
        scores(tmp_path / "large.onnx", pictures), classifier.predict_on_batch(pictures), rtol=1e-3, atol=1e-4
    )
