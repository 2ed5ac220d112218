"""What decoding many pictures needs: room for them, and a bar for who waits."""

import math
import os
import shutil
import tempfile

import numpy as np

from zoo.errors import ZooError
from zoo.files import cache_folder
from zoo.machine import memory

# What takes a larger share of the free memory is kept in a file, of which the system holds in memory what is in use.
SHARE = 1 / 4


def room(shape):
    """Return an uint8 array of any content: in memory, or, where it is large for that, in a file that nobody else sees.

    The file has no name, so nothing is left of it when the process ends, however it ends.

    Args:
        shape: (n, height, width, channels).

    Raises:
        ZooError: if there is no room on the disk either.
    """
    size = math.prod(shape)
    if fits_memory(size):
        return np.empty(shape, "uint8")
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if (free := shutil.disk_usage(folder).free) < size:
            raise OSError(f"it has {free / 2**30:.1f} GiB free")
        with tempfile.TemporaryFile(dir=folder) as file:
            _reserve(file, size)
            return np.memmap(file, "uint8", "r+", shape=shape)
    except OSError as error:
        raise ZooError(
            f"the decoded pictures take {size / 2**30:.1f} GiB, too much for the memory, and the disk of {folder} has no "
            f"room for them ({error}); make some, or name a folder of a larger one: ZOO_CACHE=FOLDER"
        ) from error


def _reserve(file, size):
    """Make a file so large, with all of its blocks where the system can: a mapped file that finds none kills the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)


def fits_memory(size):
    """Tell whether so many bytes are a small share of the memory that is free."""
    return size <= SHARE * memory()["available"]
