"""Time and memory of an export, beside Keras' own `model.export(format="onnx")`: AlexNet, deep nets, and a command.

    python benchmarks/export.py --keras
    python benchmarks/export.py --deep --rounds 1
    python benchmarks/export.py --command

AlexNet has random weights and is exported after the model is loaded: only converted and written, as Keras does, and with the
verification. Keras can export grouped convolutions only while functions run eagerly, which is set for it; this takes 12 GB
and a minute, so it needs --keras. With --deep, nets of `keras.applications` with random weights are exported, by Keras
as well. With --command, whole processes are timed: `zoo export lenet5.mnist` with its verification, and Python with the
export of Keras. Each runs in its own process; they alternate.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

NET, SMALL = "alexnet", "lenet5.mnist"
DEEP = ("EfficientNetB0", "DenseNet121", "ConvNeXtTiny", "NASNetMobile", "InceptionResNetV2")  # of keras.applications
COLUMNS = {
    "seconds": "seconds",
    "processor": "processor seconds",
    "above": "GB above the loaded model",
    "peak": "GB in all",
    "bytes": "bytes of the file",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keras", action="store_true", help="include Keras' own export of AlexNet: 12 GB of memory")
    parser.add_argument("--deep", action="store_true", help="export deep nets of keras.applications: 8 GB of memory")
    parser.add_argument("--net", help=argparse.SUPPRESS)
    parser.add_argument("--command", action="store_true", help="time whole processes that export LeNet-5 instead")
    parser.add_argument("--child", choices=sorted(CHILDREN), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.net, CHILDREN[options.child])))
        return
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if options.command:
        found = rounds(options.rounds, list(COMMANDS), lambda name: whole(COMMANDS[name], environment))
        show(f"{SMALL}: whole processes", found, {"seconds": "seconds"})
        ratios = np.divide(*([each["seconds"] for each in found[name]] for name in ("zoo export", "Keras")))
        print(f"zoo export / Keras, per pair: {np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})")
        return
    children = [name for name in CHILDREN if name != "Keras" or options.keras or options.deep]
    for net in DEEP if options.deep else [NET]:
        found = rounds(options.rounds, children, lambda name, net=net: child(net, name, environment))
        show(f"{net}: export of the loaded model", found, COLUMNS)


def rounds(count, names, run):
    """Run each name alternately; return its result in each round, by name."""
    found = {name: [] for name in names}
    for number in range(count):
        for name in names:
            found[name].append(run(name))
            print(f"round {number + 1}  {name}: {found[name][-1]}", flush=True)
    return found


def show(title, found, columns):
    from rich.console import Console
    from rich.table import Table

    cores = len(os.sched_getaffinity(0))
    table = Table("", *columns.values(), title=f"{title}; {len(next(iter(found.values())))} rounds, {cores} cores")
    for name, each in found.items():
        cells = ([one[key] for one in each] for key in columns)
        table.add_row(name, *(f"{np.median(values):,.9g} ({min(values):,} to {max(values):,})" for values in cells))
    Console(width=150).print(table)


def whole(command, environment):
    """Run a command in its own folder; return its seconds from start to end."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        return {"seconds": round(time.perf_counter() - start, 2)}


def child(net, name, environment):
    command = [sys.executable, __file__, "--net", net, "--child", name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(net, export):
    """Return the seconds of one export, its peak memory in GB, above the loaded model and in total, and the file size."""
    from zoo import cli

    cli.start_keras()
    model = load(net)
    work = export(model)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{net}.onnx"
        before = gigabytes("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts here, without the loading
        start, processor = time.perf_counter(), time.process_time()
        work(file)
        seconds, processor = time.perf_counter() - start, time.process_time() - processor
        peak = gigabytes("VmHWM")
        return {
            "seconds": round(seconds, 2),
            "processor": round(processor, 2),
            "above": round(peak - before, 3),
            "peak": round(peak, 3),
            "bytes": file.stat().st_size,
        }


def load(net):
    """Return a classifier of the zoo, or a net of `keras.applications` with random weights that has been called."""
    if net not in DEEP:
        import zoo

        return zoo.load(net)
    import keras

    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, net)(weights=None)
    model(keras.ops.zeros((1, *model.input_shape[1:])))  # Keras exports only models that have been called
    return model


def gigabytes(what):
    return int(re.search(rf"{what}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024 / 1e9


# Each imports what it needs and returns the function to time, which writes a file.


def conversion(model):
    from exporters import source
    from exporters.onnx import convert, files, trace  # noqa: F401  the last imports tf2onnx

    return lambda file: files.save(convert.convert(source.find(model)), file)


def proved(model):
    import exporters
    from exporters.onnx import trace  # noqa: F401

    return lambda file: exporters.to_onnx(model, file)


def keras(model):
    import keras
    import tensorflow as tf
    import tf2onnx  # noqa: F401

    if not hasattr(model, "input_image_shape"):
        return lambda file: model.export(file, format="onnx", verbose=False)
    tf.config.run_functions_eagerly(True)
    signature = keras.InputSpec("uint8", (None, *model.input_image_shape), name="pictures")
    return lambda file: model.export(file, format="onnx", input_signature=[signature], verbose=False)


CHILDREN = {"zoo, conversion and file": conversion, "zoo, with verification": proved, "Keras": keras}
COMMANDS = {
    "zoo export": [str(Path(sys.executable).with_name("zoo")), "export", SMALL, "--to", "onnx", "--out", "lenet5.onnx"],
    "Keras": [
        sys.executable,
        "-c",
        f"import zoo; zoo.load('{SMALL}').export('lenet5.onnx', format='onnx', verbose=False)",
    ],
}

if __name__ == "__main__":
    main()
