"""What a card may say, checked by pydantic: an unknown key is an error, not a fact that nobody reads."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from zoo import classes as lists
from zoo.errors import ZooError, did_you_mean

Format = Literal["caffe", "torch"]


class Strict(BaseModel):
    """A table whose keys are all known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class KerasObject(Strict):
    """A Keras object as Keras itself writes it: loss, optimizer, schedule or layer."""

    class_name: str
    config: dict[str, Any] = Field(default_factory=dict)


class Paper(Strict):
    title: str
    venue: str
    doi: str | None = None


class Published(Strict):
    """A number that somebody published."""

    result: str
    value: float
    unit: str = "%"
    dataset: str
    setting: str = ""
    source: str


class Measured(Strict):
    """A number that a command of this project printed: one value a seed, or one over all seeds, such as a median."""

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
    def _a_value_a_seed(self):
        if len(self.values) not in (1, len(self.seeds)):
            raise ValueError(f"{len(self.values)} values for {len(self.seeds)} seeds")
        return self

    @property
    def mean(self):
        return sum(self.values) / len(self.values)

    @property
    def spread(self):
        """Sample standard deviation over the seeds; 0 for one."""
        if len(self.values) == 1:
            return 0.0
        return (sum((value - self.mean) ** 2 for value in self.values) / (len(self.values) - 1)) ** 0.5


class Picture(Strict):
    """The raw picture that a model takes, and how a picture of another size becomes one."""

    height: int = Field(gt=0)
    width: int = Field(gt=0)
    channels: Literal[1, 3]
    resize: Literal["pad", "crop", "stretch"] = "pad"
    crop_from: int | None = Field(
        default=None, description="side of the square that a picture is made first; the middle of it is cut out"
    )

    @model_validator(mode="after")
    def _a_middle(self):
        if self.crop_from is not None and self.crop_from < max(self.height, self.width):
            raise ValueError(f"no {self.height}x{self.width} can be cut out of {self.crop_from}x{self.crop_from}")
        return self


class Preprocessing(Strict):
    """Raw 0-255 pixels to the net's input: deskewed where asked for, x·scale + shift, then a border of raw zeros."""

    deskew: bool = False
    scale: float | tuple[float, ...] = 1.0
    shift: float | tuple[float, ...] = 0.0
    padding: int = Field(default=0, ge=0)


class Weights(Strict):
    """Trained weights: where they are, what they were trained for, how they were made, what they reach.

    Weights that are fitted have the `sha256` of the training part that they are fitted to: all pictures, uint8, then all
    labels, little-endian int32. It is the same everywhere; what is computed from pictures differs in the last bits. Those
    that somebody else published have the hash that was published, and the size where that was.
    """

    file: str | None = None
    url: str | None = None
    fitted: bool = Field(default=False, description="made by the recipe when asked for: the weights are the data")
    format: Format | None = Field(default=None, description="of the file at url, where it is foreign and to be converted")
    sha256: str | None = Field(
        default=None, pattern="^[0-9a-f]{64}$", description="of the file; of fitted ones, of their data, see above"
    )
    sha1: str | None = Field(
        default=None, pattern="^[0-9a-f]{40}$", description="of a foreign file, where no sha256 is known"
    )
    size: int | None = Field(default=None, gt=0, description="bytes of the file, or of the values that are fitted")
    largest: int | None = Field(
        default=None, gt=0, description="bytes that a foreign file has at most, where size is unknown"
    )
    licence: str
    classes: tuple[str, ...] | str = Field(description="their names, or the name of a list in zoo/classes")
    recipe: str | None = None
    options: dict[str, Any] = Field(default_factory=dict, description="of the builder, besides classes")
    picture: Picture | None = None
    preprocessing: Preprocessing | None = None
    published: tuple[Published, ...] = ()
    measured: tuple[Measured, ...] = ()

    @model_validator(mode="after")
    def _one_source(self):
        if (self.file is not None) + (self.url is not None) + self.fitted != 1:
            raise ValueError("give one of file (packaged with the zoo), url, and fitted = true")
        if (self.format or self.sha1 or self.largest) and self.url is None:
            raise ValueError("format, sha1 and largest are of what is published at a url")
        if (self.sha1 or self.largest) and not self.format:
            raise ValueError("sha1 and largest are of a foreign file; give its format, or else sha256 and size")
        if (self.sha256 is None) == (self.sha1 is None):
            raise ValueError("give one of sha256 and, where only that was published, sha1")
        if (self.size is None) == (self.largest is None):
            raise ValueError("give one of size and, where nobody published it, largest")
        return self

    @model_validator(mode="after")
    def _known(self):
        if self.recipe is None and not self.format:
            raise ValueError("give the recipe; only foreign weights have none")
        if not self.measured and not self.published:
            raise ValueError("give what they reach, measured or published")
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
    def bound(self):
        """Bytes that the file has at most."""
        return self.size or self.largest

    @property
    def digest(self):
        """The published hash."""
        return self.sha256 or self.sha1


class Card(Strict):
    """All that the zoo says about a model."""

    name: str
    title: str
    year: int
    authors: tuple[str, ...]
    summary: str
    paper: Paper
    builder: str = Field(pattern=r"^zoo\.models\.\w+:\w+$", description="module:function that builds the net")
    parameters: int = Field(description="trainable parameters, asserted against the built net")
    connections: int = Field(description="connections of one picture, asserted against the built net")
    loss: KerasObject = Field(description="the machine's own criterion, used unless a recipe names another")
    rule: KerasObject | None = Field(default=None, description="how it learns, where that is no gradient of the loss")
    picture: Picture
    preprocessing: Preprocessing = Preprocessing()
    reconstruction: tuple[str, ...] = Field(default=(), description="what the sources leave open, and what was chosen")
    published: tuple[Published, ...] = ()
    measured: tuple[Measured, ...] = ()
    imports: dict[Format, dict[str, str]] = Field(
        default_factory=dict, description="foreign formats whose files can be converted: our layers -> theirs"
    )
    weights: dict[str, Weights] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _can_be_converted(self):
        for tag, weights in self.weights.items():
            if weights.format and weights.format not in self.imports:
                raise ValueError(
                    f"weights.{tag} are of the format {weights.format}, and there is no [imports.{weights.format}]"
                )
        return self


def validate(values, model, source):
    """Return a dict as an instance of a pydantic model.

    Raises:
        ZooError: if it says what the model does not know; the message names `source`, each wrong key, and the nearest right.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [_problem(each, model) for each in error.errors()]
        raise ZooError(f"{source}: {'; '.join(problems)}") from error


def _problem(error, model):
    """Say one pydantic error in a line, with the nearest right key for an unknown one."""
    path = [str(part) for part in error["loc"]]
    where = ".".join(path)
    if error["type"] == "extra_forbidden":
        near = did_you_mean(path[-1], _keys(model, error["loc"][:-1]))
        return f"unknown key '{where}'{near.rstrip('.')}"
    if error["type"] == "missing":
        return f"'{where}' is missing"
    return f"'{where}' is {error['input']!r}: {error['msg'][0].lower()}{error['msg'][1:]}" if where else error["msg"]


def _keys(model, location):
    """Return the keys that the table at a location of a model may have."""
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
