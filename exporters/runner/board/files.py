"""What lies in a bundle, and whether it is what left the workstation."""

import contextlib
import hashlib
import json
import os
import struct
import tempfile

import numpy as np

FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ONNX = os.path.join(FOLDER, "model.onnx")
FORMAT = 1
AGAIN = "copy the whole folder or its archive from the workstation again"
READ = ("bundle.json", "labels.txt", "model.onnx", "samples/pictures.npy", "samples/scores.npy")
LARGEST = 127  # of INT8
SHOWN = 5  # problems


class BundleError(Exception):
    """What a person at the board must hear: what is wrong, and what mends it."""


def opened(folder=FOLDER):
    """Return the facts of a bundle, bundle.json as a dict, once every file of it is what the manifest says.

    Raises:
        BundleError: if a file is missing, has changed, or is a link; it names them.
    """
    manifest = _json(folder, "manifest.json")
    listed = manifest.get("files")
    if manifest.get("format") != FORMAT or not isinstance(listed, dict):
        raise BundleError(f"{_path(folder, 'manifest.json')} is no manifest of format {FORMAT}; {AGAIN}")
    problems = [f"{name} is not in manifest.json" for name in READ if name not in listed]
    for name, facts in sorted(listed.items()):
        problem = _problem(folder, name, facts)
        if problem:
            problems.append(f"{name} {problem}")
    if problems:
        more = f" and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise BundleError(f"this is not what left the workstation: {'; '.join(problems[:SHOWN])}{more}; {AGAIN}")
    return _json(folder, "bundle.json")


def _problem(folder, name, facts):
    parts = name.split("/")
    if os.path.isabs(name) or ".." in parts:
        return "lies outside the folder"
    if any(os.path.islink(_path(folder, *parts[: depth + 1])) for depth in range(len(parts))):
        return "is a link"
    path = _path(folder, *parts)
    if not os.path.isfile(path):
        return "is missing"
    return None if {"bytes": os.path.getsize(path), "sha256": sha256(path)} == facts else "has changed"


def labels(bundle, folder=FOLDER):
    """Return the names of the classes, a list of str in the order of the scores."""
    with open(_path(folder, "labels.txt"), encoding="utf-8") as file:
        names = file.read().splitlines()
    if [len(names)] != bundle["output"]["shape"]:
        raise BundleError(f"labels.txt names {len(names)} classes, the model has {bundle['output']['shape']}; {AGAIN}")
    return names


def samples(bundle, folder=FOLDER):
    """Return pictures, (n, height, width, channels) uint8, and the model's scores of them, (n, classes) float32."""
    pictures, scores = (
        np.load(_path(folder, "samples", name), allow_pickle=False) for name in ("pictures.npy", "scores.npy")
    )
    picture = bundle["picture"]
    shape = (len(scores), picture["height"], picture["width"], picture["channels"])
    if pictures.shape != shape or pictures.dtype != "uint8" or list(scores.shape[1:]) != bundle["output"]["shape"]:
        raise BundleError(f"samples/ holds {pictures.shape} {pictures.dtype}, {scores.shape} of another model; {AGAIN}")
    return pictures, scores


def calibration(bundle, folder=FOLDER):
    """Return the calibration table, a dict of a tensor's name -> largest magnitude."""
    name, ranges = bundle["calibration"], {}
    with open(_path(folder, name), encoding="utf-8") as file:
        lines = file.read().splitlines()[1:]  # behind a header that tells the version
    for line in lines:
        tensor, _, scale = line.rpartition(": ")
        try:
            ranges[tensor] = LARGEST * struct.unpack(">f", bytes.fromhex(scale))[0]
        except (ValueError, struct.error):
            raise BundleError(f"{name} is no calibration table of TensorRT: {line}; {AGAIN}") from None
    return ranges


def arranged(pictures, bundle):
    """Return (n, height, width, channels) raw pixels as the model takes them: channels first, of its dtype."""
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2), bundle["input"]["dtype"])


def sha256(path):
    """Return the hex sha256 of a file's content, read in pieces."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            found.update(piece)
    return found.hexdigest()


@contextlib.contextmanager
def atomic(path):
    """Yield a temporary path beside `path`; on leaving, give it the final name, on an error remove it."""
    try:
        handle, temporary = tempfile.mkstemp(prefix=".part-", dir=os.path.dirname(os.path.abspath(path)))
    except OSError as error:
        raise BundleError(f"{path} cannot be written ({error.strerror.lower()})") from None
    os.close(handle)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)


def _json(folder, name):
    path = _path(folder, name)
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except FileNotFoundError:
        raise BundleError(f"there is no {path}; {AGAIN}") from None
    except ValueError as error:
        raise BundleError(f"{path} is not JSON ({error}); {AGAIN}") from None
    if not isinstance(found, dict):
        raise BundleError(f"{path} holds no facts; {AGAIN}")
    return found


def _path(folder, *parts):
    return os.path.join(str(folder), *parts)
