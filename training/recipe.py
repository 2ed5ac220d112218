"""Recipes: TOML files with everything that a training run depends on."""

import itertools
import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from training.augmentation import presets
from zoo import images, schema
from zoo.errors import ZooError, did_you_mean
from zoo.files import read_toml
from zoo.schema import ImageSpec, KerasObject, Preprocessing, Strict

FINETUNING = "finetune"  # the recipe that `zoo finetune` completes
# The augmentation of fine-tuning, unless another is given. Its effect is in the header of the recipe.
FINETUNING_AUGMENTATION = "light"


def _share_or_number(value):
    if value >= 1 and value != int(value):
        raise ValueError("is a number of images, or a share below 1")
    return value


Amount = Annotated[float, AfterValidator(_share_or_number)]


class DataRecipe(Strict):
    """The data of a run, and how they are split and sampled.

    `validation` and `test` are numbers of images, or shares below 1. They are split off the training data with the run's
    seed if the data have no such split. The test split is evaluated once, at the end.
    """

    name: str = Field(default="", description="argument of training.data.load: a TFDS name, drawn:NAME, a folder, a list")
    validation: Amount = Field(ge=0, description="0 selects the last epoch, if the data have no validation split")
    test: Amount = Field(default=0, ge=0)
    repeat: int = Field(default=1, gt=0, description="number of times that an epoch shows the training split")
    balance: bool = Field(default=False, description="sample all classes equally often")


class UnfreezingRecipe(Strict):
    """How pretrained layers are trained when fine-tuning adds a new output layer; the table [thaw]."""

    epochs: int = Field(ge=0, description="number of epochs in which the pretrained layers are frozen")
    share: float = Field(gt=0, le=1, description="factor on the later updates of the pretrained layers")


class Recipe(Strict):
    """A training run."""

    model: str
    data: DataRecipe
    epochs: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    seed: int = Field(ge=0)
    patience: int = Field(default=0, ge=0, description="stop after so many epochs without improvement; 0 for never")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="compute precision during training; weights and saved files are float32"
    )
    optimizer: KerasObject | None = Field(default=None, description="None if a learning rule trains the model")
    loss: KerasObject | None = Field(default=None, description="default: the card's")
    rule: KerasObject | None = Field(default=None, description="default: the card's")
    augmentation: tuple[KerasObject, ...] = ()
    options: dict[str, Any] = Field(default_factory=dict, description="options of the model's builder, except classes")
    picture: ImageSpec | None = Field(default=None, description="default: the card's")
    preprocessing: Preprocessing | None = Field(default=None, description="default: the card's")
    thaw: UnfreezingRecipe | None = Field(default=None, description="None trains all layers from the first epoch on")


def names() -> list[str]:
    """Return the names of the packaged recipes, sorted."""
    files = resources.files("training.recipes").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def load(name_or_path: str | Path, /, **changes: Any) -> Recipe:
    """Load and check a recipe.

    Args:
        name_or_path: name of a packaged recipe, or path of a TOML file.
        **changes: values that replace those of the file, such as seed=2 or {"data.name": "fashion_mnist"}. A dotted key is a
            key of a table.

    Returns:
        `Recipe`.

    Raises:
        ZooError: if there is no such recipe, or a key is unknown or has a wrong value; with the nearest name.
    """
    path = Path(name_or_path)
    if str(name_or_path) in names():
        text = resources.files("training.recipes").joinpath(f"{name_or_path}.toml").read_text("utf-8")
    elif path.suffix == ".toml" and path.is_file():
        text = path.read_text("utf-8")
    else:
        near = did_you_mean(str(name_or_path), names())
        raise ZooError(f"no recipe '{name_or_path}'{near} The recipes are {', '.join(names())}, or give a .toml file")
    source = f"recipe {name_or_path}"
    values = read_toml(text, source)
    for key, value in changes.items():
        _put(values, key.split("."), value, key)
    return schema.validate(values, Recipe, source)


def load_for_finetuning(model: str, data: str, /, **changes: Any) -> Recipe:
    """Load the recipe of fine-tuning, which `training.engine.finetune` completes once the data are loaded.

    Args:
        model: name or path of the model.
        data: name or path of the data.
        **changes: values that replace those of the file, as for `load`.
    """
    defaults = {"augmentation": presets.get(FINETUNING_AUGMENTATION)}
    return load(FINETUNING, **{**defaults, "model": model, "data.name": data, **changes})


def without_thaw(recipe: Recipe) -> Recipe:
    """Return a recipe of fine-tuning without [thaw], for a model that keeps its output layer.

    Raises:
        ZooError: if [thaw] is not that of the packaged recipe: a user who sets it expects an effect.
    """
    if recipe.thaw not in (None, load(FINETUNING).thaw):
        raise ZooError("--set thaw: the model has the classes of the data and gets no new output layer; remove the setting")
    return recipe.model_copy(update={"thaw": None})


def image_spec_of_data(recipe: Recipe, image_spec: dict) -> dict:
    """Return the format in which a recipe's images are loaded: uncropped if its augmentation crops them.

    Args:
        recipe: `Recipe`.
        image_spec: format of the images that the model takes.
    """
    crops = any(each.class_name == "training>RandomCrop" for each in recipe.augmentation)
    return images.without_crop(image_spec) if crops else image_spec


def differences(*recipes: dict, missing: Any = "not given") -> dict[str, tuple]:
    """Compare recipes.

    Args:
        *recipes: recipes as dicts of their TOML files.
        missing: value of a setting that a recipe does not have.

    Returns:
        The values of each dotted key that are not the same in all recipes, one per recipe.
    """
    flat = [dict(_flatten(recipe)) for recipe in recipes]
    keys = dict.fromkeys(itertools.chain(*flat))
    values = {key: tuple(settings.get(key, missing) for settings in flat) for key in keys}
    return {key: each for key, each in values.items() if any(value != each[0] for value in each)}


def _flatten(table, prefix=""):
    """Yield (dotted key, value) of nested tables. An empty table is a value."""
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _put(table, path, value, key):
    """Set a value in nested tables. The schema checks whether the key exists."""
    for name in path[:-1]:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise ZooError(f"--set {key}: '{name}' is a value, not a table")
    table[path[-1]] = value


def parse_setting(setting: str) -> tuple[str, Any]:
    """Return the "key=value" of a command line as (key, value).

    The value is parsed as TOML; if that fails, it is a string.

    Raises:
        ZooError: if there is no "=".
    """
    key, equals, value = setting.partition("=")
    if not equals:
        raise ZooError(f"--set takes key=value, such as --set seed=2; received '{setting}'")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value
