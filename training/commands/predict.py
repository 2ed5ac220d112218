"""The command `zoo predict`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo import cli
from zoo.console import Json, Model, Strict, note_random_weights, print_skipped

if TYPE_CHECKING:
    import numpy as np


def predict(
    model: Model,
    paths: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files, or folders of them.")],
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Classify images.

    Example: zoo predict lenet5.mnist seven.png photos/
    """
    cli.start_keras(model)
    from training.evaluation import evaluate as evaluation
    from zoo import images, registry

    files = [file for path in paths for file in (images.find(path) if path.is_dir() else [path])]
    note_random_weights(model)
    classifier = registry.load(model)
    batch, rows, problems = images.read_all(files, classifier.image_spec, strict)
    if not rows:
        raise images.ImageError(f"none of the images can be read; {problems[0]}")
    scores = evaluation.predict(classifier, batch)
    answers = [
        {"picture": str(files[index]), "class": classifier.class_names[row.argmax()], "scores": row.tolist()}
        for index, row in zip(rows, scores, strict=True)
    ]
    if as_json:
        print(json.dumps({"model": model, "answers": answers, "left_out": problems}, indent=2))
        return
    for answer, row in zip(answers, scores, strict=True):
        print(f"{answer['picture']}: {answer['class']}{_runner_up(row, classifier.class_names)}")
    print_skipped(problems)


def _runner_up(scores: "np.ndarray", class_names: list[str]) -> str:
    """Return the second-best class and by how much the best one leads it in score."""
    if len(scores) < 2:
        return ""
    second, first = scores.argsort()[-2:]
    return f", second {class_names[second]} (score lower by {scores[first] - scores[second]:.2f})"
