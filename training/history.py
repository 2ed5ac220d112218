"""The history of a run: which epoch is the best."""


def rank(row):
    """Order epochs by what they reach on validation: fewest errors, then smallest loss; without it the last is the best."""
    return (row["val_error"], row["val_loss"]) if "val_error" in row else (-row["epoch"],)


def best(rows):
    """Return the best epoch of a history: of dicts of epoch, and of val_error and val_loss where there is validation."""
    return min(rows, key=rank)
