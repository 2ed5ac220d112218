"""A CSV file with a line a picture: path,label and perhaps part.

Paths are relative to the folder of the file. Without a first line that names the columns they are path and label.
"""

import csv
import os

from training.data.listing import SPLIT_OF, Listing, by_split, check_size
from training.data.samples import SPLITS
from zoo.errors import ZooError, did_you_mean

COLUMNS = ("path", "label", "part", "sha256")  # the last is written into run folders, to tell what changed
KNOWN = ("path", "label", "split", "part", "sha256")  # split is another word for part


def find(path):
    """List the pictures of a CSV file.

    Args:
        path: Path of the file, UTF-8.

    Returns:
        `training.data.listing.Listing`; a picture that is not there is a problem that names its line.

    Raises:
        ZooError: if the file is not such a list; with the line.
    """
    lines, found, problems = {}, [], []
    for number, row in rows(path):
        name, label, where = row["path"], row["label"].strip(), f"{path} line {number}"
        if not label:
            raise ZooError(f"{where}: the picture {name} has no label")
        part = SPLIT_OF.get(row["part"].strip().lower()) if "part" in row else "all"
        if part is None:
            raise ZooError(f"{where}: the part is '{row['part']}'; expected {', '.join(SPLITS)}")
        earlier = lines.setdefault(os.path.normpath(name), number)
        if earlier != number:
            raise ZooError(f"{where}: {name} is in line {earlier} already; a picture is listed once, with one label")
        if os.path.isfile(path.parent / name):  # a name may be too long to be one
            found.append((part, (name, label)))
        else:
            problems.append(f"{where}: no file {path.parent / name}")
    if not lines:
        raise ZooError(f"{path} lists no pictures; expected lines of path,label")
    return Listing(path, path.parent, by_split(found) or {"all": []}, problems)


def rows(path):
    """Yield (number of the line, dict of the columns) for each line of a list.

    Raises:
        ZooError: if it has other columns, or a line has more or fewer, or is not UTF-8.
    """
    check_size(path)
    # A path is bytes that need not be UTF-8; a label is text.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, strict=True)
        columns = None
        try:
            for cells in reader:
                if not cells:
                    continue
                where = f"{path} line {reader.line_num}"
                if columns is None:
                    columns = _columns(cells, path, where)
                    if columns is not None:
                        continue
                    columns = COLUMNS[:2]
                if len(cells) != len(columns):
                    raise ZooError(f"{where} has {len(cells)} columns, not {len(columns)}; a comma in a path needs quotes")
                row = dict(zip(columns, cells, strict=True))
                if any("\udc80" <= letter <= "\udcff" for letter in row["label"]):
                    raise ZooError(f"{where}: the label is not UTF-8; save the list as UTF-8")
                yield reader.line_num, row
        except csv.Error as error:
            raise ZooError(f"{path} line {reader.line_num} is no CSV: {error}") from error


def _columns(cells, path, where):
    """Return the names of the columns that a first line gives, or None where it is a picture and a label already."""
    names = [cell.strip().lower() for cell in cells]
    if {"path", "label"} <= set(names):
        if {"part", "split"} <= set(names):
            raise ZooError(f"{where} names both part and split, two words for one column; remove one")
        names = ["part" if name == "split" else name for name in names]
        if len(set(names)) < len(names):
            raise ZooError(f"{where} names a column twice: {', '.join(names)}")
        for name in names:
            if name not in COLUMNS:
                raise ZooError(f"{where} names a column '{name}'{did_you_mean(name, KNOWN)} Known are {', '.join(KNOWN)}")
        return names
    if len(cells) == 2 and os.path.isfile(path.parent / cells[0]):
        return None
    raise ZooError(
        f"{where} is '{','.join(cells)}'; expected path,label or path,label,split, separated by commas, or at once the "
        f"first picture and its label, with a path that is right from {path.parent}"
    )
