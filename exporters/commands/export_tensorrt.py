"""What `zoo export --to tensorrt` does and says."""

import json
import shlex
from pathlib import Path

from exporters.planner import settings as planning
from zoo import cli
from zoo.errors import ZooError


def export(model, out, board, batch, ranges, data, as_json):
    """Write a bundle and tell what is known of it.

    Args:
        model: what is exported.
        out: path of the folder.
        board: dict of target, precision, jetpack, tensorrt, dla and opset, as they were given.
        batch: such as "1,8,64", or None.
        ranges: dict of calibration, method and exclude, as they were given.
        data: a folder of pictures for the samples, or None.
        as_json: print JSON.
    """
    if board["target"] is None:
        raise ZooError(
            "a bundle is made for a board; name it with --target, as in --target orin-nano. zoo targets lists them"
        )
    batches = planning.batches(batch)
    chosen = planning.settings(**board, batches=batches)  # refuses what cannot be before Keras loads
    cli.start_keras(None if ":" in model else model)
    from exporters.tensorrt import export

    export.check(chosen, out, **ranges)
    report = export.to_tensorrt(model, out, **board, batches=batches, **ranges, data=data)
    if as_json:
        print(json.dumps(report.plain(), indent=2))
        return
    for path in (report.folder, report.archive):
        print(f"{path}: {_size(Path(path)):,} bytes")
    for line in report.proof.lines():
        print(line)
    if report.parsed:
        print(report.parsed.line())
    if report.plan.placement:
        print(
            f"DLA takes {len(report.plan.dla_layers)} of {len(report.plan.placement)} layers, as documented: zoo plan --dla"
        )
    if report.plan.settings.calibration_table:
        print("the ranges of INT8 travel in calibration.cache, and only verify.py on the board proves them")
    print(report.engine or f"the engine is built on the board, not here: {report.no_engine}")
    following = ["python", f"{report.folder}/verify.py", *([] if report.engine else ["--cpu"])]
    print(f"on the board: the five commands of {report.folder}/README.md")
    print(f"next: {shlex.join(following)}")


def _size(path):
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file()) if path.is_dir() else path.stat().st_size
