import functools
import json

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnxruntime.quantization import calibrate as theirs

from exporters.choices import Method
from exporters.quantization import cache, calibrate
from zoo.errors import ZooError


def net(weight=2.0):
    """Return a graph: (batch, 4, 4, 1) uint8 images -> x 2 -> - 100."""
    constants = [
        onnx.numpy_helper.from_array(np.array(value, "float32"), name)
        for name, value in (("double/factor", weight), ("shift/offset", -100))
    ]
    nodes = [
        onnx.helper.make_node("Cast", ["pictures"], ["cast"], to=1),
        onnx.helper.make_node("Mul", ["cast", "double/factor"], ["double"]),
        onnx.helper.make_node("Add", ["double", "shift/offset"], ["scores"]),
    ]
    shape = ["batch", 4, 4, 1]
    ends = [onnx.helper.make_tensor_value_info(name, kind, shape) for name, kind in (("pictures", 2), ("scores", 1))]
    graph = onnx.helper.make_graph(nodes, "net", ends[:1], ends[1:], constants)
    return ir.from_proto(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8))


@pytest.fixture
def pictures():
    return np.random.default_rng(5).integers(0, 256, (100, 4, 4, 1), "uint8")


def test_minmax_is_the_largest_magnitude_of_either_sign(pictures):
    pictures[3] = 255
    ranges = calibrate.ranges(net(), ["cast", "double", "scores"], pictures, "minmax")
    assert ranges == {"cast": 255.0, "double": 510.0, "scores": 410.0}
    ranges = calibrate.ranges(net(0.1), ["scores"], pictures, "minmax")
    assert ranges["scores"] == pytest.approx(100 - 0.1 * pictures.min(), abs=1e-4)


def test_ranges_do_not_depend_on_the_batch_size(pictures, monkeypatch):
    ranges = {}
    for size in (1, 7, 1000):
        monkeypatch.setattr(calibrate, "BATCH", size)
        ranges[size] = [calibrate.ranges(net(), ["double", "scores"], pictures, method) for method in Method]
    assert ranges[1] == ranges[7] == ranges[1000]


def test_percentile_is_that_of_all_magnitudes():
    for values in distributions().values():
        counts, largest = histogram(values)
        for share in (50, 90, 99.99):
            expected = np.percentile(np.abs(values), share, method="inverted_cdf")
            assert largest * calibrate.percentile(counts, share) == pytest.approx(expected, abs=2 * largest / calibrate.BINS)
    assert calibrate.percentile(np.array([0, 3, 0, 7]), 30) == 2 / 4
    assert calibrate.percentile(np.array([0, 3, 0, 7]), 31) == 4 / 4


@pytest.mark.parametrize("method", Method)
def test_progress_counts_each_image_once_per_pass(pictures, method):
    counts = []
    calibrate.ranges(net(), ["double"], pictures, method, counts.append)
    assert sum(counts) == calibrate.passes(method) * len(pictures)


def test_constant_zero_has_range_zero(pictures):
    for method in Method:
        assert calibrate.ranges(net(0), ["double"], pictures, method) == {"double": 0}


def test_non_finite_tensor_is_named(pictures):
    with pytest.raises(ZooError, match="the tensor double is not finite"):
        calibrate.ranges(net(np.inf), ["double"], pictures, "minmax")


def test_no_images_and_unknown_method_are_errors(pictures):
    with pytest.raises(ZooError, match="no images to calibrate with"):
        calibrate.ranges(net(), ["double"], pictures[:0])
    with pytest.raises(ZooError, match="'minimax'; did you mean 'minmax'"):
        calibrate.ranges(net(), ["double"], pictures, "minimax")


def histogram(values):
    magnitudes = np.abs(values)
    return np.histogram(magnitudes, calibrate.BINS, (0, magnitudes.max()))[0], float(magnitudes.max())


@functools.cache
def distributions():
    generator, size = np.random.default_rng(5), 123_457  # of which 99.99 % is no whole number
    values = {
        "gauss": generator.normal(size=size),
        "laplace": generator.laplace(size=size),
        "rectified": np.maximum(generator.normal(size=2 * size), 0),
        "outliers": np.append(generator.normal(size=size), [40, -60, 80]),
    }
    return {name: array.astype("float32") for name, array in values.items()}


@pytest.mark.parametrize("name", distributions())
def test_percentiles_are_those_of_onnxruntime(name):
    values = distributions()[name]
    counts, largest = histogram(values)
    collector = theirs.HistogramCollector("percentile", True, 2 * calibrate.BINS, 256, calibrate.PERCENTILE, None)
    collector.collect({"x": [values]})
    expected = float(collector.compute_collection_result()["x"][1])
    # Theirs are bins of both signs, the edge below; and both tell no more than a bin.
    assert largest * calibrate.percentile(counts) == pytest.approx(expected, abs=3 * largest / calibrate.BINS)


@pytest.mark.parametrize("name", ["gauss", "laplace", "outliers"])
def test_entropy_is_close_to_onnxruntime(name):
    """onnxruntime's has bins for both signs, with half the levels each, and merges them differently; the minimum is flat."""
    values = distributions()[name]
    counts, largest = histogram(values)
    collector = theirs.HistogramCollector("entropy", True, 2 * calibrate.BINS + 1, 255, calibrate.PERCENTILE, None)
    collector.collect({"x": [values]})
    expected = float(collector.compute_collection_result()["x"][1])
    assert largest * calibrate.entropy(counts) == pytest.approx(expected, rel=0.5)


def test_entropy_ignores_the_zeros_of_a_relu():
    """NVIDIA's method ignores them, too; otherwise the best range would give zero a level of its own."""
    histograms = {name: histogram(distributions()[name]) for name in ("gauss", "rectified")}
    gauss, rectified = (largest * calibrate.entropy(counts) for counts, largest in histograms.values())
    assert rectified == pytest.approx(gauss, rel=0.15)


def divergence(true, quantized):
    true, quantized = np.array(true) / np.sum(true), np.array(quantized) / np.sum(quantized)
    return sum(p * np.log(p / q) for p, q in zip(true, quantized, strict=True) if p)


def test_entropy_equals_a_naive_loop():
    generator = np.random.default_rng(5)
    counts = generator.integers(0, 20, 40)
    counts[25:] = generator.integers(0, 2, 15)
    counts[0] = counts[1]
    levels, best = 8, None
    for bins in range(levels, 41):
        clipped = [*counts[:bins]]
        clipped[-1] += sum(counts[bins:])
        quantized = [0.0] * bins
        for level in range(levels):
            group = [place for place in range(bins) if place * levels // bins == level]
            filled = [place for place in group if clipped[place]]
            for place in filled:
                quantized[place] = max(sum(counts[each] for each in group) / len(filled), calibrate.EMPTY)
        distance = divergence(clipped, quantized)
        if best is None or distance < best[0]:
            best = distance, bins
    assert calibrate.entropy(counts, levels) == best[1] / 40


def test_entropy_clips_a_rare_outlier_but_not_a_uniform_distribution():
    uniform = np.full(calibrate.BINS, 100)
    assert calibrate.entropy(uniform) == 1
    values = distributions()["outliers"]
    counts, largest = histogram(values)
    assert largest == 80
    assert 2 < largest * calibrate.entropy(counts) < 8
    counts[0] = 10**9  # the zeros of a ReLU change nothing
    assert 2 < largest * calibrate.entropy(counts) < 8


def test_cache_key_depends_on_weights_images_and_method(pictures, zoo_cache):
    first = cache.calibrated(net(), ["double"], pictures, "minmax")
    again = cache.calibrated(net(), ["double"], pictures, "minmax")
    assert not first.cached
    assert again.cached
    assert (again.ranges, again.key) == (first.ranges, first.key)
    assert not cache.calibrated(net(3), ["double"], pictures, "minmax").cached
    assert not cache.calibrated(net(), ["double"], pictures, "percentile").cached
    other = pictures.copy()
    other[0, 0, 0, 0] ^= 1
    assert not cache.calibrated(net(), ["double"], other, "minmax").cached


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"double": NaN}', '{"double": "7"}', '{"double": -1}', '{"other": 1.0}'])
def test_damaged_cache_is_recomputed_and_replaced(pictures, zoo_cache, damage):
    expected = cache.calibrated(net(), ["double"], pictures, "minmax")
    path = zoo_cache / "calibration" / f"{expected.key}.json"
    path.write_text(damage)
    result = cache.calibrated(net(), ["double"], pictures, "minmax")
    assert not result.cached
    assert result.ranges == expected.ranges
    assert json.loads(path.read_text()) == expected.ranges


def test_channels_first_input_is_transposed():
    pictures = np.arange(2 * 2 * 3 * 1, dtype="uint8").reshape(2, 2, 3, 1)
    model = net()
    model.graph.inputs[0].shape = ir.Shape(["batch", 1, 2, 3])
    model.graph.outputs[0].shape = ir.Shape(["batch", 1, 2, 3])
    model.metadata_props["zoo"] = json.dumps({"layout": "NCHW"})
    assert calibrate.ranges(model, ["double"], pictures, "minmax") == {"double": 22.0}
