"""The command `zoo features`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from zoo import cli, registry
from zoo.console import Model, Strict, note_random_weights, print_skipped


def features(
    name: Model,
    folder: Annotated[Path, typer.Argument(help="A folder of images; subfolders are searched too.")],
    layer: Annotated[
        str | None, typer.Option(help="Layer to read. Default: the last one before the output, such as fc7 of AlexNet.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The .npz file to write.")] = Path("features.npz"),
    strict: Strict = False,
) -> None:
    """Save the activations of a layer for all images in a folder, one vector per image.

    Example: zoo features lenet5.mnist photos --out photos.npz
    """
    cli.start_keras(name)
    from zoo.analysis import feature_file, features

    found, problems = features.of_folder(registry.load(name), name, folder, layer, strict)
    feature_file.save(found, out)
    print_skipped(problems)
    print(f"{out}: {len(found.vectors):,} vectors of the {found.vectors.shape[1]:,} features of layer {found.layer}")
    if registry.is_path(name) or "." in name:
        print(f"next: zoo similar IMAGE {shlex.quote(str(out))}")
    else:  # random weights exist in this process only
        note_random_weights(name)
