"""The packages that `zoo doctor` imports, each in a separate process, because an import may hang or crash."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass

SECONDS = 120  # time limit of an import: with a broken driver it may hang forever
# A probe must not reserve all memory of the GPU, and must not log.
QUIET = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_CPP_MIN_LOG_LEVEL": "3"}


@dataclass(frozen=True)
class Probe:
    """A package to check in a separate process.

    Attributes:
        title: name for the user.
        module: module to import.
        package: name of the distribution.
        use: what the zoo needs it for.
        code: Python that sets `version`, a str, and may set `details`, a list of str, and `gpus`, a list of names.
    """

    title: str
    module: str
    package: str
    use: str
    code: str


PROBES = (
    Probe(
        "Keras",
        "keras",
        "keras",
        "every model of the zoo",
        "import keras; version = keras.__version__; details = [f'on {keras.backend.backend()}']",
    ),
    Probe(
        "TensorFlow",
        "tensorflow",
        "tensorflow",
        "training, as the default backend, and export",
        "import tensorflow as tf; version = tf.__version__; build = tf.sysconfig.get_build_info();"
        'details = [f\'built for CUDA {build["cuda_version"]}, cuDNN {build["cudnn_version"]}\'] '
        "if build.get('is_cuda_build') and 'cuda_version' in build else ['built without CUDA'];"
        "tell = tf.config.experimental.get_device_details;"
        "gpus = [tell(each).get('device_name', each.name) for each in tf.config.list_physical_devices('GPU')]",
    ),
    Probe(
        "JAX",
        "jax",
        "jax",
        "training on several machines, and on GPUs with XLA (KERAS_BACKEND=jax)",
        "import jax, importlib.metadata as m; version = jax.__version__;"
        "names = {d.name for d in m.distributions() if d.name};"
        "plugins = sorted(n for n in names if n.startswith('jax-cuda') and n.endswith('plugin'));"
        "details = plugins or ['no plugin for CUDA'];"
        "gpus = [d.device_kind for d in jax.devices()] if jax.default_backend() == 'gpu' else []",
    ),
    Probe(
        "PyTorch",
        "torch",
        "torch",
        "the benchmarks",
        "import torch; version = torch.__version__; cuda = torch.version.cuda;"
        "details = [f'built for CUDA {cuda}' if cuda else 'built without CUDA'];"
        "gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]",
    ),
    Probe(
        "TensorFlow Datasets",
        "tensorflow_datasets",
        "tensorflow-datasets",
        "data sets by name, such as mnist",
        "import tensorflow_datasets as tfds; version = tfds.__version__",
    ),
    Probe("tf2onnx", "tf2onnx", "tf2onnx", "zoo export", "import tf2onnx; version = tf2onnx.__version__"),
    Probe(
        "onnxruntime",
        "onnxruntime",
        "onnxruntime",
        "the check of exported files, and INT8",
        "import onnxruntime as o; version = o.__version__; details = o.get_available_providers()",
    ),
    Probe(
        "OpenVINO",
        "openvino",
        "openvino",
        "the check of exported files in another runtime",
        "import openvino as o; version = o.__version__; details = o.Core().available_devices",
    ),
    Probe(
        "OpenCV",
        "cv2",
        "opencv-python-headless",
        "the check of exported files in another runtime",
        "import cv2; version = cv2.__version__",
    ),
    Probe(
        "TensorRT-RTX",
        "tensorrt_rtx",
        "tensorrt-rtx-cu12",
        "the check of files for boards by NVIDIA's parser and builder, without a GPU",
        "import tensorrt_rtx as t; version = t.__version__",
    ),
    Probe(
        "TensorRT",
        "tensorrt",
        "tensorrt",
        "building engines for this machine; engines for a board are built on the board",
        "import tensorrt as t; version = t.__version__",
    ),
)
RUN = "gpus, details = [], []\n{code}\nimport json; print(json.dumps([str(version), list(map(str, details)), gpus]))"


def ask(probe: Probe) -> tuple[str | None, list[str], list[str], str | None]:
    """Run a probe. A crash of the package does not end this process.

    Returns:
        (version or None, details, names of GPUs, error in one line or None).
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", RUN.format(code=probe.code)],
            env={**os.environ, **QUIET},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
        )
        version, details, gpus = json.loads(done.stdout.splitlines()[-1])
        return re.match(r"\d+(\.\d+)*|", version)[0], details, gpus, None  # without a suffix such as +cu121
    except subprocess.TimeoutExpired:
        error = f"its import takes longer than {SECONDS} s"
    except (IndexError, ValueError):
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        error = f"its import crashes with {signal.Signals(-done.returncode).name}" if done.returncode < 0 else lines[-1]
    return None, [], [], error
