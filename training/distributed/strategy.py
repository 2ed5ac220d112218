"""Distribution strategies: the devices and processes that a run computes on."""

import contextlib
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import ZooError

if TYPE_CHECKING:
    import numpy as np

    from zoo.rules import Rule


class Strategy:
    """One process with one device, the one that Keras chooses. Subclasses split each batch over several replicas.

    Attributes:
        replicas: number of devices that share a batch; the batch size must be a multiple of it.
        is_chief: whether this process writes the run directory and prints the progress.
        description: text for the first line of a run, such as " on 2 GPUs"; "" for one device.
        signals: signals on which a run saves its state and stops.
    """

    replicas = 1
    is_chief = True
    description = ""
    signals = signal.SIGINT, signal.SIGTERM

    def scope(self) -> contextlib.AbstractContextManager:
        """Return the context in which all variables are created and trained."""
        return contextlib.nullcontext()

    def local_rows(self, rows: "np.ndarray") -> "np.ndarray":
        """Return the rows of a global batch that this process feeds to its devices."""
        return rows

    def check_batch_size(self, batch_size: int, rule: "Rule | None" = None) -> None:
        """Raise `ZooError` if the replicas cannot share a batch.

        Args:
            batch_size: size of the global batch.
            rule: learning rule that replaces the optimizer, or None. Rules train on one device only.
        """
        if self.replicas > 1 and rule is not None:
            raise ZooError(
                f"the learning rule {type(rule).__name__} trains on one device; remove --devices and --num-processes"
            )
        if batch_size % self.replicas:
            below = batch_size - batch_size % self.replicas
            near = " or ".join(f"--set batch_size={size}" for size in (below, below + self.replicas) if size)
            raise ZooError(f"{self.replicas} devices cannot share batches of {batch_size} images evenly; use {near}")

    def check_equal(self, facts: dict[str, Callable[[], Any]]) -> None:
        """Raise `ZooError` in all processes of a run if one of them has another value than process 0.

        Args:
            facts: function that computes the value, by name. With one process it is not called.
        """

    def broadcast(self, path: Path) -> None:
        """Copy a file of the chief to the same path of each other process. Do nothing if the chief has no such file."""

    def should_stop(self, interrupted: bool, sync_point: int) -> bool:
        """Return whether the run stops now. All processes of a run get the same answer.

        Args:
            interrupted: whether this process received a signal.
            sync_point: number of this call, from 1.
        """
        return interrupted
