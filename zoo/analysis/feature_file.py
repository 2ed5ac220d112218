"""Feature files: the activations of a layer for all images of a folder, and the search for similar images in them.

A file is an `.npz` of plain arrays: `vectors`, (n, features) float32; `paths` below the folder; and `model`, `layer`,
`folder` and `fingerprint`, which describe their origin. Files may come from untrusted sources: everything is checked.
"""

import shlex
import zipfile
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from zoo.errors import ZooError
from zoo.files import atomic
from zoo.images import SUFFIXES
from zoo.layers import NearestNeighbors

TEXTS = ("model", "layer", "folder", "fingerprint")


@dataclass(frozen=True, eq=False)
class Features:
    """The activations of a layer for the images of a folder.

    Args:
        vectors: (n, features) float32.
        paths: n paths relative to the folder.
        model: name or absolute path of the classifier.
        layer: name of the layer.
        folder: absolute path of the folder.
        fingerprint: hex sha256 of the classifier's weights.
    """

    vectors: np.ndarray
    paths: tuple[str, ...]
    model: str
    layer: str
    folder: str
    fingerprint: str

    def command(self, out: Path | str) -> str:
        """Return the command that computes the features again."""
        return shlex.join(["zoo", "features", self.model, self.folder, "--layer", self.layer, "--out", str(out)])


def save(features: Features, path: Path | str) -> None:
    """Write features to an `.npz` file, atomically."""
    texts = {name: np.array(getattr(features, name)) for name in TEXTS}
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, vectors=features.vectors, paths=np.array(features.paths), **texts)


def load(path: Path | str) -> Features:
    """Load features from a file that `zoo features` wrote.

    Args:
        path: the `.npz` file.

    Raises:
        ZooError: if there is no such file, it is damaged, or its content is not that of a feature file.
    """
    path = Path(path)
    if not path.is_file():
        raise ZooError(f"no file {path}; to write one: zoo features MODEL FOLDER --out {path}")
    fix = "write it again with `zoo features`"
    try:
        with zipfile.ZipFile(path) as archive:
            claimed = sum(entry.file_size for entry in archive.infolist())
        if claimed <= path.stat().st_size:  # nothing is compressed, so it cannot unpack to more bytes than it has
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in ("vectors", "paths", *TEXTS)}
    except KeyError as error:
        raise ZooError(f"{path} is not a feature file: {error.args[0]}; {fix}") from error
    except Exception as error:  # zipfile, zlib and NumPy raise many types of errors for damaged archives
        raise ZooError(f"{path} is not a feature file, or it is damaged ({error}); {fix}") from error
    if claimed > path.stat().st_size:
        raise ZooError(f"{path} claims to unpack to {claimed:,} bytes, more than the file has; {fix}")
    vectors, paths = arrays["vectors"], arrays["paths"]
    if vectors.dtype != np.float32 or vectors.ndim != 2 or not vectors.size:
        raise ZooError(f"{path}: vectors must be (n, features) float32, not {vectors.shape} {vectors.dtype}; {fix}")
    if paths.dtype.kind != "U" or paths.shape != vectors.shape[:1]:
        raise ZooError(
            f"{path}: paths must be one text for each of {len(vectors)} vectors, not {paths.shape} {paths.dtype}; {fix}"
        )
    for name in TEXTS:
        if arrays[name].dtype.kind != "U" or arrays[name].shape or not str(arrays[name]):
            raise ZooError(f"{path}: {name} must be one text, not {arrays[name].shape} {arrays[name].dtype}; {fix}")
    if not have_distances(vectors):
        raise ZooError(f"{path}: vectors are not finite or too large to compute distances; {fix}")
    for each in paths.tolist():
        inside = Path(each)
        # Images are opened to be drawn. The paths must not lead out of the folder.
        if inside.is_absolute() or inside.drive or ".." in inside.parts or inside.suffix.lower() not in SUFFIXES:
            raise ZooError(f"{path}: {each!r} is not an image below the folder; {fix}")
    return Features(vectors, tuple(paths.tolist()), **{name: str(arrays[name]) for name in TEXTS})


def nearest(features: Features, vector: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the images whose features are nearest to a vector, by Euclidean distance.

    Args:
        features: the features.
        vector: (features,) float32.
        count: number of images, or all if there are fewer.

    Returns:
        (indices into the features, nearest first; their distances, float64). Equal distances keep the order of the features.

    References:
        Krizhevsky, Sutskever, Hinton (2012), section 6.1 and fig. 4: images are similar if their fc7 activations are.
    """
    rows, width = features.vectors.shape
    # Relative to the mean vector, because |x|² - 2xb + |b|² loses more digits the longer x and b are.
    mean = features.vectors.mean(axis=0)
    memory = NearestNeighbors(classes=1, capacity=rows)
    memory.build((None, width))
    for start in range(0, rows, 1000):
        batch = features.vectors[start : start + 1000] - mean
        memory.memorize(batch, np.ones((len(batch), 1), "float32"))
    # Take many more candidates than asked for and sort them by exact distances, which this form only approximates.
    candidates = memory.nearest((vector - mean)[None], min(rows, count + 500))
    indices = np.sort(keras.ops.convert_to_numpy(candidates)[0])
    distances = np.linalg.norm(features.vectors[indices].astype("float64") - vector, axis=1)
    order = np.argsort(distances, kind="stable")[:count]
    return indices[order], distances[order]


def have_distances(vectors: np.ndarray) -> bool:
    """Return whether the squared distances of vectors fit into float32: all values are finite and none is too large."""
    largest = float(np.abs(vectors).max(initial=0))  # NaN if any value is
    return 4 * largest**2 * vectors.shape[1] < float(np.finfo("float32").max)
