"""Synthetic data sets are the same on every machine, so results measured elsewhere apply."""

import os
import subprocess
import sys

import pytest

from training.data import synthetic

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
# Not of the letters, which depend on the installed fonts.
FINGERPRINTS = {
    "digits04": "515cce040ff0a5f9845dcb767d92c1c355a08c1c0f26716886c7f4bbb5c46211",
    "ef": "af32aac6d1dc6ef4ed06ea39b264cfbf2eb909257dd751715e59a737b9f45730",
    "encoder": "30718a6d1c2888b39b58190e1c507b1129207853b233074e83280ef70560df46",
    "parity": "dd8a9d5b30bc729e8cf382c968dabb6a9b678b2856c221125e08086ccfd624c5",
    "square-circle": "9a86abce598752bafb91b06f726185a0373e0fd04daf80a361ff305c436e7641",
    "symmetry": "8a17792205b947c1f258d6242ecc2f39400a00e69908aaf687bba34304dfd57a",
    "tgf": "54e3cfdefd5b2d85296b432e46caaeaefd8a3c1e7b6a7e73fc26be171776238f",
    "xor": "6c529b5762274a4fc811c4dc4901f00a84a3e6695a0cd9f1f1073dfb9b7ebd86",
}


def fingerprint(name):
    height, width = SIZES[name]
    return synthetic.load(f"drawn:{name}", {"height": height, "width": width, "channels": 1}).fingerprint()


def test_every_synthetic_data_set_has_a_fingerprint():
    assert synthetic.names() == [f"drawn:{name}" for name in SIZES]
    assert set(SIZES) - set(FINGERPRINTS) == {"letters"}


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_pixels_are_bit_identical(name):
    assert fingerprint(name) == FINGERPRINTS[name]


def test_letters_are_the_same_in_another_process():
    code = (
        "from training.data import synthetic\n"
        "print(synthetic.load('drawn:letters', {'height': 20, 'width': 20, 'channels': 1}).fingerprint())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    child = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert child.stdout.split() == [fingerprint("letters")], child.stderr
