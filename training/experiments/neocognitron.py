"""The Neocognitron's claim: without a teacher each digit finds a top plane of its own, and keeps it shifted, bent, in noise.

The digits 0 to 4 are shown 20 times each, in turn; a seed is another order within the turns. Then the answers of the last
C-layer are read, as a person did in 1980: a digit keeps its plane where that plane answers, and more than all others.
"""

import json
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console
from rich.table import Table

from training import report
from training.data.synthetic import digits04
from training.engine import fused_steps
from zoo import console, registry, rules
from zoo.files import atomic

TURNS = 20
REACH = 5  # pixels, the largest shift along each axis
BENDS = (0.25, 0.5, 0.75, 1.0)
NOISES = (0.01, 0.02, 0.05, 0.1)
DRAWN = 100  # altered pictures a digit at each amount


def run(out, seeds=10):
    """Teach nets without labels, print and draw how far each digit keeps its plane, and write result.json.

    Args:
        out: the folder for result.json and neocognitron.png.
        seeds: how many orders of presentation.

    Returns:
        dict: own_planes, for each seed how many of the 5 digits have a top plane of their own; shift, bend and noise, the
        percentages of pictures that keep their plane by amount, means over the seeds whose digits all have one; maps,
        (5, 11, 11) nested lists: the same for each digit by shift, down and to the right.
    """
    out = Path(out)
    turns = console.track(range(seeds), "learning")
    found = [measure(answers) for answers in learned(turns)]
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


def learned(seeds):
    """Yield for each seed a function from raw pictures to the answers of C3, (n, 24), of a net that has seen the digits.

    Args:
        seeds: ints; each gives the order of the five digits in each turn. The answers are of the last net yielded.
    """
    card = registry.card("neocognitron")
    net = registry.build("neocognitron", classes=5)
    classifier = registry.wrap(net, card, digits04.DIGITS)
    pictures = np.stack([digits04.draw(digit) for digit in range(5)])
    no_labels = np.zeros(5, "int32")
    rule = rules.get(card.rule.model_dump())
    trainer = fused_steps.make(classifier, (), pictures, no_labels, batch_size=5, repeat=TURNS, rule=rule)
    trainer.prepare(None, keras.losses.deserialize(card.loss.model_dump()))
    top = keras.Model(net.input, net.get_layer("flatten").output)
    start = net.get_weights()
    for seed in seeds:
        net.set_weights(start)
        trainer.fit(trainer.feed(seed, 0), steps_per_epoch=trainer.steps_per_epoch, shuffle=False, verbose=0)
        yield lambda pictures: top.predict_on_batch(classifier.preprocessing(pictures))


def measure(answers):
    """Return what one net keeps of its planes, see `run`; percentages.

    Args:
        answers: function from (n, 16, 16, 1) raw pictures to (n, planes).
    """
    own = answers(np.stack([digits04.draw(digit) for digit in range(5)])).argmax(axis=1)

    def kept(digit, pictures):
        found = answers(np.stack(pictures))
        return 100.0 * ((found.argmax(axis=1) == own[digit]) & (found.max(axis=1) > 0))

    def altered(**how):
        rng = np.random.default_rng(1980)
        return float(
            np.mean([kept(digit, [digits04.draw(digit, rng=rng, **how) for _ in range(DRAWN)]) for digit in range(5)])
        )

    steps = range(-REACH, REACH + 1)
    maps = np.stack([kept(digit, [digits04.draw(digit, (x, y)) for y in steps for x in steps]) for digit in range(5)])
    maps = maps.reshape(5, len(steps), len(steps))
    ring = np.maximum(*np.abs(np.meshgrid(steps, steps)))
    return {
        "own_planes": len(set(own.tolist())),
        "shift": {str(far): float(maps[:, ring == far].mean()) for far in range(REACH + 1)},
        "bend": {str(bend): altered(bend=bend) for bend in BENDS},
        "noise": {str(noise): altered(noise=noise) for noise in NOISES},
        "maps": maps,
    }


def _print(result, distinct):
    own = result["own_planes"]
    table = Table("", "amount", "measured", "published (1980)", title=f"{TURNS} presentations of each digit, no labels")
    table.add_row("digits with a plane of their own", "", f"5 of 5 in {distinct} of {len(own)} orders", "5 of 5")
    named = {"shift": "shifted, px along the farther axis", "bend": "bent, px", "noise": "pixels flipped, share"}
    for key, name in named.items():
        for amount, share in result.get(key, {}).items():
            table.add_row(name, amount, f"{share:.1f} % keep it", "some examples")
    Console().print(table)


def _draw(result, path):
    figure, axes = plt.subplots(1, 7, figsize=(19, 3.2), layout="constrained")
    extent = (-REACH - 0.5, REACH + 0.5, REACH + 0.5, -REACH - 0.5)
    for digit, axis in enumerate(axes[:5]):
        image = axis.imshow(result["maps"][digit], vmin=0, vmax=100, cmap="viridis", extent=extent)
        axis.set(title=f"{digit}: keeps its plane", xlabel="shift to the right, px")
    axes[0].set_ylabel("shift down, px")
    figure.colorbar(image, ax=axes[:5], label="% of nets", shrink=0.8)
    for axis, key, label in zip(axes[5:], ("bend", "noise"), ("bend, px", "share of pixels flipped"), strict=True):
        axis.plot([0, *map(float, result[key])], [result["shift"]["0"], *result[key].values()], marker=".")
        axis.set(xlabel=label, ylabel="% of pictures that keep it", ylim=(0, 102))
        axis.grid(alpha=0.3)
    report.save_figure(figure, path)
