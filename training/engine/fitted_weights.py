"""Weights that consist of training data: not packaged, but fitted by their recipe on first use."""

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from training import data, keras_objects
from training import recipe as recipes
from zoo import registry
from zoo.errors import ZooError
from zoo.files import atomic

if TYPE_CHECKING:
    from training.data import Samples, Source
    from training.recipe import Recipe
    from zoo.classifier import Classifier
    from zoo.schema import Weights


def fit_weights(name: str, weights: "Weights", path: Path) -> None:
    """Fit the weights of a card to their data and write them.

    Args:
        name: `arch.tag`, for messages.
        weights: `zoo.schema.Weights`, whose recipe names the data.
        path: the `.weights.h5` file to write.

    Raises:
        ZooError: if the data cannot be loaded, or are not those of the card.
    """
    recipe = recipes.load(weights.recipe)
    source = load_data(recipe)
    if (found := fingerprint(source.splits["train"])) != weights.sha256:
        raise ZooError(
            f"the {recipe.data.name}{data.location(recipe.data.name)} is not the one of the card of {name}: the sha256 of "
            f"its training split is {found[:12]}..., not {weights.sha256[:12]}..."
        )
    print(f"{name}: its weights are the data; fitting them to {recipe.data.name}, once", file=sys.stderr)
    classifier = fit_classifier(recipe, source)
    with atomic(path) as temporary:
        classifier.net.save_weights(temporary)


def load_data(recipe: "Recipe") -> "Source":
    """Return the `training.data.Source` of a recipe, in the image size of its model."""
    image_spec = recipe.picture or registry.card(recipe.model).picture
    return data.load(recipe.data.name, image_spec.model_dump())


def fingerprint(samples: "Samples") -> str:
    """Return the hex sha256 of the images and labels of `training.data.Samples`, which is the same on every machine."""
    digest = hashlib.sha256(np.ascontiguousarray(samples.images))
    digest.update(samples.labels.astype("<i4").tobytes())
    return digest.hexdigest()


def fit_classifier(recipe: "Recipe", source: "Source") -> "Classifier":
    """Train the model of a recipe for one epoch with its learning rule, in the order of the data set.

    Args:
        recipe: `training.recipe.Recipe` of a model with a learning rule.
        source: `training.data.Source`.

    Returns:
        `zoo.classifier.Classifier`.
    """
    card, train = registry.card(recipe.model), source.splits["train"]
    rule = keras_objects.rule(recipe.rule or card.rule)
    options = {**rule.options(len(train)), **recipe.options}
    net = registry.build(recipe.model, classes=len(source.class_names), **options)
    classifier = registry.wrap(net, card, source.class_names, recipe, options)
    rule.prepare(net, len(train), len(train))
    for start in range(0, len(train), recipe.batch_size):
        batch = train[start : start + recipe.batch_size]
        rule.train_on_batch(net, classifier.preprocessing(batch.images), batch.labels)
    return classifier
