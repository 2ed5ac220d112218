"""The command `zoo import`."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo import cli, registry
from zoo.errors import ZooError
from zoo.files import atomic

if TYPE_CHECKING:
    from zoo.classifier import Classifier
    from zoo.schema import Card, Weights


def import_weights(
    file: Annotated[Path, typer.Argument(help="A .caffemodel file of Caffe, or a .pth file of PyTorch with a state_dict.")],
    architecture: Annotated[str, typer.Option("--as", metavar="ARCH", help="Architecture, such as alexnet-owt.")],
    out: Annotated[Path | None, typer.Option(help="The .keras file to write. Default: ./FILE.keras.")] = None,
    classes: Annotated[Path | None, typer.Option(help="A text file with one class name per line.")] = None,
) -> None:
    """Convert a weight file of Caffe or PyTorch to a .keras file. Does not need Caffe or PyTorch.

    Example: zoo import bvlc_alexnet.caffemodel --as alexnet-bvlc
    """
    from zoo import converters

    out = out or Path(f"{file.stem}.keras")
    if out.suffix != ".keras":
        raise ZooError(f"--out must be a .keras file, not {out}")
    form = converters.recognize(file)
    card = _card(architecture, form)
    count, names = converters.read_head(file, card.imports[form], form)
    if count < 2:
        raise ZooError(f"the last layer of {file}, {list(names.values())[-1]}, has {count} outputs; at least 2 are needed")
    given = _lines(classes, count) if classes else None
    known = next((weights for weights in card.weights.values() if weights.format == form), None)
    same = known is not None and len(known.class_names) == count and not given
    cli.start_keras()
    net = _converted(card, known, file, names, form, count)
    class_names = given or (known.class_names if same else range(count))
    options = known.options if known else {}
    classifier = registry.wrap(net, card, class_names, known, options, class_ids=known.class_ids if same else None)
    with atomic(out) as temporary:
        classifier.save(temporary)
    _print(out, card, classifier)
    if same:
        print(f"class names: {known.classes}, which has {count:,} too; --classes FILE sets others", file=sys.stderr)
    elif not given:
        print("class names: numbers; --classes FILE sets names, one per line", file=sys.stderr)
    print(f"next: {shlex.join(['zoo', 'export', str(out), '--to', 'onnx', '--out', str(out.with_suffix('.onnx'))])}")


def _converted(card: "Card", known: "Weights | None", file: Path, names: dict[str, str], form: str, count: int):
    """Return the network of a card with the weights of a file.

    Args:
        card: of the architecture.
        known: weights of the card in the same format, whose builder options are used, or None.
        file: the weight file.
        names: name of each layer in the network -> its name in the file.
        form: "caffe" or "torch".
        count: number of classes.
    """
    import keras

    from zoo import converters, initializers

    options = {"classes": count, **(known.options if known else {})}
    # Shapes are compared before any weight is allocated: a damaged file may claim a billion classes.
    with keras.StatelessScope(initialize_variables=False):
        converters.check(registry.build(card.name, **options), file, names, form)
    with initializers.starting_from_zero():
        net = registry.build(card.name, **options)
    converters.convert(net, file, names, form)
    return net


def _print(out: Path, card: "Card", classifier: "Classifier") -> None:
    names = classifier.class_names
    print(f"{out}: {card.title}, {len(names):,} classes, from {names[0]} to {names[-1]}")


def _card(name: str, form: str) -> "Card":
    """Return the card of an architecture that can be built from files of a format."""
    arch, tag = registry.split_name(name)
    if tag:
        raise ZooError(f"--as takes an architecture, not weights; did you mean '{arch}'?")
    able = [each for each in registry.list_models() if form in registry.card(each).imports]
    card = registry.card(arch)
    if form not in card.imports:
        others = f", only from files of {' and '.join(card.imports)}" if card.imports else ""
        raise ZooError(f"{arch} cannot be built from a file of {form}{others}; these can: {', '.join(able)}")
    return card


def _lines(path: Path, count: int) -> list[str]:
    """Return the class names in a text file."""
    try:
        names = [line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ZooError(f"{path} cannot be read ({error}); give a text file with one class name per line") from error
    if len(names) != count:
        raise ZooError(f"{path} has {len(names):,} class names, but the network has {count:,} classes")
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ZooError(f"{path} has the class name '{min(repeated)}' more than once")
    return names
