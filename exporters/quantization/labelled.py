"""Pictures to calibrate with and to measure on: folders, or data sets by name where a package brings them."""

from importlib.metadata import entry_points
from pathlib import Path

import numpy as np

from zoo import classes, images
from zoo.errors import ZooError

MOST = 500  # pictures of a calibration; more hardly change a range
FEWEST = 8  # from which a range of an activation can be told from the accident of one picture


def to_calibrate(name, picture, advance=lambda: None):
    """Return up to `MOST` pictures, evenly spread over a folder's sorted files or over the training part of a data set.

    Args:
        name: a folder with pictures in it at any depth, or the name of a data set such as mnist.
        picture: dict of height, width, channels and resize.
        advance: called once a file, for a progress bar.

    Returns:
        (n, height, width, channels) uint8.

    Raises:
        ZooError: if there is no such folder or data set, a picture cannot be read, or there are fewer than `FEWEST`.
    """
    if not _is_folder(name):
        found, _, _ = _by_name(str(name), picture, "train")
        return found[_spread(len(found))]
    paths = images.find(name)
    if len(paths) < FEWEST:
        given = f"{len(paths)} picture{'s' * (len(paths) > 1)}"
        raise ZooError(f"{name} has {given}; to calibrate takes {FEWEST} at least, better some hundred as the net will see")
    found, _, _ = images.read_all([paths[place] for place in _spread(len(paths))], picture, True, advance)
    return found


def to_measure(name, about, advance=lambda: None):
    """Return pictures and the places of their classes among a file's.

    Args:
        name: a folder with a folder of pictures a class, or the name of a data set, of which the test part is taken.
        about: dict of picture, class_names and perhaps class_ids, as a file's metadata have them.
        advance: called once a file, for a progress bar.

    Returns:
        ((n, height, width, channels) uint8, (n,) int32).

    Raises:
        ZooError: if there is no such folder or data set, a picture cannot be read, or a class is not one of the file's; with
            the nearest one.
    """
    if not _is_folder(name):
        found, labels, names = _by_name(str(name), about["picture"], "test")
        return found, _places(names, about)[labels]
    folders = sorted(each for each in Path(name).iterdir() if each.is_dir() and not each.name.startswith("."))
    if not folders:
        raise ZooError(f"{name} has no class folders; expected {name}/CLASS/PICTURE.png, a folder a class")
    places = _places([each.name for each in folders], about)
    paths = [images.find(each) for each in folders]
    found, _, _ = images.read_all([path for some in paths for path in some], about["picture"], True, advance)
    return found, np.repeat(places, [len(some) for some in paths])


def _is_folder(name):
    return isinstance(name, Path) or Path(name).is_dir() or "/" in str(name)


def _spread(count):
    return np.linspace(0, count - 1, min(MOST, count)).astype(int)


def _places(names, about):
    """Return the places of classes among a file's class names or ids, (n,) int32."""
    return np.array(classes.indices(names, about["class_names"], about.get("class_ids")), "int32")


def _by_name(name, picture, part):
    """Return (pictures, labels, class names) of a part of a data set, from the package that knows it."""
    found = list(entry_points(group="zoo.data", name="labelled"))
    if not found:
        raise ZooError(f"no folder {name}, and no package that knows data sets by name is installed")
    return found[0].load()(name, picture, part)
