"""The precisions that a model is exported in: the one table of their types, operator sets and peaks.

How far the scores of a file may be from those of its model in each precision is in `exporters.runner.board.gate.TOLERANCES`,
because the same check runs on the board.
"""

from exporters.choices import Choice

FP16_RECIPE = "layers compute in float16; operations that exceed its range compute in float32"
INT8_RECIPE = "layers with weights multiply INT8, between QuantizeLinear and DequantizeLinear; the others compute in float32"


class Precision(Choice):
    """The type in which layers with weights multiply. Equal to its name, such as "fp16".

    Attributes:
        dtype: NumPy's name of the type.
        label: name of the type in a sentence.
        oldest_opset: oldest ONNX operator set that can express it.
        peak: attribute of `exporters.targets.Target` that holds the peak rate of a board.
        recipe: one sentence on what is computed in this precision.
    """

    dtype: str
    label: str
    oldest_opset: int
    peak: str
    recipe: str

    def __new__(cls, name: str, dtype: str, label: str, oldest_opset: int, peak: str, recipe: str) -> "Precision":
        member = str.__new__(cls, name)
        member._value_ = name
        member.dtype, member.label, member.oldest_opset = dtype, label, oldest_opset
        member.peak, member.recipe = peak, recipe
        return member

    # Before opset 9 weights count as inputs; before 13 DequantizeLinear has a single scale for a whole tensor.
    FP32 = "fp32", "float32", "float32", 9, "fp32_tflops", "all layers compute in float32"
    FP16 = "fp16", "float16", "float16", 9, "fp16_tflops", FP16_RECIPE
    INT8 = "int8", "int8", "INT8", 13, "int8_tops", INT8_RECIPE


QUANTIZED = (Precision.INT8, Precision.FP16)  # those that `zoo quantize` writes
