"""The table of precisions agrees with the tolerances of the board, and with its targets."""

import json

import numpy as np
import pytest

from exporters import targets
from exporters.precision import Precision
from exporters.runner.board.gate import TOLERANCES
from zoo.errors import ZooError


def test_each_precision_has_a_tolerance_type_and_peak():
    assert list(TOLERANCES) == list(Precision) == ["fp32", "fp16", "int8"]
    board = targets.target("orin-nano")
    for each in Precision:
        assert getattr(board, each.peak) > 0 and np.dtype(each.dtype).itemsize in (1, 2, 4)
        assert each.oldest_opset <= targets.OPSET <= targets.NEWEST_OPSET


def test_precision_equals_its_name():
    assert Precision.INT8 == "int8" == str(Precision.INT8) and json.dumps(Precision.INT8) == '"int8"'


def test_unknown_precision_is_an_error_with_a_suggestion():
    with pytest.raises(ZooError, match="precision must be fp32, fp16 or int8; given was 'int4'; did you mean 'int8'"):
        Precision.parse("int4")
    with pytest.raises(ZooError, match="precision must be int8 or fp16; given was 'fp32'"):
        Precision.parse("fp32", (Precision.INT8, Precision.FP16))
