"""Splits a source into training, validation and test samples, and checks the splits for duplicates and class imbalance."""

from collections.abc import Sequence

import numpy as np

from training.data.listing import count_images, first_few
from training.data.samples import Samples, Source
from zoo.errors import ZooError

MAX_IMBALANCE = 3  # classes are imbalanced if the largest has more than this many times the images of the smallest
LISTED = 5  # an imbalance message lists so many of the largest and of the smallest classes


def split(source: Source, validation: float, test: float, seed: int) -> tuple[Samples, Samples | None, Samples | None]:
    """Split a source, stratified by class. Splits that the source lacks are taken from its training images.

    Args:
        source: `training.data.Source`.
        validation: size of the validation split if the source has none: a number of images, or a fraction below 1. At
            least one image of every class is taken. 0 for no validation split.
        test: the same for the test split.
        seed: int.

    Returns:
        (train, validation, test) samples; validation and test may be None.

    Raises:
        ZooError: if there are fewer than two classes, or a class has too few images for all splits.
    """
    splits = dict(source.splits)
    rest = splits.pop("all", None) or splits.pop("train", None)
    if rest is None:
        raise ZooError(f"the data have no split 'train'; they have {', '.join(splits)}")
    requested = [
        (name, amount) for name, amount in (("test", test), ("validation", validation)) if amount and name not in splits
    ]
    _check_classes(rest.labels, source.class_names, [name for name, _ in requested])
    for number, (name, amount) in enumerate(requested, 1):
        rows = _stratified_rows(rest.labels, amount, seed, keep=1 + len(requested) - number)
        if rows is None:
            counts = np.bincount(rest.labels, minlength=len(source.class_names))
            rarest = int(counts.argmin())
            raise ZooError(
                f"cannot take a {name} split of {int(amount)} from {len(rest)} images with every class in it: class "
                f"'{source.class_names[rarest]}' has {counts[rarest]}; add images, or use a fraction: --set data.{name}=0.15"
            )
        splits[name], rest = rest[rows], rest[np.setdiff1d(np.arange(len(rest)), rows)]
    return rest, splits.get("validation"), splits.get("test")


def _check_classes(labels, class_names, requested):
    """Raise `ZooError` unless there are two classes or more, each with an image for training and for every new split."""
    counts = np.bincount(labels, minlength=len(class_names))
    if len(counts) < 2:
        raise ZooError(f"there is only one class, '{class_names[0]}'; a classifier needs two or more")
    if not counts.all():
        raise ZooError(f"class '{class_names[int(counts.argmin())]}' has no training image; add some or remove the class")
    if (counts > len(requested)).all():
        return
    order = np.argsort(counts, kind="stable")
    rare = [f"'{class_names[index]}' has {counts[index]}" for index in order if counts[index] <= len(requested)]
    roles = ["training", *requested]
    raise ZooError(
        f"every class needs at least {len(roles)} images, one each for {', '.join(roles)}: {first_few(rare)}; add images, "
        f"remove the class, or disable a split: --set data.{requested[0]}=0"
    )


def _stratified_rows(labels, amount, seed, keep):
    """Return the sorted rows of a new split, or None if it cannot have every class and leave `keep` images of each."""
    from sklearn.model_selection import train_test_split

    try:
        amount = amount if amount < 1 else int(amount)
        kept, rows = train_test_split(np.arange(len(labels)), test_size=amount, stratify=labels, random_state=seed)
        counts = np.bincount(labels[kept], minlength=labels.max() + 1)
        # scikit-learn accepts a rare class that ends up on one side only.
        if (counts >= keep).all() and set(labels[rows]) == set(labels):
            return np.sort(rows)
    except ValueError:
        pass  # scikit-learn's error for a class that is too rare
    if amount >= 1:
        return None
    generator, taken = np.random.default_rng(seed), []
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        taken.append(rows[: min(max(1, round(amount * len(rows))), len(rows) - keep)])
    return np.sort(np.concatenate(taken))


def duplicates_across_splits(train: Samples, validation: Samples | None, test: Samples | None) -> list[str]:
    """Return warnings about images with identical pixels in two splits, which make a measured error too low.

    Args:
        train: training samples. Samples without digests are not checked.
        validation: validation samples, or None.
        test: test samples, or None.
    """
    splits = {"train": train, "validation": validation, "test": test}
    first_seen, messages = {}, []
    for split, samples in splits.items():
        if samples is None or samples.digests is None:
            continue
        digests = [digest.tobytes() for digest in samples.digests]
        hits = [(row, *first_seen[digest]) for row, digest in enumerate(digests) if digest in first_seen]
        pairs = [f"{_name(samples, row)} as {_name(splits[first], at)} of {first}" for row, first, at in hits]
        for row, digest in enumerate(digests):
            first_seen.setdefault(digest, (split, row))
        if pairs:
            messages.append(
                f"data leakage: {count_images(pairs)} of {split} with the same pixels in an earlier split: "
                f"{first_few(pairs)}; the error measured on {split} is too low: remove one image of each pair"
            )
    return messages


def _name(samples, row):
    return f"row {row}" if samples.names is None else samples.names[row]


def class_counts(samples: Samples, class_names: Sequence[str]) -> dict[str, int]:
    """Return the number of images of each class, by class name."""
    counts = np.bincount(samples.labels, minlength=len(class_names))
    return dict(zip(class_names, counts.tolist(), strict=True))


def class_imbalance(counts: dict[str, int]) -> str:
    """Describe the class imbalance, or return "" if the largest class is at most `MAX_IMBALANCE` times the smallest.

    Args:
        counts: number of images by class name, from `class_counts`.
    """
    order = sorted(counts, key=lambda name: -counts[name])
    if counts[order[0]] <= MAX_IMBALANCE * counts[order[-1]]:
        return ""
    words = [f"{name} {counts[name]:,}" for name in order]
    if len(words) > 2 * LISTED:
        words = [*words[:LISTED], "...", *words[-LISTED:]]
    return f"the classes are imbalanced: {', '.join(words)}; --set data.balance=true samples all classes equally often"
