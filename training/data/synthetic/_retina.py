"""The retina of the Mark I: 20x20 photocells, white figures on black."""

from training.data.synthetic import _image_size

SIDE = 20


def check(image_spec: dict) -> None:
    """Raise `ZooError` if images of another size than the retina are requested."""
    _image_size.check(image_spec, (SIDE, SIDE, 1), "figures on the retina of the Mark I")
