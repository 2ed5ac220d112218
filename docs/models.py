"""Write the README's table of models from the cards: python docs/models.py [--check]."""

import sys
from pathlib import Path

import zoo

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- models: written by `make readme` -->", "<!-- /models -->"


def table():
    """Return the table as Markdown, a row for each architecture and for each of its weights."""
    lines = ["| name | what | parameters | published | measured |", "|---|---|---:|---|---|"]
    for name in zoo.list_models():
        card = zoo.card(name)
        published = "<br>".join(f"{_result(each)}{each.value:g} {each.unit} {each.setting}" for each in card.published)
        what = f"{card.title} ({card.year})"
        lines.append(f"| `{name}` | {what} | {card.parameters:,} | {published} | {_runs(card)} |")
        for tag, weights in card.weights.items():
            numbers = (f"{each.mean:.2f} {each.unit} {each.result} on {each.dataset}" for each in weights.measured)
            measured = "<br>".join(numbers)
            told = (
                f"{each.value:g} {each.unit} {each.result} on {each.dataset}, {each.source}" for each in weights.published
            )
            origin = f"recipe `{weights.recipe}`" if weights.recipe else f"of {weights.format}, {weights.url}"
            lines.append(f"| `{name}.{tag}` | {origin} | | {'<br>'.join(told)} | {measured} |")
    return "\n".join(lines)


def _runs(card):
    """Return what several seeds of each recipe reached."""
    return "<br>".join(
        f"{_value(each)} {each.unit}, `{each.recipe}`, {len(each.seeds)} seed{'s' * (len(each.seeds) > 1)}"
        for each in card.measured
    )


def _value(measured):
    """Return mean and spread, or the one value there is."""
    several = f"{measured.mean:.2f} ± {measured.spread:.2f}"
    return _result(measured) + (several if len(measured.values) > 1 else f"{measured.mean:g}")


def _result(number):
    """Return what a number is, unless it is what most of them are."""
    return "" if number.result == "test error" else f"{number.result} "


def written():
    """Return the README with its table made anew."""
    text = README.read_text("utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{table()}\n{END}{tail}"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(written() != README.read_text("utf-8") and "the README's table is not that of the cards: run make readme")
    README.write_text(written(), "utf-8")
