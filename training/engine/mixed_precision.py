"""Mixed precision: training computes in half precision; weights, scores, loss and saved files are float32."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import keras

from zoo import machine
from zoo.errors import ZooError
from zoo.layers import traits

if TYPE_CHECKING:
    from zoo.classifier import Classifier
    from zoo.rules import Rule

# Keras' dtype policies: compute in half precision, with weights in float32.
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
# CPU features, as Linux names them, that make half precision faster than float32.
FLAGS = {"bfloat16": ("amx_bf16", "avx512_bf16", "bf16"), "float16": ("amx_fp16", "avx512_fp16", "fphp")}
# Compute capability of the first NVIDIA GPUs whose tensor cores support it.
CAPABILITY = {"bfloat16": (8, 0), "float16": (7, 0)}


@contextlib.contextmanager
def using(classifier: "Classifier", precision: str) -> Iterator[None]:
    """Return a context in which a classifier computes in a precision.

    Its variables stay float32; only the computation of its layers is rounded. Preprocessing and the last layer, which
    returns the scores, compute in float32. The context can be nested: a classifier that is trained in bfloat16 is saved
    inside `using(classifier, "float32")`, so that its file has no trace of mixed precision.

    Args:
        classifier: `zoo.classifier.Classifier`.
        precision: "float32", "bfloat16" or "float16".
    """
    leaves = [layer for layer in classifier.net._flatten_layers() if not isinstance(layer, keras.Model)]
    changed = [layer for layer in leaves if layer.dtype_policy.name in POLICIES.values()]
    before = [layer.dtype_policy for layer in changed]
    for layer in changed:
        exact = traits.of(layer).keep_float32 or layer is classifier.net.layers[-1]
        layer.dtype_policy = POLICIES["float32" if exact else precision]
    classifier.predict_function = None  # Keras caches the graph of the first call with its precision
    try:
        yield
    finally:
        for layer, policy in zip(changed, before, strict=True):
            layer.dtype_policy = policy
        classifier.predict_function = None


def optimizer(inner: keras.optimizers.Optimizer, precision: str) -> keras.optimizers.Optimizer:
    """Return the optimizer for a precision: with loss scaling in float16, whose smallest positive number is 6e-8.

    The scale starts at 2^15. It is halved when a gradient is not finite, and that step is skipped; it is doubled after 2,000
    finite steps. It is one of the optimizer's variables, so checkpoints contain it.

    Args:
        inner: Keras optimizer.
        precision: "float32", "bfloat16" or "float16".
    """
    return keras.optimizers.LossScaleOptimizer(inner) if precision == "float16" else inner


def check(precision: str, model: str, rule: "Rule | None") -> None:
    """Raise `ZooError` if a learning rule is to be computed in half precision.

    Args:
        precision: compute precision of the run.
        model: name of the model.
        rule: learning rule that replaces the optimizer, or None.
    """
    if rule is not None and precision != "float32":
        raise ZooError(
            f"precision {precision}: {model} is trained by a learning rule, {type(rule).__name__}, which is exact and needs "
            'float32; remove --precision, or set precision = "float32" in the recipe'
        )


def warning(precision: str) -> str:
    """Return a warning if this machine has no hardware support for a precision, else ""."""
    if precision == "float32":
        return ""
    capability = _capability()
    if capability is None:
        here = "" if machine.cpu_flags().intersection(FLAGS[precision]) else "CPU has no units"
    else:
        here = "" if capability >= CAPABILITY[precision] else "GPU has no tensor cores"
    return here and f"this {here} for {precision}: float32 may be faster"


def _capability():
    """Return (major, minor) of the GPU that the backend computes on, None on a CPU."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU"):
            return tf.config.experimental.get_device_details(gpu).get("compute_capability")
    elif keras.backend.backend() == "jax":
        import jax

        if jax.default_backend() == "gpu":
            return tuple(map(int, jax.devices()[0].compute_capability.split(".")))
    return None
