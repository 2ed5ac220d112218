"""What reads ONNX files here: onnxruntime, ONNX' own reference, and OpenVINO and OpenCV where they are installed."""

import contextlib
import importlib.util
import sys
from pathlib import Path

import numpy as np
import onnx.reference
import onnxruntime
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_dequantize_linear import DequantizeLinear_25

from exporters.parity import Candidate, CannotRun
from exporters.precision import Precision
from zoo.errors import ZooError

LARGE = 2**25  # bytes of a file
# Without them a sum of two products of eight bits is cut off at 16 bits where there is AVX2 or AVX-512 and no VNNI. The one
# is onnxruntime's; with the other OpenVINO, whose kernels have no such choice, multiplies the same integers as floats.
EXACT_SUMS = {"session.x64quantprecision": "1"}
NO_KERNELS_OF_8_BITS = {"LP_TRANSFORMS_MODE": "NO"}


def candidates(path, layout="NCHW", trusted=True, precision=Precision.FP32, batch=None):
    """Return by name what can run a file: a dict of `exporters.parity.Candidate`, each of which reads it when it is opened.

    Args:
        path: of the ONNX file; weights beside it are found there.
        layout: of the file's input, "NCHW" or "NHWC"; what is run takes channels last.
        trusted: whether those may read it, too, in which it has not been tried out in a process of its own.
        precision: of the file. ONNX' reference may round coarser types in its own way, so it is binding in FP32 only.
        batch: the static batch of the file, if it has one.
    """
    few = max(3, batch or 0) if Path(path).stat().st_size < LARGE else 1  # a picture takes NumPy seconds in a large net
    path = str(path)
    others = {
        "openvino": Candidate(lambda: _openvino(path, layout, precision), binding=False),
        "opencv": Candidate(lambda: _opencv(path, layout), binding=False),
    }
    return {
        "onnxruntime": Candidate(lambda: scorer(path, layout)),
        "onnxruntime basic": Candidate(lambda: scorer(path, layout, optimized=False)),
        "onnx reference": Candidate(lambda: _reference(path, layout), few, binding=precision == Precision.FP32),
        **(others if trusted else {}),
    }


def scorer(path, layout="NCHW", optimized=True):
    """Return a function that runs a file in onnxruntime: (batch, ...) array, channels last -> (batch, classes) scores."""
    opened = session(path, optimized)
    return lambda batch: opened.run(None, fed(opened, batch, layout))[0]


def session(path, optimized=True):
    """Return an onnxruntime session on the CPU, whose sums of 8-bit products are exact.

    In a file where layers share an 8-bit weight, as `exporters.quantization` writes none, they are what the processor makes.

    Args:
        path: of the ONNX file.
        optimized: with all optimizations, or with those alone that hold anywhere.

    Raises:
        ZooError: if onnxruntime cannot read the file.
    """
    opened = None
    for entries in (EXACT_SUMS, {}):  # onnxruntime 1.32 cannot do so with a weight that is used twice
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what fails is raised
        level = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if optimized else level.ORT_ENABLE_BASIC
        for entry in entries.items():
            options.add_session_config_entry(*entry)
        try:
            opened = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            break
        except Exception as error:  # onnxruntime's errors share no public base
            refused = error
    if opened is None:
        raise ZooError(f"onnxruntime cannot read {path}: {_first_line(refused)}") from refused
    if opened.get_providers() != ["CPUExecutionProvider"]:
        raise ZooError(f"onnxruntime runs {path} on {opened.get_providers()} instead of the CPU")
    return opened


def fed(session, batch, layout):
    """Return what a session of one input takes for a (batch, ...) array whose channels are last."""
    (given,) = session.get_inputs()
    kind = given.type.removeprefix("tensor(").removesuffix(")")
    return {given.name: _arranged(batch, {"float": "float32", "double": "float64"}.get(kind, kind), layout)}


def _arranged(batch, dtype, layout):
    batch = np.asarray(batch)
    if layout == "NCHW" and batch.ndim == 4:
        batch = batch.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(batch, dtype)


class LRN(OpRun):
    """ONNX' normalization across channels; the one of onnx 1.23 stops after as many channels as a batch has pictures."""

    op_domain = ""

    def _run(self, x, alpha=None, beta=None, bias=None, size=None):
        before, behind = (size - 1) // 2, size // 2
        squares = np.pad(x * x, [(0, 0), (before, behind), *[(0, 0)] * (x.ndim - 2)])
        sums = sum(squares[:, place : place + x.shape[1]] for place in range(size))
        return ((x / (bias + alpha / size * sums) ** beta).astype(x.dtype),)


class DequantizeLinear(DequantizeLinear_25):
    """That of any operator set; onnx 1.23 lacks those before 19, which can do less."""

    op_domain = ""


def _reference(path, layout):
    with _cannot_run():
        model = onnx.load(path)
        evaluator = onnx.reference.ReferenceEvaluator(model, new_ops=[LRN, DequantizeLinear])
    _refuse_wrong(model, "Loop")
    (name,), (dtype, _) = evaluator.input_names, _types(model)

    def run(batch):
        given = {name: _arranged(batch, dtype, layout)}
        with _cannot_run():
            return evaluator.run(None, given)[0]

    return run


def _refuse_wrong(model, *operators, reduced_axes=None):
    """Raise `CannotRun` for what a runtime is known to compute wrongly, so that its scores would say nothing of the file.

    Found with onnx 1.23 and OpenCV 5.0: of a Loop the one loses the batch and the other the state, and over three axes that
    are not the last ones OpenCV reduces others.

    Args:
        operators: types of operators.
        reduced_axes: that many axes of a reduction, or more.
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


def _types(model):
    """Return the dtypes of the one input and the one output of an `onnx.ModelProto`."""
    ends = [*model.graph.input, *model.graph.output]
    return [onnx.helper.tensor_dtype_to_np_dtype(each.type.tensor_type.elem_type) for each in ends]


def _openvino(path, layout, precision):
    # Else each import of OpenVINO reports itself to its maker, over the network.
    sys.modules.setdefault("openvino_telemetry", None)
    openvino = _installed("openvino")
    with _cannot_run():
        # On some processors it would compute in bfloat16 by itself.
        settings = {"INFERENCE_PRECISION_HINT": "f32", **(NO_KERNELS_OF_8_BITS if precision == Precision.INT8 else {})}
        compiled = openvino.Core().compile_model(path, "CPU", settings)
    dtype = compiled.input(0).element_type.to_dtype()

    def run(batch):
        batch = _arranged(batch, dtype, layout)
        with _cannot_run():
            return compiled(batch)[0]

    return run


def _opencv(path, layout):
    cv2 = _installed("cv2")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what fails is raised
    with _cannot_run():
        model = onnx.load(path, load_external_data=False)
    _refuse_wrong(model, "Loop", reduced_axes=3)
    with _cannot_run():
        net = cv2.dnn.readNetFromONNX(path)
    given, result = _types(model)

    def run(batch):
        batch = _arranged(batch, given, layout)
        with _cannot_run():
            net.setInput(batch)
            return net.forward().astype(result)  # it gives float16 as float32

    return run


def _installed(module):
    if importlib.util.find_spec(module) is None:
        raise CannotRun("not installed; in a checkout of the zoo: pip install '.[runtimes]'")
    return importlib.import_module(module)


@contextlib.contextmanager
def _cannot_run():
    """Within it, whatever a runtime raises says that it lacks something that the file needs."""
    try:
        yield
    except Exception as error:
        raise CannotRun(_first_line(error)) from error


def _first_line(error):
    """Return the first line of an error that says something; OpenVINO's begin with places in its source, and a colon."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.endswith(":")]
    return (said or [type(error).__name__])[0]
