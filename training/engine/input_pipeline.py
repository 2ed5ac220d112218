"""How pictures reach a net that is fed a batch at a time: made ahead of their use by all cores, on either backend."""

import concurrent.futures
import itertools

import keras

from zoo import machine

WAITING_BYTES = 2**28  # of batches that are made ahead; two are made in any case


class Ahead:
    """Batches by their number: to be asked for one has the next ones made meanwhile.

    Args:
        batch: function of a number that returns a tuple of arrays.
        nbytes: size of a batch.
    """

    def __init__(self, batch, nbytes):
        cores = machine.cores()
        self.batch = batch
        self.depth = max(2, min(2 * cores, WAITING_BYTES // max(1, nbytes)))
        self._pool = concurrent.futures.ThreadPoolExecutor(cores)
        self._made = {}

    def __call__(self, number):
        wanted = range(number, number + self.depth)
        self._made = {each: self._made.get(each) or self._pool.submit(self.batch, each) for each in wanted}
        return self._made.pop(number).result()


class Numbered(keras.utils.PyDataset):
    """So many batches as a data set of Keras, which forgets each when it was used."""

    def __init__(self, batch, batches):
        super().__init__()
        self.batch = batch
        self.batches = batches

    def __len__(self):
        return self.batches

    def __getitem__(self, number):
        return self.batch(number)


def endless(batch, first, nbytes):
    """Return what Keras' `fit` reads on this backend: the batches from number `first` on, without end.

    Args:
        batch, nbytes: as for `Ahead`.
        first: int.
    """
    ahead = Ahead(batch, nbytes)
    if keras.backend.backend() != "tensorflow":
        return (ahead(number) for number in itertools.count(first))  # Keras takes a generator, and no other iterator
    import tensorflow as tf

    return _dataset(tf.data.Dataset.range(first, tf.int64.max), ahead, batch(first))


def numbered(batch, batches):
    """Return the batches of the numbers 0 to `batches` - 1 as Keras reads them on this backend, time and again."""
    if keras.backend.backend() != "tensorflow":
        return Numbered(batch, batches)
    import tensorflow as tf

    return _dataset(tf.data.Dataset.range(batches), batch, batch(0))


def _dataset(numbers, batch, like):
    """Return the batches of numbers as a tf.data set.

    Not from_generator: that sets malloc's trim threshold to 128 KiB, and each step pays for it with page faults. And not a
    parallel map with a prefetch: where operators are deterministic TensorFlow makes both wait for each other.
    """
    import tensorflow as tf

    def made(number):
        parts = tf.numpy_function(lambda number: batch(int(number)), [number], [tf.as_dtype(part.dtype) for part in like])
        return tuple(tf.ensure_shape(part, (None, *each.shape[1:])) for part, each in zip(parts, like, strict=True))

    return untuned(numbers.map(made))


def untuned(dataset):
    """Return a tf.data set without autotuning.

    The thread that tunes sleeps twice as long each time and does not wake up to be ended: closing the data waits for it, up
    to as long again as the data were open. Keras' `fit` may stall by this at the end of each epoch.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
