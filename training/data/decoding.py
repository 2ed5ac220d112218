"""Arrays for decoded images: in memory if they fit, otherwise memory-mapped."""

import math
import os
import shutil
import tempfile

import numpy as np

from zoo.errors import ZooError
from zoo.files import cache_folder
from zoo.machine import memory

# An array larger than this fraction of the free memory is memory-mapped. The system then keeps only the pages in use.
MEMORY_FRACTION = 1 / 4


def allocate_images(shape: tuple[int, ...]) -> np.ndarray:
    """Return an uninitialized uint8 array, in memory or, if it is large, in a memory-mapped temporary file.

    The file has no name, so the system removes it when the process ends.

    Args:
        shape: (n, height, width, channels).

    Raises:
        ZooError: if the disk has too little free space for the file.
    """
    size = math.prod(shape)
    if fits_in_memory(size):
        return np.empty(shape, "uint8")
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if (free := shutil.disk_usage(folder).free) < size:
            raise OSError(f"{free / 2**30:.1f} GiB free")
        with tempfile.TemporaryFile(dir=folder) as file:
            _reserve(file, size)
            return np.memmap(file, "uint8", "r+", shape=shape)
    except OSError as error:
        raise ZooError(
            f"the decoded images take {size / 2**30:.1f} GiB, too much for the memory, and the disk of {folder} has no room "
            f"for them ({error}); free some space, or set ZOO_CACHE=FOLDER to a folder on a larger disk"
        ) from error


def _reserve(file, size):
    """Allocate all blocks of a file, if the system can: writing to a mapped page without a block kills the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)


def fits_in_memory(size: int) -> bool:
    """Return whether a number of bytes is at most `MEMORY_FRACTION` of the free memory."""
    return size <= MEMORY_FRACTION * memory()["available"]
