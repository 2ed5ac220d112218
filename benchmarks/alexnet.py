"""Time and memory to build AlexNet, to load its weights, and to import a .caffemodel of 244 MB.

    python benchmarks/alexnet.py

Each runs in its own process; they alternate. The peer of the import is Google's protobuf library, which reads the same file
with Caffe's message types and without Keras. The file has random weights in Caffe's format of 2014.
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

LAYERS = {  # (out, in / groups, height, width) or (out, in), as in Caffe
    "conv1": (96, 3, 11, 11),
    "conv2": (256, 48, 5, 5),
    "conv3": (384, 256, 3, 3),
    "conv4": (384, 192, 3, 3),
    "conv5": (256, 192, 3, 3),
    "fc6": (4096, 9216),
    "fc7": (4096, 4096),
    "fc8": (1000, 4096),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", choices=sorted(CHILDREN), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(CHILDREN[options.child], options.folder)))
        return
    from rich.console import Console
    from rich.table import Table

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_caffemodel(folder / "alexnet.caffemodel")
        command = [sys.executable, __file__, "--folder", name, "--child"]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        found = {child: [] for child in CHILDREN}
        for number in range(options.rounds):
            for child in CHILDREN:
                done = subprocess.run([*command, child], env=environment, stdout=subprocess.PIPE, text=True, check=True)
                found[child].append(json.loads(done.stdout.splitlines()[-1]))
                print(f"round {number + 1}  {child}: {found[child][-1]}", flush=True)
        size = (folder / "alexnet.caffemodel").stat().st_size
    title = f"{options.rounds} rounds, {len(os.sched_getaffinity(0))} cores, file of {size:,} bytes"
    table = Table("", "seconds", "GB above the imports", "GB in all", title=title)
    for child, rounds in found.items():
        columns = ([each[key] for each in rounds] for key in ("seconds", "above", "peak"))
        table.add_row(child, *(f"{np.median(values):.2f} ({min(values):.2f} to {max(values):.2f})" for values in columns))
    Console().print(table)


def measure(child, folder):
    """Return the seconds of one child after its imports, and its peak memory in GB, above the imports and in total."""
    work = child(folder)
    before = gigabytes("VmRSS")
    start = time.perf_counter()
    kept = work()
    seconds = time.perf_counter() - start
    peak = gigabytes("VmHWM")  # not ru_maxrss, which starts at the memory of the parent process
    del kept
    return {"seconds": round(seconds, 2), "above": round(peak - before, 3), "peak": round(peak, 3)}


def gigabytes(what):
    return int(re.search(rf"{what}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024 / 1e9


def start_keras():
    from zoo import cli

    cli.start_keras()
    import zoo

    zoo.build("linear")  # the first network of a process also initializes TensorFlow
    return zoo


def build(folder):
    zoo = start_keras()
    return lambda: zoo.build("alexnet-bvlc")


def load(folder):
    """Load as `zoo.load("alexnet-bvlc.imagenet")` does once its file is downloaded and converted."""
    zoo = start_keras()
    from zoo import registry

    card = zoo.card("alexnet-bvlc")
    converted = folder / "alexnet.weights.h5"
    if not converted.exists():
        child = (
            "import sys; from zoo import registry; card = registry.card('alexnet-bvlc'); "
            "registry._convert(card, card.weights['imagenet'], sys.argv[1], sys.argv[2])"
        )
        command = [sys.executable, "-c", child, str(folder / "alexnet.caffemodel"), str(converted)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return lambda: registry._filled(card, card.weights["imagenet"], converted)


def imported(folder):
    start_keras()
    from zoo.commands.import_weights import import_weights

    return lambda: import_weights(folder / "alexnet.caffemodel", "alexnet-bvlc", folder / "alexnet.keras")


def protobuf(folder):
    """Read the file into NumPy arrays, as Caffe's own tools do."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    kinds = descriptor_pb2.FieldDescriptorProto

    def message(name, *fields):
        described = file.message_type.add(name=name)
        for field, number, label, kind, packed in fields:
            added = described.field.add(name=field, number=number, label=label)
            if isinstance(kind, str):
                added.type, added.type_name = kinds.TYPE_MESSAGE, f".caffe.{kind}"
            else:
                added.type = kind
            if packed:
                added.options.packed = True

    one, many = kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED
    message("BlobShape", ("dim", 1, many, kinds.TYPE_INT64, True))
    message("BlobProto", ("data", 5, many, kinds.TYPE_FLOAT, True), ("shape", 7, one, "BlobShape", False))
    message("LayerParameter", ("name", 1, one, kinds.TYPE_STRING, False), ("blobs", 7, many, "BlobProto", False))
    message("NetParameter", ("layer", 100, many, "LayerParameter", False))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    net = message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))()

    def work():
        net.ParseFromString((folder / "alexnet.caffemodel").read_bytes())
        return [np.array(blob.data, "float32").reshape(blob.shape.dim) for layer in net.layer for blob in layer.blobs]

    return work


def write_caffemodel(path):
    """Write random weights of AlexNet in protobuf's wire format, layer by layer."""
    generator = np.random.default_rng(0)
    with path.open("wb") as file:
        for name, shape in LAYERS.items():
            arrays = generator.normal(0, 0.01, shape), np.zeros(shape[0])
            blobs = b"".join(field(7, blob(array.astype("<f4"))) for array in arrays)
            file.write(field(100, field(1, name.encode()) + blobs))


def blob(array):
    return field(5, array.tobytes()) + field(7, field(1, b"".join(map(varint, array.shape))))


def field(number, content):
    """Return a bytes field: number and wire type 2, length, content."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value):
    """Return a number in groups of seven bits, lowest first."""
    groups = [value & 127]
    while value := value >> 7:
        groups.append(value & 127)
    return bytes([group | 128 for group in groups[:-1]] + groups[-1:])


CHILDREN = {"build": build, "build and load": load, "zoo import": imported, "protobuf alone": protobuf}

if __name__ == "__main__":
    main()
