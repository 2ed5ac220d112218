"""Write the folder of a bundle and its archive atomically, and check its manifest."""

import contextlib
import gzip
import json
import os
import secrets
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

from exporters.onnx import metadata
from exporters.runner.board import files
from zoo.errors import ZooError, printable
from zoo.files import PART, atomic

MANIFEST = "manifest.json"
ARCHIVE = ".tar.gz"


def archive(out: Path) -> Path:
    """Return the path of the archive beside a bundle's folder."""
    return out.with_name(out.name + ARCHIVE)


def check(out: Path) -> None:
    """Raise an error if writing a bundle would overwrite something.

    Args:
        out: path of its folder.

    Raises:
        ZooError: if a file, folder or archive of that name exists, or the name ends in .tar.gz.
    """
    if out.name in ("", ".."):
        raise ZooError(f"--out {out} is not the name of a new folder; give one, such as --out board")
    if out.name.endswith(ARCHIVE):
        raise ZooError(f"--out is a folder; its archive is written beside it. Give --out {str(out).removesuffix(ARCHIVE)}")
    for path in (out, archive(out)):
        if path.exists() or path.is_symlink():
            raise ZooError(f"{path} exists and is not overwritten; remove it, or give another folder with --out")


@contextlib.contextmanager
def writing(out: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `out`. At the end pack it and rename it to `out`; after an error remove it.

    Raises:
        ZooError: as `check`.
    """
    out = Path(out)
    check(out)
    if not out.parent.is_dir():
        raise ZooError(f"the folder {out.parent} does not exist; make it, or give another with --out")
    temporary = out.parent / f"{PART}{secrets.token_hex(8)}-{out.name}"
    temporary.mkdir()
    try:
        yield temporary
        with atomic(archive(out)) as packed:
            _pack(temporary, out.name, packed)
            temporary.rename(out)  # before the archive is renamed: if this fails, there is neither
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def model(folder: str | Path) -> Path:
    """Return the path of the ONNX file of a bundle of unknown origin, after checking all files with the manifest.

    Raises:
        ZooError: if a file is missing or changed, or the folder is not a bundle.
    """
    try:
        files.opened(folder)
    except files.BundleError as error:
        raise ZooError(printable(str(error))) from error
    return Path(folder) / "model.onnx"


def seal(folder: Path) -> None:
    """Write the manifest of a folder: the size and hash of every other file in it."""
    listed = {}
    for path in [each for each in _files(folder) if each != folder / MANIFEST]:
        facts = metadata.facts(path)
        listed[path.relative_to(folder).as_posix()] = {key: facts[key] for key in ("bytes", "sha256")}
        _sync(path)
    text = json.dumps({"format": files.FORMAT, "files": listed}, indent=1, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_text(text, "utf-8")


def _files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _sync(path):
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _pack(folder, name, path):
    """Pack a folder so that the same files give the same bytes: sorted, without owner and time."""
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as packed,
    ):
        for each in _files(folder):
            member = tarfile.TarInfo(f"{name}/{each.relative_to(folder).as_posix()}")
            member.size, member.mode = each.stat().st_size, 0o644
            with each.open("rb") as file:
                packed.addfile(member, file)
