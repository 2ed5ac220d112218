"""The file split.csv of a run folder: which picture is in which part, and by its pixels whether it still is the same.

It is a source itself, with the parts of the run.
"""

import csv
import os
from pathlib import Path

from training.data import csv_list
from training.data.listing import how_many, some
from training.data.samples import SPLITS
from zoo.files import atomic

HEX = 16  # digits of a picture's sha256 that are kept


def write_split(path, source, train, validation, test):
    """Write which picture is in which part, with paths that are right from the file's folder.

    Args:
        path: the file, split.csv.
        source: `training.data.Source` with names, that the samples are of.
        train, validation, test: `Samples`, the last two perhaps None.
    """
    folder, root = Path(path).resolve().parent, source.root.resolve()
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(csv_list.COLUMNS)
        for part, samples in zip(SPLITS, (train, validation, test), strict=True):
            for name, (label, digits) in _pictures(source, samples) if samples else ():
                writer.writerow((_way(root / name, folder), label, part, digits))


def describe_changes(path, source):
    """Return in words how pictures differ from those of a split.csv.

    Args:
        path: the file.
        source: `training.data.Source` with names.
    """
    folder, root = Path(path).resolve().parent, source.root.resolve()
    listed = [row for _, row in csv_list.rows(Path(path))]
    found = [each for samples in source.splits.values() for each in _pictures(source, samples)]
    then = {_way(folder / row["path"], root): (row["label"].strip(), row.get("sha256", "")) for row in listed}
    now = {_way(root / name, root): about for name, about in found}
    both = then.keys() & now
    kinds = {
        "new": now.keys() - then,
        "gone": then.keys() - now,
        "of another class": {name for name in both if then[name][0] != now[name][0]},
        "of other pixels": {name for name in both if then[name][1] not in ("", now[name][1])},
    }
    words = [f"{how_many(names)} {what} ({some(sorted(names))})" for what, names in kinds.items() if names]
    return "; ".join(words) or "pictures and classes are the same, but not their order or parts"


def _pictures(source, samples):
    """Yield (name, (class name, first digits of the sha256)) for each picture."""
    for name, label, digest in zip(samples.names, samples.labels, samples.digests, strict=True):
        yield name, (source.class_names[label], digest.tobytes().hex()[:HEX])


def _way(path, folder):
    """Return the relative path from a folder, or the path itself where there is none, from one drive to another."""
    try:
        return os.path.relpath(path, folder)
    except ValueError:
        return str(path)
