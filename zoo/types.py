"""Types of annotations."""

from typing import Any

Tensor = Any  # tensor of the Keras backend in use, or an array that Keras converts to one
Shape = tuple[int | None, ...]  # of a tensor; None is an unknown size, such as that of the batch
Config = dict[str, Any]  # of a Keras object, as JSON holds it
