"""From a classifier to an ONNX graph that takes raw pictures and says what it is."""

import json
import logging
import math
from pathlib import Path

import keras
import onnx

from exporters.onnx import clean
from zoo import registry
from zoo.errors import ZooError

INPUT, OUTPUT, BATCH = "pictures", "scores", "batch"
OLDEST_OPSET = 9  # before it, weights count as inputs
KEY = "zoo"  # of the metadata entry that holds all that the file says about itself, as JSON


def convert(classifier, opset, ir, dtype, origin):
    """Return a classifier as a checked `onnx.ModelProto`; the arguments are those of `exporters.to_onnx`.

    Args:
        origin: the model's name, or its file's, for the metadata; None for a model that has neither.

    Raises:
        ZooError: if the backend is not TensorFlow, or tf2onnx or ONNX know no operator for a part of the model.
    """
    if keras.backend.backend() != "tensorflow":
        raise ZooError(f"export needs the TensorFlow backend, not {keras.backend.backend()}; set KERAS_BACKEND=tensorflow")
    if dtype not in ("uint8", "float32"):
        raise ZooError(f"the pixels of an exported file are uint8 or float32; given was '{dtype}'")
    if opset < OLDEST_OPSET:
        raise ZooError(f"opset {opset} is too old; the oldest that is exported is {OLDEST_OPSET}")
    import tensorflow as tf
    import tf2onnx

    from exporters.onnx import lowering

    # It reports each pass, and what fails is raised below.
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    # Each pass of tf2onnx copies the constants, so it is shown the large ones as inputs.
    large = [weight for weight in classifier.weights if math.prod(weight.shape) > clean.LARGE]
    names = [f"{INPUT}_weight{number}" for number in range(len(large))]
    signature = [tf.TensorSpec((None, *classifier.input_picture_shape), dtype, name=INPUT)]
    signature += [tf.TensorSpec(weight.shape, weight.dtype, name=name) for name, weight in zip(names, large, strict=True)]

    def scores(pictures, *values):
        with keras.StatelessScope(state_mapping=zip(large, values, strict=True)):
            return classifier(pictures, training=False)

    function = tf.function(scores, input_signature=signature)
    try:
        with lowering.one_operator_each(classifier):
            proto, _ = tf2onnx.convert.from_function(function, signature, opset=opset)
    except Exception as error:  # tf2onnx raises whatever its passes do
        raise ZooError(f"tf2onnx cannot convert {classifier.name} at opset {opset}: {error}") from error
    proto.ir_version = ir
    used = {node.domain for node in proto.graph.node}  # tf2onnx imports ai.onnx.ml without using it
    kept = [entry for entry in proto.opset_import if entry.domain in used]
    del proto.opset_import[:]
    proto.opset_import.extend(kept)
    clean.inputs_to_constants(proto, dict(zip(names, large, strict=True)))
    clean.fold_flatten(proto)
    clean.fix_flatten_shapes(proto)
    clean.regroup(proto)
    _name_ends(proto.graph)
    _describe(proto, classifier, origin)
    try:
        onnx.checker.check_model(clean.without_large(proto), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ZooError(f"{classifier.name} cannot be exported at opset {opset}, IR {ir}: {error}") from error
    return proto


def _name_ends(graph):
    """Give input, output and batch dimension the names that a client may rely on, instead of tf2onnx's counters."""
    (given,), (result,) = graph.input, graph.output
    names = {given.name: INPUT, result.name: OUTPUT}
    for node in graph.node:
        for tensors in (node.input, node.output):
            tensors[:] = [names.get(tensor, tensor) for tensor in tensors]
    given.name, result.name = INPUT, OUTPUT
    for end in (given, result):
        end.type.tensor_type.shape.dim[0].dim_param = BATCH


def _describe(proto, classifier, origin):
    """Write card, class names and the way pictures are read into the file's metadata."""
    about = {
        "model": origin or classifier.card,
        "class_names": classifier.class_names,
        **({"class_ids": classifier.class_ids} if classifier.class_ids else {}),
        "picture": classifier.picture,
        "layout": "NHWC",
        "weights_sha256": classifier.fingerprint(),
        "card": registry.card(classifier.card).model_dump(mode="json", exclude_none=True, exclude={"weights"}),
    }
    onnx.helper.set_model_props(proto, {KEY: json.dumps(about, ensure_ascii=False)})
    proto.doc_string = f"{about['card']['title']} ({about['card']['year']}): raw 0-255 pictures -> a score a class"


def read_metadata(path):
    """Return what an ONNX file of this zoo says about itself, as a dict.

    Raises:
        ZooError: if the file is missing, damaged, keeps data outside of itself, or is not of this zoo.
    """
    path = Path(path)
    if not path.is_file():
        raise ZooError(f"no file {path}")
    if path.suffix != ".onnx":
        raise ZooError(f"{path} is no ONNX file; only those can be verified")
    try:
        proto = onnx.load(path, load_external_data=False)
        onnx.checker.check_model(proto)
    except Exception as error:  # protobuf and the checker have errors of their own
        raise ZooError(f"{path} is damaged or no ONNX file ({str(error).splitlines()[0]}); export it again") from error
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in proto.graph.initializer):
        raise ZooError(f"{path} keeps its weights in other files, which this version does not read")
    for entry in proto.metadata_props:
        about = _parsed(entry.value) if entry.key == KEY else None
        if isinstance(about, dict) and isinstance(about.get("model"), str) and "weights_sha256" in about:
            return about
    raise ZooError(f"{path} was not exported by the zoo: it does not say which model it computes")


def _parsed(text):
    try:
        return json.loads(text)
    except ValueError:
        return None
