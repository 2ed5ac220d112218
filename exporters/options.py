"""The options of the exporters. Each is declared once, for the command line and for Python.

The commands show the fields of these dataclasses as options (`zoo.console.option_groups`); `exporters.to_onnx`,
`exporters.to_tensorrt` and `exporters.quantize` take them as keyword arguments, whose types for Python callers are in the
`Keywords` classes below each dataclass.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NewType, Self, TypedDict, TypeVar

import typer

from exporters import targets
from exporters.choices import DEFAULT_METHOD, Layout, Method, Pixels, Runtime, Scores
from exporters.precision import Precision
from zoo.errors import ZooError, did_you_mean

if TYPE_CHECKING:
    import keras
    import numpy as np

YesNo = NewType("YesNo", bool)
Batches = NewType("Batches", tuple)
ValueRange = NewType("ValueRange", tuple)
Size = NewType("Size", tuple)
BATCHES_EXPECTED = "a batch is one number from 1, or smallest, best and largest, as in --batch 1,8,64"


def check_suffix(out: Path, suffix: str) -> None:
    """Raise `ZooError` if a path does not have the suffix of its format; "" allows any."""
    if suffix and out.suffix != suffix:
        raise ZooError(f"the name of the file must end in {suffix}; given was --out {out}. Give --out {out}{suffix}")


def parse_batches(text: str | None) -> tuple[int, ...] | None:
    """Return the batch sizes of a text such as "1,8,64" or "8"; None for None.

    Raises:
        ZooError: if they are not whole numbers.
    """
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ZooError(f"{BATCHES_EXPECTED}; given was --batch {text}") from None


def parse_value_range(text: str | None) -> tuple[float, float] | None:
    """Return the range of a text such as "0,1" or "-1,1"; None for None.

    Raises:
        ZooError: if it is not two numbers.
    """
    if text is None:
        return None
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise ZooError(
            f"a range of pixels is two numbers, as in --value-range -1,1; given was --value-range {text}"
        ) from None
    return low, high


def parse_size(text: str | None) -> tuple[int, ...] | None:
    """Return the sizes of a text such as "224x224" or "128"; None for None.

    Raises:
        ZooError: if they are not whole numbers from 1.
    """
    if text is None or isinstance(text, tuple):
        return text
    sizes = text.lower().split("x")
    if not all(size.isdecimal() and int(size) for size in sizes):
        raise ZooError(f"a size is rows and columns, as in --size 224x224; given was --size {text}")
    return tuple(map(int, sizes))


def _yes_or_no(value):
    if value not in ("yes", "no", True, False):
        raise typer.BadParameter(f"'{value}' is neither 'yes' nor 'no'")
    return value in ("yes", True)


def _option(panel, text, *flags, **settings):
    return typer.Option(*flags, help=text, rich_help_panel=panel, **settings)


def _onnx(text, *flags, **settings):
    return _option("ONNX file (--to onnx)", text, *flags, **settings)


def _engine(text, *flags, **settings):
    return _option("TensorRT engine", text, *flags, **settings)


def _int8(text, *flags, **settings):
    return _option("INT8", text, *flags, **settings)


def _image(text, *flags, **settings):
    return _option("Keras model that is not of the zoo", text, *flags, **settings)


Group = TypeVar("Group", bound="Options")


@dataclass(frozen=True)
class Options:
    """Base class of the groups of options."""

    @classmethod
    def parse(cls, **keywords: Any) -> Self:
        """Return the options of the keyword arguments of a function.

        Raises:
            TypeError: if there is no such option; the message names the nearest one.
        """
        known = [field.name for field in fields(cls)]
        for name in keywords:
            if name not in known:
                near = did_you_mean(name, known)
                raise TypeError(f"unexpected keyword argument '{name}'{near} The options are {', '.join(known)}")
        return cls(**keywords)

    def select(self, group: type[Group]) -> Group:
        """Return the fields that another group has, as that group."""
        return group(**{field.name: getattr(self, field.name) for field in fields(group)})


@dataclass(frozen=True)
class TargetOptions(Options):
    """The device that runs a file.

    Attributes:
        target: name of a board or card of `exporters.targets`, or None for any.
        opset: ONNX operator set, or None for the default (`exporters.targets.default_opset`).
    """

    target: Annotated[
        str | None, typer.Option(help="Board or graphics card, such as orin-nano; `zoo targets` lists them.")
    ] = None
    opset: Annotated[
        int | None,
        typer.Option(
            help=f"ONNX operator set. Default: {targets.OPSET}, or the newest that the target's TensorRT reads, if older."
        ),
    ] = None


@dataclass(frozen=True)
class ImageOptions(Options):
    """The images and classes of a Keras model that is not of the zoo; see `exporters.description`.

    Attributes:
        value_range: (low, high), the values of a black and of a white pixel in the model's input, such as (0, 1) or (-1, 1).
            Default: of the TOML file beside the .keras file, or of the model's Rescaling or Normalization layer.
        classes: one name per class, or path of a text file with one name per line. Default: of the TOML file, or the
            indices of the scores.
        size: rows and columns of a model that takes images of any size, or the length of one that takes sequences of any
            length, such as (224, 224).
    """

    value_range: Annotated[
        ValueRange | None,
        _image(
            "Range of the pixels that the model expects, such as 0,1 or -1,1; raw pixels are scaled to it.",
            parser=parse_value_range,
            metavar="LOW,HIGH",
        ),
    ] = None
    classes: Annotated[
        str | None, _image("Text file with one class name per line, in the order of the scores.", metavar="FILE")
    ] = None
    size: Annotated[
        Size | None,
        _image(
            "Rows and columns of a model that takes any, such as 224x224; or the length of its sequences.",
            parser=parse_size,
            metavar="HxW",
        ),
    ] = None

    @property
    def image_options(self) -> "ImageOptions":
        """These options alone."""
        return self.select(ImageOptions)

    def image_words(self) -> list[str]:
        """Return the words of a command line that give these options."""
        values = self.value_range and ",".join(f"{value:g}" for value in self.value_range)
        words = ["--value-range", values] if values else []
        words += ["--size", "x".join(map(str, self.size))] if self.size else []
        return [*words, "--classes", str(self.classes)] if isinstance(self.classes, str | os.PathLike) else words


class ImageKeywords(TypedDict, total=False):
    """Keyword arguments for a model that is not of the zoo: the fields of `ImageOptions`."""

    value_range: tuple[float, float] | None
    classes: Sequence[str] | str | Path | None
    size: tuple[int, ...] | None


@dataclass(frozen=True)
class ExportOptions(ImageOptions, TargetOptions):
    """Options of an ONNX file.

    Attributes:
        ir: version of the ONNX file format; 8 is read by onnxruntime 1.10 and later.
        layout: order of the axes of the images that the file takes, `Layout`.
        pixels: data type of the raw 0-255 pixels that the file takes, `Pixels`.
        raw_input: False for a file that takes preprocessed images instead of raw pixels.
        static_batch: the only batch size that the file takes. Default: any.
        runtime: `Runtime` that the graph is optimized for: normalization across more than 64 channels becomes one operator
            for TensorRT and a convolution for onnxruntime. The file runs in both.
    """

    ir: Annotated[int, _onnx("Version of the ONNX file format.")] = targets.NEWEST_IR
    layout: Annotated[Layout, _onnx("Order of the axes of the input images.")] = Layout.NCHW
    pixels: Annotated[Pixels, _onnx("Data type of the input pixels, which are 0 to 255.")] = Pixels.UINT8
    raw_input: Annotated[
        YesNo,
        _onnx(
            "Whether the file takes raw pixels or preprocessed images. Default: yes.",
            parser=_yes_or_no,
            metavar="[yes|no]",
            show_default=False,
        ),
    ] = YesNo(True)
    runtime: Annotated[Runtime, _onnx("Runtime that the graph is optimized for. The file runs in both.")] = Runtime.TENSORRT
    static_batch: Annotated[int | None, _onnx("Fixed batch size. Default: any batch size.")] = None

    def resolve(self) -> "ExportOptions":
        """Return these options with the default opset filled in.

        Raises:
            ZooError: if an option has an unknown value, or the target cannot read the file.
        """
        for choice, value in ((Layout, self.layout), (Pixels, self.pixels), (Runtime, self.runtime)):
            choice.parse(value)
        library = None if self.target is None else targets.newest_of(targets.target(self.target))[0]
        opset = targets.default_opset(library) if self.opset is None else self.opset
        targets.check(self.target, opset, self.ir)
        if opset < (oldest := Precision.FP32.oldest_opset):
            raise ZooError(f"opset {opset} is too old; the oldest that can be exported is {oldest}. Give --opset {oldest}")
        if self.static_batch is not None and self.static_batch < 1:
            raise ZooError(f"a static batch is at least 1; given was {self.static_batch}")
        return replace(self, opset=opset)


class ExportKeywords(ImageKeywords, total=False):
    """Keyword arguments of `exporters.to_onnx`: the fields of `ExportOptions`."""

    target: str | None
    opset: int | None
    ir: int
    layout: str
    pixels: str
    raw_input: bool
    runtime: str
    static_batch: int | None


@dataclass(frozen=True)
class EngineOptions(ImageOptions, TargetOptions):
    """Options of a TensorRT engine.

    Attributes:
        precision: `Precision`, or None for the default (FP16).
        jetpack: version of JetPack on the board. Default: the newest documented.
        tensorrt: version of TensorRT, for a card. Default: the newest documented.
        dla: whether to run the layers that the DLA supports on it.
        batches: smallest, best and largest batch size, or a single size. Default: 1, 8 and 64, on the DLA 1.
    """

    precision: Annotated[Precision | None, _engine("Precision of the layers. Default: fp16, or that of an .onnx file.")] = (
        None
    )
    jetpack: Annotated[str | None, _engine("Version of JetPack on the board. Default: the newest documented.")] = None
    tensorrt: Annotated[str | None, _engine("Version of TensorRT, for a card. Default: the newest documented.")] = None
    dla: Annotated[bool, _engine("Run supported layers on the deep learning accelerator (DLA).", "--dla")] = False
    batches: Annotated[
        Batches | None,
        _engine(
            "Batch sizes: smallest, optimal and largest, or a single one. Default: 1,8,64; on the DLA 1.",
            "--batch",
            parser=parse_batches,
            metavar="N[,N,N]",
        ),
    ] = None


@dataclass(frozen=True)
class CalibrationOptions(Options):
    """Options of INT8.

    Attributes:
        calibration: folder of some hundred typical images, name of a TFDS data set, or
            (n, height, width, channels) uint8 array.
        method: how ranges are found, `Method`, or None for the default ("percentile").
        exclude: names of layers that stay float32.
        full_range: whether weights are from -127 to 127 instead of from -64 to 64. Default: only for boards. x86 processors
            without VNNI need settings of the runtime to sum them exactly; see `exporters.onnx.saturation`.
    """

    calibration: Annotated[str | None, _int8("Calibration images: a folder of typical images, or a TFDS name.")] = None
    method: Annotated[Method | None, _int8(f"Method to compute the ranges of activations. Default: {DEFAULT_METHOD}.")] = (
        None
    )
    exclude: Annotated[list[str], _int8("Keep this layer in float32; may be given several times.")] = ()
    full_range: Annotated[
        bool | None,
        _int8(
            "Weights from -127 to 127 instead of -64 to 64, which every processor sums exactly. Default: only for boards.",
            show_default=False,
        ),
    ] = None

    def typical_images(self) -> Path | None:
        """Return the folder of the calibration images, which show more than images of other objects, or None."""
        given = self.calibration
        return Path(given) if isinstance(given, str | Path) and Path(given).is_dir() else None


@dataclass(frozen=True)
class BoardOptions(EngineOptions, CalibrationOptions):
    """Options of a bundle for a board."""


class BoardKeywords(ImageKeywords, total=False):
    """Keyword arguments of `exporters.to_tensorrt`: the fields of `BoardOptions` that are not parameters of their own."""

    opset: int | None
    jetpack: str | None
    tensorrt: str | None
    dla: bool
    batches: Sequence[int] | None
    method: str | None
    exclude: Sequence[str]
    full_range: bool | None


@dataclass(frozen=True)
class QuantizeOptions(ImageOptions, CalibrationOptions):
    """Options of `exporters.quantize`.

    Attributes:
        max_drop: percentage points of accuracy that INT8 may lose; as few layers as necessary stay float32.
        data: labeled images to measure accuracy on: a folder with one subfolder per class, name of a TFDS data set, or
            (images, labels).
        scores: data type of the scores of a float16 file, `Scores`.
        runtime: as in `ExportOptions`; not for an .onnx file.
        against: model that an .onnx file was exported from. Default: the one it names.
    """

    max_drop: Annotated[
        float | None, _int8("Largest drop in accuracy, in percentage points; sensitive layers stay in float32.")
    ] = None
    data: Annotated[
        str | None,
        typer.Option(help="Images to measure accuracy on: a folder with one subfolder per class, or a TFDS name."),
    ] = None
    scores: Annotated[Scores, typer.Option(help="Data type of the scores; only for fp16.")] = Scores.FLOAT32
    runtime: Annotated[Runtime, typer.Option(help="Runtime that the graph is optimized for.")] = Runtime.TENSORRT
    against: Annotated[
        str | None, typer.Option(help="Model that an .onnx file was exported from. Default: the one in its metadata.")
    ] = None


class QuantizeKeywords(ImageKeywords, total=False):
    """Keyword arguments of `exporters.quantize`: the fields of `QuantizeOptions` that are not parameters of their own."""

    method: str | None
    exclude: Sequence[str]
    full_range: bool | None
    max_drop: float | None
    data: "str | Path | tuple[np.ndarray, np.ndarray] | None"
    scores: str
    runtime: str
    against: "keras.Model | str | Path | None"


@dataclass(frozen=True)
class CommandOptions(ExportOptions, BoardOptions):
    """The options of `zoo export`, of which each format reads a part."""
