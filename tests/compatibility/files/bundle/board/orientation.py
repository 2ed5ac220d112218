"""Which way is up: cameras store that beside the pixels, in EXIF."""

import struct

import numpy as np

TAG = 0x0112
UPRIGHT = 1
# From the orientation to how the pixels, (height, width, channels), come upright.
TURNS = {
    2: lambda array: array[:, ::-1],
    3: lambda array: array[::-1, ::-1],
    4: lambda array: array[::-1],
    5: lambda array: array.transpose(1, 0, 2),
    6: lambda array: np.rot90(array, 3),
    7: lambda array: array.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda array: np.rot90(array),
}


def upright(array, data):
    """Return the pixels of a file, (height, width, channels), as the camera was held; data are the file's bytes."""
    try:
        found = _tag(_exif(data))
    except (struct.error, IndexError):  # cut short
        found = UPRIGHT
    return TURNS[found](array) if found in TURNS else array


def _exif(data):
    """Return the EXIF block of a JPEG, PNG or WebP file, b"" if it has none."""
    if data[:2] == b"\xff\xd8":
        chunks = _jpeg(data)
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        chunks = _chunks(data, 8, ">I4s", b"eXIf", 4)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        chunks = _chunks(data, 12, "<4sI", b"EXIF", 0)
    else:
        return b""
    return next((chunk[6:] if chunk[:6] == b"Exif\0\0" else chunk for chunk in chunks), b"")


def _jpeg(data):
    at = 2
    while data[at] == 0xFF and data[at + 1] != 0xDA:  # until the pixels begin
        (size,) = struct.unpack_from(">H", data, at + 2)
        if data[at + 1] == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            yield data[at + 4 : at + 2 + size]
        at += 2 + size


def _chunks(data, at, head, name, behind):
    """Yield the chunks of a name; each has a head, its content, and so many bytes behind it or one that makes it even."""
    while at + 8 <= len(data):
        fields = struct.unpack_from(head, data, at)
        size, found = sorted(fields, key=lambda field: isinstance(field, bytes))
        if found == name:
            yield data[at + 8 : at + 8 + size]
        at += 8 + size + (behind or size % 2)


def _tag(block):
    """Return the orientation that an EXIF block tells."""
    if block[:2] not in (b"II", b"MM"):
        return UPRIGHT
    order = "<" if block[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", block, 4)
    (count,) = struct.unpack_from(order + "H", block, at)
    for entry in range(count):
        tag, _, _, value = struct.unpack_from(order + "HHIH", block, at + 2 + 12 * entry)
        if tag == TAG:
            return value
    return UPRIGHT
