"""The commands `zoo list`, `zoo info` and `zoo show`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from zoo import cli, registry


def list_(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False):
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
    name: Annotated[str, typer.Argument(help="A model, its weights, or a .keras file: lenet5, lenet5.mnist, mine.keras.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
):
    """Show what is known of a model, and count its layers on the built net.

    Example: zoo info lenet5
    """
    cli.start_keras(name)
    from dataclasses import asdict

    from zoo import arithmetic

    model = registry.load(name)
    card = registry.card(model.card)
    rows = arithmetic.table(model)
    totals = arithmetic.totals(rows)
    if as_json:
        answer = {
            **card.model_dump(mode="json", exclude_none=True),
            **totals,
            "layers": [asdict(row) for row in rows],
            "picture": model.picture,
            "class_names": model.class_names,
        }
        print(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.print(f"[bold]{card.title}[/bold] ({card.year})  {', '.join(card.authors)}")
    console.print(f"{card.paper.title}. {card.paper.venue}\n{card.summary}\n")
    height, width, channels = model.input_picture_shape
    console.print(f"takes raw 0-255 pictures of {height}x{width}x{channels}; classes: {', '.join(model.class_names)}\n")
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
        for each in weights.measured:
            results.add_row(f"{each.result} {each.mean:.2f} {each.unit}", f"measured, {card.name}.{tag}", each.command)
    if results.row_count:
        console.print(results)
    for gap in card.reconstruction:
        console.print(f"reconstruction: {gap}")
    if card.weights and "." not in name:
        tag, weights = next(iter(card.weights.items()))
        console.print(f"\nnext: zoo evaluate {card.name}.{tag} --data {weights.measured[0].dataset}")


def show(
    name: Annotated[str, typer.Argument(metavar="NAME-or-FILE", help="Such as linear.mnist, or a .keras file.")],
    out: Annotated[Path | None, typer.Option(help="The PNG to write; by default NAME.png here.")] = None,
):
    """Draw what the first layer of a model has learned: templates, kernels, or memorised pictures.

    Example: zoo show linear.mnist
    """
    cli.start_keras(name)
    from zoo import drawing

    out = out or Path(f"{Path(name).stem if registry.is_path(name) else name}.png")
    layer, count = drawing.draw(registry.load(name), out)
    print(f"{out}: layer {layer}, {count} pictures")
    if not registry.is_path(name) and "." not in name:
        print(f"note: {name} has random weights; `zoo list` shows the trained ones", file=sys.stderr)
