"""Where a run computes."""

import contextlib
import signal

from zoo.errors import ZooError


class Placement:
    """Here, in one process, on the device that Keras chooses; other kinds spread each batch over several devices.

    Attributes:
        parts: how many devices share a batch; its size must be a multiple.
        writes: whether this process is the one that writes the run folder and speaks.
        how: words about it for the first line of a run; "" for one device.
        signals: those on which a run stops once its state is written.
    """

    parts = 1
    writes = True
    how = ""
    signals = signal.SIGINT, signal.SIGTERM

    def scope(self):
        """Return the context in which the net, its optimizer and all else that has variables is made, and trained."""
        return contextlib.nullcontext()

    def own(self, rows):
        """Return which of the rows of a whole batch this process feeds."""
        return rows

    def check(self, batch_size, rule=None):
        """Raise `ZooError` if batches of this size cannot be shared, or a rule does the learning, which takes one device."""
        if self.parts > 1 and rule is not None:
            raise ZooError(
                f"{type(rule).__name__} is a rule that learns on one device; leave out --devices and --num-processes"
            )
        if batch_size % self.parts:
            below = batch_size - batch_size % self.parts
            near = " or ".join(f"--set batch_size={size}" for size in (below, below + self.parts) if size)
            raise ZooError(f"{self.parts} devices cannot share batches of {batch_size} pictures evenly; give {near}")

    def compare(self, facts):
        """Raise `ZooError`, in all processes of a run, if one of them was given something else than the others.

        Args:
            facts: dict from a name to a function that returns what all should have alike.
        """

    def share(self, path):
        """Give each process of a run a file like the one that the writing process has at a path, if it has one."""

    def stopped(self, interrupted, moment):
        """Return whether a run stops now: all of its processes do so at the same moment.

        Args:
            interrupted: whether this process was asked to.
            moment: number of this call, from 1.
        """
        return interrupted
