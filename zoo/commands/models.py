"""The commands `zoo list`, `info`, `show`, `features`, `similar` and `import`."""

import json
import shlex
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer

from zoo import cli, registry
from zoo.console import Json, Strict, note_random_weights, print_skipped
from zoo.errors import ZooError, printable
from zoo.files import atomic

SIMILAR = "alexnet-owt.imagenet"  # finds what is similar, unless another is asked for
BEST = 12  # pictures that a unit likes best


def list_(as_json: Json = False):
    """List the models of the zoo and their pretrained weights, oldest first.

    Example: zoo list
    """
    rows = [
        {
            "name": name,
            "title": card["title"],
            "year": card["year"],
            "parameters": card["parameters"],
            "weights": [f"{name}.{tag}" for tag in card.get("weights", {})],
            "summary": card["summary"],
        }
        for name, card in registry.raw_cards().items()
    ]
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for row in rows:
        print(f"{row['year']}  {row['name']:16} {row['parameters']:>12,} parameters  {', '.join(row['weights'])}")
        print(f"      {row['summary']}")
    print("\nnext: zoo info lenet5", file=sys.stderr)


def info(
    name: Annotated[
        str, typer.Argument(help="A model, its weights, or a file: lenet5, lenet5.mnist, mine.keras, lenet5.onnx.")
    ],
    as_json: Json = False,
):
    """Show what is known of a model, and count its layers on the built net; or what an exported file says of itself.

    Example: zoo info lenet5
    """
    for teller in entry_points(group="zoo.info", name=Path(name).suffix):
        teller.load()(Path(name), as_json)
        return
    cli.start_keras(name)
    from dataclasses import asdict

    from zoo.analysis import arithmetic

    model = registry.load(name)
    card = registry.card(model.card)
    rows = arithmetic.table(model)
    totals = arithmetic.totals(rows)
    if as_json:
        answer = {
            **card.model_dump(mode="json", exclude_none=True),
            **totals,
            "layers": [asdict(row) for row in rows],
            "picture": model.image_spec,
            "class_names": model.class_names,
            **({"class_ids": model.class_ids} if model.class_ids else {}),
        }
        print(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.print(f"[bold]{card.title}[/bold] ({card.year})  {', '.join(card.authors)}")
    console.print(f"{card.paper.title}. {card.paper.venue}\n{card.summary}\n")
    height, width, channels = model.input_image_shape
    console.print(f"takes raw 0-255 pictures of {height}x{width}x{channels}; {_classes(model.class_names)}\n")
    layers = Table("layer", "class", "output", box=None)
    for heading in ("parameters", "connections", "MACs"):
        layers.add_column(heading, justify="right")
    for row in rows:
        shape = "x".join(map(str, row.shape))
        layers.add_row(row.name, row.kind, shape, f"{row.trainable:,}", f"{row.connections:,}", f"{row.macs:,}")
    counts = (f"{totals[key]:,}" for key in ("trainable_parameters", "connections", "macs"))
    layers.add_row("[bold]total", "", "", *counts)
    console.print(layers)
    results = Table("\nresult", "\nhow", "\nsource", box=None)
    for each in card.published:
        results.add_row(f"{each.result} {each.value:g} {each.unit}", f"published, {each.setting}", each.source)
    for each in card.measured:
        value = f"{each.mean:.2f} ± {each.spread:.2f}" if len(each.values) > 1 else f"{each.mean:g}"
        seeds = f"seeds {min(each.seeds)} to {max(each.seeds)}" if len(each.seeds) > 1 else f"seed {each.seeds[0]}"
        results.add_row(f"{each.result} {value} {each.unit}", f"measured, {each.recipe}, {seeds}", each.command)
    for tag, weights in {} if registry.is_path(name) else card.weights.items():
        for each in weights.published:
            how = f"published, {card.name}.{tag}, {each.dataset}"
            results.add_row(f"{each.result} {each.value:g} {each.unit}", f"{how}, {each.setting}", each.source)
        for each in weights.measured:
            results.add_row(f"{each.result} {each.mean:.2f} {each.unit}", f"measured, {card.name}.{tag}", each.command)
    if results.row_count:
        console.print(results)
    for gap in card.reconstruction:
        console.print(f"reconstruction: {gap}")
    if card.weights and "." not in name:
        tag, weights = next(iter(card.weights.items()))
        data = f"evaluate {card.name}.{tag} --data {weights.measured[0].dataset}" if weights.measured else None
        console.print(f"\nnext: zoo {data or f'predict {card.name}.{tag} PICTURE'}")


def _classes(names):
    """Say what a model's classes are, or how many where they would fill the screen."""
    if len(names) <= 100:
        return f"classes: {', '.join(names)}"
    return f"{len(names):,} classes, from {names[0]} to {names[-1]}; --json lists them"


def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME-or-FILE", help="Such as linear.mnist, or a .keras file; with --augmented a recipe or run folder."
        ),
    ],
    layer: Annotated[str | None, typer.Option(help="The layer; by default the first one with weights.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw what the layer makes of this picture.")] = None,
    unit: Annotated[int | None, typer.Option(help="One unit or map of the layer, from 1; with --picture or --data.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Draw the pictures of this folder that the unit likes best; with --augmented, distort these."),
    ] = None,
    augmented: Annotated[
        bool,
        typer.Option("--augmented", help="Draw what a recipe shows the net in training, beside the pictures."),
    ] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the distortions; by default the recipe's.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="The PNG to write; by default NAME.png here, with what is shown in its name.")
    ] = None,
):
    """Draw what a layer has learned: templates, kernels, memorised pictures; what it makes of pictures; what it learns from.

    Example: zoo show lenet5.mnist --layer c3 --picture seven.png
    """
    if augmented:
        if (layer, picture, unit) != (None, None, None):
            raise ZooError("--augmented shows what a recipe does to pictures; leave out --layer, --picture and --unit")
        (drawer,) = entry_points(group="zoo.show", name="augmented")
        cli.start_keras()
        drawer.load()(name, str(data or ""), seed, out)
        return
    if seed is not None:
        raise ZooError("--seed is of the distortions that --augmented shows")
    _check_combination(layer, picture, unit, data)
    cli.start_keras(name)
    from zoo import images as reading
    from zoo.analysis import drawing

    about = data.name if data else picture.stem if picture else None
    words = [Path(name).stem if registry.is_path(name) else name, layer, unit, about]
    out = out or Path("-".join(str(word) for word in words if word is not None) + ".png")
    classifier = registry.load(name)
    if data is not None:
        _strongest(classifier, layer, unit, data, out)
    elif picture is not None:
        shown = reading.read(picture, classifier.image_spec)
        layer, count, total = drawing.draw_activations(classifier, shown, out, layer, unit)
        print(f"{out}: layer {layer}, {f'unit {unit}' if unit is not None else f'{count} of {total}'}")
    else:
        layer, count, total = drawing.draw(classifier, out, layer)
        print(f"{out}: layer {layer}, {count} {'pictures' if count == total else f'of {total:,} pictures'}")
    note_random_weights(name)


def _check_combination(layer, picture, unit, data):
    """Refuse options of `zoo show` that ask for nothing together."""
    if picture is not None and data is not None:
        raise ZooError("--picture shows one picture and --data the best of a folder; give one of them")
    if unit is not None and picture is None and data is None:
        raise ZooError("--unit shows what one unit responds to; give it a --picture FILE, or a folder with --data FOLDER")
    if data is not None and unit is None:
        raise ZooError("--data shows what one unit likes best; name it with --unit, such as --unit 1")
    if layer is None and (picture is not None or data is not None):
        raise ZooError("--picture, --unit and --data show one layer; name it with --layer, as `zoo info MODEL` lists them")


def _strongest(classifier, layer, unit, data, out):
    """Draw the pictures of a folder to which a unit responds most, and name them."""
    from zoo import images as reading
    from zoo.analysis import drawing
    from zoo.analysis import features as making

    found, problems = making.strongest(classifier, data, layer, unit, BEST)
    tiles = [
        ([f"{value:.4g}", path.relative_to(data).as_posix()], reading.read(path, classifier.image_spec))
        for path, value in found
    ]
    drawing.contact_sheet(tiles, out, f"{drawing.heading(classifier, layer)}, unit {unit}: the strongest responses")
    for path, value in found:
        print(f"{value:10.4g}  {printable(str(path))}")
    print_skipped(problems)
    print(f"{out}: layer {layer}, unit {unit}, {len(found)} pictures")


def features(
    name: Annotated[str, typer.Argument(metavar="NAME-or-FILE", help="Such as lenet5.mnist, or a .keras file.")],
    folder: Annotated[Path, typer.Argument(help="A folder of pictures, and of folders of them.")],
    layer: Annotated[
        str | None, typer.Option(help="The layer; by default the last one before the output: fc7 of AlexNet.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The .npz to write.")] = Path("features.npz"),
    strict: Strict = False,
):
    """Write what a layer says of all pictures below a folder, a vector a picture.

    Example: zoo features lenet5.mnist photos --out photos.npz
    """
    cli.start_keras(name)
    from zoo.analysis import features as making

    found, problems = making.of_folder(registry.load(name), name, folder, layer, strict)
    making.save(found, out)
    print_skipped(problems)
    print(f"{out}: {len(found.vectors):,} vectors of the {found.vectors.shape[1]:,} features of layer {found.layer}")
    if registry.is_path(name) or "." in name:
        print(f"next: zoo similar PICTURE {shlex.quote(str(out))}")
    else:  # of use in this process alone
        note_random_weights(name)


def similar(
    picture: Annotated[Path, typer.Argument(help="The picture that others are to resemble.")],
    among: Annotated[Path, typer.Argument(metavar="FOLDER-or-FEATURES", help="A folder, or what `zoo features` wrote.")],
    model: Annotated[str | None, typer.Option(help=f"The model; by default that of the features, or {SIMILAR}.")] = None,
    layer: Annotated[str | None, typer.Option(help="The layer; by default as for `zoo features`.")] = None,
    count: Annotated[int, typer.Option(min=1, max=100, help="How many pictures.")] = 12,
    out: Annotated[Path, typer.Option(help="The PNG to write.")] = Path("similar.png"),
    as_json: Json = False,
):
    """Find the pictures most like one, by the Euclidean distance of what a layer says of them, and draw them.

    Example: zoo similar seven.png photos --model lenet5.mnist
    """
    from zoo import images as reading

    if not picture.is_file():
        raise reading.ImageError(f"no file {picture}")
    if not among.exists():
        raise ZooError(f"no folder or file {among}; `zoo features MODEL FOLDER --out {among}` writes one")
    cli.start_keras((model or SIMILAR) if among.is_dir() else model)
    from zoo.analysis import drawing
    from zoo.analysis import features as making

    found = None if among.is_dir() else making.load(among)
    if found and layer not in (None, found.layer):
        raise ZooError(f"{among} has the features of layer {found.layer}, not {layer}; leave --layer out, or make others")
    name = model or (found.model if found else SIMILAR)
    classifier, problems = registry.load(name), []
    asked = reading.read(picture, classifier.image_spec)
    if found:
        making.check(found, classifier, among)
    else:
        found, problems = making.of_folder(classifier, name, among, layer)
    vector = making.extract(classifier, asked[None], found.layer)[0]
    places, distances = making.nearest(found, vector, count)
    nearest = [(found.paths[place], float(distance)) for place, distance in zip(places, distances, strict=True)]
    try:
        shown = [reading.read(Path(found.folder) / path, classifier.image_spec) for path, _ in nearest]
    except reading.ImageError as error:
        raise ZooError(
            f"{error}; if its folder has changed since, make the features again: {found.command(among)}"
        ) from error
    tiles = [([f"{distance:.4g}", path], each) for (path, distance), each in zip(nearest, shown, strict=True)]
    title = f"{drawing.heading(classifier, found.layer)}: the nearest of {len(found.paths):,}"
    drawing.contact_sheet(tiles, out, title, ([picture.name], asked))
    if as_json:
        about = {"picture": str(picture), "model": name, "layer": found.layer, "folder": found.folder, "out": str(out)}
        rows = [{"picture": path, "distance": distance} for path, distance in nearest]
        print(json.dumps({**about, "nearest": rows, "left_out": problems}, indent=2))
        return
    for path, distance in nearest:
        print(f"{distance:10.4g}  {printable(path)}")
    print_skipped(problems)
    print(f"{out}: the {len(nearest)} nearest of {len(found.paths):,} pictures, layer {found.layer} of {name}")
    note_random_weights(name)
    if among.is_dir():
        print(f"next, so that the folder is read once: {found.command('features.npz')}")


def import_(
    file: Annotated[Path, typer.Argument(help="A .caffemodel of Caffe, or a .pth of PyTorch with a state_dict.")],
    architecture: Annotated[str, typer.Option("--as", metavar="ARCH", help="The net that it is of, such as alexnet-owt.")],
    out: Annotated[Path | None, typer.Option(help="The .keras file to write; by default FILE.keras here.")] = None,
    classes: Annotated[Path | None, typer.Option(help="A text file with the name of a class in each line.")] = None,
):
    """Convert a file of Caffe or PyTorch into a classifier that takes raw pictures; neither of the two is needed.

    Example: zoo import bvlc_alexnet.caffemodel --as alexnet-bvlc
    """
    from zoo import converters

    out = out or Path(f"{file.stem}.keras")
    if out.suffix != ".keras":
        raise ZooError(f"--out {out} is not a .keras file, as which the classifier is saved")
    form = converters.recognise(file)
    card = _importing(architecture, form)
    count, names = converters.read_head(file, card.imports[form], form)
    if count < 2:
        raise ZooError(f"the last layer of {file}, {list(names.values())[-1]}, tells no classes apart")
    given = _lines(classes, count) if classes else None
    cli.start_keras()
    import keras

    from zoo import initializers

    known = next((weights for weights in card.weights.values() if weights.format == form), None)
    fits = known is not None and len(known.class_names) == count and not given
    options = known.options if known else {}
    with keras.StatelessScope(initialize_variables=False):  # shapes alone: a file may say that it has a billion classes
        converters.check(registry.build(card.name, classes=count, **options), file, names, form)
    with initializers.starting_from_zero():
        net = registry.build(card.name, classes=count, **options)
    converters.convert(net, file, names, form)
    class_names = given or (known.class_names if fits else range(count))
    classifier = registry.wrap(net, card, class_names, known, options, class_ids=known.class_ids if fits else None)
    with atomic(out) as temporary:
        classifier.save(temporary)
    first, *_, last = classifier.class_names
    print(f"{out}: {card.title}, {count:,} classes, from {first} to {last}")
    if fits:
        print(f"named as in {known.classes}, as there are {count:,} classes; --classes FILE names others", file=sys.stderr)
    elif not given:
        print("its classes have numbers; name them with --classes FILE, a line a class", file=sys.stderr)
    print(f"next: {shlex.join(['zoo', 'export', str(out), '--to', 'onnx', '--out', str(out.with_suffix('.onnx'))])}")


def _importing(name, form):
    """Return the card of an architecture whose nets can be made of files of a format."""
    arch, tag = registry.split_name(name)
    if tag:
        raise ZooError(f"--as takes an architecture; for this file perhaps {arch}")
    able = [each for each in registry.list_models() if form in registry.card(each).imports]
    card = registry.card(arch)
    if form not in card.imports:
        others = f", but files of {' and '.join(card.imports)}" if card.imports else ""
        raise ZooError(f"{arch} cannot be made of a file of {form}{others}; those that can: {', '.join(able)}")
    return card


def _lines(path, count):
    """Return the names of classes in a text file."""
    try:
        names = [line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ZooError(f"{path} cannot be read ({error}); give a text file with the name of a class in each line") from error
    if len(names) != count:
        raise ZooError(f"{path} names {len(names):,} classes, and the net has {count:,}")
    if twice := {name for name in names if names.count(name) > 1}:
        raise ZooError(f"{path} has the class '{min(twice)}' more than once")
    return names
