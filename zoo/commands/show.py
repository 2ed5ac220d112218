"""The command `zoo show`."""

from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo import cli, registry
from zoo.console import note_random_weights, option_groups, print_skipped
from zoo.errors import ZooError, printable

if TYPE_CHECKING:
    from zoo.classifier import Classifier

STRONGEST = 12  # images that are drawn for --unit with --data


@dataclass(frozen=True)
class Subject:
    """Options of `zoo show` that select what to draw."""

    layer: Annotated[str | None, typer.Option(help="Layer to draw. Default: the first one with weights.")] = None
    image: Annotated[Path | None, typer.Option(help="Draw the activations of the layer for this image.")] = None
    unit: Annotated[
        int | None, typer.Option(help="Number of a unit or feature map of the layer, from 1; needs --image or --data.")
    ] = None
    data: Annotated[
        Path | None,
        typer.Option(
            help="Draw the images of this folder that activate the unit most; with --augmented, images to augment."
        ),
    ] = None


@option_groups(subject=Subject)
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME-or-FILE",
            help="A model such as linear.mnist, or a .keras file; with --augmented, a recipe or a run directory.",
        ),
    ],
    subject: Subject,
    augmented: Annotated[
        bool, typer.Option("--augmented", help="Draw images before and after the augmentation of a recipe.")
    ] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Random seed of the augmentation. Default: the recipe's.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="The PNG file to write. Default: ./NAME.png, with the layer and unit in its name.")
    ] = None,
) -> None:
    """Draw the weights of a layer, its activations, or augmented training images.

    Example: zoo show lenet5.mnist --layer c3 --image seven.png
    """
    if augmented:
        if (subject.layer, subject.image, subject.unit) != (None, None, None):
            raise ZooError("--augmented draws the images of a recipe; omit --layer, --image and --unit")
        (drawer,) = entry_points(group="zoo.show", name="augmented")
        cli.start_keras()
        drawer.load()(name, str(subject.data or ""), seed, out)
        return
    if seed is not None:
        raise ZooError("--seed is the seed of an augmentation; it needs --augmented")
    _check(subject)
    cli.start_keras(name)
    from zoo import images
    from zoo.analysis import drawing

    out = out or _default_path(name, subject)
    classifier = registry.load(name)
    if subject.data is not None:
        _draw_strongest(classifier, subject, out)
    elif subject.image is not None:
        image = images.read(subject.image, classifier.image_spec)
        layer, count, total = drawing.draw_activations(classifier, image, out, subject.layer, subject.unit)
        print(f"{out}: layer {layer}, {f'unit {subject.unit}' if subject.unit is not None else f'{count} of {total}'}")
    else:
        layer, count, total = drawing.draw(classifier, out, subject.layer)
        print(f"{out}: layer {layer}, {count} {'images' if count == total else f'of {total:,} images'}")
    note_random_weights(name)


def _check(subject: Subject) -> None:
    """Refuse combinations of options that select nothing."""
    if subject.image is not None and subject.data is not None:
        raise ZooError("--image draws one image and --data the strongest of a folder; give one of them")
    if subject.unit is not None and subject.image is None and subject.data is None:
        raise ZooError("--unit needs an image with --image FILE, or a folder with --data FOLDER")
    if subject.data is not None and subject.unit is None:
        raise ZooError("--data draws the strongest images of one unit; name it with --unit, such as --unit 1")
    if subject.layer is None and (subject.image is not None or subject.data is not None):
        raise ZooError("--image, --unit and --data need a layer; name it with --layer. `zoo info MODEL` lists the layers")


def _default_path(name: str, subject: Subject) -> Path:
    """Return the file to write if none is given: model, layer, unit, and image or folder, joined by hyphens."""
    about = subject.data.name if subject.data else subject.image.stem if subject.image else None
    words = [Path(name).stem if registry.is_path(name) else name, subject.layer, subject.unit, about]
    return Path("-".join(str(word) for word in words if word is not None) + ".png")


def _draw_strongest(classifier: "Classifier", subject: Subject, out: Path) -> None:
    """Draw and print the images of a folder with the strongest activations of a unit."""
    from zoo import images
    from zoo.analysis import drawing, features

    layer, unit, folder = subject.layer, subject.unit, subject.data
    found, problems = features.strongest(classifier, folder, layer, unit, STRONGEST)
    tiles = [
        ([f"{value:.4g}", path.relative_to(folder).as_posix()], images.read(path, classifier.image_spec))
        for path, value in found
    ]
    title = f"{drawing.heading(classifier, layer)}, unit {unit}: the strongest activations"
    drawing.contact_sheet(tiles, out, title)
    for path, value in found:
        print(f"{value:10.4g}  {printable(str(path))}")
    print_skipped(problems)
    print(f"{out}: layer {layer}, unit {unit}, {len(found)} images")
