"""LiteRT files and SavedModels of models with several inputs or outputs, or of free size."""

import dataclasses
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from exporters import outputs, parity
from exporters.general import GeneralSource
from exporters.onnx import metadata
from exporters.onnx.graph.names import unique_name
from exporters.report import Report
from exporters.signature import Tensor


def export_savedmodel(exported: GeneralSource, path: str | Path, batch: int | None = None) -> None:
    """Write a SavedModel whose signature takes the inputs and returns the outputs by their names.

    Args:
        exported: the model.
        path: folder to write.
        batch: the only batch size that it takes. Default: that of the model, or any.
    """
    import tensorflow as tf

    signature = exported.signature.as_in_file(batch, channels_first=False)
    names = file_names(signature.outputs)

    def serve(*tensors):
        found = exported.signature.call(exported.model, tensors)
        return {name: tf.identity(each) for name, each in zip(names, found, strict=True)}

    archive = keras.export.ExportArchive()
    archive.track(exported.model)
    specs = [
        tf.TensorSpec(each.shape, each.dtype, name)
        for each, name in zip(signature.inputs, file_names(signature.inputs), strict=True)
    ]
    archive.add_endpoint("serving_default", serve, input_signature=specs)
    archive.write_out(path, verbose=False)


def export_litert(exported: GeneralSource, path: str | Path, operators: Sequence, batch: int | None = None) -> None:
    """Write a LiteRT file.

    Args:
        exported, batch: as in `export_savedmodel`.
        path: file to write.
        operators: sets of operators that it may use, such as `tf.lite.OpsSet.TFLITE_BUILTINS`.
    """
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        export_savedmodel(exported, folder, batch)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = list(operators)
        converter.experimental_enable_resource_variables = True  # as Keras' own exporter sets it
        Path(path).write_bytes(converter.convert())


def file_names(tensors: Sequence[Tensor]) -> list[str]:
    """Return the names of inputs or outputs in a file: with letters, digits and _ alone, as TensorFlow requires."""
    taken: set[str] = set()
    return [unique_name(re.sub(r"\W", "_", each.name), taken) for each in tensors]


def about_signature(exported: GeneralSource, batch: int | None = None) -> dict:
    """Return the metadata about the inputs and outputs of a file, with the names that they have in it."""
    signature = exported.signature.as_in_file(batch, channels_first=False)
    inputs, outputs = (
        tuple(dataclasses.replace(each, name=name) for each, name in zip(tensors, file_names(tensors), strict=True))
        for tensors in (signature.inputs, signature.outputs)
    )
    return metadata.about_signature(exported, dataclasses.replace(signature, inputs=inputs, outputs=outputs))


def prove(exported: GeneralSource, runtime: str, open_file: Callable[[], Callable], batch: int | None = None) -> Report:
    """Compare a file with its model, output by output.

    Args:
        exported: the model.
        runtime: its name.
        open_file: function that returns a function of keyword arguments that returns a dict.
        batch: the only batch size that the file takes, or None for any.

    Raises:
        CheckFailed: if the file does not compute what the model computes.
    """

    def opened():
        run = open_file()

        def every_output(inputs):
            arrays = [np.ascontiguousarray(inputs[name]) for name in inputs.dtype.names]
            found = run(**dict(zip(file_names(exported.signature.inputs), arrays, strict=True)))
            return [np.asarray(found[name]) for name in file_names(exported.signature.outputs)]

        return every_output

    types, reports = {each.name: each.dtype for each in exported.signature.outputs}, []
    batch = batch or exported.signature.batch
    for sizes in exported.sizes:
        inputs = exported.inputs(sizes, batch)
        compiled = exported.compiled(inputs.dtype)
        batches = (batch,) if batch else tuple(sorted({min(size, len(inputs)) for size in compiled.batches}))
        candidates = {runtime: parity.Candidate(opened)}
        reports.append(outputs.compare(compiled, candidates, inputs, types, batches, compiled.float64))
    report = outputs.of_all_sizes(reports, exported.sizes)
    report.raise_if_failed()
    return dataclasses.replace(report, assumed=exported.assumed)
