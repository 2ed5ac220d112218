"""Writes report.html of a run: a single file with all figures embedded."""

import base64
import contextlib
import datetime
import functools
import tempfile
from pathlib import Path

from training.evaluation.metrics import CONFIDENCE, confidence_interval, format_interval, split_images
from training.report import figures, runs
from zoo import registry
from zoo.files import atomic

LISTED = 50  # messages about skipped files that the page lists
WIDE = 4  # percent: a wider confidence interval gets a remark


def write(out: str | Path, path: str | Path | None = None) -> runs.Run:
    """Write the report of a run directory, and plot its curves and confusion matrix again.

    Args:
        out: the run directory. The run may be unfinished.
        path: the HTML file. Default: report.html in the run directory. With another path the run directory is not changed.

    Returns:
        `training.report.runs.Run`.

    Raises:
        ZooError: if `out` is not a run directory, or a file in it is damaged.
    """
    run = runs.read_run(out)
    with tempfile.TemporaryDirectory() if path else contextlib.nullcontext(run.folder) as folder:
        folder = Path(folder)
        figures.plot_curves(run.history, folder / "curves.png", run.marks)
        if run.evaluation:
            figures.plot_confusion_matrix(run.evaluation, folder / "confusion.png")
        places = {"curves": folder, "confusion": folder, "mistakes": run.folder, "seen": run.folder}
        images = {
            name: data_url(file)
            for name, place in places.items()
            if (file := place / f"{name}.png").is_file() and (run.metrics or name in ("curves", "seen"))
        }
    per_class = run.evaluation.per_class() if run.evaluation else {}
    many = len(per_class) > figures.MAX_MATRIX_CLASSES
    if many:
        per_class = dict(sorted(per_class.items(), key=lambda item: item[1]["f1"] or 0))
    render(
        "run.html",
        path or run.folder / "report.html",
        run=run,
        metrics=run.metrics or {},
        images=images,
        headline=headline(run),
        facts=facts(run),
        per_class=per_class,
        many=many,
        mistakes=run.evaluation.most_confident_mistakes(figures.MISTAKES) if run.evaluation else [],
        listed=LISTED,
        recipe=(run.folder / "recipe.toml").read_text("utf-8", errors="backslashreplace"),
    )
    return run


def headline(run: runs.Run) -> tuple[str, str]:
    """Return the result in large letters, and a sentence about its uncertainty."""
    epochs, best = len(run.history), run.best
    if run.metrics is None:
        reached = f", validation error {best['val_error']:.2f} %" if "val_error" in best else ""
        return (
            f"Not finished: {epochs} of {run.recipe['epochs']} epochs",
            f"Best epoch so far: {best['epoch']}{reached}. The run is in progress or was stopped; to resume it, repeat "
            "its command with --resume.",
        )
    error, count, split = run.metrics["error"], run.metrics["pictures"], run.metrics["part"]
    high, low = (100 - bound for bound in confidence_interval(run.metrics["wrong"], count))
    wide = ", wide because there are few images" if high - low > WIDE else ""
    biased = (
        " The epoch was selected on these images, so the accuracy is slightly too high." if split == "validation" else ""
    )
    return (
        f"{100 - error:.{1 if count < 1000 else 2}f} % accuracy",
        f"on {count:,} {split_images(split)}, {run.metrics['wrong']:,} wrong. {100 * CONFIDENCE:.0f} % confidence interval: "
        f"{format_interval(low, high)} %{wide}.{biased}",
    )


def facts(run: runs.Run) -> list[tuple[str, str]]:
    """Return (name, value) of how the run was made: command, model, data, seed, device, versions, date."""
    metrics, recipe = run.metrics or {}, run.recipe
    versions = ", ".join(f"{name} {version}" for name, version in metrics.get("versions", {}).items())
    values = {
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
    return [(name, value) for name, value in values.items() if value not in (None, "")]


def card(name: str) -> str | None:
    """Return the title, year, authors and paper of a model, or None if the zoo has no card of it."""
    found = registry.raw_cards().get(name.partition(".")[0])
    if found is None:
        return None
    authors = found["authors"][0] + (" and others" if len(found["authors"]) > 1 else "")
    return f"{found['title']} ({found['year']}): {authors}, {found['paper']['title']}. Details: zoo info {found['name']}"


def duration(seconds: float) -> str:
    """Format a time: "7.5 s", "42 s" or "0:01:15"."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return str(datetime.timedelta(seconds=round(seconds)))


def data_url(path: Path) -> str:
    """Return the data URL of a PNG file, for the src attribute of an image."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


@functools.cache
def _templates():
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("training.report", ""),
        autoescape=True,  # class names and file names are untrusted
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = duration
    return environment


def render(template: str, path: str | Path, **values) -> None:
    """Render a template of this package to an HTML file.

    Args:
        template: "run.html" or "compare.html".
        path: the HTML file.
        values: variables of the template.
    """
    text = _templates().get_template(template).render(**values)
    with atomic(path) as temporary:
        temporary.write_text(text, "utf-8", errors="backslashreplace")
