"""The command `zoo info`."""

import json
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo import cli, registry
from zoo.console import Json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from zoo.analysis.arithmetic import Row
    from zoo.classifier import Classifier
    from zoo.schema import Card


def info(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME-or-FILE",
            help="A model, weights or a file, such as lenet5, lenet5.mnist, mine.keras or lenet5.onnx.",
        ),
    ],
    as_json: Json = False,
) -> None:
    """Print the paper, layers, parameters and results of a model, or the metadata of an ONNX file.

    Example: zoo info lenet5
    """
    for describe in entry_points(group="zoo.info", name=Path(name).suffix):
        describe.load()(Path(name), as_json)
        return
    cli.start_keras(name)
    from zoo.analysis import arithmetic

    model = registry.load(name)
    card = registry.card(model.card)
    rows = arithmetic.table(model)
    totals = arithmetic.totals(rows)
    if as_json:
        print(json.dumps(_facts(model, card, rows, totals), indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    console = Console(highlight=False)
    _print_model(console, model, card)
    console.print(_layer_table(rows, totals))
    results = _result_table(card, with_weights=not registry.is_path(name))
    if results.row_count:
        console.print(results)
    if card.reconstruction:
        console.print("\nDetails that the sources do not specify, and the choices made here:")
    for gap in card.reconstruction:
        console.print(f"- {gap}")
    if card.weights and "." not in name:
        tag, weights = next(iter(card.weights.items()))
        data = f"evaluate {card.name}.{tag} --data {weights.measured[0].dataset}" if weights.measured else None
        console.print(f"\nnext: zoo {data or f'predict {card.name}.{tag} IMAGE'}")


def _facts(model: "Classifier", card: "Card", rows: "list[Row]", totals: dict) -> dict:
    """Return what `--json` prints."""
    from dataclasses import asdict

    return {
        **card.model_dump(mode="json", exclude_none=True),
        **totals,
        "layers": [asdict(row) for row in rows],
        "picture": model.image_spec,
        "class_names": model.class_names,
        **({"class_ids": model.class_ids} if model.class_ids else {}),
    }


def _print_model(console: "Console", model: "Classifier", card: "Card") -> None:
    """Print title, authors, paper, input and classes."""
    console.print(f"[bold]{card.title}[/bold] ({card.year})  {', '.join(card.authors)}")
    console.print(f"{card.paper.title}. {card.paper.venue}\n{card.summary}\n")
    height, width, channels = model.input_image_shape
    names = model.class_names
    classes = f"classes: {', '.join(names)}"
    if len(names) > 100:
        classes = f"{len(names):,} classes, from {names[0]} to {names[-1]}; --json lists them"
    console.print(f"input: images of {height}x{width}x{channels}, raw 0-255; {classes}\n")


def _layer_table(rows: "list[Row]", totals: dict) -> "Table":
    """Return the table of layers with their counts and the totals."""
    from rich.table import Table

    layers = Table("layer", "class", "output", box=None)
    for heading in ("parameters", "connections", "MACs"):
        layers.add_column(heading, justify="right")
    for row in rows:
        shape = "x".join(map(str, row.shape))
        layers.add_row(row.name, row.kind, shape, f"{row.trainable:,}", f"{row.connections:,}", f"{row.macs:,}")
    counts = (f"{totals[key]:,}" for key in ("trainable_parameters", "connections", "macs"))
    layers.add_row("[bold]total", "", "", *counts)
    return layers


def _result_table(card: "Card", with_weights: bool) -> "Table":
    """Return the table of published and measured results of a model and, if asked for, of its weights."""
    from rich.table import Table

    results = Table("\nresult", "\nhow", "\nsource", box=None)
    for row in _model_results(card):
        results.add_row(*row)
    for row in _weights_results(card) if with_weights else ():
        results.add_row(*row)
    return results


def _model_results(card: "Card") -> Iterator[tuple[str, str, str]]:
    for each in card.published:
        yield f"{each.result} {each.value:g} {each.unit}", f"published, {each.setting}", each.source
    for each in card.measured:
        value = f"{each.mean:.2f} ± {each.spread:.2f}" if len(each.values) > 1 else f"{each.mean:g}"
        seeds = f"seeds {min(each.seeds)} to {max(each.seeds)}" if len(each.seeds) > 1 else f"seed {each.seeds[0]}"
        yield f"{each.result} {value} {each.unit}", f"measured, {each.recipe}, {seeds}", each.command


def _weights_results(card: "Card") -> Iterator[tuple[str, str, str]]:
    for tag, weights in card.weights.items():
        for each in weights.published:
            how = f"published, {card.name}.{tag}, {each.dataset}, {each.setting}"
            yield f"{each.result} {each.value:g} {each.unit}", how, each.source
        for each in weights.measured:
            yield f"{each.result} {each.mean:.2f} {each.unit}", f"measured, {card.name}.{tag}", each.command
