"""Fixtures of the tests of training."""

import shutil

import pytest


@pytest.fixture(scope="session")
def few(digits, tmp_path_factory):
    """Thirty scans of each digit."""
    folder = tmp_path_factory.mktemp("few")
    for name in "0123456789":
        (folder / name).mkdir()
        for path in sorted((digits / name).iterdir())[:30]:
            shutil.copy(path, folder / name)
    return folder
