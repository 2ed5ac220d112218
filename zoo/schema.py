"""The schema of a card, checked by pydantic. Unknown keys are errors."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from zoo import classes as lists
from zoo.errors import ZooError, did_you_mean

Format = Literal["caffe", "torch"]
Tag = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]  # part of the name of a file in the cache


class Strict(BaseModel):
    """A table without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class KerasObject(Strict):
    """A loss, optimizer, learning rate schedule, layer or rule in Keras' own form."""

    class_name: str
    config: dict[str, Any] = Field(default_factory=dict)


class Paper(Strict):
    """The paper that describes a model."""

    title: str
    venue: str = Field(description="journal or conference, with volume and year")
    doi: str | None = Field(default=None, description="without https://doi.org/")


class Published(Strict):
    """A result from a paper or another publisher. Results of this project are `Measured`."""

    result: str = Field(description="name of the quantity, such as test error")
    value: float
    unit: str = Field(default="%", description="unit of the value, such as sweeps")
    dataset: str = Field(description="name of the data set as published, such as MNIST")
    setting: str = Field(default="", description="how the value was obtained, such as no distortions")
    source: str = Field(description="paper or page with the section, figure or table that prints the value")


class Measured(Strict):
    """A result that a command of this project printed: one value per seed, or one over all seeds, such as a median."""

    result: str
    values: tuple[float, ...] = Field(min_length=1)
    unit: str = "%"
    dataset: str
    recipe: str
    seeds: tuple[int, ...]
    device: str
    date: str
    command: str

    @model_validator(mode="after")
    def _check_values(self) -> "Measured":
        if len(self.values) not in (1, len(self.seeds)):
            raise ValueError(f"{len(self.values)} values for {len(self.seeds)} seeds")
        return self

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return sum(self.values) / len(self.values)

    @property
    def spread(self) -> float:
        """Sample standard deviation over the seeds; 0 for one seed."""
        if len(self.values) == 1:
            return 0.0
        return (sum((value - self.mean) ** 2 for value in self.values) / (len(self.values) - 1)) ** 0.5


class ImageSpec(Strict):
    """Size and channels of the images that a model takes, and how images of other sizes are resized."""

    height: int = Field(gt=0)
    width: int = Field(gt=0)
    channels: Literal[1, 3]
    resize: Literal["pad", "crop", "stretch"] = "pad"
    crop_from: int | None = Field(default=None, description="resize to a square of this side first, then crop the center")

    @model_validator(mode="after")
    def _check_crop(self) -> "ImageSpec":
        if self.crop_from is not None and self.crop_from < max(self.height, self.width):
            raise ValueError(f"{self.height}x{self.width} cannot be cropped from {self.crop_from}x{self.crop_from}")
        return self


class Preprocessing(Strict):
    """From raw 0-255 pixels to the input of the network: deskew if set, then pad with raw zeros, then x·scale + shift."""

    deskew: bool = False
    scale: float | tuple[float, ...] = 1.0
    shift: float | tuple[float, ...] = 0.0
    padding: int = Field(default=0, ge=0)


class Weights(Strict):
    """Trained weights: their file, classes, recipe and results.

    The `sha256` of fitted weights is that of the training split that they are fitted to: all images, uint8, then all labels,
    little-endian int32. The fitted file itself has no fixed hash, because machines round differently. Weights that others
    published have the published hash, and the size if that was published too.
    """

    file: str | None = Field(
        default=None, pattern=r"^\w[\w.-]*$", description="name of the file in the folder pretrained of the card's package"
    )
    url: str | None = None
    fitted: bool = Field(default=False, description="fitted by the recipe on first use: the weights are the training data")
    format: Format | None = Field(default=None, description="of a foreign file at url, which is converted")
    sha256: str | None = Field(
        default=None, pattern="^[0-9a-f]{64}$", description="of the file, or of the training data if fitted"
    )
    sha1: str | None = Field(default=None, pattern="^[0-9a-f]{40}$", description="of a foreign file whose sha256 is unknown")
    size: int | None = Field(default=None, gt=0, description="bytes of the file, or of the fitted arrays")
    largest: int | None = Field(
        default=None, gt=0, description="largest possible number of bytes of a foreign file whose size is unknown"
    )
    licence: str
    classes: tuple[str, ...] | str = Field(description="class names, or the name of a list in zoo/classes")
    recipe: str | None = None
    options: dict[str, Any] = Field(default_factory=dict, description="of the builder, besides classes")
    picture: ImageSpec | None = None
    preprocessing: Preprocessing | None = None
    published: tuple[Published, ...] = ()
    measured: tuple[Measured, ...] = ()

    @model_validator(mode="after")
    def _check_source(self) -> "Weights":
        if (self.file is not None) + (self.url is not None) + self.fitted != 1:
            raise ValueError("give one of file (packaged with the zoo), url, and fitted = true")
        if (self.format or self.sha1 or self.largest) and self.url is None:
            raise ValueError("format, sha1 and largest need a url")
        if (self.sha1 or self.largest) and not self.format:
            raise ValueError("sha1 and largest need a foreign format; give format, or give sha256 and size instead")
        if (self.sha256 is None) == (self.sha1 is None):
            raise ValueError("give one of sha256 and, if only that was published, sha1")
        if (self.size is None) == (self.largest is None):
            raise ValueError("give one of size and, if size is unknown, largest")
        return self

    @model_validator(mode="after")
    def _check_facts(self) -> "Weights":
        if self.recipe is None and not self.format:
            raise ValueError("give the recipe; only weights of a foreign format need none")
        if not self.measured and not self.published:
            raise ValueError("give at least one result, measured or published")
        if isinstance(self.classes, str):
            lists.check(self.classes)
        return self

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per class."""
        return lists.names(self.classes) if isinstance(self.classes, str) else self.classes

    @property
    def class_ids(self) -> tuple[str, ...] | None:
        """One id per class, such as n01440764, or None if the classes have names only."""
        return lists.ids(self.classes) if isinstance(self.classes, str) else None

    @property
    def bound(self) -> int:
        """Largest possible number of bytes of the file."""
        return self.size or self.largest

    @property
    def digest(self) -> str:
        """The published hash, hex sha256 or sha1."""
        return self.sha256 or self.sha1


class Card(Strict):
    """The facts about a model."""

    name: str = Field(description="name of the model in commands and of this file, in lower case")
    title: str = Field(description="name of the model in sentences and tables, such as LeNet-5")
    year: int = Field(description="year of the model as its paper states it; the paper itself may be younger")
    authors: tuple[str, ...] = Field(description="authors of the model, in the order of the paper")
    summary: str = Field(description="one sentence: the kind of model, and what distinguishes it from the others")
    paper: Paper = Field(description="source that the builder follows; it may be younger than the model")
    builder: str = Field(pattern=r"^\w+(\.\w+)*:\w+$", description="module:function that builds the network")
    parameters: int = Field(description="trainable parameters, asserted against the built network")
    connections: int = Field(description="connections for one image, asserted against the built network")
    loss: KerasObject = Field(description="used unless a recipe names another")
    rule: KerasObject | None = Field(default=None, description="learning rule, if it is not gradient descent")
    picture: ImageSpec = Field(description="raw images that the model takes, before preprocessing")
    preprocessing: Preprocessing = Preprocessing()
    reconstruction: tuple[str, ...] = Field(default=(), description="what the sources do not specify, and what was chosen")
    published: tuple[Published, ...] = ()
    measured: tuple[Measured, ...] = ()
    imports: dict[Format, dict[str, str]] = Field(
        default_factory=dict, description="foreign formats that can be converted: name of each layer here -> its name there"
    )
    weights: dict[Tag, Weights] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_imports(self) -> "Card":
        for tag, weights in self.weights.items():
            if weights.format and weights.format not in self.imports:
                raise ValueError(
                    f"weights.{tag} have the format {weights.format}, but there is no [imports.{weights.format}]"
                )
        return self


def validate(values: dict, model: type[BaseModel], source: str) -> Any:
    """Return a dict as an instance of a pydantic model.

    Args:
        values: the dict.
        model: class of the instance.
        source: where the dict comes from, for messages.

    Raises:
        ZooError: if the dict does not fit the model; the message names each wrong key and the nearest right one.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [_problem(each, model) for each in error.errors()]
        raise ZooError(f"{source}: {'; '.join(problems)}") from error


def _problem(error: dict, model: type[BaseModel]) -> str:
    """Return a pydantic error as one line, with the nearest right key for an unknown one."""
    path = [str(part) for part in error["loc"]]
    where = ".".join(path)
    if error["type"] == "extra_forbidden":
        near = did_you_mean(path[-1], _keys(model, error["loc"][:-1]))
        return f"unknown key '{where}'{near.rstrip('.')}"
    if error["type"] == "missing":
        return f"'{where}' is missing"
    return f"'{where}' is {error['input']!r}: {error['msg'][0].lower()}{error['msg'][1:]}" if where else error["msg"]


def _keys(model: type[BaseModel], location: tuple) -> dict:
    """Return the keys that are allowed in the table at a location of a model."""
    for part in location:
        if isinstance(part, int) or part not in getattr(model, "model_fields", {}):
            continue
        models = [model.model_fields[part].annotation]
        while models:
            candidate = models.pop()
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                model = candidate
                break
            models.extend(getattr(candidate, "__args__", ()))
    return model.model_fields
