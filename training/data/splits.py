"""What is learned from, what the epoch is chosen by, and what is looked at once: the splits, and what is wrong with them."""

import numpy as np

from training.data.listing import how_many, some
from zoo.errors import ZooError

# The largest class may be so many times the smallest before it is said.
UNEVEN = 3
LISTED = 5  # classes that a message lists of each end


def split(source, validation, test, seed):
    """Return (train, validation, test) samples; what a source lacks is carved from its training part, stratified.

    Args:
        source: `training.data.Source`.
        validation, test: number of pictures, or a share below 1, of the splits that the source lacks. Of a class so small
            that it has no picture in its share one is taken.
        seed: int.

    Raises:
        ZooError: if there are fewer than two classes, or one has too few pictures to be in all splits.
    """
    splits = dict(source.splits)
    rest = splits.pop("all", None) or splits.pop("train", None)
    if rest is None:
        raise ZooError(f"the data have no part 'train' to learn from, but {', '.join(splits)}")
    names = source.class_names
    shown = np.bincount(rest.labels, minlength=len(names))
    if len(shown) < 2:
        raise ZooError(f"there is one class, '{names[0]}'; a classifier needs two or more")
    if not shown.all():
        raise ZooError(f"class '{names[int(shown.argmin())]}' has no picture to learn from; add some or remove it")
    carved = [
        (name, amount) for name, amount in (("test", test), ("validation", validation)) if amount and name not in splits
    ]
    if (shown <= len(carved)).any():
        rare = [
            f"'{names[index]}' has {shown[index]}"
            for index in np.argsort(shown, kind="stable")
            if shown[index] <= len(carved)
        ]
        roles = ["to learn from", *(f"for {name}" for name, _ in carved)]
        raise ZooError(
            f"every class needs {len(roles)} pictures or more, one each {', '.join(roles)}: {some(rare)}; add pictures, "
            f"remove the class, or do without a part: --set data.{carved[0][0]}=0"
        )
    for number, (name, amount) in enumerate(carved, 1):
        rows = _carved(rest.labels, amount, seed, keep=1 + len(carved) - number)
        if rows is None:
            counts = np.bincount(rest.labels, minlength=len(names))
            rarest = int(counts.argmin())
            raise ZooError(
                f"no {name} part of {int(amount)} can be taken from {len(rest)} pictures with every class in it: class "
                f"'{names[rarest]}' has {counts[rarest]}; add pictures, or make it a share: --set data.{name}=0.15"
            )
        splits[name], rest = rest[rows], rest[np.setdiff1d(np.arange(len(rest)), rows)]
    return rest, splits.get("validation"), splits.get("test")


def _carved(labels, amount, seed, keep):
    """Return the sorted rows of a part, or None where so many cannot be taken with every class on both sides."""
    from sklearn.model_selection import train_test_split

    try:
        amount = amount if amount < 1 else int(amount)
        kept, rows = train_test_split(np.arange(len(labels)), test_size=amount, stratify=labels, random_state=seed)
        counts = np.bincount(labels[kept], minlength=labels.max() + 1)
        # scikit-learn is content with a rare class that is in one of the two only.
        if (counts >= keep).all() and set(labels[rows]) == set(labels):
            return np.sort(rows)
    except ValueError:
        pass  # scikit-learn's word for a class that is too rare
    if amount >= 1:
        return None
    generator, taken = np.random.default_rng(seed), []
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        taken.append(rows[: min(max(1, round(amount * len(rows))), len(rows) - keep)])
    return np.sort(np.concatenate(taken))


def duplicates_across_splits(train, validation, test):
    """Return messages about pictures of validation and test that are in another part too, pixel by pixel.

    Args:
        train, validation, test: `Samples`, the last two perhaps None. Without digests nothing is looked for.
    """
    splits = {"train": train, "validation": validation, "test": test}
    seen, messages = {}, []
    for part, samples in splits.items():
        if samples is None or samples.digests is None:
            continue
        digests = [digest.tobytes() for digest in samples.digests]
        hits = [(row, *seen[digest]) for row, digest in enumerate(digests) if digest in seen]
        same = [f"{_name(samples, row)} as {_name(splits[first], at)} of {first}" for row, first, at in hits]
        for row, digest in enumerate(digests):
            seen.setdefault(digest, (part, row))
        if same:
            messages.append(
                f"{how_many(same)} in {part} and in an earlier part too, pixel by pixel: {some(same)}; what is measured "
                "there is better than it will be on new pictures: remove one of each two"
            )
    return messages


def _name(samples, row):
    return f"row {row}" if samples.names is None else samples.names[row]


def class_counts(samples, class_names):
    """Return how many pictures each class has: a dict of int by class name."""
    counts = np.bincount(samples.labels, minlength=len(class_names))
    return dict(zip(class_names, counts.tolist(), strict=True))


def class_imbalance(counts):
    """Return in words how uneven classes are, or "" where the largest is at most three times the smallest.

    Args:
        counts: dict of int by class name, from `class_counts`.
    """
    order = sorted(counts, key=lambda name: -counts[name])
    if counts[order[0]] <= UNEVEN * counts[order[-1]]:
        return ""
    words = [f"{name} {counts[name]:,}" for name in order]
    if len(words) > 2 * LISTED:
        words = [*words[:LISTED], "...", *words[-LISTED:]]
    return f"the classes are uneven: {', '.join(words)}; --balance shows each as often as the others"
