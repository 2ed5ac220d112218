"""The data of a run, loaded and split once."""

from dataclasses import dataclass

from training import data
from training.data import Samples, Source
from training.distributed.strategy import Strategy
from training.recipe import Recipe, image_spec_of_data
from zoo.errors import ZooError


@dataclass(frozen=True)
class PreparedData:
    """A data set and its splits.

    Attributes:
        source: `training.data.Source`. Its labels index the class names of the classifier.
        splits: the samples of "train", "validation" and "test"; one of the last two may be None.
        fingerprint: sha256 of labels and images, to recognize the same data.
    """

    source: Source
    splits: dict[str, Samples | None]
    fingerprint: str


def load(recipe: Recipe, image_spec: dict, strict: bool = False) -> Source:
    """Load the data of a recipe, in the size that the augmentation takes.

    Args:
        recipe: `training.recipe.Recipe`.
        image_spec: format of the images that the model takes.
        strict: raise an error on unreadable images instead of skipping them.
    """
    return data.load(recipe.data.name, image_spec_of_data(recipe, image_spec), strict)


def prepare(recipe: Recipe, source: Source, strategy: Strategy) -> PreparedData:
    """Split a data set as a recipe describes.

    Args:
        recipe: `training.recipe.Recipe`.
        source: `training.data.Source`.
        strategy: distribution strategy, all of whose processes must have the same data.

    Raises:
        ZooError: if a process has other data, the data cannot be split, or there is neither a validation nor a test split.
    """
    fingerprint = source.fingerprint()
    strategy.check_equal({"data": lambda: fingerprint})
    train, validation, test = data.split(source, recipe.data.validation, recipe.data.test, recipe.seed)
    if validation is None and test is None:
        raise ZooError(f"{recipe.data.name} has no test split, and data.validation and data.test are 0: set one of them")
    return PreparedData(source, {"train": train, "validation": validation, "test": test}, fingerprint)
