"""Devices of this machine: their settings for a run, and data-parallel training on several GPUs with TensorFlow."""

import contextlib
import os

import keras

from training.distributed.strategy import Strategy
from zoo import machine
from zoo.errors import ZooError

BACKENDS = ("tensorflow", "jax")


def prepare() -> None:
    """Configure the GPUs for a run. Call it before anything is computed on a GPU.

    TensorFlow allocates GPU memory as it needs it, so that other processes can use the GPU too. Its operators are
    deterministic, so that a resumed run has the weights of an uninterrupted one; this makes a GPU slower. XLA is off on
    TensorFlow: on a CPU its gradient of a convolution is much slower than oneDNN's, and on a GPU some of its kernels are not
    deterministic.

    Raises:
        ZooError: if the Keras backend cannot train here.
    """
    if keras.backend.backend() not in BACKENDS:
        raise ZooError(f"training runs on {' or '.join(BACKENDS)}, not on {keras.backend.backend()}: set KERAS_BACKEND=jax")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def describe_arithmetic(precision: str) -> str:
    """Return text for the log about the arithmetic of the GPU, or "" on a CPU.

    Args:
        precision: compute precision of the run: "float32", "bfloat16" or "float16".
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if not tf.config.list_physical_devices("GPU"):
            return ""
        tf32 = tf.config.experimental.tensor_float_32_execution_enabled()
        compiler = "deterministic operators, XLA off"
    elif keras.backend.backend() == "jax":
        import jax

        if jax.default_backend() != "gpu":
            return ""
        tf32 = jax.config.jax_default_matmul_precision in (None, "default", "fastest", "tensorfloat32")
        compiler = "XLA"
    else:
        return ""
    return f"{precision}, TF32 {'on' if tf32 else 'off'} for float32, {compiler}"


def describe_device() -> str:
    """Return the name of the GPU that Keras computes on, or the name of the CPU and its number of cores."""
    if keras.backend.backend() == "jax":
        import jax

        if jax.default_backend() != "cpu":
            return jax.devices()[0].device_kind
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU"):
            return tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
    cpu = machine.cpu()
    return f"{cpu['name']}, {cpu['cores']} core{'s' * (cpu['cores'] > 1)}"


class MirroredStrategy(Strategy):
    """Several GPUs of this machine on TensorFlow. Each holds all weights and a part of each batch; gradients are summed.

    In float32 the weights are those of one device up to the order of sums. Random layers draw the same numbers on each
    device: one for the first row of each part, and so on. With augmentation or dropout the weights are therefore not those
    of one device.

    Args:
        devices: number of devices; the first ones that TensorFlow lists are used.

    Raises:
        ZooError: if there are fewer devices.
    """

    def __init__(self, devices: int) -> None:
        import tensorflow as tf

        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        found = [device.name for device in tf.config.list_logical_devices(kind)]
        check_number(devices, len(found), kind)
        self.replicas = devices
        self.description = f" on {devices} {kind}s"
        self._strategy = tf.distribute.MirroredStrategy(found[:devices])

    def scope(self) -> contextlib.AbstractContextManager:
        """Return the context of TensorFlow's `MirroredStrategy`, in which all variables are mirrored on each device."""
        return self._strategy.scope()


def check_number(devices: int, found: int, kind: str) -> None:
    """Raise `ZooError` if more devices are requested than there are.

    Args:
        devices: number of requested devices.
        found: number of available devices.
        kind: "GPU" or "CPU".
    """
    if not 1 <= devices <= found:
        here = f"{found} {kind}s" if found > 1 else f"one {kind}" if kind == "GPU" else "no GPU"
        raise ZooError(
            f"--devices {devices}: {keras.backend.backend()} sees {here} here; zoo doctor lists the devices"
            + ("" if found > 1 else "; without --devices the run uses the one that is there")
        )
