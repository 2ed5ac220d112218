"""Neocognitron: how often unsupervised training gives each digit its own plane, and whether distorted digits keep it.

The digits 0 to 4 are presented 20 times each, in turn; the seed determines their order within each turn. The result is the
response of the last C-layer, read as in 1980: a digit keeps its plane if that plane has the largest response, above zero.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console
from rich.table import Table

from training import report
from training.data.synthetic import digits04
from training.engine import fused_steps
from training.engine.trainer import TrainerOptions
from zoo import console, registry, rules
from zoo.files import atomic

TURNS = 20  # presentations of each digit
MAX_SHIFT = 5  # pixels along each axis
BENDS = (0.25, 0.5, 0.75, 1.0)
NOISES = (0.01, 0.02, 0.05, 0.1)
IMAGES = 100  # distorted images per digit and amount


def run(out: Path, seeds: int = 10) -> dict:
    """Train networks without labels, print and plot how often each digit keeps its plane, and write result.json.

    Args:
        out: folder for result.json and neocognitron.png.
        seeds: number of orders of presentation.

    Returns:
        dict: `own_planes`, for each seed the number of digits, of 5, with a plane of their own; `shift`, `bend` and `noise`,
        the percentage of images that keep their plane by amount, means over the seeds in which all digits have one; `maps`,
        (5, 11, 11) nested lists, the same for each digit by shift down and to the right.
    """
    out = Path(out)
    orders = console.track(range(seeds), "training")
    found = [measure(respond) for respond in trained_networks(orders)]
    distinct = [each for each in found if each["own_planes"] == 5]
    result = {"seeds": seeds, "own_planes": [each["own_planes"] for each in found]}
    if distinct:
        for key in ("shift", "bend", "noise"):
            amounts = distinct[0][key]
            result[key] = {amount: float(np.mean([each[key][amount] for each in distinct])) for amount in amounts}
        result["maps"] = np.mean([each["maps"] for each in distinct], axis=0).tolist()
        _draw(result, out / "neocognitron.png")
    _print(result, len(distinct))
    with atomic(out / "result.json") as temporary:
        temporary.write_text(json.dumps(result, indent=2), "utf-8")
    return result


def trained_networks(seeds: Iterable[int]) -> Iterator[Callable[[np.ndarray], np.ndarray]]:
    """Train a network for each seed.

    Args:
        seeds: random seeds; each determines the order of the five digits in each turn.

    Yields:
        Function from raw images to the responses of layer C3, (n, 24). It uses the network that was trained last.
    """
    card = registry.card("neocognitron")
    network = registry.build("neocognitron", classes=5)
    classifier = registry.wrap(network, card, digits04.DIGITS)
    images = np.stack([digits04.draw(digit) for digit in range(5)])
    no_labels = np.zeros(5, "int32")
    rule = rules.get(card.rule.model_dump())
    trainer = fused_steps.make(classifier, (), images, no_labels, 5, TrainerOptions(TURNS, rule))
    trainer.prepare(None, keras.losses.deserialize(card.loss.model_dump()))
    top = keras.Model(network.input, network.get_layer("flatten").output)
    initial = network.get_weights()
    for seed in seeds:
        network.set_weights(initial)
        trainer.fit(trainer.train_dataset(seed, 0), steps_per_epoch=trainer.steps_per_epoch, shuffle=False, verbose=0)
        yield lambda images: top.predict_on_batch(classifier.preprocessing(images))


def measure(respond: Callable[[np.ndarray], np.ndarray]) -> dict:
    """Return how often the digits keep their planes in one network, in percent; see `run` for the keys.

    Args:
        respond: function from (n, 16, 16, 1) raw images to (n, planes) responses.
    """
    own = respond(np.stack([digits04.draw(digit) for digit in range(5)])).argmax(axis=1)

    def kept(digit, images):
        found = respond(np.stack(images))
        return 100.0 * ((found.argmax(axis=1) == own[digit]) & (found.max(axis=1) > 0))

    def distorted(**how):
        rng = np.random.default_rng(1980)
        return float(
            np.mean([kept(digit, [digits04.draw(digit, rng=rng, **how) for _ in range(IMAGES)]) for digit in range(5)])
        )

    steps = range(-MAX_SHIFT, MAX_SHIFT + 1)
    maps = np.stack([kept(digit, [digits04.draw(digit, (x, y)) for y in steps for x in steps]) for digit in range(5)])
    maps = maps.reshape(5, len(steps), len(steps))
    ring = np.maximum(*np.abs(np.meshgrid(steps, steps)))
    return {
        "own_planes": len(set(own.tolist())),
        "shift": {str(far): float(maps[:, ring == far].mean()) for far in range(MAX_SHIFT + 1)},
        "bend": {str(bend): distorted(bend=bend) for bend in BENDS},
        "noise": {str(noise): distorted(noise=noise) for noise in NOISES},
        "maps": maps,
    }


def _print(result, distinct):
    own = result["own_planes"]
    table = Table("", "amount", "measured", "published (1980)", title=f"{TURNS} presentations of each digit, without labels")
    table.add_row("digits with their own plane", "", f"5 of 5 in {distinct} of {len(own)} runs", "5 of 5")
    labels = {"shift": "shift, px along the longer axis", "bend": "bend, px", "noise": "fraction of pixels flipped"}
    for key, name in labels.items():
        for amount, share in result.get(key, {}).items():
            table.add_row(name, amount, f"{share:.1f} % keep their plane", "some examples")
    Console().print(table)


def _draw(result, path):
    figure, axes = plt.subplots(1, 7, figsize=(19, 3.2), layout="constrained")
    extent = (-MAX_SHIFT - 0.5, MAX_SHIFT + 0.5, MAX_SHIFT + 0.5, -MAX_SHIFT - 0.5)
    for digit, axis in enumerate(axes[:5]):
        image = axis.imshow(result["maps"][digit], vmin=0, vmax=100, cmap="viridis", extent=extent)
        axis.set(title=f"{digit}: keeps its plane", xlabel="shift to the right, px")
    axes[0].set_ylabel("shift down, px")
    figure.colorbar(image, ax=axes[:5], label="% of networks", shrink=0.8)
    for axis, key, label in zip(axes[5:], ("bend", "noise"), ("bend, px", "fraction of pixels flipped"), strict=True):
        axis.plot([0, *map(float, result[key])], [result["shift"]["0"], *result[key].values()], marker=".")
        axis.set(xlabel=label, ylabel="% of images that keep their plane", ylim=(0, 102))
        axis.grid(alpha=0.3)
    report.save_figure(figure, path)
