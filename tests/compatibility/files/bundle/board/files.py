"""What lies in a bundle, and whether it is what left the workstation."""

import contextlib
import hashlib
import json
import os
import stat
import struct
import tempfile

import numpy as np

FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ONNX = os.path.join(FOLDER, "model.onnx")
ENGINE = os.path.join(FOLDER, "model.engine")
FORMAT = 1
AGAIN = "copy the whole folder or its archive from the workstation again"
READ = ("bundle.json", "labels.txt", "model.onnx", "samples/pictures.npy", "samples/scores.npy")
LARGEST = 127  # of INT8
LARGEST_JSON = 1 << 20  # bytes
SHOWN = 5  # problems
# What the scripts read of bundle.json, and of what lies in it.
FACTS = {
    "model": (),
    "precision": (),
    "input": ("name", "dtype", "shape"),
    "output": ("name", "dtype", "shape"),
    "picture": ("height", "width", "channels", "resize"),
    "target": ("board", "tensorrt", "compute_capability"),
    "profile": ("min", "opt", "max"),
    "workspace_mb": (),
    "dla": (),
    "calibration": (),
    "real": (),
}


class BundleError(Exception):
    """What a person at the board must hear: what is wrong, and what mends it."""


def opened(folder=FOLDER):
    """Return the facts of a bundle, bundle.json as a dict, once every file of it is what the manifest says.

    Raises:
        BundleError: if a file is missing, has changed, or is a link, or bundle.json lacks a fact; it names them.
    """
    listed = _listed(folder)
    problems = [f"{name} is not in manifest.json" for name in READ if name not in listed]
    for name, facts in sorted(listed.items()):
        problem = _problem(folder, name, facts)
        if problem:
            problems.append(f"{name} {problem}")
    if problems:
        more = f" and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise BundleError(f"this is not what left the workstation: {'; '.join(problems[:SHOWN])}{more}; {AGAIN}")
    bundle = _json(folder, "bundle.json")
    if bundle.get("format") != FORMAT:
        raise BundleError(f"bundle.json has format {bundle.get('format')}, these scripts read {FORMAT}; {AGAIN}")
    missing = [key for key in FACTS if key not in bundle]
    for key, names in FACTS.items():
        within = bundle.get(key)
        missing += [f"{key}.{name}" for name in names if not isinstance(within, dict) or name not in within]
    if missing:
        raise BundleError(f"bundle.json lacks {', '.join(missing[:SHOWN])}; {AGAIN}")
    if bundle["calibration"] not in [None, *listed]:
        raise BundleError(f"bundle.json names {bundle['calibration']}, which is not in manifest.json; {AGAIN}")
    return bundle


def check_free(*paths, folder=FOLDER):
    """Raise `BundleError` where a file that is to be written would replace one of the bundle, or a folder."""
    own = {os.path.realpath(_path(folder, name)) for name in ("manifest.json", *_listed(folder))}
    for path in paths:
        if os.path.realpath(path) in own:
            raise BundleError(
                f"{path} is a file of the bundle and is not overwritten; give another name, such as other.engine"
            )
        if os.path.isdir(path):
            raise BundleError(f"{path} is a folder; give the name of a file, such as {os.path.join(path, 'model.engine')}")


def _listed(folder):
    """Return what the manifest lists: dict of a file's name -> its size and hash."""
    manifest = _json(folder, "manifest.json")
    listed = manifest.get("files")
    if manifest.get("format") != FORMAT or not isinstance(listed, dict):
        raise BundleError(f"{_path(folder, 'manifest.json')} is no manifest of format {FORMAT}; {AGAIN}")
    return listed


def _problem(folder, name, facts):
    parts = name.split("/")
    if os.path.isabs(name) or ".." in parts:
        return "lies outside the folder"
    if any(os.path.islink(_path(folder, *parts[: depth + 1])) for depth in range(len(parts))):
        return "is a link"
    path = _path(folder, *parts)
    if not os.path.isfile(path):
        return "is missing"
    try:
        return None if {"bytes": os.path.getsize(path), "sha256": sha256(path)} == facts else "has changed"
    except OSError as error:
        return f"cannot be read ({error.strerror.lower()})"


def labels(bundle, folder=FOLDER):
    """Return the names of the classes, a list of str in the order of the scores."""
    with open(_path(folder, "labels.txt"), encoding="utf-8") as file:
        names = file.read().splitlines()
    if [len(names)] != bundle["output"]["shape"]:
        raise BundleError(f"labels.txt names {len(names)} classes, the model has {bundle['output']['shape']}; {AGAIN}")
    return names


def samples(bundle, folder=FOLDER):
    """Return pictures, (n, height, width, channels) uint8, and the model's scores of them, (n, classes) float32."""
    pictures, scores = _array(folder, "pictures.npy"), _array(folder, "scores.npy")
    picture = bundle["picture"]
    shape = (*scores.shape[:1], picture["height"], picture["width"], picture["channels"])
    if pictures.shape != shape or pictures.dtype != "uint8" or list(scores.shape[1:]) != bundle["output"]["shape"]:
        raise BundleError(f"samples/ holds {pictures.shape} {pictures.dtype}, {scores.shape} of another model; {AGAIN}")
    return pictures, scores


def _array(folder, name):
    path = _path(folder, "samples", name)
    try:
        # Mapped first, so that a header which claims more than the file holds takes no memory.
        return np.array(np.load(path, mmap_mode="r", allow_pickle=False))
    except Exception as error:  # what a damaged header leads to has no base in common
        raise BundleError(f"{path} is no array of NumPy's ({error}); {AGAIN}") from None


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
def writing(path):
    """Make a `BundleError` of an error of the system, as of a disk that is full."""
    try:
        yield
    except OSError as error:
        raise BundleError(f"{path} cannot be written ({(error.strerror or str(error)).lower()})") from None


@contextlib.contextmanager
def atomic(path):
    """Yield a temporary path beside `path`; on leaving, give it the final name, on an error remove it."""
    with writing(path):
        handle, temporary = tempfile.mkstemp(prefix=".part-", dir=os.path.dirname(os.path.abspath(path)))
        os.close(handle)
    try:
        with writing(path):
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
        about = os.lstat(path)
        if not stat.S_ISREG(about.st_mode):
            raise BundleError(f"{path} is a link or no file; {AGAIN}")
        if about.st_size > LARGEST_JSON:
            raise BundleError(f"{path} has {about.st_size:,} bytes, more than {LARGEST_JSON:,}; {AGAIN}")
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except FileNotFoundError:
        raise BundleError(f"there is no {path}; {AGAIN}") from None
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error.strerror.lower()}); {AGAIN}") from None
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not JSON ({error}); {AGAIN}") from None
    if not isinstance(found, dict):
        raise BundleError(f"{path} holds no facts; {AGAIN}")
    return found


def _path(folder, *parts):
    return os.path.join(str(folder), *parts)
