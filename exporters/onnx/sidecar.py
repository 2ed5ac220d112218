"""The JSON file beside an exported file: whether it says what the metadata inside the file say.

Other tools read the class names and the preprocessing from it, so a wrong one is as bad as a wrong file.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from exporters.onnx import files, metadata
from zoo.errors import ZooError, printable

LARGEST = 2**24  # bytes
LONGEST = 80  # characters of a value in a message
MISSING = object()


def problems(path: str | Path, beside: str | Path, about: dict) -> list[str]:
    """Return how a sidecar differs from the metadata of its file: one sentence per key, none if there is no sidecar.

    Args:
        path: .onnx file.
        beside: JSON file of unknown origin.
        about: metadata inside the .onnx file.
    """
    path, beside = Path(path), Path(beside)
    if not beside.exists():
        return []
    try:
        told = read(beside)
    except ZooError as error:
        return [printable(str(error))]
    expected = {**about, "file": metadata.facts(path)}
    if data := files.data_files(path):
        expected["data"] = [metadata.facts(each) for each in data]
    return [
        printable(f"{beside.name} says {key} {_short(given)}, {path.name} {_short(own)}")
        for key, given, own in _differences(told, expected)
    ]


def read(path: Path) -> dict:
    """Return the content of a sidecar of unknown origin.

    Raises:
        ZooError: if it is not a JSON object of a reasonable size, or readers could understand it differently: it has a key
            twice, or numbers that are not in JSON.
    """
    if not path.is_file() or path.stat().st_size > LARGEST:
        raise ZooError(f"{path} is no file of up to {LARGEST:,} bytes; export again")
    try:
        content = json.loads(path.read_text("utf-8"), object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ZooError(f"{path} is not the metadata of a file ({error}); export again") from error
    if not isinstance(content, dict):
        raise ZooError(f"{path} is not the metadata of a file; export again")
    return content


def _object(pairs):
    if twice := [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]:
        raise ValueError(f"it has the key {min(twice)} twice")
    return dict(pairs)


def _no_constant(name):
    raise ValueError(f"{name} is no number of JSON")


def _differences(told: Any, expected: Any, key: str = "") -> list[tuple[str, Any, Any]]:
    """Return (key, value in the sidecar, value in the file) for each difference; an inner key is such as picture.height."""
    if isinstance(told, dict) and isinstance(expected, dict):
        names = [*expected, *(name for name in told if name not in expected)]
        return [
            each
            for name in names
            for each in _differences(told.get(name, MISSING), expected.get(name, MISSING), f"{key}.{name}" if key else name)
        ]
    return [] if _text(told) == _text(expected) else [(key, told, expected)]


def _text(value):
    """Return a value as JSON, in which 1, 1.0 and true are different."""
    return "nothing" if value is MISSING else json.dumps(value, sort_keys=True)


def _short(value):
    text = _text(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
