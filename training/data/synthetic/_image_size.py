"""Checks the image size that a model asks for against the size that a data set is drawn in."""

from zoo.errors import ZooError


def check(image_spec: dict, shape: tuple[int, int, int], name: str) -> None:
    """Raise `ZooError` unless the requested size is the size of the data set.

    Args:
        image_spec: requested height, width and channels.
        shape: (height, width, channels) of the data set.
        name: what the data set shows, for the message.
    """
    requested = image_spec["height"], image_spec["width"], image_spec["channels"]
    if requested != shape:
        drawn, wanted = ("x".join(map(str, size)) for size in (shape, requested))
        raise ZooError(
            f"{name} are images of {drawn}; requested {wanted}: set picture.height, picture.width, picture.channels"
        )
