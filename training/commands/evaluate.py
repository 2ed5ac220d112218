"""The command `zoo evaluate`."""

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from training.commands import runs
from zoo import cli
from zoo.console import Json, Model, Strict, note_random_weights, print_skipped

PRINTED_CLASSES = 30  # classes whose error is printed, the worst ones if there are more


def evaluate(
    model: Model,
    data: Annotated[str, typer.Option(help=f"Images: {runs.DATA}")],
    split: Annotated[str, typer.Option(help="Split to evaluate on. Of data without splits, all images are used.")] = "test",
    views: Annotated[
        int,
        typer.Option(
            metavar="1|10",
            help="10: average the probabilities over crops of the four corners and the center, and their mirror images.",
        ),
    ] = 1,
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Measure the error of a model on a data set.

    Example: zoo evaluate lenet5.mnist --data mnist
    """
    cli.start_keras(model, runs.DATA_PACKAGES)
    from training.evaluation.evaluate import evaluate as measure
    from training.evaluation.metrics import split_images
    from zoo import registry

    note_random_weights(model)
    evaluation, problems = measure(registry.load(model), data, split, strict, views)
    summary = evaluation.summary()
    if as_json:
        print(json.dumps({"model": model, "data": data, **summary, "left_out": problems}, indent=2))
        return
    print_skipped(problems)
    of_views = f", {views} views of each" if views > 1 else ""
    count = f"{summary['wrong']:,} of {summary['pictures']:,} {split_images(evaluation.split)} misclassified"
    print(f"{model} on {data}: {count}{of_views}")
    if evaluation.split == "all":
        print("note: this is the whole data set; the error is too low if the model was trained on some of it")
        run_split = Path(model).parent / "split.csv"
        if registry.is_path(model) and run_split.exists():
            command = shlex.join(["zoo", "evaluate", model, "--data", str(run_split)])
            print(f"to evaluate on the test split of its run: {command}")
    top5 = f"top-5 error {summary['top5_error']:.2f} %, " if "top5_error" in summary else ""
    print(f"error {summary['error']:.2f} %, {top5}accuracy {summary['accuracy']:.2f} %, {summary['seconds']:.1f} s")
    print(evaluation.describe_interval())
    _print_by_class(summary["error_by_class"])
    name = "model" if registry.is_path(model) else model
    print(f"next: {shlex.join(['zoo', 'export', model, '--to', 'onnx', '--out', f'{name}.onnx'])}")


def _print_by_class(error_by_class: dict[str, float | None]) -> None:
    """Print the error of each class that has images, or of the worst ones if there are many."""
    by_class = [(name, error) for name, error in error_by_class.items() if error is not None]
    title = "error per class"
    if len(by_class) > PRINTED_CLASSES:
        title = f"error per class, of the {PRINTED_CLASSES} worst of {len(by_class):,} classes"
        by_class = sorted(by_class, key=lambda each: -each[1])[:PRINTED_CLASSES]
    print(f"{title}, %: {', '.join(f'{name} {error:.1f}' for name, error in by_class)}")
