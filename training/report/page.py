"""The page of a run: one HTML file that needs nothing else."""

import base64
import contextlib
import datetime
import functools
import tempfile
from pathlib import Path

from training.evaluation.metrics import SURE, between, interval, kind
from training.report import figures, runs
from zoo import registry
from zoo.files import atomic

NAMED = 50  # messages about what was left out that are shown


def write(out, path=None):
    """Write the page of a run from what lies in its folder, where its curves and confusion matrix are drawn anew, too.

    Args:
        out: the run folder; one that is not finished is shown as far as it is.
        path: the HTML file; by default report.html in the folder. Another leaves the folder as it is.

    Returns:
        `training.report.runs.Run`, as it was read.

    Raises:
        ZooError: if it is no run folder, or a file in it is damaged.
    """
    run = runs.read_run(out)
    with tempfile.TemporaryDirectory() if path else contextlib.nullcontext(run.folder) as place:
        place = Path(place)
        figures.plot_curves(run.history, place / "curves.png", run.marks)
        if run.answers:
            figures.plot_confusion_matrix(run.answers, place / "confusion.png")
        pictures = {
            name: embedded(file)
            for name, folder in (("curves", place), ("confusion", place), ("mistakes", run.folder), ("seen", run.folder))
            if (file := folder / f"{name}.png").is_file() and (run.metrics or name in ("curves", "seen"))
        }
    by_class = run.answers.by_class() if run.answers else {}
    if len(by_class) > figures.MOST_CLASSES:
        by_class = dict(sorted(by_class.items(), key=lambda each: each[1]["f1"] or 0))
    render(
        "run.html",
        path or run.folder / "report.html",
        run=run,
        metrics=run.metrics or {},
        pictures=pictures,
        headline=headline(run),
        facts=facts(run),
        by_class=by_class,
        many=len(by_class) > figures.MOST_CLASSES,
        worst=run.answers.worst(figures.MISTAKES) if run.answers else [],
        named=NAMED,
        recipe=(run.folder / "recipe.toml").read_text("utf-8", errors="backslashreplace"),
    )
    return run


def headline(run):
    """Return the result in words: what is large, and what it is worth."""
    epochs, best = len(run.history), run.best
    if run.metrics is None:
        reached = f", {best['val_error']:.2f} % of the validation pictures wrong" if "val_error" in best else ""
        return (
            f"Not finished: {epochs} of {run.recipe['epochs']} epochs",
            f"The best so far is epoch {best['epoch']}{reached}. The run is still at work, or it was stopped; then its own "
            "command with --resume goes on.",
        )
    error, pictures, part = run.metrics["error"], run.metrics["pictures"], run.metrics["part"]
    high, low = (100 - bound for bound in interval(run.metrics["wrong"], pictures))
    few = "With so few pictures the" if high - low > 4 else "The"
    chosen = " The epoch was chosen on these pictures, so it is a little too good." if part == "validation" else ""
    return (
        f"{100 - error:.{1 if pictures < 1000 else 2}f} % right",
        f"on {pictures:,} {kind(part)}, {run.metrics['wrong']:,} wrong. {few} true number lies between "
        f"{between(low, high)} % ({100 * SURE:.0f} % sure).{chosen}",
    )


def facts(run):
    """Return what the run was made of and measured with, as a list of (name, value)."""
    metrics, recipe = run.metrics or {}, run.recipe
    versions = ", ".join(f"{name} {version}" for name, version in metrics.get("versions", {}).items())
    told = {
        "command": metrics.get("command"),
        "model": recipe["model"],
        "card": card(metrics.get("card", recipe["model"])),
        "data": recipe["data"].get("name"),
        "data fingerprint": metrics.get("data_fingerprint"),
        "seed": recipe["seed"],
        "device": metrics.get("device"),
        "backend": metrics.get("backend"),
        "versions": versions,
        "date": metrics.get("date"),
    }
    return [(name, value) for name, value in told.items() if value not in (None, "")]


def card(name):
    """Return in words what the card of a model says that it is, or None where the zoo has none."""
    found = registry.raw_cards().get(name.partition(".")[0])
    if found is None:
        return None
    authors = found["authors"][0] + (" and others" if len(found["authors"]) > 1 else "")
    return f"{found['title']} ({found['year']}): {authors}, {found['paper']['title']}. zoo info {found['name']} tells all"


def duration(seconds):
    """Return a time as a person would say it."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return str(datetime.timedelta(seconds=round(seconds)))


def embedded(path):
    """Return a PNG file as what an <img> takes in place of an address."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


@functools.cache
def _templates():
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("training.report", ""),
        autoescape=True,  # names of classes and files are a stranger's
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = duration
    return environment


def render(template, path, **values):
    """Write a page of this package's templates."""
    text = _templates().get_template(template).render(**values)
    with atomic(path) as temporary:
        temporary.write_text(text, "utf-8", errors="backslashreplace")
