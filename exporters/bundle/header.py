"""model.h, the C++ header that infer.cpp includes."""

import string

PLAIN = (string.ascii_letters + string.digits + " _/:.-").encode()
TEXT = """\
// {title}; generated from bundle.json. infer.cpp is compiled for this model.
#pragma once

namespace model {{
constexpr const char* kInput = {input};  // (batch, channels, height, width), raw 0-255 pixels
constexpr const char* kOutput = {output};  // (batch, classes) float
constexpr int kChannels = {channels};
constexpr int kHeight = {height};
constexpr int kWidth = {width};
constexpr int kClasses = {classes};
constexpr bool kUint8 = {uint8};  // type of the pixels; otherwise float
constexpr const char* kPrecision = {precision};
constexpr int kBatch = {batch};  // fastest batch size
constexpr const char* kResize = {resize};  // how images are resized: pad, crop or stretch
constexpr int kCropFrom = {crop_from};  // side of the square from which the center is cropped; 0 for none
}}  // namespace model
"""


def header(bundle: dict) -> str:
    """Return the text of model.h.

    Args:
        bundle: content of bundle.json.
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
    """Return a C++ string literal. Special characters become octal escapes, which end after three digits."""
    return '"' + "".join(chr(byte) if byte in PLAIN else f"\\{byte:03o}" for byte in text.encode()) + '"'


def _printable(text):
    """Return a text without line ends and backslashes, which would end or continue a comment."""
    return "".join(letter if letter.isprintable() and letter not in "\\?" else " " for letter in text)
