"""A bundle's folder is there whole or not at all, and the same files give the same archive."""

import hashlib
import json
import os
import tarfile
from pathlib import Path

import pytest

from exporters.bundle import folder
from zoo.errors import ZooError


def write(out, text="a model"):
    with folder.writing(out) as temporary:
        (temporary / "model.onnx").write_text(text)
        (temporary / "board").mkdir()
        (temporary / "board" / "run.py").write_text("print(1)\n")
        folder.seal(temporary)


def test_manifest_lists_every_other_file(tmp_path):
    write(tmp_path / "b")
    listed = json.loads((tmp_path / "b" / "manifest.json").read_text())["files"]
    assert list(listed) == ["board/run.py", "model.onnx"]
    for name, facts in listed.items():
        content = (tmp_path / "b" / name).read_bytes()
        assert facts == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_archive_contains_the_folder(tmp_path):
    write(tmp_path / "b")
    with tarfile.open(tmp_path / "b.tar.gz") as packed:
        packed.extractall(tmp_path / "unpacked", filter="data")
    for path in (tmp_path / "b").rglob("*"):
        if path.is_file():
            assert (tmp_path / "unpacked" / "b" / path.relative_to(tmp_path / "b")).read_bytes() == path.read_bytes()


def test_equal_files_give_equal_archives(tmp_path):
    (tmp_path / "later").mkdir()
    write(tmp_path / "b")
    write(tmp_path / "later" / "b")
    os.utime(tmp_path / "later" / "b" / "model.onnx", (1, 1))
    assert (tmp_path / "b.tar.gz").read_bytes() == (tmp_path / "later" / "b.tar.gz").read_bytes()
    with tarfile.open(tmp_path / "b.tar.gz") as packed:
        assert {(each.mtime, each.uid, each.gid, each.uname) for each in packed} == {(0, 0, 0, "")}


@pytest.mark.parametrize("there", ["b", "b.tar.gz"])
def test_existing_files_are_not_overwritten(tmp_path, there):
    (tmp_path / there).write_text("mine")
    with pytest.raises(ZooError, match="exists and is not overwritten"):
        write(tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


def test_failed_write_leaves_no_files(tmp_path):
    with pytest.raises(ValueError, match="midway"), folder.writing(tmp_path / "b") as temporary:
        (temporary / "model.onnx").write_text("half")
        raise ValueError("midway")
    assert not list(tmp_path.iterdir())


def test_folder_created_meanwhile_is_not_overwritten(tmp_path):
    with pytest.raises(OSError), folder.writing(tmp_path / "b") as temporary:
        (temporary / "model.onnx").write_text("mine")
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "theirs").write_text("theirs")
    assert [path.name for path in tmp_path.rglob("*")] == ["b", "theirs"]


def test_archive_name_as_folder_is_an_error(tmp_path):
    with pytest.raises(ZooError, match=r"--out my\.net$"):
        folder.check(Path("my.net.tar.gz"))


@pytest.mark.parametrize("out", [".", "..", "nowhere/b"])
def test_invalid_folder_is_an_error(out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZooError, match="--out"):
        write(Path(out))
    assert not list(tmp_path.iterdir())
