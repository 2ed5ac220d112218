"""Runs side by side: what differs, what each reached, and whether that can be chance."""

import itertools
import tempfile
from pathlib import Path

from training.augmentation import presets
from training.evaluation import significance
from training.evaluation.metrics import interval
from training.report import figures, page, runs
from zoo.errors import ZooError


def compare(folders, path):
    """Compare runs on a page.

    Args:
        folders: run folders, two or more.
        path: the HTML file to write.

    Returns:
        dict of plain values: `runs`, what each reached; `settings`, those of the recipes that differ, a list of values each;
        `warnings`; `tests`, of each later run against the first; `next`, a command.

    Raises:
        ZooError: if one is no run folder, is damaged, or is named twice.
    """
    resolved = [Path(folder).resolve() for folder in folders]
    for folder, place in zip(folders, resolved, strict=True):
        if resolved.count(place) > 1:
            raise ZooError(f"{folder} is named twice; a run is compared with others")
    found = [runs.read_run(folder) for folder in folders]
    compared = {
        "runs": [_reached(run) for run in found],
        "settings": differences([run.recipe for run in found]),
        "warnings": warnings(found),
        "tests": significance.tests(found[0], found[1:]),
        "next": following(found),
    }
    with tempfile.TemporaryDirectory() as folder:
        curves = Path(folder) / "curves.png"
        figures.plot_comparison([(str(run.folder), run.history) for run in found], curves)
        picture = page.embedded(curves)
    same, columns = columned(compared)
    page.render("compare.html", path, curves=picture, same=same, columns=columns, **compared)
    return compared


def _reached(run):
    """Return what a run reached, as plain values; what an unfinished run has not got is left out."""
    metrics, best = run.metrics or {}, run.best
    told = {
        "run": str(run.folder),
        "finished": run.metrics is not None,
        "model": run.recipe["model"],
        "data": run.recipe["data"].get("name", ""),
        "epochs": len(run.history),
        "best_epoch": best["epoch"],
        "validation_error": best.get("val_error"),
        "part": metrics.get("part"),
        "error": metrics.get("error"),
        "interval": list(interval(metrics["wrong"], metrics["pictures"])) if metrics else None,
        "wall_seconds": metrics.get("wall_seconds", sum(row.get("seconds", 0) for row in run.history)),
        "images_per_second": metrics.get("images_per_second"),
        "device": metrics.get("device"),
        "backend": metrics.get("backend"),
        "date": metrics.get("date"),
    }
    return {name: value for name, value in told.items() if value is not None}


def differences(recipes):
    """Return the settings that are not the same in all recipes: dict of a list of values, None where one lacks it.

    The model and the name of the data are left out: they are told of every run. A key is as short as it can be, so
    `initial_learning_rate` where only one table has it.
    """
    flat = [dict(_flat(recipe)) for recipe in recipes]
    keys = dict.fromkeys(itertools.chain(*flat))
    values = {key: [each.get(key) for each in flat] for key in keys if key not in ("model", "data.name")}
    differ = {key: each for key, each in values.items() if any(value != each[0] for value in each)}
    last = [key.rpartition(".")[2] for key in differ]
    return {key if last.count(end) > 1 else end: each for end, (key, each) in zip(last, differ.items(), strict=True)}


def _flat(table, prefix=""):
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def warnings(found):
    """Return what forbids or weakens the comparison, in words."""
    first, *others = [run for run in found if run.metrics] or [None]
    told = [
        f"{run.folder} is not finished, {len(run.history)} of {run.recipe['epochs']} epochs: it has no result yet"
        for run in found
        if run.metrics is None
    ]
    for run in others:
        both = f"{first.folder} and {run.folder}"
        if not (first.answers and run.answers):
            told.append(f"{both}: without predictions.csv of both nobody can tell whether they were asked the same pictures")
        elif (same := significance.same_pictures(first, run)) is None:
            told.append(f"cannot tell whether {both} were measured on the same pictures: they did not read them in one size")
        elif not same:
            told.append(f"{both} were not measured on the same pictures and classes: their numbers cannot be compared")
        elif first.metrics["data_fingerprint"] != run.metrics["data_fingerprint"]:
            told.append(f"{both} were measured on the same pictures, but learned from others: that may be what differs")
    if chosen := [str(run.folder) for run in found if run.metrics and run.metrics["part"] == "validation"]:
        told.append(
            f"{', '.join(chosen)}: the epoch was chosen on these pictures, the validation part, so the result is a little "
            "too good, and no test of chance knows that"
        )
    if len({run.metrics.get("device") for run in found if run.metrics}) > 1:
        told.append("the runs are of different devices: their images/s say nothing about the models")
    return told


def columned(compared):
    """Return ({name: value} of what is the same in all runs, {name: one text a run} of the rest), as a table shows it."""
    reached = compared["runs"]
    columns = {
        "run": [each["run"] + ("" if each["finished"] else " (not finished)") for each in reached],
        **{name: [str(each.get(name, "")) for each in reached] for name in ("model", "data")},
        **{key: [_shown(key, value) for value in values] for key, values in compared["settings"].items()},
        "validation error": [f"{each['validation_error']:.2f} %" if "validation_error" in each else "" for each in reached],
        "error": [f"{each['error']:.2f} %" if "error" in each else "" for each in reached],
        "95 % sure": ["{:.1f}–{:.1f} %".format(*each["interval"]) if "interval" in each else "" for each in reached],
        "part": [each.get("part", "") for each in reached],
        "best epoch": [f"{each['best_epoch']} of {each['epochs']}" for each in reached],
        "time": [page.duration(each["wall_seconds"]) for each in reached],
        "images/s": [f"{each['images_per_second']:,}" if "images_per_second" in each else "" for each in reached],
        **{name: [str(each.get(name, "")) for each in reached] for name in ("device", "backend", "date")},
    }
    told_once = ("model", "data", "part", "device", "backend", "date")
    same = {name: values.pop() for name in told_once if len(values := set(columns[name]) - {""}) == 1}
    return same, {name: values for name, values in columns.items() if name not in same and any(values)}


def _shown(key, value):
    if key == "augmentation":
        return presets.named(value or [])
    return "–" if value is None else f"{value}"


def following(found):
    """Return the command that goes on with the best finished run, by its validation where there is one."""
    finished = [run for run in found if run.metrics] or found
    best = min(finished, key=lambda run: run.best.get("val_error", run.best["error"]))
    return best.next[0]
