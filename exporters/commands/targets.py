"""The command `zoo targets`."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from exporters import targets as known
from exporters.planner import show
from zoo.console import Json


def targets(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Board or graphics card. Default: list all.")] = None,
    as_json: Json = False,
) -> None:
    """List the supported boards and graphics cards, or the specifications of one with their sources.

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
