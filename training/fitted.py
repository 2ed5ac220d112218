"""Weights that are the data themselves: not shipped, but made by their recipe when somebody asks for them."""

import sys

from training import data, keras_objects
from training import recipe as recipes
from zoo import registry
from zoo.files import atomic


def fit_weights(name, weights, path):
    """Make the weights of a card that are fitted, not shipped, and write them.

    Args:
        name: `arch.tag`, for the message.
        weights: `zoo.schema.Weights`, whose recipe says what they are fitted to.
        path: the `.weights.h5` file.

    Raises:
        ZooError: if the data cannot be had.
    """
    recipe = recipes.load(weights.recipe)
    print(f"{name}: its weights are the data; fitting them to {recipe.data.name}, once", file=sys.stderr)
    net = fit_net(recipe)
    with atomic(path) as temporary:
        net.save_weights(temporary)


def fit_net(recipe):
    """Return the bare net of a recipe after its own rule has seen the training part once.

    The pictures are shown in the order of the data set, which is the same everywhere: so are the weights.

    Args:
        recipe: `training.recipe.Recipe` of a model that learns by a rule.
    """
    card = registry.card(recipe.model)
    source = data.load(recipe.data.name, (recipe.picture or card.picture).model_dump())
    train = source.parts["train"]
    net = registry.build(recipe.model, classes=len(source.class_names), **recipe.options)
    classifier = registry.wrap(net, card, source.class_names, recipe)
    rule = keras_objects.rule(recipe.rule or card.rule)
    rule.prepare(net, len(train))
    for start in range(0, len(train), recipe.batch_size):
        batch = train[start : start + recipe.batch_size]
        rule.learn(net, classifier.preprocessing(batch.pictures), batch.labels)
    return net
