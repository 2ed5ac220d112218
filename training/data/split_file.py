"""Writes split.csv of a run directory: the split of each image, and a digest of its pixels that detects changes.

The file is a CSV list, so it can be used as a data source with the splits of the run.
"""

import csv
import os
from pathlib import Path

from training.data import csv_list
from training.data.listing import count_images, first_few
from training.data.samples import SPLITS, Samples, Source
from zoo.files import atomic

DIGEST_DIGITS = 16  # hexadecimal digits of the SHA-256 of an image in a file


def write_split(path: str | Path, source: Source, train: Samples, validation: Samples | None, test: Samples | None) -> None:
    """Write the split of each image, with paths relative to the folder of the file.

    Args:
        path: the file, split.csv.
        source: `training.data.Source` of the samples, with names.
        train: training samples.
        validation: validation samples, or None.
        test: test samples, or None.
    """
    folder, root = Path(path).resolve().parent, source.root.resolve()
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(csv_list.COLUMNS)
        for split, samples in zip(SPLITS, (train, validation, test), strict=True):
            for name, (label, digits) in _images(source, samples) if samples else ():
                writer.writerow((_relative_path(root / name, folder), label, split, digits))


def describe_changes(path: str | Path, source: Source) -> str:
    """Describe how the images of a source differ from those of a split.csv.

    Args:
        path: the file.
        source: `training.data.Source` with names.
    """
    folder, root = Path(path).resolve().parent, source.root.resolve()
    listed = [row for _, row in csv_list.rows(Path(path))]
    found = [each for samples in source.splits.values() for each in _images(source, samples)]
    before = {_relative_path(folder / row["path"], root): (row["label"].strip(), row.get("sha256", "")) for row in listed}
    now = {_relative_path(root / name, root): label_and_digest for name, label_and_digest in found}
    common = before.keys() & now
    kinds = {
        "added": now.keys() - before,
        "removed": before.keys() - now,
        "with another class": {name for name in common if before[name][0] != now[name][0]},
        "with other pixels": {name for name in common if before[name][1] not in ("", now[name][1])},
    }
    words = [f"{count_images(names)} {kind} ({first_few(sorted(names))})" for kind, names in kinds.items() if names]
    return "; ".join(words) or "the images and classes are the same, but not their order or splits"


def _images(source, samples):
    """Yield (name, (class name, first digits of the SHA-256)) for each image."""
    for name, label, digest in zip(samples.names, samples.labels, samples.digests, strict=True):
        yield name, (source.class_names[label], digest.tobytes().hex()[:DIGEST_DIGITS])


def _relative_path(path, folder):
    """Return the path relative to a folder, or the absolute path if the two are on different drives."""
    try:
        return os.path.relpath(path, folder)
    except ValueError:
        return str(path)
