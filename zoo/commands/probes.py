"""The packages that `zoo doctor` asks, each in a process of its own: an import may be slow, hang or crash."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass

SECONDS = 120  # for one package to be imported: a broken driver can hang it for good
# Within a probe a GPU's memory is not taken as a whole, and nothing is logged.
QUIET = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_CPP_MIN_LOG_LEVEL": "3"}


@dataclass(frozen=True)
class Probe:
    """A package that is asked in a process of its own, as its import may be slow, hang or crash.

    `code` sets version, a str, and may set details, a list of str, and gpus, a list of names.
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
        "the backend that trains by default and the only one that exports",
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
        "the backend for several machines, and for GPUs under XLA (KERAS_BACKEND=jax)",
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
        "the benchmarks, which compare with it",
        "import torch; version = torch.__version__; cuda = torch.version.cuda;"
        "details = [f'built for CUDA {cuda}' if cuda else 'built without CUDA'];"
        "gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]",
    ),
    Probe(
        "TensorFlow Datasets",
        "tensorflow_datasets",
        "tensorflow-datasets",
        "data by name, such as mnist",
        "import tensorflow_datasets as tfds; version = tfds.__version__",
    ),
    Probe("tf2onnx", "tf2onnx", "tf2onnx", "zoo export", "import tf2onnx; version = tf2onnx.__version__"),
    Probe(
        "onnxruntime",
        "onnxruntime",
        "onnxruntime",
        "the proof of each exported file, and INT8",
        "import onnxruntime as o; version = o.__version__; details = o.get_available_providers()",
    ),
    Probe(
        "OpenVINO",
        "openvino",
        "openvino",
        "one more runtime for the proof of an exported file",
        "import openvino as o; version = o.__version__; details = o.Core().available_devices",
    ),
    Probe(
        "OpenCV",
        "cv2",
        "opencv-python-headless",
        "one more runtime for the proof of an exported file",
        "import cv2; version = cv2.__version__",
    ),
    Probe(
        "TensorRT-RTX",
        "tensorrt_rtx",
        "tensorrt-rtx-cu12",
        "NVIDIA's parser and builder without a GPU, which are shown what goes to a board",
        "import tensorrt_rtx as t; version = t.__version__",
    ),
    Probe(
        "TensorRT",
        "tensorrt",
        "tensorrt",
        "engines on this machine; those of a board are built on the board",
        "import tensorrt as t; version = t.__version__",
    ),
)
RUN = "gpus, details = [], []\n{code}\nimport json; print(json.dumps([str(version), list(map(str, details)), gpus]))"


def ask(probe):
    """Run a probe; nothing that the package does ends this process.

    Returns:
        (version or None, list of details, list of names of GPUs, error in a line or None).
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
        return re.match(r"\d+(\.\d+)*|", version)[0], details, gpus, None  # without what a build adds to its version
    except subprocess.TimeoutExpired:
        error = f"its import gives no answer in {SECONDS} s"
    except (IndexError, ValueError):
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        error = f"its import ends with {signal.Signals(-done.returncode).name}" if done.returncode < 0 else said[-1]
    return None, [], [], error
