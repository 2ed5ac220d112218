"""Training speed of lenet5-modern: the zoo's epoch graph beside PyTorch at its best, in one run.

    make bench

Both train the same net (61,706 parameters, float32, batch 128, SGD with momentum and weight decay) on the same pictures
without augmentation. Each has a process of its own, so that their thread pools do not meet, and they take turns, an
epoch each: a machine that slows down slows down both. PyTorch runs as fast as is known for this net on a CPU: eager,
channels_last, fused SGD, and malloc kept from returning memory after each step (unset, page faults slow it down).
Nothing else should run beside it: PyTorch's threads wait for each other, and lose far more than ours when a core is taken.
"""

import argparse
import os
import subprocess
import sys
import time

import numpy as np

BATCH, PICTURES = 128, 60_000
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "4294967296", "MALLOC_TOP_PAD_": "134217728"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="epochs that are counted, after one to warm up")
    parser.add_argument("--child", choices=sorted(CHILDREN), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        serve(CHILDREN[options.child]())
    else:
        compare(options.rounds)


def compare(rounds):
    """Let the two take turns and print each rate and the ratio pair by pair."""
    from rich.console import Console
    from rich.table import Table

    rates = {name: [] for name in CHILDREN}
    children = {name: start(name) for name in CHILDREN}
    try:
        for number in range(rounds + 1):
            for name, child in children.items():
                child.stdin.write("epoch\n")
                child.stdin.flush()
                seconds = float(child.stdout.readline())
                if number:  # the first pays for tracing and first touches
                    rates[name].append(PICTURES / seconds)
                    print(f"round {number}  {name:8} {PICTURES / seconds:9,.0f} images/s", flush=True)
    finally:
        for child in children.values():
            child.stdin.close()
            child.wait()
    table = Table(
        "", "minimum", "median", "maximum", title=f"images/s, {rounds} epochs each, {len(os.sched_getaffinity(0))} cores"
    )
    for name, found in rates.items():
        table.add_row(name, *(f"{value:,.0f}" for value in (min(found), np.median(found), max(found))))
    ratios = np.divide(rates["zoo"], rates["pytorch"])
    table.add_row("zoo / pytorch", *(f"{value:.2f}" for value in (ratios.min(), np.median(ratios), ratios.max())))
    Console().print(table)


def start(name):
    environment = {**os.environ, **(MALLOC if name == "pytorch" else {}), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        [sys.executable, __file__, "--child", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )


def serve(epoch):
    """For each line read, train an epoch and print its seconds."""
    for _ in sys.stdin:
        start = time.perf_counter()
        epoch()
        print(time.perf_counter() - start, flush=True)


def data():
    """Return random pictures and labels: the time does not depend on what is on them."""
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (PICTURES, 28, 28, 1), "uint8")
    return pictures, generator.integers(0, 10, PICTURES).astype("int32")


def zoo_epoch():
    """Return a function that trains one epoch as `zoo train` does."""
    from zoo import cli

    cli.start_keras()
    import keras

    import zoo
    from training.trainer import ResidentTrainer

    trainer = ResidentTrainer(zoo.load("lenet5-modern"), [], *data(), BATCH)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trainer.prepare(keras.optimizers.SGD(0.01, momentum=0.9, weight_decay=5e-4), loss)
    feed = trainer.feed(seed=0, first=0)
    return lambda: trainer.fit(feed, steps_per_epoch=trainer.steps_per_epoch, shuffle=False, verbose=0)


def pytorch_epoch():
    """Return a function that trains one epoch of the same net in PyTorch."""
    import torch
    from torch import nn

    net = nn.Sequential(
        *(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(400, 120), nn.ReLU()),
        *(nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    ).to(memory_format=torch.channels_last)
    assert sum(weight.numel() for weight in net.parameters()) == 61_706
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, fused=True)
    criterion = nn.CrossEntropyLoss()
    pictures, labels = data()
    pictures = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    labels = torch.from_numpy(labels).long()

    def epoch():
        order = torch.randperm(PICTURES)
        for start in range(0, PICTURES, BATCH):
            rows = order[start : start + BATCH]
            batch = nn.functional.pad(pictures[rows].float(), (2, 2, 2, 2)) * 0.005 - 0.1
            batch = batch.contiguous(memory_format=torch.channels_last)
            optimizer.zero_grad(set_to_none=True)
            criterion(net(batch), labels[rows]).backward()
            optimizer.step()

    return epoch


CHILDREN = {"zoo": zoo_epoch, "pytorch": pytorch_epoch}

if __name__ == "__main__":
    main()
