"""Back-propagation in 1986: how often and in how many sweeps the nets of Rumelhart, Hinton and Williams learn.

One published count is one start. Here each task is learned from many starts, by the rule of 1986: momentum and plain descent
on half the squared error, summed over all patterns, once a sweep.
"""

import json
import math
from dataclasses import dataclass, field

import keras
import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console
from rich.table import Table

from training import data, report
from zoo import console, registry
from zoo.errors import ZooError
from zoo.files import atomic
from zoo.losses import MinimumDistance

LIMIT = 10_000  # sweeps
MOMENTUM = 0.9
# Every output of every pattern is nearer to its target than this. The published statistics of XOR count to an error of 0.01
# a pattern, from memory: the second. The other criteria of 1986 are not known.
CRITERIA = {"right side": 0.5, "within 0.1": 0.1}


@dataclass(frozen=True)
class Task:
    """What is learned: a model of the zoo on the drawn data set of its name, the rate eps of 1986, the published sweeps."""

    name: str
    model: str
    rate: float
    published: float | None = None
    options: dict = field(default_factory=dict)


TASKS = (
    Task("XOR, direct links", "xor", 0.5, 558),
    # At eta = 0.25, P = 280 - 33 log2 H "presentations": of all four patterns, if those nets were as fast as these.
    *(Task(f"XOR 2-{h}-1", "xor", 0.25, 280 - 33 * math.log2(h), {"hidden": h}) for h in (2, 4, 8, 16, 32)),
    Task("symmetry 6-2-1", "symmetry", 0.1, 1425),
    Task("parity 4-4-1", "parity", 0.5, 2825),
    Task("encoder 8-3-8", "encoder", 0.1),
)


def run(out, seeds=30):
    """Learn every task from `seeds` starts; print the sweeps beside the published ones, draw them and write result.json.

    Args:
        out: the folder for result.json and sweeps.png.
        seeds: number of starts.

    Returns:
        dict: seeds, limit; tasks, by name, each with published and, by criterion, the sweeps of each start, None where it
        was not met within the limit; symmetric_1_2_4, the share of the solved symmetry nets with weights 1:2:4; codes, the
        eight of the first encoder net as strings of bits; distinct_codes, how many encoder nets have eight different ones.
    """
    found = {}
    kernels, found_codes = [], []
    for task in console.track(TASKS, "learning"):
        starts = list(learn(task, range(1, seeds + 1)))
        sweeps = {name: [start[name] for start, _ in starts] for name in CRITERIA}
        found[task.name] = {"published": task.published, **sweeps}
        if task.model == "symmetry":
            kernels = [weights[0] for start, weights in starts if start["within 0.1"] is not None]
        if task.model == "encoder":
            found_codes = [codes(weights) for _, weights in starts]
    regular = sum(map(doubling, kernels))
    result = {
        "seeds": seeds,
        "limit": LIMIT,
        "tasks": found,
        "symmetric_1_2_4": regular / len(kernels) if kernels else None,
        "codes": found_codes[0],
        "distinct_codes": sum(len(set(each)) == 8 for each in found_codes),
    }
    with atomic(out / "result.json") as temporary:
        temporary.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    _draw(result, kernels, out / "sweeps.png")
    Console().print(_table(result))
    print(f"{regular} of {len(kernels)} solved symmetry nets have antisymmetric weights in the ratio 1:2:4, within 15 %")
    print(f"the codes of the first encoder net, rounded to bits: {' '.join(result['codes'])}")
    print(f"{result['distinct_codes']} of {seeds} encoder nets have eight different codes")
    return result


def learn(task, seeds, limit=LIMIT):
    """Learn a task from several starts.

    All sweeps are one compiled graph, in which Keras' own optimizer steps: a sweep takes microseconds.

    Args:
        task: `Task`.
        seeds: iterable of ints.
        limit: sweeps after which a start is given up.

    Yields:
        For each seed (dict of the sweeps by criterion, None where it was not met; list of the weights at the end).

    Raises:
        ZooError: if the backend is not TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise ZooError("this experiment runs on TensorFlow; set KERAS_BACKEND=tensorflow")
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")  # it warns of the new graph that each task rightly gets
    card = registry.card(task.model)
    samples = data.load(f"drawn:{task.model}", card.picture.model_dump()).splits["train"]
    bits = tf.constant(samples.images / 255, "float32")
    net = registry.build(task.model, **task.options)
    units = keras.Model(net.input, net.get_layer("output").output)
    distances = net.get_layer("targets")
    targets = tf.constant(distances.prototypes[samples.labels])
    loss = MinimumDistance(reduction="sum")  # twice the E of 1986
    optimizer = keras.optimizers.SGD(task.rate / 2, momentum=MOMENTUM)
    optimizer.build(net.trainable_variables)
    at_rest = [variable.numpy() for variable in optimizer.variables]
    bounds = tf.constant(list(CRITERIA.values()), "float32")

    @tf.function(jit_compile=True)
    def sweep_until_learned():
        def sweep(count, met):
            with tf.GradientTape() as tape:
                outputs = units(bits)
                error = loss(samples.labels, distances(outputs))
            optimizer.apply(tape.gradient(error, net.trainable_variables))
            now = tf.reduce_max(tf.abs(outputs - targets)) < bounds
            return count + 1, tf.where((met < 0) & now, count, met)

        unmet = tf.fill(bounds.shape, -1)
        return tf.while_loop(lambda count, met: (count <= limit) & tf.reduce_any(met < 0), sweep, (0, unmet))[1]

    for seed in seeds:
        keras.utils.set_random_seed(seed)
        net.set_weights(registry.build(task.model, **task.options).get_weights())
        for variable, value in zip(optimizer.variables, at_rest, strict=True):
            variable.assign(value)
        met = sweep_until_learned().numpy().tolist()
        yield {name: None if count < 0 else count for name, count in zip(CRITERIA, met, strict=True)}, net.get_weights()


def doubling(kernel, tolerance=0.15):
    """Tell whether the weights of each hidden unit of a symmetry net are antisymmetric and in the ratio 1:2:4, in any order.

    Args:
        kernel: (6, units) array.
        tolerance: largest relative deviation.
    """
    left, right = kernel[:3], kernel[:2:-1]
    mirrored = np.abs(left + right) <= tolerance * np.abs(left)
    sizes = np.sort(np.abs(left - right) / 2, axis=0)
    expected = sizes[:1] * np.array([[2.0], [4.0]])
    return bool(mirrored.all() and (np.abs(sizes[1:] - expected) <= tolerance * expected).all())


def codes(weights):
    """Return what the hidden units of an encoder net answer to its eight patterns, rounded to bits, as strings.

    Args:
        weights: list that begins with the kernel (8, 3) and the biases (3,) of the hidden units.
    """
    kernel, biases = weights[:2]
    # Pattern k has bit k alone, and a logistic unit answers more than half if its sum is positive.
    return ["".join("1" if each > 0 else "0" for each in row) for row in kernel + biases]


def _table(result):
    """Return the measured sweeps beside the published ones as a rich table."""
    table = Table(
        title=f"solved of {result['seeds']} starts: median (range) of sweeps, at most {result['limit']:,}",
        caption="published: one start; XOR 2-H-1: the fit 280 - 33 log2 H, to be compared with 'within 0.1'",
    )
    table.add_column("task")
    for name in (*CRITERIA, "published"):
        table.add_column(name, justify="right")
    for name, row in result["tasks"].items():
        cells = []
        for criterion in CRITERIA:
            solved = [count for count in row[criterion] if count is not None]
            sweeps = f": {np.median(solved):.0f} ({min(solved)}-{max(solved)})" if solved else ""
            cells.append(f"{len(solved)} of {len(row[criterion])}{sweeps}")
        table.add_row(name, *cells, "-" if row["published"] is None else f"{row['published']:.0f}")
    return table


def _draw(result, kernels, path):
    """Draw the sweeps of every start, and the weights of a symmetry net."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4.5), width_ratios=(2, 1), layout="constrained")
    for place, row in enumerate(result["tasks"].values()):
        for shift, criterion, colour in zip((-0.15, 0.15), CRITERIA, ("tab:blue", "tab:orange"), strict=True):
            solved = [count for count in row[criterion] if count is not None]
            left.scatter([place + shift] * len(solved), solved, s=14, alpha=0.5, color=colour, label=criterion)
        if row["published"] is not None:
            left.plot([place - 0.35, place + 0.35], [row["published"]] * 2, color="black", label="published")
    left.set(yscale="log", ylabel="sweeps until learned", xticks=range(len(result["tasks"])))
    left.set_xticklabels(result["tasks"], rotation=30, ha="right")
    handles = dict(zip(*reversed(left.get_legend_handles_labels()), strict=True))  # each label once
    left.legend(handles.values(), handles)
    if kernels:
        kernel = kernels[0]
        for unit in range(kernel.shape[1]):
            right.bar(np.arange(6) + 1 + 0.4 * unit - 0.2, kernel[:, unit], 0.4, label=f"hidden unit {unit + 1}")
        right.legend()
    right.set(title="a symmetry net that has learned", xlabel="bit", ylabel="weight")
    report.save_figure(figure, path)
