"""Options are the same on the command line and in Python, and a wrong one is refused with the nearest."""

import dataclasses
import inspect
import typing

import pytest
import typer

import exporters
from exporters import formats, options
from exporters.formats import FORMATS
from zoo.errors import ZooError


@pytest.mark.parametrize(
    ("function", "wrong", "nearest"),
    [
        (lambda **given: exporters.to_onnx("linear", "a.onnx", **given), "opest", "opset"),
        (lambda **given: exporters.to_tensorrt("linear", "a", "nano", **given), "jetpak", "jetpack"),
        (lambda **given: exporters.quantize("linear", "a.onnx", **given), "max_drp", "max_drop"),
    ],
    ids=["to_onnx", "to_tensorrt", "quantize"],
)
def test_unknown_keyword_is_an_error_with_a_suggestion(function, wrong, nearest):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{wrong}'; did you mean '{nearest}'"):
        function(**{wrong: 1})


def test_option_of_two_groups_is_declared_once():
    shared = {field.name for field in dataclasses.fields(options.ExportOptions)}
    shared &= {field.name for field in dataclasses.fields(options.BoardOptions)}
    assert shared == {"target", "opset", "value_range", "classes", "size"}
    selected = options.CommandOptions(target="nano", opset=11, layout="nhwc", dla=True).select(options.ExportOptions)
    assert selected == options.ExportOptions(target="nano", opset=11, layout="nhwc")


@pytest.mark.parametrize(
    ("function", "group"),
    [
        (exporters.to_onnx, options.ExportOptions),
        (exporters.to_tensorrt, options.BoardOptions),
        (exporters.quantize, options.QuantizeOptions),
    ],
    ids=["to_onnx", "to_tensorrt", "quantize"],
)
def test_annotated_keywords_are_the_fields_of_the_group(function, group):
    (keywords,) = typing.get_args(function.__annotations__["options"])
    own = set(inspect.signature(function).parameters)
    assert set(keywords.__annotations__) == {field.name for field in dataclasses.fields(group)} - own
    assert not keywords.__required_keys__


def test_default_opset_is_set_after_the_options_are_checked():
    assert options.ExportOptions().opset is None and options.ExportOptions().resolve().opset == 13
    assert options.ExportOptions(target="nano").resolve().opset == 13
    with pytest.raises(ZooError, match="layout must be nchw or nhwc; given was 'nhcw'; did you mean"):
        options.ExportOptions(layout="nhcw").resolve()


def test_every_command_option_is_used_by_a_format():
    for field in dataclasses.fields(options.CommandOptions):
        assert any(each.reads(field.name) for each in FORMATS.values()), field.name
    assert (
        FORMATS["onnx"].reads("layout") and not FORMATS["tensorrt"].reads("layout") and not FORMATS["tflite"].reads("opset")
    )


def test_every_exporter_in_the_table_exists():
    for each in FORMATS.values():
        assert callable(formats._load(each.exporter)) and (each.options is None) == (each.resolver == "")
        assert each.options is None or callable(formats._load(each.resolver))


@pytest.mark.parametrize(("word", "value"), [("yes", True), ("no", False), (True, True), (False, False)])
def test_raw_input_is_yes_or_no(word, value):
    assert options._yes_or_no(word) is value


def test_other_raw_input_is_an_error():
    with pytest.raises(typer.BadParameter, match="'maybe' is neither 'yes' nor 'no'"):
        options._yes_or_no("maybe")
