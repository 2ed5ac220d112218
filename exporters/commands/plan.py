"""The commands `zoo targets` and `zoo plan`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from exporters import targets as known
from exporters.planner import show
from exporters.planner.settings import batches, settings
from exporters.precision import Precision
from zoo import cli
from zoo.console import Json
from zoo.errors import ZooError


def targets(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A board or card; by default all of them.")] = None,
    as_json: Json = False,
):
    """List the boards and cards that a plan can be made for, or all that is known of one, with the source of each fact.

    Example: zoo targets orin-nano
    """
    boards = [known.target(each) for each in ([name] if name else known.names())]
    if as_json:
        plain = [{**asdict(board), "unverified": list(board.unverified)} for board in boards]
        print(json.dumps(plain[0] if name else plain, indent=2))
        return
    print("\n".join(show.target(boards[0]) if name else show.table(boards)))
    if name and boards[0].is_jetson and not boards[0].jetpack().tensorrt:
        print("next: zoo export lenet5.mnist --to onnx --runtime onnxruntime")
    else:
        print(f"next: zoo plan lenet5.mnist --target {name or 'orin-nano'}")


def plan(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="Such as lenet5.mnist, a .keras file, module:attribute, or an .onnx file."),
    ],
    target: Annotated[str, typer.Option(help="A board or card; zoo targets lists them.")],
    precision: Annotated[
        Precision | None, typer.Option(help="By default fp16; of an .onnx file, the one that it has.")
    ] = None,
    jetpack: Annotated[str | None, typer.Option(help="Of a board; by default the newest documented.")] = None,
    tensorrt: Annotated[str | None, typer.Option(help="Of a card; by default the newest documented.")] = None,
    dla: Annotated[bool, typer.Option("--dla", help="Use the deep learning accelerator for what it takes.")] = False,
    opset: Annotated[int | None, typer.Option(help="ONNX operator set; by default 13, or the newest that is read.")] = None,
    batch: Annotated[
        str | None, typer.Option(help="Smallest, best and largest number of pictures at a time, or the only one.")
    ] = None,
    as_json: Json = False,
):
    """Tell what an engine of a model will be on a board, and the least time that it takes; nothing is built.

    Example: zoo plan alexnet --target orin-nano --precision int8
    """
    asked = {"jetpack": jetpack, "tensorrt": tensorrt, "dla": dla, "batches": batches(batch)}
    told = settings(target, precision or Precision.FP16, opset=opset, **asked)
    if model.endswith(".onnx"):
        if opset is not None:
            raise ZooError("--opset is for a model; an .onnx file has its own")
        graph, about = _opened(Path(model), target)
        precision = precision or (Precision.FP16 if about["precision"] == Precision.FP32 else about["precision"])
        told = settings(target, precision, opset=graph.graph.opset_imports[""], **asked)
        model = about["model"]
    else:
        cli.start_keras(None if ":" in model else model)
        from exporters import source
        from exporters.onnx import convert

        graph = convert.convert(source.find(model, pixels=told.pixels), told.opset, told.ir)
    from exporters.planner import plan as planning

    found = planning.plan(graph, told, model)
    print(json.dumps(found.plain(), indent=2) if as_json else "\n".join(show.plan(found)))


def _opened(path, target):
    """Return an ONNX file of the zoo, which may be of a stranger, as (`onnx_ir.Model`, dict of its metadata)."""
    from exporters.onnx import metadata
    from exporters.onnx.untrusted import sandbox

    graph, about = metadata.opened(path, sandbox.load)
    if isinstance(graph.graph.inputs[0].shape[0], int) or about.get("layout") == "NHWC":
        raise ZooError(
            f"{path} has a fixed batch or channels last, and what goes to a board has neither; plan the model itself: "
            f"zoo plan {about['model']} --target {target}"
        )
    return graph, {"precision": Precision.FP32, **about}
