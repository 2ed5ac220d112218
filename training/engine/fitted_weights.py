"""Weights that are the data themselves: not shipped, but made by their recipe when somebody asks for them."""

import hashlib
import sys

import numpy as np

from training import data, keras_objects
from training import recipe as recipes
from zoo import registry
from zoo.errors import ZooError
from zoo.files import atomic


def fit_weights(name, weights, path):
    """Make the weights of a card that are fitted, not shipped, and write them.

    Args:
        name: `arch.tag`, for the message.
        weights: `zoo.schema.Weights`, whose recipe says what they are fitted to.
        path: the `.weights.h5` file.

    Raises:
        ZooError: if the data cannot be had, or are not those of the card.
    """
    recipe = recipes.load(weights.recipe)
    source = load_data(recipe)
    if (found := fingerprint(source.splits["train"])) != weights.sha256:
        raise ZooError(
            f"the {recipe.data.name}{data.location(recipe.data.name)} is not the one of the card of {name}: the sha256 of "
            f"its training part is {found[:12]}..., not {weights.sha256[:12]}..."
        )
    print(f"{name}: its weights are the data; fitting them to {recipe.data.name}, once", file=sys.stderr)
    classifier = fit_classifier(recipe, source)
    with atomic(path) as temporary:
        classifier.net.save_weights(temporary)


def load_data(recipe):
    """Return the `training.data.Source` of a recipe, in the size that its model takes."""
    picture = recipe.picture or registry.card(recipe.model).picture
    return data.load(recipe.data.name, picture.model_dump())


def fingerprint(samples):
    """Return the hex sha256 of `training.data.Samples`, the pictures and then the labels, on every machine the same."""
    digest = hashlib.sha256(np.ascontiguousarray(samples.images))
    digest.update(samples.labels.astype("<i4").tobytes())
    return digest.hexdigest()


def fit_classifier(recipe, source):
    """Return the classifier of a recipe after its own rule has seen the training part once, in the order of the data set.

    Args:
        recipe: `training.recipe.Recipe` of a model that learns by a rule.
        source: `training.data.Source`.
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
