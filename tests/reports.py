"""Run directories with random scores for tests of reports, and a strict HTML parser."""

import csv
import json
from html.parser import HTMLParser

import numpy as np
import tomli_w

from training import report
from training.data import Samples
from training.evaluation.evaluate import Evaluation

HOSTILE = ("<script>alert(1)</script>", "a & b", "$x$", '"quoted", with comma', "猫", "line\nbreak")
VOID = {"meta", "img", "br", "hr", "link"}
OPTIONAL = {"th", "td"}


class Page(HTMLParser):
    """Parses a page strictly: every element must be closed in order. Collects tags, texts and URLs."""

    def __init__(self, text):
        super().__init__()
        self.open, self.words, self.tags, self.urls = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.urls += [value for name, value in attributes if name in ("src", "href", "action", "data", "srcset")]
        if tag not in VOID:
            if tag in OPTIONAL and self.open[-1] in OPTIONAL:
                self.open.pop()
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open[-1] in OPTIONAL and tag == "tr":
            self.open.pop()
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def history(epochs=4, validated=True):
    """Return the rows of a history."""
    return [
        {
            "epoch": epoch,
            "loss": 2 / epoch,
            "error": 40 / epoch,
            **({"val_loss": 2.5 / epoch, "val_error": 50 / epoch} if validated else {}),
            "images_per_second": 1000.0,
            "seconds": 1.5,
        }
        for epoch in range(1, epochs + 1)
    ]


def evaluated(class_names, images=60, seed=0, named=False):
    """Return a random evaluation and its samples."""
    generator = np.random.default_rng(seed)
    labels = np.arange(images, dtype="int32") % len(class_names)
    scores = generator.normal(size=(images, len(class_names)))
    scores[np.arange(images), labels] += 2.5
    drawn = np.random.default_rng(7).integers(0, 256, (images, 12, 12, 1), "uint8")
    names = np.array([f"{class_names[label]}/{row:03}.png" for row, label in enumerate(labels)])
    samples = Samples(drawn, labels, names if named else None)
    return Evaluation(tuple(class_names), labels, scores, 0.5, "test"), samples


def write_run(folder, class_names=("a", "b", "c"), seed=0, named=False, changes=None, epochs=4, **more):
    """Write a run directory like one of training, with random scores. `more` changes metrics.json."""
    folder.mkdir(parents=True)
    evaluation, samples = evaluated(class_names, seed=seed, named=named)
    recipe = {
        "model": "linear",
        "epochs": 4,
        "batch_size": 32,
        "seed": 1,
        "data": {"name": "photos", "validation": 0.2, "test": 0.2},
        "optimizer": {"class_name": "AdamW", "config": {"learning_rate": 0.001}},
        **(changes or {}),
    }
    (folder / "recipe.toml").write_text(tomli_w.dumps(recipe))
    rows = history(epochs)
    with (folder / "history.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    metrics = {
        "recipe": recipe,
        "best_epoch": 4,
        "validation_error": 12.5,
        **evaluation.summary(),
        "images_per_second": 1000,
        "wall_seconds": 75.0,
        "device": "a processor, 2 cores",
        "backend": "tensorflow, keras 3",
        "date": "2026-01-02",
        "data_fingerprint": "f" * 64,
        "left_out": [],
        **more,
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    report.write_predictions(evaluation, samples, folder / "predictions.csv")
    report.plot_mistakes(evaluation, samples, folder / "mistakes.png")
    return evaluation
