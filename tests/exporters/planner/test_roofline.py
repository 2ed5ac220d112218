import pytest

from exporters.planner import layers, roofline
from exporters.precision import Precision
from zoo.errors import ZooError


def layer(macs=0, weights=0, inputs=0, outputs=0, precision=Precision.FP32):
    return layers.Layer("a", "Conv", macs, {"w": weights}, {"x": inputs}, {"y": outputs}, precision)


@pytest.mark.parametrize("batch", [1, 64])
def test_alexnet_on_a_nano_by_hand(exported, board, batch):
    rows = {row.layer.name: row for row in roofline.estimate(layers.read(exported("alexnet")), board(), batch).rows}
    # Krizhevsky, Sutskever and Hinton (2012): 96 kernels of 11 x 11 x 3, 55 x 55 places; 4,096 units that see 6 x 6 x 256.
    # A Nano: 128 cores at 921.6 MHz, two operations each, 236 GFLOPS; 25.6 GB a second. All but the pixels is float32.
    conv1 = 2 * (55 * 55 * 96) * (11 * 11 * 3) * batch / 236e9
    assert rows["conv1"].compute_seconds == pytest.approx(conv1)
    moved = 4 * (96 * 11 * 11 * 3 + 96) + batch * 4 * (227 * 227 * 3 + 55 * 55 * 96)
    assert rows["conv1"].memory_seconds == pytest.approx(moved / 25.6e9)
    assert (rows["conv1"].bound, rows["conv1"].seconds) == ("compute", pytest.approx(conv1))
    # Alone, a picture waits for 151 MB of weights; together, they share them.
    fc6 = (4 * (9216 * 4096 + 4096) + batch * 4 * (9216 + 4096)) / 25.6e9
    product = 2 * 9216 * 4096 * batch / 236e9
    assert rows["fc6"].bound == ("memory" if batch == 1 else "compute")
    assert rows["fc6"].seconds == pytest.approx(fc6 if batch == 1 else product)


def test_total_time_and_throughput(board):
    estimate = roofline.estimate([layer(macs=236_000_000_000), layer(inputs=25_600_000_000)], board(), 3)
    assert [row.seconds for row in estimate.rows] == pytest.approx([6, 3])
    assert estimate.seconds == pytest.approx(9)
    assert estimate.images_per_second == pytest.approx(3 / 9)


def test_each_precision_has_its_peak(board):
    target = board(int8_tops=20.0, fp32_tflops=1.0, fp16_tflops=10.0)
    for precision, seconds in ((Precision.FP32, 2e-3), (Precision.FP16, 2e-4), (Precision.INT8, 1e-4)):
        (row,) = roofline.estimate([layer(macs=1_000_000_000, precision=precision)], target, 1).rows
        assert row.compute_seconds == pytest.approx(seconds)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_faster_memory_or_larger_batch_never_slows_down(exported, board, precision):
    costs = layers.read(exported("lenet5-modern", precision))
    slow = roofline.estimate(costs, board(), 1)
    assert roofline.estimate(costs, board(memory_bandwidth_gbs=51.2), 1).seconds < slow.seconds
    rates = [roofline.estimate(costs, board(), batch).images_per_second for batch in (1, 2, 8, 64)]
    assert rates == sorted(rates) and rates[0] < rates[-1]


def test_int8_without_acceleration_is_an_error(exported, board):
    costs = layers.read(exported("lenet5-modern", "int8"))
    with pytest.raises(ZooError, match=r"c1 is INT8, which the GPU of Jetson Nano does not accelerate.*--precision fp16"):
        roofline.estimate(costs, board(), 1)
    assert roofline.estimate(costs, board(int8_tops=20.0), 1).seconds > 0


@pytest.mark.parametrize("fact", ["memory_bandwidth_gbs", "fp32_tflops"])
def test_undocumented_peak_rate_is_an_error(board, fact):
    with pytest.raises(ZooError, match=f"{fact} of Jetson Nano is not documented"):
        roofline.estimate([layer(macs=1)], board(**{fact: None}), 1)
