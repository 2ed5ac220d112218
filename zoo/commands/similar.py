"""The command `zoo similar`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo import cli, registry
from zoo.console import Json, note_random_weights, print_skipped
from zoo.errors import ZooError, printable

if TYPE_CHECKING:
    from zoo.analysis.feature_file import Features
    from zoo.classifier import Classifier

DEFAULT_MODEL = "alexnet-owt.imagenet"


def similar(
    image: Annotated[Path, typer.Argument(help="The image to compare with.")],
    among: Annotated[
        Path, typer.Argument(metavar="FOLDER-or-FEATURES", help="A folder of images, or a file that `zoo features` wrote.")
    ],
    model: Annotated[
        str | None, typer.Option(help=f"Model to use. Default: the model of the features, or {DEFAULT_MODEL}.")
    ] = None,
    layer: Annotated[str | None, typer.Option(help="Layer to compare. Default: as for `zoo features`.")] = None,
    count: Annotated[int, typer.Option(min=1, max=100, help="Number of images.")] = 12,
    out: Annotated[Path, typer.Option(help="The PNG file to write.")] = Path("similar.png"),
    as_json: Json = False,
) -> None:
    """Find and draw the images that are most similar to an image, by the Euclidean distance of a layer's activations.

    Example: zoo similar seven.png photos --model lenet5.mnist
    """
    from zoo import images

    if not image.is_file():
        raise images.ImageError(f"no file {image}")
    if not among.exists():
        raise ZooError(f"no folder or file {among}; to write one: zoo features MODEL FOLDER --out {among}")
    cli.start_keras((model or DEFAULT_MODEL) if among.is_dir() else model)
    from zoo.analysis import drawing, feature_file, features

    found = None if among.is_dir() else feature_file.load(among)
    if found and layer not in (None, found.layer):
        raise ZooError(
            f"{among} has the features of layer {found.layer}, not {layer}; omit --layer, or write other features"
        )
    name = model or (found.model if found else DEFAULT_MODEL)
    classifier, problems = registry.load(name), []
    query = images.read(image, classifier.image_spec)
    if found:
        features.check(found, classifier, among)
    else:
        found, problems = features.of_folder(classifier, name, among, layer)
    vector = features.extract(classifier, query[None], found.layer)[0]
    places, distances = feature_file.nearest(found, vector, count)
    nearest = [(found.paths[place], float(distance)) for place, distance in zip(places, distances, strict=True)]
    shown = _read(nearest, found, classifier, among)
    tiles = [([f"{distance:.4g}", path], each) for (path, distance), each in zip(nearest, shown, strict=True)]
    title = f"{drawing.heading(classifier, found.layer)}: the nearest of {len(found.paths):,}"
    drawing.contact_sheet(tiles, out, title, ([image.name], query))
    if as_json:
        about = {"picture": str(image), "model": name, "layer": found.layer, "folder": found.folder, "out": str(out)}
        rows = [{"picture": path, "distance": distance} for path, distance in nearest]
        print(json.dumps({**about, "nearest": rows, "left_out": problems}, indent=2))
        return
    for path, distance in nearest:
        print(f"{distance:10.4g}  {printable(path)}")
    print_skipped(problems)
    print(f"{out}: the {len(nearest)} nearest of {len(found.paths):,} images, layer {found.layer} of {name}")
    note_random_weights(name)
    if among.is_dir():
        print(f"next, to read the folder only once: {found.command('features.npz')}")


def _read(nearest: list[tuple[str, float]], found: "Features", classifier: "Classifier", among: Path) -> list:
    """Return the images to draw."""
    from zoo import images

    try:
        return [images.read(Path(found.folder) / path, classifier.image_spec) for path, _ in nearest]
    except images.ImageError as error:
        raise ZooError(
            f"{error}; if the folder has changed since, compute the features again: {found.command(among)}"
        ) from error
