"""Fine-tuning: a model of the zoo, or a user's own, on a user's own pictures."""

import math
from pathlib import Path

import keras

from training import CHECKPOINT_SECONDS, data, recipe
from training.augmentation import presets
from training.distributed import devices
from training.distributed.strategy import Placement
from training.engine import run_directory
from training.engine.fit import fit
from training.evaluation.evaluate import score
from training.recipe import shown
from zoo import registry
from zoo.errors import ZooError

# Pictures that an epoch shows at least, of few each several times: else a small folder would be left after few steps.
SHOWN = 2000
# How they are distorted, unless something else is asked for; what that is worth is in the header of the recipe.
AUGMENTATION = "light"


def finetune(
    name_or_path,
    folder,
    out,
    resume=False,
    strict=False,
    console=None,
    command="",
    checkpoint_every=CHECKPOINT_SECONDS,
    placement=None,
    **changes,
):
    """Fine-tune a classifier on a user's pictures.

    If the data's classes are the classifier's, all of it goes on learning; otherwise it gets a new output layer, which at
    first learns alone, above what was learned before.

    Args:
        name_or_path: what `zoo.load` takes.
        folder: what `training.data.load` takes: a folder with a folder of pictures a class, a list, or a TFDS name.
        out: the run folder.
        resume: go on from the run folder's last checkpoint.
        strict: refuse unreadable pictures instead of leaving them out.
        console: rich console for progress.
        command, checkpoint_every, placement: as for `training.fit`.
        **changes: values of the recipe "finetune" to change, such as epochs=5.

    Returns:
        dict: what metrics.json holds, with accuracy_before in percent on the same pictures, None for new classes.

    Raises:
        ZooError: as `training.fit`; if the model does not learn by gradients.
    """
    out, placement = Path(out), placement or Placement()
    run_directory.check(out, resume)  # before all that takes time
    devices.prepare()
    with placement.scope():
        before = registry.load(name_or_path)
    _check_gradient(before)
    settings = {"model": str(name_or_path), "data.name": str(folder), **changes}
    checked = recipe.load("finetune", **settings)
    source = data.load(str(folder), shown(checked, before.image_spec), strict)
    same = set(source.class_names) in (set(before.class_names), set(before.class_ids or ()))
    keras.utils.set_random_seed(checked.seed)  # fit sets it again, too late for a new head
    with placement.scope():
        classifier, new = (before, ()) if same else _new_head(before, source)
    source = source.align_labels(classifier.class_names, classifier.class_ids)
    train, _, test = data.split(source, checked.data.validation, checked.data.test, checked.seed)  # as fit will
    accuracy = score(classifier, test).summary()["accuracy"] if same and test is not None else None
    # A run goes on with what it began with, whatever has become of the pictures: that fit tells in words of its own.
    repeat = recipe.load(out / "recipe.toml").data.repeat if resume else math.ceil(SHOWN / len(train))
    defaults = {"data.repeat": repeat, "augmentation": presets.get(AUGMENTATION)}
    if same:
        defaults["thaw"] = None  # nothing is new, so nothing has to wait
    checked = recipe.load("finetune", **{**defaults, **settings})
    return fit(
        checked,
        out,
        resume,
        classifier,
        source,
        console,
        new_layers=new,
        command=command,
        about={"accuracy_before": accuracy},
        checkpoint_every=checkpoint_every,
        placement=placement,
    )


def _check_gradient(before):
    """Refuse a machine that learns by a rule of its own, and name what trains it from the start."""
    card = registry.card(before.card)
    if card.rule:
        recipes = {f"{card.name}.{tag}": weights.recipe for tag, weights in card.weights.items() if weights.recipe}
        name = recipes.get(before.weights_name) or next(iter(recipes.values()))
        parts = "".join(f" --set data.{part}=0.15" for part in ("validation", "test"))
        raise ZooError(
            f"{card.name} learns by a rule of its own, {card.rule.class_name.rpartition('>')[2]}, and cannot be fine-tuned; "
            f"to train it on your pictures: zoo train {name} --set data.name=FOLDER{parts} --out DIR"
        )


def _new_head(before, source):
    """Return a classifier for other classes, and the names of its new layers: the same net, with a new last one that learns.

    What follows that layer, if anything, is fixed: the targets that its units have for the old classes.
    """
    net = registry.build(before.card, classes=len(source.class_names), **before.options)
    *body, head = [layer for layer in net.layers if layer.trainable_weights]
    fixed = [layer for layer in net.layers if layer.weights and not layer.trainable_weights]
    for layer in [*body, *fixed]:
        layer.set_weights(before.net.get_layer(layer.name).get_weights())
    classifier = type(before)(
        net,
        before.preprocessing,
        before.image_spec,
        source.class_names,
        before.card,
        before.weights_name,
        before.options,
        name=before.name,
    )
    return classifier, (head.name,)
