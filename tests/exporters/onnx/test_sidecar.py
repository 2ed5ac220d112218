"""A sidecar that differs from its file in any key is found, and the key is named."""

import copy
import json
import shutil
import time

import pytest

import exporters
from exporters import source
from exporters.onnx import convert, files, metadata, sidecar
from zoo.errors import CheckFailed

NAME = "lenet5-modern.mnist"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """An exported file with its sidecar."""
    path = tmp_path_factory.mktemp("sidecar") / "net.onnx"
    files.save(convert.convert(source.find(NAME)), path)
    metadata.write_sidecar(path)
    return path


@pytest.fixture
def check(exported, tmp_path):
    """Return a function: text or content of a sidecar -> problems."""
    about = metadata.read(exported)

    def run(content):
        beside = tmp_path / "net.json"
        beside.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        return sidecar.problems(exported, beside, about)

    return run


def places(content, path=()):
    """Yield the path of each key and each element of a content, without the content itself."""
    if path:
        yield path
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def mutated(value):
    """Yield other values than one of JSON; some are equal to it in Python."""
    yield from {
        bool: [not value, int(value) if isinstance(value, bool) else None],
        int: [value + 1 if isinstance(value, int) else None, float(value) if isinstance(value, int) else None, str(value)],
        float: [value * 2 + 1 if isinstance(value, float) else None, str(value)],
        str: [f"{value}x", "", 0] if value else ["x"],
        list: [[*value, 1] if isinstance(value, list) else None, value[::-1] if isinstance(value, list) else None, {}],
        dict: [{**value, "other": 1} if isinstance(value, dict) else None, []],
        type(None): [0, "", False],
    }[type(value)]


def changed(content, path, change):
    """Return a copy of a content in which a function has changed the container and key of a path."""
    content = copy.deepcopy(content)
    container = content
    for key in path[:-1]:
        container = container[key]
    change(container, path[-1])
    return content


def test_each_mutation_of_each_key_is_found_and_named(exported, check):
    content = json.loads(exported.with_suffix(".json").read_text("utf-8"))
    assert check(content) == []
    count = 0
    for path in places(content):
        original = content
        for key in path:
            original = original[key]
        variants = [changed(content, path, lambda container, key: container.pop(key))]
        for value in mutated(original):
            variants.append(changed(content, path, lambda container, key, value=value: container.__setitem__(key, value)))
        for variant in variants:
            if json.dumps(variant, sort_keys=True) == json.dumps(content, sort_keys=True):
                continue  # such as a list of one value, reversed
            count += 1
            problems = check(variant)
            assert problems and f"net.json says {path[0]}" in problems[0], (path, problems)
    assert count > 300


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "net.json is not the metadata of a file"),
        ("[1]", "net.json is not the metadata of a file"),
        ('{"a": 1, "a": 2}', "has the key a twice"),
        ('{"a": NaN}', "NaN is no number of JSON"),
        ("[" * 100_000, "net.json is not the metadata of a file"),
        ("{}", "net.json says model nothing, net.onnx"),
    ],
)
def test_what_is_no_sidecar_is_a_problem(content, message, check):
    assert message in check(content)[0]


def test_many_keys_take_no_longer_than_the_file(check):
    started = time.monotonic()
    assert check(json.dumps({f"key{number}": 0 for number in range(200_000)}))
    assert time.monotonic() - started < 20  # a comparison of each key with all others takes minutes


def test_a_large_file_is_not_read(check, monkeypatch):
    monkeypatch.setattr(sidecar, "LARGEST", 10)
    assert "no file of up to 10 bytes" in check({"model": "a name"})[0]


def test_verify_reads_the_sidecar(exported, tmp_path):
    for name in ("net.onnx", "net.json"):
        shutil.copy(exported.with_name(name), tmp_path / name)
    assert exporters.verify(tmp_path / "net.onnx").passed
    content = json.loads((tmp_path / "net.json").read_text("utf-8"))
    content["class_names"][3], content["layout"], content["picture"]["resize"] = "four", "NHWC", "crop"
    (tmp_path / "net.json").write_text(json.dumps(content))
    with pytest.raises(CheckFailed) as error:
        exporters.verify(tmp_path / "net.onnx").raise_if_failed()
    for key in ("class_names", 'layout "NHWC", net.onnx "NCHW"', 'picture.resize "crop", net.onnx "pad"'):
        assert f"net.json says {key}" in str(error.value)
    assert "computes what the model computes, but its description is wrong" in str(error.value)
    (tmp_path / "net.json").unlink()
    assert exporters.verify(tmp_path / "net.onnx").passed  # a file may travel alone


def test_verify_reads_what_a_bundle_says_of_its_model(tmp_path):
    exporters.to_tensorrt(NAME, tmp_path / "b", "orin-nano", "fp32")
    assert exporters.verify(tmp_path / "b").passed
    from exporters.bundle import folder

    for name, old, new in (
        ("labels.txt", "3\n", "4\n"),
        ("card.json", '"NCHW"', '"NHWC"'),
        ("bundle.json", '"resize": "pad"', '"resize": "crop"'),
    ):
        path = tmp_path / "b" / name
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), "utf-8")
        folder.seal(tmp_path / "b")
        report = exporters.verify(tmp_path / "b")
        assert len(report.problems) == 1 and name in report.problems[0], report.problems
        path.write_text(text, "utf-8")
