"""Write the tables of models in README.md and docs/models.md from the cards: python docs/models.py [--check]."""

import sys
from pathlib import Path

import zoo

DOCS = Path(__file__).parent
BEGIN, END = "<!-- models: written by `make models` -->", "<!-- /models -->"
# A choice for the README: one set of weights of each kind of model.
README_WEIGHTS = (
    "mark1.letters",
    "perceptron.mnist",
    "adaline.mnist",
    "madaline.mnist",
    "nearest-neighbor.mnist",
    "neocognitron.mnist",
    "symmetry.patterns",
    "mlp.mnist-300-100",
    "lenet5.mnist-affine",
    "lenet5-modern.mnist",
    "alexnet-cifar.cifar10",
    "alexnet-owt.imagenet",
)


def short_table():
    """Return the README's table as Markdown: one row for each name in README_WEIGHTS."""
    lines = ["| weights | model | parameters | result |", "|---|---|---:|---|"]
    for name in README_WEIGHTS:
        card = zoo.card(name)
        result = _results(card.weights[_tag(name)], sources=False)
        lines.append(f"| `{name}` | {card.title} ({card.year}) | {card.parameters:,} | {result} |")
    return "\n".join(lines)


def reference():
    """Return docs/models.md's generated part as Markdown: a table of all models, then a section for each."""
    lines = ["| name | model | parameters | pretrained weights |", "|---|---|---:|---|"]
    for name in zoo.list_models():
        card = zoo.card(name)
        weights = ", ".join(f"`{name}.{tag}`" for tag in card.weights)
        lines.append(f"| [`{name}`](#{name}) | {card.title} ({card.year}) | {card.parameters:,} | {weights} |")
    return "\n".join([*lines, *(_section(zoo.card(name)) for name in zoo.list_models())])


def _section(card):
    """Return everything a card contains about one model."""
    doi = f", [doi:{card.paper.doi}](https://doi.org/{card.paper.doi})" if card.paper.doi else ""
    image = card.picture
    lines = [
        f"\n### {card.name}\n",
        f"**{card.title}** ({card.year}). {', '.join(card.authors)}. {card.summary}\n",
        f"- Paper: {card.paper.title}. {card.paper.venue}{doi}",
        f"- Input: raw images (0-255) of {image.height}x{image.width}x{image.channels}",
        f"- Size: {card.parameters:,} trainable parameters, {card.connections:,} connections",
    ]
    if card.published or card.measured:
        lines += ["", "| result | value | source or command |", "|---|---:|---|"]
        for each in card.published:
            setting = f"; {each.setting}" if each.setting else ""
            lines.append(f"| {each.result} | {each.value:g} {each.unit} | published: {each.source}{setting} |")
        lines += [f"| {each.result} | {_value(each)} {each.unit} | measured: {_run(each)} |" for each in card.measured]
    if card.weights:
        lines += ["", "| weights | origin | result |", "|---|---|---|"]
        for tag, weights in card.weights.items():
            origin = f"recipe `{weights.recipe}`" if weights.recipe else f"{weights.format}, <{weights.url}>"
            lines.append(f"| `{card.name}.{tag}` | {origin} | {_results(weights)} |")
    if card.reconstruction:
        lines += [
            "\nDetails that the sources do not specify, and the choices made here:\n",
            *(f"- {gap}" for gap in card.reconstruction),
        ]
    return "\n".join(lines)


def _tag(name):
    return name.partition(".")[2]


def _results(weights, sources=True):
    """Return the results of one set of weights, one per line."""
    measured = [f"{each.mean:.2f} {each.unit} {each.result} on {each.dataset}" for each in weights.measured]
    published = [
        f"{each.value:g} {each.unit} {each.result} on {each.dataset} (published{f': {each.source}' * sources})"
        for each in weights.published
    ]
    return "<br>".join(measured + published)


def _value(measured):
    """Return mean and spread over the seeds, or the single value."""
    return f"{measured.mean:.2f} ± {measured.spread:.2f}" if len(measured.values) > 1 else f"{measured.mean:g}"


def _run(measured):
    """Return the command of a measured number, with its seeds."""
    first, last = min(measured.seeds), max(measured.seeds)
    return f"`{measured.command}`, {f'seeds {first} to {last}' if last > first else f'seed {first}'}"


def updated(path, generated):
    """Return the text of a page with the generated part between its markers replaced."""
    head, _, rest = path.read_text("utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{generated}\n{END}{tail}"


def main():
    pages = {DOCS.parent / "README.md": short_table(), DOCS / "models.md": reference()}
    for path, generated in pages.items():
        text = updated(path, generated)
        if "--check" not in sys.argv:
            path.write_text(text, "utf-8")
        elif text != path.read_text("utf-8"):
            sys.exit(f"{path.name} does not match the cards; run `make models`")


if __name__ == "__main__":
    main()
