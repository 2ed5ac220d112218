"""Recurrent layers become the operators of ONNX for them."""

import keras
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from keras import layers

import exporters
from exporters import source
from exporters.onnx import convert

STEPS, FEATURES = 7, 4


def made(function):
    """Return a model of a function of sequences, with weights that matter."""
    sequences = keras.Input((STEPS, FEATURES))
    model = keras.Model(sequences, function(sequences))
    generator = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(generator.normal(0, 0.4, weight.shape))
    return model


def states_passed_on(x):
    _, *states = layers.LSTM(5, return_state=True)(x)
    return layers.LSTM(5, return_sequences=True)(x, initial_state=states)


def states_of_both_directions(x):
    _, *states = layers.Bidirectional(layers.LSTM(5, return_state=True))(x)
    return layers.Bidirectional(layers.LSTM(5))(x, initial_state=states)


def exchanged_directions(x):
    first, second = (layers.LSTM(5, return_sequences=True, go_backwards=each) for each in (True, False))
    return layers.Bidirectional(first, backward_layer=second)(x)


NETS = {
    "lstm": (layers.LSTM(5), ["LSTM"]),
    "stacked": (lambda x: layers.LSTM(6)(layers.LSTM(5, return_sequences=True)(x)), ["LSTM", "LSTM"]),
    "no bias": (layers.LSTM(5, use_bias=False), ["LSTM"]),
    "relu": (layers.LSTM(5, activation="relu", recurrent_activation="hard_sigmoid"), ["LSTM"]),
    "gru": (layers.GRU(5), ["GRU"]),
    "gru, reset before": (layers.GRU(5, reset_after=False, return_sequences=True), ["GRU"]),
    "simple": (layers.SimpleRNN(5, activation="relu"), ["RNN"]),
    "backwards": (lambda x: layers.LSTM(5)(layers.GRU(5, return_sequences=True, go_backwards=True)(x)), ["GRU", "LSTM"]),
    "both": (layers.Bidirectional(layers.LSTM(5, return_sequences=True)), ["LSTM"]),
    "both, last": (layers.Bidirectional(layers.GRU(5)), ["GRU"]),
    "both, sum": (layers.Bidirectional(layers.SimpleRNN(5, return_sequences=True), merge_mode="sum"), ["RNN"]),
    "both, average": (layers.Bidirectional(layers.GRU(5), merge_mode="ave"), ["GRU"]),
    "both, exchanged": (exchanged_directions, ["LSTM", "LSTM"]),
    "states": (states_passed_on, ["LSTM", "LSTM"]),
    "states of both": (states_of_both_directions, ["LSTM", "LSTM"]),
    "masked": (lambda x: layers.LSTM(5)(layers.Masking()(x)), ["Loop"]),
    "elu": (layers.GRU(5, activation="elu"), ["Loop"]),
}


@pytest.mark.parametrize("name", NETS)
def test_the_operators_compute_what_keras_computes(name):
    function, expected = NETS[name]
    model = made(function)
    proto = ir.to_proto(convert.convert(source.find(model)))
    assert [node.op_type for node in proto.graph.node if node.op_type in ("LSTM", "GRU", "RNN", "Loop")] == expected
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for count in (1, 3):
        sequences = np.random.default_rng(count).normal(size=(count, STEPS, FEATURES)).astype("float32")
        sequences[0, -2:] = 0  # masked
        (result,) = session.run(None, {"input": sequences})
        np.testing.assert_allclose(result, np.asarray(model(sequences)), atol=2e-6, rtol=1e-5)


def test_a_file_runs_in_every_runtime_and_has_the_names_of_keras(tmp_path):
    model = made(lambda x: layers.Dense(3)(layers.LSTM(5, name="memory")(x)))
    report = exporters.to_onnx(model, tmp_path / "model.onnx")
    assert {"onnx reference", "onnxruntime"} <= set(report.runtimes) and not report.deviating
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert [node.op_type for node in graph.node] == ["Transpose", "LSTM", "Squeeze", "Gemm"]
    assert {"memory/lstm_cell/kernel", "memory/lstm_cell/bias"} <= {tensor.name for tensor in graph.initializer}


def test_the_reference_is_not_asked_about_activations_that_it_ignores(tmp_path):
    report = exporters.to_onnx(made(layers.GRU(5, recurrent_activation="hard_sigmoid")), tmp_path / "model.onnx")
    assert "ignores" in report.not_run["onnx reference"] and "onnxruntime" in report.runtimes
