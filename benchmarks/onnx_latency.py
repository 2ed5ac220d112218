"""Latency of exported files in onnxruntime: the zoo's, and the same network exported by PyTorch and by Keras.

    python benchmarks/onnx_latency.py
    python benchmarks/onnx_latency.py --int8
    python benchmarks/onnx_latency.py --runtimes

Every file has the same weights, takes raw uint8 images and gives scores, so the preprocessing is timed too. PyTorch
exports with TorchScript and, where onnxscript is installed, with dynamo. Keras exports the small networks only: it can
export grouped convolutions on TensorFlow only while functions run eagerly, and needs 12 GB for the large ones. All sessions
run in one process with the same number of threads. In each round each runs for the same time, in random order, and ratios
are computed per round, so that a slow phase of the machine affects all of them. --int8 compares AlexNet in INT8 and float32;
--runtimes compares the file of `--runtime onnxruntime`, here "zoo", with the default one.
"""

import argparse
import importlib.util
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

# Whether Keras' own exporter is a peer.
NETS = {
    "lenet5.mnist": True,
    "lenet5-modern.mnist": True,
    "lenet-caffe.mnist": True,
    "alexnet-cifar.cifar10": True,
    "alexnet-owt": False,
    "alexnet": False,
}
INT8 = ("alexnet", "alexnet-owt")
NORMALIZED = ("alexnet",)
BATCHES = (1, 8, 64)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", help="default: all")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--seconds", type=float, default=0.3, help="duration of each session in each round; it runs at least once"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--int8", action="store_true", help="compare INT8 with float32 instead")
    parser.add_argument("--runtimes", action="store_true", help="compare the two files of `--runtime` instead")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        writer = write_int8 if options.int8 else write_runtimes if options.runtimes else write
        writer(options.nets[0], options.write)
        return
    if options.int8 and "vnni" not in Path("/proc/cpuinfo").read_text():
        print("this CPU has no VNNI: INT8 will not be much faster than float32")
    chosen = INT8 if options.int8 else NORMALIZED if options.runtimes else NETS
    for net in options.nets or chosen:
        with tempfile.TemporaryDirectory() as folder:
            # A separate process, so that writing the files neither fills the memory nor starts threads beside the sessions.
            mode = [f"--{name}" for name in ("int8", "runtimes") if getattr(options, name)]
            command = [sys.executable, __file__, net, "--write", folder, *mode]
            subprocess.run(command, check=True, capture_output=True)
            files = sorted(Path(folder).glob("*.onnx"), key=lambda file: file.stem != "zoo")
            show(net, files, options)


def show(net, files, options):
    """Time the files of one network and print a table."""
    from rich.console import Console
    from rich.table import Table

    sessions = {file.stem: start(file, options.threads) for file in files}
    size = ", ".join(f"{file.stem} {file.stat().st_size:,}" for file in files)
    title = f"{net}: ms per batch, {options.threads} threads, {options.rounds} rounds\nbytes: {size}"
    table = Table("batch", *sessions, "zoo / best other, per round", title=title)
    for batch in BATCHES:
        found = measure(sessions, batch, options.rounds, options.seconds, alike=not options.int8)
        median = {name: np.median(times) for name, times in found.items()}
        best = min(set(median) - {"zoo"}, key=median.get)
        ratios = found["zoo"] / found[best]
        cell = f"{np.median(ratios):.3f} ({ratios.min():.3f} to {ratios.max():.3f}), {best}"
        table.add_row(str(batch), *(f"{1000 * value:.3f}" for value in median.values()), cell)
    Console(width=140).print(table)


def start(file, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def measure(sessions, batch, rounds, seconds, alike):
    """Return the seconds per batch in each round, an array per name.

    Args:
        sessions: dict of name -> onnxruntime session.
        batch: number of images.
        alike: whether to check that all give the same scores.
    """
    feeds = {name: feed(session, batch) for name, session in sessions.items()}
    scores = {name: session.run(None, feeds[name])[0] for name, session in sessions.items()}
    for given in scores.values() if alike else ():
        np.testing.assert_allclose(given, scores["zoo"], rtol=1e-4, atol=1e-4 * np.abs(given).max())
    found = {name: [] for name in sessions}
    for _ in range(rounds):
        for name in random.sample(sorted(sessions), len(sessions)):
            run, given = sessions[name].run, feeds[name]
            run(None, given)  # warm the caches
            times = []
            while sum(times) < seconds:
                begin = time.perf_counter()
                run(None, given)
                times.append(time.perf_counter() - begin)
            found[name].append(np.median(times))
    return {name: np.array(times) for name, times in found.items()}


def feed(session, batch):
    """Return random images, the same for all sessions, in the layout of a file with one or three channels."""
    (given,) = session.get_inputs()
    channels_first = given.shape[1] in (1, 3)
    shape = [*given.shape[2:], given.shape[1]] if channels_first else given.shape[1:]
    images = np.random.default_rng(0).integers(0, 256, (batch, *shape), "uint8")
    return {given.name: np.ascontiguousarray(images.transpose(0, 3, 1, 2)) if channels_first else images}


def write(net, folder):
    """Export the network with the zoo, PyTorch and Keras."""
    classifier = load(net)
    write_zoo(classifier, folder / "zoo.onnx")
    write_pytorch(classifier, folder)
    if NETS[net]:
        import keras

        signature = keras.InputSpec("uint8", (None, *classifier.input_image_shape), name="pictures")
        classifier.export(folder / "keras.onnx", format="onnx", input_signature=[signature], verbose=False)


def load(net):
    from zoo import cli

    cli.start_keras()
    import keras

    import zoo

    keras.utils.set_random_seed(1)
    return zoo.load(net)


def write_zoo(classifier, path, runtime="onnxruntime"):
    from exporters import source
    from exporters.onnx import convert, files

    files.save(convert.convert(source.find(classifier), runtime=runtime), path)


def write_runtimes(net, folder):
    """Export the network for each runtime."""
    classifier = load(net)
    write_zoo(classifier, folder / "zoo.onnx")
    write_zoo(classifier, folder / "tensorrt.onnx", "tensorrt")


def write_pytorch(classifier, folder):
    """Export the same network with the same weights with each of PyTorch's exporters."""
    import torch
    from torch_nets import twin

    net = twin(classifier)
    height, width, channels = classifier.input_image_shape
    example = torch.randint(0, 256, (2, channels, height, width), dtype=torch.uint8)
    names = {"input_names": ["pictures"], "output_names": ["scores"]}
    axes = {"pictures": {0: "batch"}, "scores": {0: "batch"}}
    torch.onnx.export(net, (example,), folder / "torchscript.onnx", dynamo=False, dynamic_axes=axes, **names)
    if importlib.util.find_spec("onnxscript"):
        shapes = ({0: torch.export.Dim("batch")},)
        path = folder / "dynamo.onnx"
        torch.onnx.export(net, (example,), path, dynamo=True, dynamic_shapes=shapes, external_data=False, **names)


def write_int8(net, folder):
    """Write the network in float32 and INT8; the calibration images do not affect its latency."""
    from exporters import source
    from exporters.onnx import convert, files
    from exporters.quantization import calibrate, insert

    classifier = load(net)
    full = convert.convert(source.find(classifier), runtime="onnxruntime")
    images = np.random.default_rng(0).integers(0, 256, (8, *classifier.input_image_shape), "uint8")
    files.save(full, folder / "float32.onnx")
    files.save(insert.quantize(full, calibrate.ranges(full, insert.tensors(full), images)), folder / "zoo.onnx")


if __name__ == "__main__":
    main()
