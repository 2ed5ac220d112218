"""Mixed precision: a net multiplies in half precision while it learns; weights, scores, loss and what leaves are float32."""

import contextlib

import keras

from zoo import machine
from zoo.errors import ZooError
from zoo.layers import traits

# What a layer is told: to multiply in the one type, and to keep its weights in float32.
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
# What a CPU needs to be faster in it than in float32, as Linux calls it.
FLAGS = {"bfloat16": ("amx_bf16", "avx512_bf16", "bf16"), "float16": ("amx_fp16", "avx512_fp16", "fphp")}
# The first generation of NVIDIA's GPUs that multiplies it in its tensor cores.
CAPABILITY = {"bfloat16": (8, 0), "float16": (7, 0)}


@contextlib.contextmanager
def using(classifier, precision):
    """Within it a classifier computes in a precision, as a net that learns or as one that is saved.

    Its variables are the same inside and outside, all float32; only what its layers make of them is rounded. Preprocessing
    and the last layer, which gives the scores, are left in float32. May be nested: a classifier that learns in bfloat16 is
    saved inside of `using(classifier, "float32")`, so that no trace of mixed precision is in its file.

    Args:
        classifier: `zoo.Classifier`.
        precision: "float32", "bfloat16" or "float16".
    """
    leaves = [layer for layer in classifier.net._flatten_layers() if not isinstance(layer, keras.Model)]
    changed = [layer for layer in leaves if layer.dtype_policy.name in POLICIES.values()]
    before = [layer.dtype_policy for layer in changed]
    for layer in changed:
        exact = traits.of(layer).keep_float32 or layer is classifier.net.layers[-1]
        layer.dtype_policy = POLICIES["float32" if exact else precision]
    classifier.predict_function = None  # Keras keeps the graph of the first call, and the precision in it
    try:
        yield
    finally:
        for layer, policy in zip(changed, before, strict=True):
            layer.dtype_policy = policy
        classifier.predict_function = None


def optimizer(inner, precision):
    """Return the optimizer for a precision: in float16, whose smallest number is 6e-8, one that scales the loss.

    The scale starts at 2^15, is halved when a gradient is no longer finite, which costs that step, and doubled after 2,000
    good ones. It is among the optimizer's variables, so a checkpoint holds it.

    Args:
        inner: Keras optimizer.
        precision: as for `using`.
    """
    return keras.optimizers.LossScaleOptimizer(inner) if precision == "float16" else inner


def check(precision, model, rule):
    """Raise `ZooError` if a machine that learns by a rule of its own is asked to do so in half precision."""
    if rule is not None and precision != "float32":
        raise ZooError(
            f"precision {precision}: {model} learns by a rule of its own, {type(rule).__name__}, which is exact and needs "
            'float32; leave out --precision, or set precision = "float32" in the recipe'
        )


def warning(precision):
    """Return what to say before a run in a precision that this machine has no units for, or ""."""
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
