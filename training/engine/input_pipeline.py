"""Datasets for Keras' `fit` whose batches are prepared ahead of time on all cores, on either backend."""

import concurrent.futures
import itertools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from zoo import machine

PREFETCH_BYTES = 2**28  # upper bound of the batches prepared ahead; two are prepared in any case

Batch = tuple[np.ndarray, ...]


class Prefetcher:
    """Batches by number. Each request starts the preparation of the following batches.

    Args:
        batch: function from a number to a tuple of arrays.
        nbytes: size of a batch.
    """

    def __init__(self, batch: Callable[[int], Batch], nbytes: int) -> None:
        cores = machine.cores()
        self.batch = batch
        self.depth = max(2, min(2 * cores, PREFETCH_BYTES // max(1, nbytes)))
        self._pool = concurrent.futures.ThreadPoolExecutor(cores)
        self._pending = {}

    def __call__(self, number: int) -> Batch:
        wanted = range(number, number + self.depth)
        self._pending = {each: self._pending.get(each) or self._pool.submit(self.batch, each) for each in wanted}
        return self._pending.pop(number).result()


class BatchDataset(keras.utils.PyDataset):
    """A fixed number of batches as a Keras dataset that computes each batch when it is read."""

    def __init__(self, batch: Callable[[int], Batch], batches: int) -> None:
        super().__init__()
        self.batch = batch
        self.batches = batches

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, number: int) -> Batch:
        return self.batch(number)


def endless(batch: Callable[[int], Batch], first: int, nbytes: int) -> Any:
    """Return the endless dataset of the batches from number `first` on, in the type that Keras' `fit` takes.

    Args:
        batch: function from a number to a tuple of arrays.
        first: number of the first batch.
        nbytes: size of a batch.
    """
    prefetcher = Prefetcher(batch, nbytes)
    if keras.backend.backend() != "tensorflow":
        return (prefetcher(number) for number in itertools.count(first))  # Keras accepts no other kind of iterator
    import tensorflow as tf

    return _dataset(tf.data.Dataset.range(first, tf.int64.max), prefetcher, batch(first))


def numbered(batch: Callable[[int], Batch], batches: int) -> Any:
    """Return the dataset of the batches 0 to `batches` - 1, which can be read several times.

    Args:
        batch: function from a number to a tuple of arrays.
        batches: number of batches.
    """
    if keras.backend.backend() != "tensorflow":
        return BatchDataset(batch, batches)
    import tensorflow as tf

    return _dataset(tf.data.Dataset.range(batches), batch, batch(0))


def _dataset(numbers, batch, example):
    """Return the batches of numbers as a tf.data dataset.

    `from_generator` is not used: it sets malloc's trim threshold to 128 KiB, which costs page faults in each step. A
    parallel map with a prefetch is not used either: with deterministic operators TensorFlow makes both wait for each other.
    """
    import tensorflow as tf

    def compute(number):
        dtypes = [tf.as_dtype(array.dtype) for array in example]
        arrays = tf.numpy_function(lambda number: batch(int(number)), [number], dtypes)
        return tuple(tf.ensure_shape(array, (None, *each.shape[1:])) for array, each in zip(arrays, example, strict=True))

    return without_autotuning(numbers.map(compute))


def without_autotuning(dataset: Any) -> Any:
    """Return a tf.data dataset without autotuning.

    The autotuning thread sleeps twice as long each time and cannot be woken up: closing the dataset waits for it, up to as
    long as the dataset was open. Keras' `fit` may stall for that reason at the end of each epoch.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
