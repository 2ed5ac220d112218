"""Atomic writes on a real file system with real failures."""

import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.files import atomic, cache_folder, sha256

# Writes to argv[1] through atomic() in a separate process, after a line from the test.
WRITE = """
import os, resource, signal, sys
from zoo.files import atomic
{first}
try:
    with atomic(sys.argv[1]) as temporary:
        temporary.write_bytes(b"new" * 10_000)
        {inside}
except OSError as error:
    print(type(error).__name__, error.errno)
"""


def write_elsewhere(path, first="pass", inside="pass"):
    code = WRITE.format(first=first, inside=inside)
    return subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60)


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_writes(tmp_path):
    with atomic(tmp_path / "deep" / "down" / "file.keras") as temporary:
        temporary.write_bytes(b"new")
    assert contents(tmp_path / "deep" / "down") == {"file.keras": b"new"}


def test_replaces_only_at_the_end(tmp_path):
    path = tmp_path / "file.onnx"
    path.write_bytes(b"old")
    with atomic(path) as temporary:
        temporary.write_bytes(b"new")
        assert temporary.parent == path.parent and temporary.suffix == ".onnx"
        assert path.read_bytes() == b"old"
    assert contents(tmp_path) == {"file.onnx": b"new"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_error_inside(tmp_path, error):
    """The old file, if any, stays, and no other file is left."""
    path = tmp_path / "file"
    for expected in ({}, {"file": b"old"}):
        with pytest.raises(error), atomic(path) as temporary:
            temporary.write_bytes(b"half")
            raise error
        assert contents(tmp_path) == expected
        path.write_bytes(b"old")


def test_full_disk(tmp_path):
    """The kernel refuses the bytes: files of this process are limited to 1000."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    limit = "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))"
    child = write_elsewhere(path, first=limit)
    assert child.stdout.split()[0] == "OSError", child.stderr
    assert contents(tmp_path) == {"file": b"old"}


def test_no_write_permission(open_folder):
    path = open_folder / "file"
    path.write_bytes(b"old")
    open_folder.chmod(0o555)
    child = write_elsewhere(path, first="if os.geteuid() == 0: os.setgroups([]); os.setegid(65534); os.seteuid(65534)")
    assert child.stdout.split()[0] == "PermissionError", child.stderr
    assert contents(open_folder) == {"file": b"old"}


def test_killed_inside(tmp_path):
    """The temporary file is left, but the old file is complete."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    child = write_elsewhere(path, inside="os.kill(os.getpid(), signal.SIGKILL)")
    assert child.returncode == -9
    assert path.read_bytes() == b"old"


def test_folder_in_the_way(tmp_path):
    path = tmp_path / "file"
    path.mkdir()
    with pytest.raises(OSError), atomic(path) as temporary:
        temporary.write_bytes(b"new")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(tmp_path, mask):
    kept = os.umask(mask)
    try:
        with atomic(tmp_path / "atomic") as temporary:
            temporary.write_bytes(b"")
        (tmp_path / "ordinary").write_bytes(b"")
        assert os.umask(mask) == mask
    finally:
        os.umask(kept)
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("atomic", "ordinary")}
    assert modes == {0o666 & ~mask}


def test_many_writers(tmp_path):
    """The last process to finish wins, and the file is complete at any time."""
    path = tmp_path / "file"
    code = """
import sys
from zoo.files import atomic
for _ in range(50):
    with atomic(sys.argv[1]) as temporary:
        temporary.write_bytes(sys.argv[2].encode() * 100_000)
"""
    writers = [subprocess.Popen([sys.executable, "-c", code, path, letter]) for letter in "ab"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            seen.add(path.read_bytes())
    assert [writer.returncode for writer in writers] == [0, 0]
    seen.add(path.read_bytes())
    assert seen <= {b"a" * 100_000, b"b" * 100_000}
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_sha256(tmp_path):
    """The example of the standard, and a file of more than one chunk."""
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    path.write_bytes(bytes(range(256)) * 10_000)
    assert sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.setenv("ZOO_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    if sys.platform == "linux":
        assert cache_folder() == tmp_path / "user" / "zoo"
