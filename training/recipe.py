"""Recipes: one TOML file says all that a training run depends on."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from zoo import images, schema
from zoo.errors import ZooError, did_you_mean
from zoo.files import read_toml
from zoo.schema import ImageSpec, KerasObject, Preprocessing, Strict


def _share_or_number(value):
    if value >= 1 and value != int(value):
        raise ValueError("is a number of pictures, or a share below 1")
    return value


Amount = Annotated[float, AfterValidator(_share_or_number)]


class DataRecipe(Strict):
    """What is learned from.

    `validation` and `test` are numbers of pictures, or shares below 1; they are carved, with the run's seed, from what has
    no such part of its own. The test part is looked at once, at the end.
    """

    name: str = Field(default="", description="what training.data.load takes: a TFDS name, drawn:NAME, a folder, a list")
    validation: Amount = Field(ge=0, description="0 keeps the last epoch, where the data have no part of that name")
    test: Amount = Field(default=0, ge=0)
    repeat: int = Field(default=1, gt=0, description="how often an epoch shows the training part")
    balance: bool = Field(default=False, description="show each class as often as the others")


class Thaw(Strict):
    """How what was learned before is kept, where fine-tuning puts a new output layer on it."""

    epochs: int = Field(ge=0, description="for which the new layer learns alone")
    share: float = Field(gt=0, le=1, description="of each later change that the layers below it take")


class Recipe(Strict):
    """A training run."""

    model: str
    data: DataRecipe
    epochs: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    seed: int = Field(ge=0)
    patience: int = Field(default=0, ge=0, description="stop after so many epochs without a better one; 0 for never")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="in which the net multiplies; weights, and what leaves, are float32"
    )
    optimizer: KerasObject | None = Field(default=None, description="left out where a rule does the learning")
    loss: KerasObject | None = Field(default=None, description="in place of the card's")
    rule: KerasObject | None = Field(default=None, description="in place of the card's")
    augmentation: tuple[KerasObject, ...] = ()
    options: dict[str, Any] = Field(default_factory=dict, description="of the net's builder, besides classes")
    picture: ImageSpec | None = Field(default=None, description="in place of the card's")
    preprocessing: Preprocessing | None = Field(default=None, description="in place of the card's")
    thaw: Thaw | None = Field(default=None, description="of a new output layer; without one all learns at once")


def names():
    """Return the names of the packaged recipes, sorted."""
    files = resources.files("training.recipes").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def load(name_or_path, **changes):
    """Return a recipe, checked.

    Args:
        name_or_path: name of a packaged recipe, or path of a TOML file.
        **changes: values to put in place of the recipe's, such as seed=2, or {"data.name": "fashion_mnist"}; a dotted key
            reaches into a table.

    Returns:
        `Recipe`.

    Raises:
        ZooError: if there is no such recipe, or it has a wrong or unknown key; with the nearest right one.
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


def shown(recipe, picture):
    """Return the format in which a recipe's pictures are read: whole, where its augmentation cuts out of them."""
    cuts = any(each.class_name == "training>RandomCrop" for each in recipe.augmentation)
    return images.without_crop(picture) if cuts else picture


def _put(table, path, value, key):
    """Set a value in nested tables; whether the key exists is the schema's to say."""
    for part in path[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ZooError(f"--set {key}: '{part}' is a value, not a table")
    table[path[-1]] = value


def parse_setting(setting):
    """Return the "key=value" of a command line as (key, value), the value read as TOML, else as a string.

    Raises:
        ZooError: if there is no "=".
    """
    key, equals, value = setting.partition("=")
    if not equals:
        raise ZooError(f"--set takes key=value, such as --set seed=2; given was '{setting}'")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value
