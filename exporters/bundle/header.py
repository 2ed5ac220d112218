"""model.h, what infer.cpp is compiled for."""

import string

PLAIN = (string.ascii_letters + string.digits + " _/:.-").encode()
TEXT = """\
// {title}; written with this bundle, from bundle.json. infer.cpp is compiled for this model.
#pragma once

namespace model {{
constexpr const char* kInput = {input};  // (batch, channels, height, width), raw pixels of 0 to 255
constexpr const char* kOutput = {output};  // (batch, classes) float
constexpr int kChannels = {channels};
constexpr int kHeight = {height};
constexpr int kWidth = {width};
constexpr int kClasses = {classes};
constexpr bool kUint8 = {uint8};  // type of the pixels; float where not
constexpr const char* kPrecision = {precision};
constexpr int kBatch = {batch};  // so many pictures at a time are fast
constexpr const char* kResize = {resize};  // how a picture of another size is brought to this one: pad, crop or stretch
constexpr int kCropFrom = {crop_from};  // side of the square of which the middle is cut out; 0 for none
}}  // namespace model
"""


def header(bundle):
    """Return the text of model.h.

    Args:
        bundle: dict, what bundle.json holds.
    """
    channels, height, width = bundle["input"]["shape"]
    return TEXT.format(
        title=_printable(bundle["title"]),
        input=_literal(bundle["input"]["name"]),
        output=_literal(bundle["output"]["name"]),
        channels=channels,
        height=height,
        width=width,
        classes=bundle["output"]["shape"][0],
        uint8="true" if bundle["input"]["dtype"] == "uint8" else "false",
        precision=_literal(bundle["precision"]),
        batch=bundle["profile"]["opt"],
        resize=_literal(bundle["picture"]["resize"]),
        crop_from=bundle["picture"].get("crop_from", 0),
    )


def _literal(text):
    """Return a C++ string literal; what is no plain letter as octal digits, which are three and so end by themselves."""
    return '"' + "".join(chr(byte) if byte in PLAIN else f"\\{byte:03o}" for byte in text.encode()) + '"'


def _printable(text):
    """Return what a comment may hold: no line end, and no backslash that would join the next line to it."""
    return "".join(letter if letter.isprintable() and letter not in "\\?" else " " for letter in text)
