"""Compares runs: settings, results, curves, and whether the differences are significant."""

import tempfile
from pathlib import Path

from training.augmentation import presets
from training.evaluation.metrics import confidence_interval
from training.recipe import differences
from training.report import figures, page, runs, significance
from training.report.runs import Run
from zoo.errors import ZooError


def compare(folders: list[str | Path], path: str | Path) -> dict:
    """Compare runs and write the comparison to an HTML file.

    Args:
        folders: run directories, two or more.
        path: the HTML file.

    Returns:
        dict of plain values: `runs`, the results of each run; `settings`, the recipe settings that differ, with one value
        per run; `warnings`; `tests`, the significance tests of each later run against the first; `next`, a command.

    Raises:
        ZooError: if a folder is not a run directory, is damaged, or is given twice.
    """
    resolved = [Path(folder).resolve() for folder in folders]
    for folder, place in zip(folders, resolved, strict=True):
        if resolved.count(place) > 1:
            raise ZooError(f"{folder} is given twice; expected different runs")
    found = [runs.read_run(folder) for folder in folders]
    compared = {
        "runs": [results(run) for run in found],
        "settings": differing_settings([run.recipe for run in found]),
        "warnings": warnings(found),
        "tests": significance.mcnemar_tests(found[0], found[1:]),
        "next": next_command(found),
    }
    with tempfile.TemporaryDirectory() as folder:
        curves = Path(folder) / "curves.png"
        figures.plot_comparison([(str(run.folder), run.history) for run in found], curves)
        image = page.data_url(curves)
    same, columns = table_columns(compared)
    page.render("compare.html", path, curves=image, same=same, columns=columns, **compared)
    return compared


def results(run: Run) -> dict:
    """Return the results of a run as a dict of plain values, without those that the run does not have yet."""
    metrics, best = run.metrics or {}, run.best
    values = {
        "run": str(run.folder),
        "finished": run.metrics is not None,
        "model": run.recipe["model"],
        "data": run.recipe["data"].get("name", ""),
        "epochs": len(run.history),
        "best_epoch": best["epoch"],
        "validation_error": best.get("val_error"),
        "part": metrics.get("part"),
        "error": metrics.get("error"),
        "interval": list(confidence_interval(metrics["wrong"], metrics["pictures"])) if metrics else None,
        "wall_seconds": metrics.get("wall_seconds", sum(row.get("seconds", 0) for row in run.history)),
        "images_per_second": metrics.get("images_per_second"),
        "device": metrics.get("device"),
        "backend": metrics.get("backend"),
        "date": metrics.get("date"),
    }
    return {name: value for name, value in values.items() if value is not None}


def differing_settings(recipes: list[dict]) -> dict[str, list]:
    """Return the settings that differ between recipes, each with one value per recipe, None if a recipe lacks it.

    The model and the data set are not included, because the results contain them. A key is shortened to its last part, such
    as `initial_learning_rate`, unless two tables have a setting of that name.
    """
    differ = {
        key: list(values)
        for key, values in differences(*recipes, missing=None).items()
        if key not in ("model", "data.name") and any(value not in (None, {}) for value in values)
    }
    last = [key.rpartition(".")[2] for key in differ]
    return {key if last.count(end) > 1 else end: each for end, (key, each) in zip(last, differ.items(), strict=True)}


def warnings(found: list[Run]) -> list[str]:
    """Return reasons why the runs cannot be compared, or only with care."""
    first, *others = [run for run in found if run.metrics] or [None]
    messages = [
        f"{run.folder} is not finished, {len(run.history)} of {run.recipe['epochs']} epochs: it has no result yet"
        for run in found
        if run.metrics is None
    ]
    for run in others:
        both = f"{first.folder} and {run.folder}"
        if not (first.evaluation and run.evaluation):
            messages.append(f"{both}: without predictions.csv of both it is unknown whether their images are the same")
        elif (same := significance.same_images(first, run)) is None:
            messages.append(f"{both}: unknown whether they were evaluated on the same images, as their image sizes differ")
        elif not same:
            messages.append(f"{both} were not evaluated on the same images and classes: do not compare their errors")
        elif first.metrics["data_fingerprint"] != run.metrics["data_fingerprint"]:
            messages.append(
                f"{both} were evaluated on the same images, but trained on different ones, which may cause the difference"
            )
    if selected := [str(run.folder) for run in found if run.metrics and run.metrics["part"] == "validation"]:
        messages.append(
            f"{', '.join(selected)}: the epoch was selected on the evaluated images, the validation split, so the error is "
            "slightly too low, and no significance test accounts for that"
        )
    if len({run.metrics.get("device") for run in found if run.metrics}) > 1:
        messages.append("the runs used different devices: do not compare the models by their images/s")
    return messages


def table_columns(compared: dict) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the comparison as text for a table.

    Args:
        compared: the result of `compare`.

    Returns:
        The values that are the same in all runs by name, and the other columns by name, with one text per run.
    """
    found = compared["runs"]
    columns = {
        "run": [run["run"] + ("" if run["finished"] else " (not finished)") for run in found],
        **{name: [str(run.get(name, "")) for run in found] for name in ("model", "data")},
        **{key: [_setting(key, value) for value in values] for key, values in compared["settings"].items()},
        "validation error": [f"{run['validation_error']:.2f} %" if "validation_error" in run else "" for run in found],
        "error": [f"{run['error']:.2f} %" if "error" in run else "" for run in found],
        "95 % interval": ["{:.1f}–{:.1f} %".format(*run["interval"]) if "interval" in run else "" for run in found],
        "split": [run.get("part", "") for run in found],
        "best epoch": [f"{run['best_epoch']} of {run['epochs']}" for run in found],
        "time": [page.duration(run["wall_seconds"]) for run in found],
        "images/s": [f"{run['images_per_second']:,}" if "images_per_second" in run else "" for run in found],
        **{name: [str(run.get(name, "")) for run in found] for name in ("device", "backend", "date")},
    }
    shared = ("model", "data", "split", "device", "backend", "date")
    same = {name: values.pop() for name in shared if len(values := set(columns[name]) - {""}) == 1}
    return same, {name: values for name, values in columns.items() if name not in same and any(values)}


def _setting(key, value):
    if key == "augmentation":
        return presets.preset_name(value or [])
    return "–" if value is None else f"{value}"


def next_command(found: list[Run]) -> str:
    """Return the command that exports the finished run with the best validation error."""
    finished = [run for run in found if run.metrics] or found
    best = min(finished, key=lambda run: run.best.get("val_error", run.best["error"]))
    return best.next_commands[0]
