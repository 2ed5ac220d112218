"""Training speed on the CPU: the zoo's trainer and PyTorch with its fastest known settings, in one run.

    python benchmarks/training.py lenet5-modern mlp alexnet
    python benchmarks/training.py mlp --precision bfloat16

Both train the same network from the same weights on the same images without augmentation: batches shuffled in each epoch,
cross-entropy, SGD with momentum and weight decay, mean loss and accuracy of the epoch. Each runs in its own process, so
that their thread pools do not interfere, and they alternate, one epoch each, so that a slow machine slows down both. The
zoo trains as `zoo train` does, with deterministic operations. PyTorch uses the fastest known settings for the network, and
a malloc that does not return memory after each step, which would cause page faults. Run nothing else at the same time:
PyTorch's threads wait for each other, and lose far more than the zoo's when a core is busy.
"""

import argparse
import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path[0] = str(
    Path(__file__).resolve().parents[1]
)  # this file has the name of the package that it measures, which would hide it

CLASSES = 10
RATE, MOMENTUM, DECAY = 0.01, 0.9, 5e-4
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "4294967296", "MALLOC_TOP_PAD_": "134217728"}


@dataclasses.dataclass
class Setting:
    """Training data of a network: image side and channels, images per step and per epoch, options of its builder."""

    side: int
    channels: int
    batch: int
    rows: int
    options: dict
    compiled: bool  # by torch.compile, if that is faster


NETS = {
    "lenet5-modern": Setting(28, 1, 128, 60_000, {}, compiled=False),
    "mlp": Setting(28, 1, 128, 60_000, {"hidden": (300, 100)}, compiled=True),
    "alexnet": Setting(64, 3, 32, 1_600, {"size": 64}, compiled=True),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", default=list(NETS), metavar="NET", help=", ".join(NETS))
    parser.add_argument("--rounds", type=int, default=7, help="measured epochs, after one warm-up epoch")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--child", choices=sorted(CHILDREN), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.precision == "bfloat16" and not options.child and "amx_bf16" not in Path("/proc/cpuinfo").read_text():
        print("note: this CPU has no AMX matrix units; bfloat16 is emulated")
    for net in options.nets:
        if net not in NETS:
            parser.error(f"no net '{net}'; there are {', '.join(NETS)}")
        if options.child:
            serve(CHILDREN[options.child](net, options.precision))
        else:
            compare(net, options.precision, options.rounds)


def compare(net, precision, rounds):
    """Run the two alternately; print their rates and the ratio per pair."""
    from rich.console import Console
    from rich.table import Table

    rates = {name: [] for name in CHILDREN}
    children = {name: start(name, net, precision) for name in CHILDREN}
    try:
        for number in range(rounds + 1):
            for name, child in children.items():
                child.stdin.write("epoch\n")
                child.stdin.flush()
                rate = NETS[net].rows / float(child.stdout.readline())
                if number:  # the first epoch includes tracing and page faults
                    rates[name].append(rate)
    finally:
        for child in children.values():
            child.stdin.close()
            child.wait()
    cores = len(os.sched_getaffinity(0))
    table = Table(
        "", "minimum", "median", "maximum", title=f"{net}, {precision}: images/s, {rounds} epochs each, {cores} cores"
    )
    for name, found in rates.items():
        table.add_row(name, *(f"{value:,.0f}" for value in (min(found), np.median(found), max(found))))
    ratios = np.divide(rates["zoo"], rates["pytorch"])
    table.add_row("zoo / pytorch", *(f"{value:.2f}" for value in (ratios.min(), np.median(ratios), ratios.max())))
    Console().print(table)


def start(name, net, precision):
    environment = {**os.environ, **(MALLOC if name == "pytorch" else {}), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        [sys.executable, __file__, net, "--precision", precision, "--child", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )


def serve(epoch):
    """Train one epoch for each line read, and print its seconds."""
    for _ in sys.stdin:
        start = time.perf_counter()
        epoch()
        print(time.perf_counter() - start, flush=True)


def data(net):
    """Return random images and labels; the time does not depend on their content."""
    setting = NETS[net]
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (setting.rows, setting.side, setting.side, setting.channels), "uint8")
    return images, generator.integers(0, CLASSES, setting.rows).astype("int32")


def classifier(net):
    """Return a classifier of the zoo with random initialization from a fixed seed."""
    import keras

    import zoo
    from zoo.classifier import Classifier
    from zoo.preprocessing import Preprocessing

    keras.utils.set_random_seed(0)
    card, setting = zoo.card(net), NETS[net]
    image_spec = {**card.picture.model_dump(), "height": setting.side, "width": setting.side}
    preprocessing = Preprocessing(**card.preprocessing.model_dump(), name="preprocessing")
    built = zoo.build(net, classes=CLASSES, **setting.options)
    return Classifier(built, preprocessing, image_spec, [str(number) for number in range(CLASSES)], net)


def zoo_epoch(net, precision):
    """Return a function that trains one epoch as `zoo train` does."""
    from zoo import cli

    cli.start_keras()
    import keras
    import tensorflow as tf

    from training.engine import fused_steps
    from zoo.optimizers import MomentumWithDecay

    tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    trainer = fused_steps.make(classifier(net), [], *data(net), NETS[net].batch)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trainer.prepare(MomentumWithDecay(RATE, MOMENTUM, DECAY, bias_rate=1.0, bias_decay=True), loss)
    feed = trainer.train_dataset(0, 0)
    return lambda: trainer.fit(feed, steps_per_epoch=trainer.steps_per_epoch, shuffle=False, verbose=0)


def pytorch_epoch(net, precision):
    """Return a function that trains one epoch of the same network in PyTorch."""
    from zoo import cli

    cli.start_keras()
    import torch

    from benchmarks.torch_nets import twin

    setting = NETS[net]
    model = twin(classifier(net)).train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY, fused=True)
    images, labels = (torch.from_numpy(each) for each in data(net))
    images, labels = images.permute(0, 3, 1, 2), labels.long()

    def step(batch, answers):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            scores = model(batch)
        loss = torch.nn.functional.cross_entropy(scores.float(), answers)
        return loss, (scores.argmax(1) == answers).sum()

    step = torch.compile(step) if setting.compiled else step

    def epoch():
        order, total, correct = torch.randperm(setting.rows), torch.zeros(()), torch.zeros((), dtype=torch.long)
        for start in range(0, setting.rows, setting.batch):
            rows = order[start : start + setting.batch]
            optimizer.zero_grad(set_to_none=True)
            loss, right = step(images[rows].contiguous(memory_format=torch.channels_last), labels[rows])
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
            correct += right
        return float(total) / setting.rows, float(correct) / setting.rows

    return epoch


CHILDREN = {"zoo": zoo_epoch, "pytorch": pytorch_epoch}

if __name__ == "__main__":
    main()
