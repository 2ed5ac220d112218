"""Reads a CSV file with one image per line: path,label and optionally split.

Paths are relative to the folder of the file. A file without a header line has the columns path and label. The column of the
split may be named split or part.
"""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

from training.data.listing import SPLIT_OF, Listing, by_split, check_size
from training.data.samples import SPLITS
from zoo.errors import ZooError, did_you_mean

COLUMNS = ("path", "label", "part", "sha256")  # as written to split.csv; the digest shows later which images changed
KNOWN = ("path", "label", "split", "part", "sha256")


def find(path: Path) -> Listing:
    """List the images of a CSV file.

    Args:
        path: the file, UTF-8.

    Returns:
        `training.data.listing.Listing`. A missing image is a problem; the message gives its line.

    Raises:
        ZooError: if the file is not a valid list; the message gives the line.
    """
    line_of, listed, problems = {}, [], []
    for number, row in rows(path):
        name, label, where = row["path"], row["label"].strip(), f"{path} line {number}"
        if not label:
            raise ZooError(f"{where}: the image {name} has no label")
        split = SPLIT_OF.get(row["part"].strip().lower()) if "part" in row else "all"
        if split is None:
            raise ZooError(f"{where}: the split is '{row['part']}'; expected {', '.join(SPLITS)}")
        earlier = line_of.setdefault(os.path.normpath(name), number)
        if earlier != number:
            raise ZooError(f"{where}: {name} is already listed in line {earlier}; list each image once, with one label")
        if os.path.isfile(path.parent / name):  # unlike Path.is_file, False for a name longer than the system allows
            listed.append((split, (name, label)))
        else:
            problems.append(f"{where}: no file {path.parent / name}")
    if not line_of:
        raise ZooError(f"{path} lists no images; expected lines of path,label")
    return Listing(path, path.parent, by_split(listed) or {"all": []}, problems)


def rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line number and the columns of each line of a list. The column split is returned as part.

    Raises:
        ZooError: if a column is unknown, a line has too many or too few columns, or the file is not UTF-8.
    """
    check_size(path)
    # A file name is bytes that may not be UTF-8; a label is text.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, strict=True)
        columns = None
        try:
            for cells in reader:
                if not cells:
                    continue
                where = f"{path} line {reader.line_num}"
                if columns is None:
                    columns = _header(cells, path, where)
                    if columns is not None:
                        continue
                    columns = COLUMNS[:2]
                if len(cells) != len(columns):
                    raise ZooError(f"{where} has {len(cells)} columns, not {len(columns)}; quote a path that has a comma")
                row = dict(zip(columns, cells, strict=True))
                if any("\udc80" <= letter <= "\udcff" for letter in row["label"]):
                    raise ZooError(f"{where}: the label is not UTF-8; save the list as UTF-8")
                yield reader.line_num, row
        except csv.Error as error:
            raise ZooError(f"{path} line {reader.line_num} is not valid CSV: {error}") from error


def _header(cells, path, where):
    """Return the column names of a header line, or None if the first line is an image and its label."""
    names = [cell.strip().lower() for cell in cells]
    if {"path", "label"} <= set(names):
        if {"part", "split"} <= set(names):
            raise ZooError(f"{where} has both a column part and a column split, which mean the same; remove one")
        names = ["part" if name == "split" else name for name in names]
        if len(set(names)) < len(names):
            raise ZooError(f"{where} names a column twice: {', '.join(names)}")
        for name in names:
            if name not in KNOWN:
                raise ZooError(f"{where}: unknown column '{name}'{did_you_mean(name, KNOWN)} Expected {', '.join(KNOWN)}")
        return names
    if len(cells) == 2 and os.path.isfile(path.parent / cells[0]):
        return None
    raise ZooError(
        f"{where} is '{','.join(cells)}'; expected a header line path,label or path,label,split, separated by commas, or an "
        f"image and its label, with a path relative to {path.parent}"
    )
