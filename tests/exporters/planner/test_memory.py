import itertools

import numpy as np
import pytest

from exporters.planner import layers, memory

MIB = 2**20


def chain(*sizes):
    """Return a chain of layers for the sizes of its tensors, the network's input first."""
    return [
        layers.Layer(f"l{number}", "Relu", 0, {}, {f"t{number}": before}, {f"t{number + 1}": after}, "fp32")
        for number, (before, after) in enumerate(itertools.pairwise(sizes))
    ]


def naive_peak_live_bytes(costs):
    """Run the layers one by one and free each tensor after its last reader; input and output stay."""
    written, read = set(), set()
    for layer in costs:
        read |= set(layer.inputs)
        written |= set(layer.outputs)
    ends, sizes, held, most = (read - written) | (written - read), {}, set(), 0
    for layer in costs:
        sizes |= layer.inputs | layer.outputs
    held |= ends
    for number, layer in enumerate(costs):
        held |= set(layer.outputs)
        most = max(most, sum(sizes[name] for name in held))
        later = {name for each in costs[number + 1 :] for name in each.inputs}
        held = {name for name in held if name in later} | ends
    return most


def test_tensor_lives_until_its_last_reader(board):
    # The input of 10 and the output of 1 live always; beside them 100 and 50 at once.
    assert memory.peak_live_bytes(chain(10, 100, 50, 20, 1)) == 10 + 100 + 50 + 1
    shortcut = chain(10, 100, 50, 20, 1)
    shortcut[3].inputs["t1"] = 100
    assert memory.peak_live_bytes(shortcut) == 10 + 100 + 50 + 20 + 1


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", ["lenet5-modern", "neocognitron", "alexnet-cifar", "madaline"])
def test_peak_equals_a_simulation(exported, name, precision):
    costs = layers.read(exported(name, precision))
    assert memory.peak_live_bytes(costs) == naive_peak_live_bytes(costs)
    assert memory.peak_live_bytes(costs) <= sum(
        {**costs[0].inputs, **{k: v for each in costs for k, v in each.outputs.items()}}.values()
    )


def test_peak_of_random_networks():
    random = np.random.default_rng(6)
    for _ in range(100):
        costs = chain(*map(int, random.integers(1, 1000, random.integers(3, 12))))
        for layer in costs[1:]:
            earlier = costs[random.integers(0, costs.index(layer))]
            layer.inputs.update(earlier.outputs)
        assert memory.peak_live_bytes(costs) == naive_peak_live_bytes(costs)


def test_alexnet_on_a_board_with_shared_memory(exported, board):
    costs = layers.read(exported("alexnet"))
    expected = memory.estimate(costs, 64, 256, board(memory_gb=4))
    weights = 4 * 60_965_224
    assert expected.weights == weights
    assert expected.copies == 2 * weights
    assert expected.workspace == 256 * MIB
    # Around norm1 both its input and its output live, beside the pixels and the scores.
    assert expected.activations == 64 * (2 * 4 * 96 * 55 * 55 + 3 * 227 * 227 + 4 * 1000)
    assert expected.available == 3 * 2**30
    assert expected.total == 3 * weights + expected.activations + 256 * MIB + expected.runtime
    assert expected.fits


def test_graphics_card_has_its_own_memory(exported, board):
    costs = layers.read(exported("lenet5-modern"))
    card = memory.estimate(costs, 1, 0, board(memory_gb=24, jetpacks=()))
    assert (card.copies, card.available) == (0, 24 * 2**30)


def test_message_if_it_does_not_fit(board):
    big = [layers.Layer("fc", "Gemm", 1, {"w": 1000 * MIB}, {"x": MIB}, {"y": MIB}, "fp32")]
    estimate = memory.estimate(big, 16, 256, board(memory_gb=4))
    assert not estimate.fits
    # 1,000 of weights and twice that, 16 x 2 of tensors, 256, and 600 of TensorRT, of 4 GiB less one.
    assert "needs 3,888 MiB (" in str(estimate) and "); Jetson Nano has 3,072 MiB available" in str(estimate)
    assert "weights 1,000, copies of the weights during the build 2,000, activations 32, workspace 256" in str(estimate)
    assert "does not fit" in str(estimate)
    assert "does not fit" not in str(memory.estimate(big, 16, 256, board(memory_gb=8)))


def test_shared_weights_count_once(exported, board):
    costs = layers.read(exported("alexnet-cifar"))
    unique = {name: size for each in costs for name, size in each.weights.items()}
    assert sum(each.weight_bytes for each in costs) > sum(unique.values()) == memory.estimate(costs, 1, 0, board()).weights
