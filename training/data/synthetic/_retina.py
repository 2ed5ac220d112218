"""The retina of the Mark I: 20x20 photocells, white figures on black."""

from zoo.errors import ZooError

SIDE = 20


def check(picture):
    """Raise `ZooError` if pictures of another size than the retina are asked for."""
    asked = picture["height"], picture["width"], picture["channels"]
    drawn = SIDE, SIDE, 1
    if asked != drawn:
        raise ZooError(
            f"these figures are pictures of {'x'.join(map(str, drawn))}; asked for was {'x'.join(map(str, asked))}"
        )
