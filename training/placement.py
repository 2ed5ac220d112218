"""Where a run computes."""

import contextlib


class Placement:
    """Here, in one process, on the device that Keras chooses; other kinds spread each batch over several devices.

    Attributes:
        parts: how many devices share a batch; its size must be a multiple.
        writes: whether this process is the one that writes the run folder and speaks.
        how: words about it for the first line of a run; "" for one device.
    """

    parts = 1
    writes = True
    how = ""

    def scope(self):
        """Return the context in which the net, its optimizer and all else that has variables is made, and trained."""
        return contextlib.nullcontext()

    def own(self, rows):
        """Return which of the rows of a whole batch this process feeds."""
        return rows
