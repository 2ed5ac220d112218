"""Nearest neighbor on data of MNIST's size: the zoo and scikit-learn's brute force, in one run.

    python benchmarks/nearest_neighbor.py [--data mnist]

60,000 images of 784 pixels are stored, then 10,000 are classified. Each runs in its own process, whose peak memory is
measured; they alternate. With `--data mnist` the error is MNIST's; random pixels take the same time.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path[0] = str(Path(__file__).resolve().parents[1])  # training.py beside this file would hide the package

CHUNK = 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", choices=["random", "mnist"], default="random")
    parser.add_argument("--k", type=int, default=1)
    parser.add_argument("--child", choices=sorted(CHILDREN), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(CHILDREN[options.child], options)))
        return
    from rich.console import Console
    from rich.table import Table

    command = [sys.executable, __file__, "--data", options.data, "--k", str(options.k), "--child"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    found = {name: [] for name in CHILDREN}
    for number in range(options.rounds):
        for name in CHILDREN:
            child = subprocess.run([*command, name], env=environment, stdout=subprocess.PIPE, text=True, check=True)
            found[name].append(json.loads(child.stdout.splitlines()[-1]))
            print(f"round {number + 1}  {name}: {found[name][-1]}", flush=True)
    seconds, gigabytes = (
        {name: np.array([each[key] for each in rounds]) for name, rounds in found.items()}
        for key in ("seconds", "gigabytes")
    )
    ratios = seconds["zoo"] / seconds["scikit-learn"]
    rows = [
        *((f"{name}, seconds", "{:.1f}", values) for name, values in seconds.items()),
        ("zoo / scikit-learn, per pair", "{:.2f}", ratios),
        *((f"{name}, GB above the imports", "{:.2f}", values) for name, values in gigabytes.items()),
    ]
    cores = len(os.sched_getaffinity(0))
    table = Table("", "minimum", "median", "maximum", title=f"{options.rounds} rounds, {cores} cores")
    for name, form, values in rows:
        table.add_row(name, *(form.format(value) for value in (values.min(), np.median(values), values.max())))
    Console().print(table)


def measure(fit, options):
    """Return the seconds of one machine, its peak memory in gigabytes above imports and data, and its error in percent."""
    known, labels, asked, truth = read(options.data)
    predict = fit(known, labels, options.k)
    before = resident()
    start = time.perf_counter()
    answers = predict(asked)
    return {
        "seconds": round(time.perf_counter() - start, 2),
        "gigabytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / 1e9,
        "error": 100 * float(np.mean(answers != truth)),
    }


def resident():
    """Return the resident memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def read(data):
    """Return the stored images and labels, and those to classify, uint8 and int."""
    if data == "random":
        generator = np.random.default_rng(0)
        known, asked = (generator.integers(0, 256, (count, 28, 28, 1), "uint8") for count in (60_000, 10_000))
        return known, generator.integers(0, 10, 60_000), asked, generator.integers(0, 10, 10_000)
    from training import data as sources

    parts = sources.load("mnist", {"height": 28, "width": 28, "channels": 1, "resize": "pad"}).splits
    return parts["train"].images, parts["train"].labels, parts["test"].images, parts["test"].labels


def zoo_machine(known, labels, k):
    """Return the zoo's classifier after the imports; it stores the images on the first call."""
    from zoo import cli

    cli.start_keras()
    import zoo
    from training.evaluation import evaluate
    from zoo import registry, rules

    rule = rules.Memorize()

    def predict(asked):
        net = zoo.build("nearest-neighbor", k=k)
        classifier = registry.wrap(net, zoo.card("nearest-neighbor"), range(10))
        for start in range(0, len(known), CHUNK):
            rows = slice(start, start + CHUNK)
            rule.train_on_batch(net, classifier.preprocessing(known[rows]), labels[rows])
        return evaluate.predict(classifier, asked).argmax(axis=1)

    return predict


def scikit_learn_machine(known, labels, k):
    """Return scikit-learn's classifier after the imports, on float32 pixels, half the size of its default."""
    from sklearn.neighbors import KNeighborsClassifier

    def predict(asked):
        flat = [images.reshape(len(images), -1).astype("float32") for images in (known, asked)]
        return KNeighborsClassifier(k, algorithm="brute").fit(flat[0], labels).predict(flat[1])

    return predict


CHILDREN = {"zoo": zoo_machine, "scikit-learn": scikit_learn_machine}

if __name__ == "__main__":
    main()
