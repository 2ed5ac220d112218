"""Draw the images of the documentation from the shipped weights: python docs/images.py [--readme].

Without an option, write those of the pages to docs/images/built, which git ignores. With --readme, write the README's image,
docs/images/learned.png, which is committed.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent / "images"
BUILT = FOLDER / "built"
# Rows of the README's image: weights, layer, number of tiles. With a layer, its maps of a digit; without, the first weights.
LEARNED = (
    ("mark1.letters", None, 8),
    ("linear.mnist", None, 10),
    ("lenet5.mnist", "c1", 6),
    ("alexnet-cifar.cifar10", None, 10),
)
SHOWN = {
    "linear.png": ("linear.mnist", None),
    "mark1.png": ("mark1.letters", None),
    "lenet5-c3.png": ("lenet5.mnist", "c3"),
    "alexnet-cifar.png": ("alexnet-cifar.cifar10", None),
}


def main():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from zoo import cli

    cli.start_keras()
    if "--readme" in sys.argv:
        draw_readme(FOLDER / "learned.png")
        return
    BUILT.mkdir(parents=True, exist_ok=True)
    draw_timeline(BUILT / "timeline.png")
    draw_models()
    draw_run()


def draw_readme(path):
    """Draw one row for each of LEARNED: templates and filters, and LeNet-5's maps of a digit."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    import zoo
    from zoo.analysis import layer_images

    columns = max(count for _, _, count in LEARNED)
    figure, axes = plt.subplots(len(LEARNED), columns, figsize=(columns * 0.8, len(LEARNED) * 1.05))
    figure.subplots_adjust(left=0.01, right=0.99, top=0.93, bottom=0.01, wspace=0.08, hspace=0.35)
    for axis in axes.flat:
        axis.axis("off")
    for row, (name, layer, count) in zip(axes, LEARNED, strict=True):
        classifier = zoo.load(name)
        if layer:
            tiles = layer_images.activations(classifier, digit(classifier), layer)
            what = f"layer {layer} looks at a 3"
        else:
            tiles, what = layer_images.weight_images(classifier)[1], "weights of the first layer"
        arrays = [array for _, array in tiles[:count]]
        largest = max(float(np.abs(array).max()) for array in arrays)
        for axis, array in zip(row, arrays, strict=False):
            scaled = (array / largest + 1) / 2 if array.ndim == 3 else array
            axis.imshow(scaled, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")
        card = zoo.card(name)
        row[0].set_title(f"{card.title}, {card.year}: {what}", fontsize=9, loc="left")
    figure.savefig(path, dpi=100)
    plt.close(figure)
    print(f"{path}: {path.stat().st_size:,} bytes")


def digit(classifier):
    """Return a scan of a 3 from scikit-learn's digits, as the classifier takes it."""
    from zoo import images

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "3.png"
        write_digit(path, 3)
        return images.read(path, classifier.image_spec)


def write_digit(path, number):
    """Write one of scikit-learn's scanned digits to a PNG."""
    from PIL import Image
    from sklearn.datasets import load_digits

    Image.fromarray((load_digits().images[number] * (255 / 16)).astype("uint8")).save(path)


def draw_timeline(path):
    """Draw every model at its year, with its number of parameters."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    import zoo

    cards = [zoo.card(name) for name in zoo.list_models()]
    figure, axis = plt.subplots(figsize=(9, 6), layout="constrained")
    rows = range(len(cards))
    axis.scatter([card.year for card in cards], rows, color="tab:blue", zorder=2)
    for row, card in enumerate(cards):
        left = card.year > 1990
        axis.annotate(
            f"{card.title}, {card.year}: {card.parameters:,} parameters",
            (card.year, row),
            (-8 if left else 8, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            fontsize=8,
        )
    axis.set(xlim=(1955, 2020), xlabel="year")
    axis.set_yticks(rows, [card.name for card in cards], fontsize=8)
    axis.invert_yaxis()
    axis.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_models():
    """Draw what `zoo show` draws of the shipped weights."""
    import zoo
    from zoo.analysis import drawing

    for file, (name, layer) in SHOWN.items():
        drawing.draw(zoo.load(name), BUILT / file, layer)
    lenet5 = zoo.load("lenet5.mnist")
    drawing.draw_activations(lenet5, digit(lenet5), BUILT / "lenet5-c1.png", "c1")


def draw_run():
    """Fine-tune LeNet-5 for three epochs on scikit-learn's digits, and copy the figures and the report of the run."""
    import demo

    import training

    with tempfile.TemporaryDirectory() as folder:
        digits, run = Path(folder) / "digits", Path(folder) / "run"
        demo.write_digits(digits)
        training.finetune("lenet5.mnist", digits, run, epochs=3)
        for name in ("seen.png", "confusion.png", "report.html"):
            shutil.copy(run / name, BUILT / name)


if __name__ == "__main__":
    main()
