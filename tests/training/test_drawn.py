"""Drawn data are the same everywhere: what was measured on them elsewhere was measured on these."""

import os
import subprocess
import sys

import pytest

from training import drawn

SIZES = {
    "digits04": (16, 16),
    "ef": (20, 20),
    "encoder": (1, 8),
    "letters": (20, 20),
    "parity": (1, 4),
    "square-circle": (20, 20),
    "symmetry": (1, 6),
    "tgf": (4, 4),
    "xor": (1, 2),
}
# Of all but the letters, which are those of the fonts that are installed.
FINGERPRINTS = {
    "digits04": "f3698718610ddf41b118cca3610c7149d4dc76c64d6ecf9267c990856bbba286",
    "ef": "dd87dfc8b7f1f8285f6b118f3d8f8b244df44631499991a20c2ba1347093e86d",
    "encoder": "c35e5a80cc5b2a8073353611a0e14daaca61b75369ddfb978cb958ec2541d9ea",
    "parity": "3c6a8f245aa7123830c15092e9048367810073836b2ba0c578ff9e43b563a7ba",
    "square-circle": "6865d39def09aaf5f94df2f2ebb13b1fbea738d57510ffb0804699e9dd473455",
    "symmetry": "4f428c5c50a9230fcbfe96a60489f3b80d2314373ad85a6d32a4ce3b8cb57f07",
    "tgf": "04b0baf9783e01e23d839d82885628e7eda7e6be6e19a02f3e8111d1fff8320b",
    "xor": "5c75ba263c99852a9e0e29d7089ea50b342cb61612824964ea90799551311abe",
}


def fingerprint(name):
    height, width = SIZES[name]
    return drawn.load(f"drawn:{name}", {"height": height, "width": width, "channels": 1}).fingerprint()


def test_every_drawn_set_is_checked():
    assert drawn.names() == [f"drawn:{name}" for name in SIZES]
    assert set(SIZES) - set(FINGERPRINTS) == {"letters"}


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_drawn_to_the_bit(name):
    assert fingerprint(name) == FINGERPRINTS[name]


def test_letters_are_the_same_in_another_process():
    code = (
        "from training import drawn\n"
        "print(drawn.load('drawn:letters', {'height': 20, 'width': 20, 'channels': 1}).fingerprint())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    child = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert child.stdout.split() == [fingerprint("letters")], child.stderr
