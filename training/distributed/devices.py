"""The devices of this machine: how a run prepares them, and how it shares each batch between several."""

import os

import keras

from training.distributed.strategy import Placement
from zoo.errors import ZooError

BACKENDS = ("tensorflow", "jax")


def prepare():
    """Prepare GPUs for a run; before anything computes on one, as they take no settings later.

    TensorFlow takes memory as it needs it, not all at once, so that others can use the GPU, too. Its operators are
    deterministic, so that a resumed run is the undisturbed one; on a GPU that costs time. XLA stays off on TensorFlow: on a
    CPU its gradient of a convolution is far slower than oneDNN's, and on a GPU not all of its kernels are deterministic.
    """
    if keras.backend.backend() not in BACKENDS:
        raise ZooError(f"training runs on {' or '.join(BACKENDS)}, not on {keras.backend.backend()}: set KERAS_BACKEND=jax")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def arithmetic(precision):
    """Return words for the log on how a GPU multiplies, "" on a CPU.

    Args:
        precision: of the run, "float32", "bfloat16" or "float16".
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if not tf.config.list_physical_devices("GPU"):
            return ""
        rounded = tf.config.experimental.tensor_float_32_execution_enabled()
        how = ", deterministic operators, XLA off"
    elif keras.backend.backend() == "jax":
        import jax

        if jax.default_backend() != "gpu":
            return ""
        rounded = jax.config.jax_default_matmul_precision in (None, "default", "fastest", "tensorfloat32")
        how = ", XLA"
    else:
        return ""
    return f"{precision}, TF32 {'on' if rounded else 'off'} where that is float32{how}"


class Mirrored(Placement):
    """Several GPUs of this machine on TensorFlow: each has the whole net and a part of each batch; gradients are summed.

    In float32 the weights are those of one device but for the order of sums. Random layers draw the same numbers on each
    device, one for the first row of each part, and so on; so with augmentation or dropout the run is another one.

    Args:
        number: how many, the first ones that TensorFlow sees.

    Raises:
        ZooError: if there are not so many.
    """

    def __init__(self, number):
        import tensorflow as tf

        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        found = [device.name for device in tf.config.list_logical_devices(kind)]
        check(number, len(found), kind)
        self.parts = number
        self.how = f" on {number} {kind}s"
        self._strategy = tf.distribute.MirroredStrategy(found[:number])

    def scope(self):
        return self._strategy.scope()


def check(number, found, kind):
    """Raise `ZooError` if more devices are asked for than there are.

    Args:
        number: how many are asked for.
        found: how many there are.
        kind: what they are, "GPU" or "CPU".
    """
    if not 1 <= number <= found:
        here = f"{found} {kind}s" if found > 1 else f"one {kind}" if kind == "GPU" else "no GPU"
        raise ZooError(
            f"--devices {number}: {keras.backend.backend()} sees {here} here; zoo doctor says what there is"
            + ("" if found > 1 else ", and without --devices the run takes what it finds")
        )
