"""The command `zoo plan`."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from exporters.options import EngineOptions, ImageOptions
from exporters.planner import settings as planning
from exporters.planner import show
from exporters.precision import Precision
from zoo import cli
from zoo.console import Json, option_groups
from zoo.errors import ZooError

UNKNOWN_RANGE = ("--value-range", "LOW,HIGH")


@option_groups(options=EngineOptions)
def plan(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A model such as lenet5.mnist, a .keras or .onnx file, or module:attribute."),
    ],
    options: EngineOptions,
    as_json: Json = False,
) -> None:
    """Predict the precision of the layers, the memory and the minimum latency of a model on a board.

    Example: zoo plan alexnet --target orin-nano --precision int8
    """
    settings = planning.resolve(options)  # raises errors before Keras loads
    if model.endswith(".onnx"):
        if options.opset is not None:
            raise ZooError("--opset is for a model; an .onnx file has its own")
        if options.image_options != ImageOptions():
            raise ZooError("--value-range, --classes and --size are for a model; an .onnx file has its own metadata")
        path = Path(model)
        graph, about = _opened(path, options.target)
        precision = options.precision or _precision_of_file(about)
        settings = planning.resolve(replace(options, precision=precision, opset=graph.graph.opset_imports[""]))
        from exporters.onnx import info

        model, describing = info.model_path(path, about["model"]), _words_of(about)
    else:
        cli.start_keras(None if ":" in model else model)
        from exporters import source
        from exporters.onnx import convert

        images = options.image_options
        exported = source.find(model, pixels=settings.pixels, images=images, describe=source.Describe.IF_POSSIBLE)
        graph = convert.convert(exported, settings.opset, settings.ir)
        describing = _describing(exported, images)
    from exporters.planner import plan as planner

    result = planner.plan(graph, settings, model, describing)
    print(json.dumps(result.plain(), indent=2) if as_json else "\n".join(show.plan(result)))


def _opened(path, target):
    """Return an ONNX file of the zoo, which may be of unknown origin, as (`onnx_ir.Model`, dict of its metadata)."""
    from exporters.onnx import metadata
    from exporters.onnx.untrusted import sandbox

    graph, about = metadata.opened(path, sandbox.load)
    metadata.check_single(path, about)
    if isinstance(graph.graph.inputs[0].shape[0], int) or about.get("layout") == "NHWC":
        raise ZooError(
            f"{path} has a fixed batch or channels last, and a board needs neither; plan the model itself: "
            f"zoo plan {about['model']} --target {target}"
        )
    return graph, about


def _describing(exported, images):
    """Return the options that describe the images of a model; None if it cannot be described."""
    from exporters import description

    if exported.classifier:
        return tuple(images.image_words())
    return None if description.obstacle(exported.model, exported.shape) else UNKNOWN_RANGE


def _words_of(about):
    """Return the options that describe the images of a model again, from the metadata of its file."""
    if not about.get("class_names"):
        return None
    if "scores" not in about:  # a model of the zoo describes itself
        return ()
    numbers = list(map(str, range(len(about["class_names"]))))
    classes = None if about["class_names"] == numbers else "FILE"
    size = tuple(about["size"]) if about.get("size") else None
    return tuple(ImageOptions(value_range=about.get("value_range"), classes=classes, size=size).image_words())


def _precision_of_file(about):
    precision = Precision(about.get("precision", Precision.FP32))
    return Precision.FP16 if precision == Precision.FP32 else precision
