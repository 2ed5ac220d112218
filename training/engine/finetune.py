"""Fine-tuning: continue the training of a model on a user's own images."""

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from training import recipe as recipes
from training.data import Source
from training.distributed import devices
from training.engine import prepared_data, run_directory
from training.engine.fit import FitOptions, run
from training.engine.prepared_data import PreparedData
from training.evaluation.evaluate import score
from training.recipe import Recipe
from zoo import registry
from zoo.errors import ZooError

if TYPE_CHECKING:
    from zoo.classifier import Classifier

# Minimum number of images in an epoch. A smaller data set is repeated; otherwise its run would end after few steps.
IMAGES_PER_EPOCH = 2000


def finetune(
    name_or_path: str | Path,
    folder: str | Path,
    out: str | Path,
    resume: bool = False,
    strict: bool = False,
    **options_and_changes: Any,
) -> dict:
    """Fine-tune a classifier on a user's images.

    If the classes of the data are those of the classifier, all layers are trained. Otherwise the classifier gets a new
    output layer, and its other layers are frozen at first.

    Args:
        name_or_path: argument of `zoo.load`.
        folder: argument of `training.data.load`: a folder with one subfolder per class, a list, or a TFDS name.
        out: run directory.
        resume: resume from the last checkpoint in the run directory.
        strict: raise an error on unreadable images instead of skipping them.
        **options_and_changes: fields of `training.engine.fit.FitOptions` (console, command, about, checkpoint_every and
            placement), and values of the recipe "finetune" to change, such as epochs=5.

    Returns:
        dict: the content of metrics.json, with accuracy_before: the accuracy on the same images before fine-tuning, in
        percent; None for new classes.

    Raises:
        ZooError: as `training.fit`; if the model is trained by a learning rule instead of gradients.
    """
    names = {option.name for option in dataclasses.fields(FitOptions)}
    options = {key: value for key, value in options_and_changes.items() if key in names}
    changes = {key: value for key, value in options_and_changes.items() if key not in names}
    recipe = recipes.load_for_finetuning(str(name_or_path), str(folder), **changes)
    return finetune_recipe(recipe, Path(out), resume, strict, FitOptions(**options))


def finetune_recipe(recipe: Recipe, out: Path, resume: bool, strict: bool, options: FitOptions) -> dict:
    """Fine-tune the model of a recipe on its data.

    Args:
        recipe: recipe from `training.recipe.load_for_finetuning`.
        out: run directory.
        resume: resume from the last checkpoint in the run directory.
        strict: raise an error on unreadable images instead of skipping them.
        options: `FitOptions`.

    Returns:
        As `finetune`.
    """
    run_directory.check(out, resume)  # before anything that takes time
    devices.prepare()
    strategy = options.strategy
    with strategy.scope():
        pretrained = registry.load(recipe.model)
    _check_gradient(pretrained)
    source = prepared_data.load(recipe, pretrained.image_spec, strict)
    keras.utils.set_random_seed(recipe.seed)
    with strategy.scope():
        classifier, new_layers = _with_classes(pretrained, source)
    source = source.align_labels(classifier.class_names, classifier.class_ids)
    prepared = prepared_data.prepare(recipe, source, strategy)
    accuracy = None
    if not new_layers and (test := prepared.splits["test"]) is not None:
        accuracy = score(classifier, test).summary()["accuracy"]
    recipe = _completed(recipe, prepared, new_layers, out if resume else None)
    options = dataclasses.replace(options, about={**(options.about or {}), "accuracy_before": accuracy})
    return run(recipe, registry.card(classifier.card), out, resume, lambda rule: (classifier, prepared), new_layers, options)


def _check_gradient(classifier: "Classifier") -> None:
    """Raise `ZooError` for a model that is trained by a learning rule, with the command that trains it from scratch."""
    card = registry.card(classifier.card)
    if card.rule:
        recipes_of = {f"{card.name}.{tag}": weights.recipe for tag, weights in card.weights.items() if weights.recipe}
        name = recipes_of.get(classifier.weights_name) or next(iter(recipes_of.values()))
        rule = card.rule.class_name.rpartition(">")[2]
        splits = "".join(f" --set data.{split}=0.15" for split in ("validation", "test"))
        raise ZooError(
            f"{card.name} is trained by a learning rule, {rule}, and cannot be fine-tuned; "
            f"to train it on your images: zoo train {name} --set data.name=FOLDER{splits} --out DIR"
        )


def _with_classes(pretrained: "Classifier", source: Source) -> tuple["Classifier", tuple[str, ...]]:
    """Return a classifier for the classes of a data set, and the names of its new layers, if any."""
    if set(source.class_names) in (set(pretrained.class_names), set(pretrained.class_ids or ())):
        return pretrained, ()
    return _new_head(pretrained, source.class_names)


def _new_head(pretrained: "Classifier", class_names: tuple[str, ...]) -> tuple["Classifier", tuple[str, ...]]:
    """Return a classifier for other classes, and the names of its new layers.

    Its last trainable layer is new. Layers above it, if any, have fixed weights: the target codes of the old classes.
    """
    net = registry.build(pretrained.card, classes=len(class_names), **pretrained.options)
    *body, head = [layer for layer in net.layers if layer.trainable_weights]
    fixed = [layer for layer in net.layers if layer.weights and not layer.trainable_weights]
    for layer in [*body, *fixed]:
        layer.set_weights(pretrained.net.get_layer(layer.name).get_weights())
    classifier = type(pretrained)(
        net,
        pretrained.preprocessing,
        pretrained.image_spec,
        class_names,
        pretrained.card,
        pretrained.weights_name,
        pretrained.options,
        name=pretrained.name,
    )
    return classifier, (head.name,)


def _completed(recipe: Recipe, prepared: PreparedData, new_layers: tuple[str, ...], resumed: Path | None) -> Recipe:
    """Return a recipe with the values that depend on the data and the classes.

    Args:
        recipe: recipe from `training.recipe.load_for_finetuning`.
        prepared: `PreparedData`.
        new_layers: names of the new layers; without any, nothing is frozen.
        resumed: run directory to resume, or None.
    """
    if "repeat" not in recipe.data.model_fields_set:
        # A resumed run keeps its value; if the images have changed, the fingerprint shows it.
        repeat = math.ceil(IMAGES_PER_EPOCH / len(prepared.splits["train"]))
        if resumed:
            repeat = recipes.load(resumed / "recipe.toml").data.repeat
        recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"repeat": repeat})})
    return recipe if new_layers else recipes.without_thaw(recipe)
