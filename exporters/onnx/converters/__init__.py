"""Conversion of TensorFlow operators that tf2onnx does not convert, or converts to something else.

A converter is a function of a graph and a node of tf2onnx, which changes the graph in place.
"""

from collections.abc import Callable

from exporters.onnx.converters import division, indices, recurrent, resizing, shapes
from exporters.onnx.converters.nodes import NotConvertible

CONVERTERS = {
    **dict.fromkeys((*resizing.INTERPOLATIONS, "ScaleAndTranslate"), resizing.resize),
    "EagerPyFunc": recurrent.recurrent,
    "FloorDiv": division.floor_divide,
    "FloorMod": division.floor_modulo,
    "OneHot": indices.one_hot,
    "Squeeze": shapes.squeeze,
    "TruncateDiv": division.truncate_divide,
    "TruncateMod": division.truncate_modulo,
    "Mod": division.truncate_modulo,
}


def handlers(errors: list[Exception]) -> dict[str, tuple[Callable, list]]:
    """Return the converters as custom handlers of tf2onnx.

    Args:
        errors: list to which the errors of the converters are added, since tf2onnx continues after one.
    """

    def recording(convert):
        def handle(ctx, node, name, args):
            try:
                convert(ctx, node)
            except Exception as error:
                errors.append(error)
                raise

        return handle

    return {operator: (recording(convert), []) for operator, convert in CONVERTERS.items()}


__all__ = ["CONVERTERS", "NotConvertible", "handlers"]
