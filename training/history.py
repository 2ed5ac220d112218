"""The history of a run: its rows of epochs, and the best of them."""

from collections.abc import Iterable


def rank(row: dict) -> tuple[float, ...]:
    """Return the sort key of an epoch; the best epoch has the smallest.

    It is the validation error, then the validation loss. Without validation the last epoch is the best.

    Args:
        row: values of an epoch, by column of history.csv.
    """
    return (row["val_error"], row["val_loss"]) if "val_error" in row else (-row["epoch"],)


def best(rows: Iterable[dict]) -> dict:
    """Return the best epoch of a history.

    Args:
        rows: values of each epoch, by column of history.csv.
    """
    return min(rows, key=rank)
