"""Runtimes that read ONNX files: onnxruntime, ONNX' reference evaluator, and OpenVINO and OpenCV if they are installed."""

import contextlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx.numpy_helper
import onnx.reference
import onnx_ir as ir
import onnxruntime
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_dequantize_linear import DequantizeLinear_25

from exporters.onnx import saturation
from exporters.parity import Candidate, CannotRun
from exporters.precision import Precision
from zoo.errors import ZooError

LARGE_FILE = 2**25  # bytes; the reference evaluator takes seconds per image from this size on
ROUGH = 1e-4  # relative difference that the rounding of one operator may cause
REFERENCE_OPERATIONS = 10**9  # multiply-adds of a batch; it takes a few seconds for as many
# On CPUs with AVX2 or AVX-512 but without VNNI, 8-bit kernels saturate the sum of two products at 16 bits. The first option
# turns that off in onnxruntime. OpenVINO has no such option; with the second it multiplies the same integers as floats.
EXACT_SUMS = {"session.x64quantprecision": "1"}
NO_INT8_KERNELS = {"LP_TRANSFORMS_MODE": "NO"}


def all_outputs(
    path: str | Path,
    layout: str | None = "NCHW",
    trusted: bool = True,
    precision: Precision = Precision.FP32,
    batch: int | None = None,
    operations: int = 0,
    graph: ir.Model | None = None,
) -> dict[str, Candidate]:
    """Return the runtimes that can run a file, by name. Each reads the file when it is opened, and returns a list.

    Args:
        path: ONNX file; external weights are found next to it.
        layout: layout of the file's input, "NCHW" or "NHWC"; the runtimes are called with channels-last images.
        trusted: also return the runtimes in which the file has had no trial run in a sandbox.
        precision: of the file. ONNX' reference may round coarser types in its own way, so it is binding in FP32 only.
        batch: static batch of the file, if it has one.
        operations: multiply-adds of one input, which set the number of inputs of the slow reference evaluator.
        graph: content of the file. A file whose sums cannot saturate (see `exporters.onnx.saturation`) runs with the default
            settings of the runtimes.
    """
    few = max(3, batch or 0)
    if Path(path).stat().st_size >= LARGE_FILE or few * operations > REFERENCE_OPERATIONS:
        few = 1
    operators = {node.op_type for node in graph.graph.all_nodes()} if graph else set()
    replaced = sorted(operators & {each.__name__ for each in REPLACED})
    exact_sums = graph is None or saturation.may_saturate(graph)
    path = str(path)
    others = {
        "openvino": Candidate(lambda: _openvino(path, layout, precision, exact_sums), binding=False),
        "opencv": Candidate(lambda: _opencv(path, layout), binding=False),
    }
    return {
        "onnxruntime": Candidate(lambda: runner(path, layout, exact_sums=exact_sums)),
        "onnxruntime basic": Candidate(lambda: runner(path, layout, optimized=False, exact_sums=exact_sums)),
        "onnx reference": Candidate(
            lambda: _reference(path, layout),
            few,
            binding=precision == Precision.FP32,
            culprit=lambda batch: differing_operator(path, batch, layout),
            changes=f"with {' and '.join(replaced)} of the zoo" if replaced else "",
        ),
        **(others if trusted else {}),
    }


def candidates(*arguments: Any, **keywords: Any) -> dict[str, Candidate]:
    """Return the runtimes of `all_outputs`, with the same arguments. Each returns the only output of the file."""
    return {name: _first_output(each) for name, each in all_outputs(*arguments, **keywords).items()}


def _first_output(candidate):
    def opened():
        run = candidate.open()
        return lambda batch: run(batch)[0]

    return replace(candidate, open=opened)


def scorer(
    path: str | Path, layout: str | None = "NCHW", optimized: bool = True, exact_sums: bool = True
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that runs a file in onnxruntime: (batch, ...) channels-last array -> (batch, classes) scores."""
    run = runner(path, layout, optimized, exact_sums)
    return lambda batch: run(batch)[0]


def runner(
    path: str | Path, layout: str | None = "NCHW", optimized: bool = True, exact_sums: bool = True
) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Return a function that runs a file in onnxruntime: inputs, as `feeds` takes them, -> all outputs."""
    opened = session(path, optimized, exact_sums)
    return lambda batch: opened.run(None, feeds(opened, batch, layout))


def session(path: str | Path, optimized: bool = True, exact_sums: bool = True) -> onnxruntime.InferenceSession:
    """Return an onnxruntime session on the CPU.

    If layers share an 8-bit weight (`exporters.quantization` never writes such files), the sums depend on the CPU.

    Args:
        path: ONNX file.
        optimized: apply all graph optimizations, or only those that do not depend on the hardware.
        exact_sums: sum 8-bit products exactly on every CPU; otherwise the default settings.

    Raises:
        ZooError: if onnxruntime cannot read the file.
    """
    opened = None
    # onnxruntime 1.32 fails with the option if a weight has two readers.
    for entries in (EXACT_SUMS, {}) if exact_sums else ({},):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # failures raise
        level = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if optimized else level.ORT_ENABLE_BASIC
        for entry in entries.items():
            options.add_session_config_entry(*entry)
        try:
            opened = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            break
        except Exception as error:  # onnxruntime's errors share no public base class
            failure = error
    if opened is None:
        raise ZooError(f"onnxruntime cannot read {path}: {first_line(failure)}") from failure
    if opened.get_providers() != ["CPUExecutionProvider"]:
        raise ZooError(f"onnxruntime runs {path} on {opened.get_providers()} instead of the CPU")
    return opened


def feeds(session: onnxruntime.InferenceSession, batch: np.ndarray, layout: str | None) -> dict[str, np.ndarray]:
    """Return the inputs of a session for a (batch, ...) channels-last array, or a structured array with several inputs."""
    names = {value.name: value.type.removeprefix("tensor(").removesuffix(")") for value in session.get_inputs()}
    dtypes = {name: {"float": "float32", "double": "float64"}.get(text, text) for name, text in names.items()}
    return _by_name(np.asarray(batch), dtypes, layout)


def _by_name(batch, dtypes, layout):
    """Return the inputs of a file, name -> array; `dtypes` has their types."""
    return {name: _to_layout(batch[name] if batch.dtype.names else batch, dtypes[name], layout) for name in dtypes}


def _to_layout(batch, dtype, layout):
    batch = np.asarray(batch)
    if layout == "NCHW" and batch.ndim == 4:
        batch = batch.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(batch, dtype)


class LRN(OpRun):
    """LRN for ONNX' reference evaluator: that of onnx 1.23 only processes as many channels as the batch has images."""

    op_domain = ""

    def _run(self, x, alpha=None, beta=None, bias=None, size=None):
        before, after = (size - 1) // 2, size // 2
        squares = np.pad(x * x, [(0, 0), (before, after), *[(0, 0)] * (x.ndim - 2)])
        sums = sum(squares[:, offset : offset + x.shape[1]] for offset in range(size))
        return ((x / (bias + alpha / size * sums) ** beta).astype(x.dtype),)


class DequantizeLinear(DequantizeLinear_25):
    """DequantizeLinear of any opset; onnx 1.23 lacks those before 19, which are less general."""

    op_domain = ""


REPLACED = (LRN, DequantizeLinear)  # operators of ONNX' reference evaluator; the report names those that a file has


def _reference(path, layout):
    with _raising_cannot_run():
        model = onnx.load(path)
        evaluator = onnx.reference.ReferenceEvaluator(model, new_ops=list(REPLACED))
    _check_known_bugs(model, "Loop")
    for node in model.graph.node:
        if node.op_type in ("LSTM", "GRU") and any(attribute.name == "activations" for attribute in node.attribute):
            raise CannotRun(f"it ignores the activations of {node.op_type}")
    dtypes = _types(model.graph.input)

    def run(batch):
        inputs = _by_name(batch, dtypes, layout)
        with _raising_cannot_run(), np.errstate(all="ignore"):
            return evaluator.run(None, inputs)

    return run


def differing_operator(path: str | Path, batch: np.ndarray, layout: str | None = "NCHW") -> str | None:
    """Return the first operator that ONNX' reference evaluator computes differently from onnxruntime, from the same values.

    Args:
        path: ONNX file.
        batch: (n, ...) channels-last array; of a file with a static batch, at least as many inputs.
        layout: layout of the file's input.

    Returns:
        Type and output of the operator, such as "LogSoftmax (scores)"; None if there is none, or if the values between
        the operators cannot be computed.
    """
    model = onnx.load(path)
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for node in model.graph.node for name in node.output if name)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        opened = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        static = opened.get_inputs()[0].shape[0]
        given = feeds(opened, batch[:static] if isinstance(static, int) else batch, layout)
        names = [value.name for value in opened.get_outputs()]
        values = given | dict(zip(names, opened.run(names, given), strict=True))
        values |= {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        return next((text for node in model.graph.node if (text := _differs(node, values, model.opset_import))), None)
    except Exception:  # the errors of both share no public base class
        return None


def _differs(node, values, opsets):
    """Return the description of a node whose outputs the reference evaluator computes differently, or None."""
    inputs = [_value_info(name, values[name]) for name in dict.fromkeys(node.input) if name]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    alone = onnx.helper.make_model(onnx.helper.make_graph([node], "node", inputs, outputs), opset_imports=opsets)
    with np.errstate(all="ignore"):
        evaluator = onnx.reference.ReferenceEvaluator(alone, new_ops=list(REPLACED))
        found = evaluator.run(None, {value.name: values[value.name] for value in inputs})
    for name, result in zip(evaluator.output_names, found, strict=True):
        if not _nearly_equal(np.asarray(result), values[name]):
            return f"{node.op_type} ({name})"
    return None


def _value_info(name, value):
    return onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)


def _nearly_equal(found, expected):
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return False
    if expected.dtype.kind != "f":
        return np.array_equal(found, expected)
    finite = expected[np.isfinite(expected)]
    largest = float(np.abs(finite).max(initial=0))
    return np.allclose(found, expected, rtol=ROUGH, atol=ROUGH * largest, equal_nan=True)


def _check_known_bugs(model, *operators, reduced_axes=None):
    """Raise `CannotRun` for operators that a runtime is known to compute wrongly, so that the file is not blamed.

    Found with onnx 1.23 and OpenCV 5.0: in a Loop, the former loses the batch and the latter the state; OpenCV reduces the
    wrong axes if there are three of them and they are not the last ones.

    Args:
        model: `onnx.ModelProto`.
        operators: operators that the runtime computes wrongly.
        reduced_axes: number of axes from which on it computes reductions wrongly.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in operators:
            raise CannotRun(f"it computes {node.op_type} wrongly")
        if reduced_axes and node.op_type.startswith("Reduce"):
            inputs = [list(constants[name].dims) for name in node.input[1:] if name in constants]
            attributes = [[len(attribute.ints)] for attribute in node.attribute if attribute.name == "axes"]
            if any(size >= reduced_axes for sizes in inputs + attributes for size in sizes):
                raise CannotRun(f"it computes {node.op_type} over {reduced_axes} axes wrongly")


def _types(values):
    """Return the data types of inputs or outputs of an `onnx.GraphProto` by their names."""
    return {each.name: onnx.helper.tensor_dtype_to_np_dtype(each.type.tensor_type.elem_type) for each in values}


def _openvino(path, layout, precision, exact_sums):
    # Without this, each import of OpenVINO sends telemetry over the network.
    sys.modules.setdefault("openvino_telemetry", None)
    openvino = _import_optional("openvino")
    with _raising_cannot_run():
        # On some CPUs it would compute in bfloat16 by default.
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            **(NO_INT8_KERNELS if precision == Precision.INT8 and exact_sums else {}),
        }
        compiled = openvino.Core().compile_model(path, "CPU", settings)
    dtypes = {each.any_name: each.element_type.to_dtype() for each in compiled.inputs}

    def run(batch):
        inputs = _by_name(batch, dtypes, layout)
        with _raising_cannot_run():
            found = compiled(inputs)
            return [found[each] for each in compiled.outputs]

    return run


def _opencv(path, layout):
    cv2 = _import_optional("cv2")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # failures raise
    with _raising_cannot_run():
        model = onnx.load(path, load_external_data=False)
    if len(model.graph.input) != 1 or len(model.graph.output) != 1:
        raise CannotRun("it is only used for files with one input and one output")
    if any(not size.HasField("dim_value") for size in model.graph.input[0].type.tensor_type.shape.dim[1:]):
        raise CannotRun("it crashes on inputs of free size")  # OpenCV 5.0
    _check_known_bugs(model, "Loop", reduced_axes=3)
    with _raising_cannot_run():
        net = cv2.dnn.readNetFromONNX(path)
    (input_dtype,), (output_dtype,) = (_types(values).values() for values in (model.graph.input, model.graph.output))

    def run(batch):
        batch = _to_layout(batch, input_dtype, layout)
        with _raising_cannot_run():
            net.setInput(batch)
            return [net.forward().astype(output_dtype)]  # it returns float16 as float32

    return run


def _import_optional(module):
    if importlib.util.find_spec(module) is None:
        raise CannotRun("not installed; in a checkout of the zoo: pip install '.[runtimes]'")
    return importlib.import_module(module)


@contextlib.contextmanager
def _raising_cannot_run():
    """Raise any error of a runtime as `CannotRun`."""
    try:
        yield
    except Exception as error:
        raise CannotRun(first_line(error)) from error


def first_line(error: Exception) -> str:
    """Return the first meaningful line of an error; OpenVINO's begin with source locations that end with a colon."""
    lines = [line.strip() for line in str(error).splitlines()]
    meaningful = [line for line in lines if line and not line.endswith(":")]
    return (meaningful or [type(error).__name__])[0]
