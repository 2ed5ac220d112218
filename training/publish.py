"""Package the weights of finished runs, and add their measured errors to the card.

    python -m training.publish lenet5.mnist lenet5-mnist runs/lenet5-1 runs/lenet5-2 runs/lenet5-3

The runs have the same recipe and different seeds. The weights with the smallest validation error are packaged; the card
lists the errors of all runs.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import tomli_w
import typer

import zoo
from training import recipe as recipes
from training.evaluation.evaluate import score
from training.recipe import differences
from zoo import classes as lists
from zoo import cli, schema
from zoo.errors import ZooError
from zoo.files import atomic, read_toml, sha256

HOME = Path(zoo.__file__).parent
LICENSE = "Apache-2.0"


def publish(
    name: Annotated[str, typer.Argument(help="Name of the weights, arch.tag.")],
    recipe: Annotated[str, typer.Argument(help="Recipe of the runs.")],
    runs: Annotated[list[Path], typer.Argument(help="Run directories.")],
    fitted: Annotated[
        bool,
        typer.Option("--fitted", help="Package no file: the weights consist of training data and are fitted on first use."),
    ] = False,
) -> None:
    """Write zoo/pretrained/NAME.weights.h5, unless it is fitted on first use, and append the measured errors to the card."""
    arch, tag = zoo.registry.split_name(name)
    if tag is None:
        raise ZooError(f"'{name}' has no tag; name the weights MODEL.TAG, such as {arch}.mnist")
    if tag in zoo.card(arch).weights:
        raise ZooError(
            f"zoo/cards/{arch}.toml has [weights.{tag}] already; to publish again, remove it, and the [[measured]] of its "
            "recipe"
        )
    found = sorted((_read(run) for run in runs), key=lambda metrics: metrics["recipe"]["seed"])
    dataset = found[0]["recipe"]["data"]["name"]  # of the run, which may differ from the recipe's
    _check_recipes(found, recipe, dataset)
    other_data = f" --set data.name={dataset}" if dataset != recipes.load(recipe).data.name else ""
    best = min(found, key=lambda metrics: (metrics.get("validation_error", 0.0), metrics["recipe"]["seed"]))
    cli.start_keras()
    classifier = zoo.load(best["run"] / "best.keras")
    same = {"result": "test error", "dataset": dataset, "recipe": recipe, "device": best["device"], "date": best["date"]}
    measured = {
        **same,
        "values": [metrics["test_error"] for metrics in found],
        "seeds": [metrics["recipe"]["seed"] for metrics in found],
        "command": f"zoo train {recipe}{other_data} --set seed=1",
    }
    evaluated = {**same, "seeds": [best["recipe"]["seed"]], "command": f"zoo evaluate {name} --data {dataset}"}
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / f"{name}.weights.h5"
        source, error = _fitted(recipe) if fitted else (_saved(classifier.net, saved), best["test_error"])
        weights = _weights(source, recipe, classifier, best, {**evaluated, "values": [error]})
        card = HOME / "cards" / f"{arch}.toml"
        text = _extended(card, {"measured": [measured], "weights": {tag: weights}})
        with atomic(card) as new_card:
            new_card.write_text(text, "utf-8")
            if not fitted:
                with atomic(HOME / "pretrained" / saved.name) as packaged:
                    shutil.copyfile(saved, packaged)
    print(f"{name}: {source['size']:,} bytes, seed {best['recipe']['seed']}; added to the card")
    print(f"header of the recipe {recipe}: {_header(schema.Measured(**measured))}")


def _extended(card, added):
    """Return the text of a card with more tables. Raise `ZooError` if it does not follow the schema."""
    text = f"{card.read_text('utf-8').rstrip()}\n\n{tomli_w.dumps(added)}"
    schema.validate(read_toml(text, card.name), schema.Card, card.name)
    return text


def _weights(source, recipe, classifier, best, evaluated):
    """Return the table of the weights for the card.

    Args:
        source: entries that describe the file or the fitting.
        recipe: name of the recipe.
        classifier: the classifier with the weights.
        best: metrics of its run.
        evaluated: its measured error.
    """
    return {
        **source,
        "licence": LICENSE,
        "classes": lists.matching(classifier.class_names) or classifier.class_names,
        "recipe": recipe,
        **({"options": classifier.options} if classifier.options else {}),
        **{key: best["recipe"][key] for key in ("picture", "preprocessing") if best["recipe"].get(key)},
        "measured": [evaluated],
    }


def _header(measured):
    """Return the line that states a result in the header of its recipe."""
    if len(measured.seeds) == 1:
        return f"# Measured: {measured.mean:.2f} % test error, seed {measured.seeds[0]};"
    seeds = f"seeds {measured.seeds[0]} to {measured.seeds[-1]}"
    return f"# Measured: {measured.mean:.2f} ± {measured.spread:.2f} % test error, {seeds};"


def _check_recipes(found, recipe, dataset):
    """Raise `ZooError` if runs differ in more than their seeds, or their recipe is not the current one."""
    first = found[0]
    for other in found[1:]:
        different = differences({**first["recipe"], "seed": 0}, {**other["recipe"], "seed": 0})
        if different:
            values = _listed(different, f"in {first['run']}", f"in {other['run']}")
            raise ZooError(f"the runs have different recipes: {values}; only the seeds may differ, so train one again")
    current = recipes.load(recipe, **{"seed": first["recipe"]["seed"], "data.name": dataset})
    different = differences(first["recipe"], current.model_dump(mode="json", exclude_none=True))
    if different:
        values = _listed(different, "in the runs", f"in {recipe}")
        raise ZooError(
            f"the runs have another recipe than the current {recipe}: {values}; restore the recipe's values, or train "
            f"the runs again, each in a new directory: zoo train {recipe} --set seed={first['recipe']['seed']} --out DIR"
        )


def _listed(different, here, there):
    return ", ".join(f"{key} is {one} {here} and {other} {there}" for key, (one, other) in sorted(different.items()))


def _saved(net, path):
    """Save the weights of a network; return the entries of the file for the card."""
    net.save_weights(path)
    return {"file": path.name, "sha256": sha256(path), "size": path.stat().st_size}


def _fitted(recipe):
    """Fit weights as on first use, in the order of the data set; return their entries for the card and their test error."""
    from training.engine import fitted_weights as fitting

    recipe = recipes.load(recipe)
    source = fitting.load_data(recipe)
    classifier = fitting.fit_classifier(recipe, source)
    error = round(score(classifier, source.splits["test"], "test").error, 4)
    size = sum(each.nbytes for each in classifier.net.get_weights())
    return {"fitted": True, "sha256": fitting.fingerprint(source.splits["train"]), "size": size}, error


def _read(run):
    """Return the metrics of a finished run, with its directory."""
    try:
        return {**json.loads((run / "metrics.json").read_text("utf-8")), "run": run}
    except (OSError, ValueError) as error:
        raise ZooError(f"{run} is not the directory of a finished run: {error}") from error


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with cli.reporting_errors():
        typer.run(publish)
