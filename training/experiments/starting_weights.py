"""Weight initialization: whether the activations of a deep tanh network vanish, saturate or keep their scale.

The experiment of the lecture: 1,000 inputs from N(0, 1) pass ten layers of 500 tanh units without biases. The weights are
too small, too large, or those of Glorot and Bengio (2010) for linear units.
"""

import json
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras.initializers import RandomNormal, VarianceScaling
from rich.console import Console
from rich.table import Table

from training import report
from zoo import console
from zoo.files import atomic

LAYERS, UNITS, INPUTS = 10, 500, 1000
SATURATED = 0.99  # beyond this the slope of tanh is below 0.02, and gradients almost vanish

INITIALIZERS = {
    "std 0.01": lambda seed: RandomNormal(stddev=0.01, seed=seed),
    "std 1": lambda seed: RandomNormal(stddev=1.0, seed=seed),
    "Xavier, std 1/√F": lambda seed: VarianceScaling(1.0, "fan_in", "untruncated_normal", seed=seed),
}

# CS231n (2017), lecture 6: the quoted standard deviations of the first layers.
PUBLISHED = {"Xavier, std 1/√F": (0.63, 0.49, 0.41)}


def run(out: Path, seeds: int = 3) -> dict:
    """Print and plot the activations of each layer for each initialization, and write result.json.

    Args:
        out: folder for result.json and starting-weights.png.
        seeds: number of random inputs and weights; the table shows their mean, the figure the first.

    Returns:
        dict: for each initialization `std` and `saturated`, lists with one value per layer, means over the seeds: the
        standard deviation of the activations, and the fraction beyond ±0.99; `published`, the lecture's standard deviations.
    """
    out = Path(out)
    numbers = console.track(range(seeds), "initializing networks")
    drawn = [{name: activations(name, seed) for name in INITIALIZERS} for seed in numbers]
    result = {
        name: {
            "std": np.mean([each[name].std(axis=(1, 2)) for each in drawn], axis=0).tolist(),
            "saturated": np.mean([(abs(each[name]) > SATURATED).mean(axis=(1, 2)) for each in drawn], axis=0).tolist(),
            "published": list(PUBLISHED.get(name, ())),
        }
        for name in INITIALIZERS
    }
    _print(result)
    _draw(drawn[0], out / "starting-weights.png")
    with atomic(out / "result.json") as temporary:
        temporary.write_text(json.dumps({"seeds": seeds, **result}, indent=2), "utf-8")
    return result


def activations(initializer: str, seed: int) -> np.ndarray:
    """Return the activations of all layers, (layers, inputs, units) float32.

    Args:
        initializer: a name in `INITIALIZERS`.
        seed: random seed of the inputs and weights.
    """
    x = image = keras.Input((UNITS,))
    outputs = []
    for layer in range(LAYERS):
        kernel_initializer = INITIALIZERS[initializer](seed * LAYERS + layer)
        x = keras.layers.Dense(UNITS, activation="tanh", use_bias=False, kernel_initializer=kernel_initializer)(x)
        outputs.append(x)
    inputs = np.random.default_rng(seed).normal(size=(INPUTS, UNITS)).astype("float32")
    return np.stack([keras.ops.convert_to_numpy(each) for each in keras.Model(image, outputs)(inputs)])


def _print(result):
    table = Table(title=f"Standard deviation of the activations, {UNITS} tanh units per layer; fraction beyond ±{SATURATED}")
    table.add_column("layer", justify="right")
    for name in result:
        table.add_column(name, justify="right")
        if name in PUBLISHED:
            table.add_column("published", justify="right")
    for layer in range(LAYERS):
        cells = []
        for name, found in result.items():
            cells.append(f"{found['std'][layer]:.2g} {found['saturated'][layer]:4.0%}")
            if name in PUBLISHED:
                cells += [f"{std:.2f}" for std in PUBLISHED[name][layer : layer + 1]]
        table.add_row(str(layer + 1), *cells)
    Console().print(table)


def _draw(drawn, path):
    figure, axes = plt.subplots(len(drawn), LAYERS, figsize=(16, 5), layout="constrained", sharex=True)
    for line, (name, layers) in zip(axes, drawn.items(), strict=True):
        for number, (axis, values) in enumerate(zip(line, layers, strict=True), 1):
            axis.hist(values.ravel(), bins=41, range=(-1, 1), color="tab:blue")
            axis.set(yticks=[], title=f"layer {number}, std {values.std():.2g}")
            axis.title.set_fontsize(8)
        line[0].set_ylabel(name)
    report.save_figure(figure, path)
