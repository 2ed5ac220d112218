"""Fine-tuning: a model of the zoo, or a user's own, on a user's own pictures."""

import json
from pathlib import Path

import keras

from training import data, recipe
from training.evaluation import score
from training.fitting import fit
from zoo import registry
from zoo.errors import ZooError
from zoo.files import atomic


def finetune(name_or_path, folder, out, resume=False, strict=False, console=None, **changes):
    """Fine-tune a classifier on the pictures of a folder.

    If the folder's classes are the classifier's, all of it goes on learning; otherwise it gets a new output layer, and what
    it has learned before is kept below.

    Args:
        name_or_path: what `zoo.load` takes.
        folder: a folder with a folder of pictures a class, or a TFDS name.
        out: the run folder.
        resume: go on from the run folder's last checkpoint.
        strict: refuse unreadable pictures instead of leaving them out.
        console: rich console for progress.
        **changes: values of the recipe "finetune" to change, such as epochs=5.

    Returns:
        dict: what metrics.json holds, with accuracy_before in percent on the same pictures, None for new classes.

    Raises:
        ZooError: as `training.fit`; if the model does not learn by gradients.
    """
    before = registry.load(name_or_path)
    _check_gradient(before.card)
    settings = {"model": str(name_or_path), "data.name": str(folder), **changes}
    checked = recipe.load("finetune", **settings)
    source = data.load(str(folder), before.picture, strict)
    same = set(source.class_names) == set(before.class_names)
    keras.utils.set_random_seed(checked.seed)  # fit sets it again, too late for a new head
    classifier = before if same else _new_head(before, source)
    source = source.in_order(classifier.class_names)
    # Measured before a weight moves; fit makes the same split from the same seed.
    *_, test = data.split(source, checked.data.validation, checked.data.test, checked.seed)
    accuracy = 100 - score(classifier, test).error if same and test is not None else None
    metrics = fit(checked, out, resume, classifier, source, console)
    metrics["accuracy_before"] = accuracy
    with atomic(Path(out) / "metrics.json") as temporary:
        temporary.write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")
    return metrics


def _check_gradient(name):
    """Refuse a machine that learns by a rule of its own, and name what trains it from the start."""
    card = registry.card(name)
    if card.rule:
        recipes = [weights.recipe for weights in card.weights.values()]
        raise ZooError(
            f"{name} learns by a rule of its own, {card.rule.class_name.rpartition('>')[2]}, and cannot be fine-tuned; to "
            f"train it on your pictures: zoo train {(recipes or ['RECIPE'])[0]} --set data.name=FOLDER --set data.test=0.15"
        )


def _new_head(before, source):
    """Return a classifier for other classes: the card's net for them, with all learned weights whose layers fit."""
    card = registry.card(before.card)
    net = registry.build(card.name, classes=len(source.class_names))
    kept = {layer.name: layer for layer in before.net.layers}
    for layer in net.layers[:-1]:  # the last is the head, whose weights are of the old classes even where their shapes fit
        values = kept[layer.name].get_weights() if layer.name in kept else []
        if [value.shape for value in values] == [tuple(weight.shape) for weight in layer.weights]:
            layer.set_weights(values)
    return type(before)(
        net,
        before.preprocessing,
        before.picture,
        source.class_names,
        before.card,
        before.weights_name,
        name=before.name,
    )
