"""The perceptron agrees with a loop that follows Rosenblatt and with the theorems, and the Mark I with NumPy."""

import keras
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import zoo
from zoo.analysis import arithmetic
from zoo.layers import AssociationUnits, Step
from zoo.losses import PerceptronCriterion
from zoo.models.perceptron import mark1, perceptron

XOR = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
AND = XOR[0], np.array([0, 0, 0, 1])


class Rosenblatt:
    """One R-unit with a bias, in loops: f(x) = 1 if w·x + b > 0 else 0; w += alpha (d - y) x, b += alpha (d - y)."""

    def __init__(self, inputs, alpha=1):
        self.w = [0] * inputs
        self.b = 0
        self.alpha = alpha

    def learn(self, x, d):
        """Return whether the unit was wrong, and correct it."""
        s = self.b
        for i, signal in enumerate(x):
            s += self.w[i] * signal
        y = 1 if s > 0 else 0
        for i, signal in enumerate(x):
            self.w[i] += self.alpha * (d - y) * signal
        self.b += self.alpha * (d - y)
        return y != d

    def epoch(self, rows, desired):
        """Return the number of mistakes in one pass."""
        return sum(self.learn(x, d) for x, d in zip(rows, desired, strict=True))

    @property
    def state(self):
        return [*self.w, self.b]


def compiled(net, alpha=1.0):
    """A net compiled for Rosenblatt's rule."""
    net.compile(keras.optimizers.SGD(alpha), PerceptronCriterion())
    return net


def one_unit(inputs, alpha=1.0):
    """A perceptron of one R-unit for images one pixel high."""
    return compiled(perceptron(classes=1, input_shape=(1, inputs, 1)), alpha)


def as_images(rows):
    return np.asarray(rows, "float32")[:, None, :, None]


def state(net):
    kernel, bias = net.get_weights()
    return [*kernel.ravel(), *bias]


# The rule.


@pytest.mark.parametrize("alpha", [1.0, 0.25])
def test_sgd_is_rosenblatts_rule(alpha):
    """Integers and a power of two: the weights are equal to the bit after every image."""
    rng = np.random.default_rng(1)
    rows, desired = rng.integers(-3, 4, (40, 5)), rng.integers(0, 2, 40)
    net, loop = one_unit(5, alpha), Rosenblatt(5, alpha)
    wrong = 0
    for x, d in zip(rows, desired, strict=True):
        net.train_on_batch(as_images([x]), np.array([d]))
        wrong += loop.learn(x, d)
        assert state(net) == loop.state
    assert 5 < wrong < 40


def test_one_unit_per_class_is_one_perceptron_against_the_rest():
    rng = np.random.default_rng(2)
    rows, labels = rng.integers(0, 2, (30, 6)), rng.integers(0, 3, 30)
    net = compiled(perceptron(classes=3, input_shape=(2, 3, 1)))
    net.fit(rows.reshape(-1, 2, 3, 1).astype("float32"), labels, batch_size=1, epochs=2, shuffle=False, verbose=0)
    for unit in range(3):
        loop = Rosenblatt(6)
        mistakes = [loop.epoch(rows, labels == unit) for _ in range(2)]
        kernel, bias = net.get_weights()
        assert [*kernel[:, unit], bias[unit]] == loop.state
        assert min(mistakes) > 0


def test_and_is_learned_without_error():
    """Then the weights no longer change."""
    net, loop = one_unit(2), Rosenblatt(2)
    while loop.epoch(*AND):
        pass
    losses = net.fit(as_images(AND[0]), AND[1], batch_size=1, epochs=7, shuffle=False, verbose=0).history["loss"]
    assert max(losses) > 0 and losses[-1] == 0
    assert state(net) == loop.state
    answers = keras.ops.convert_to_numpy(net(as_images(AND[0]))).ravel() > 0
    assert answers.tolist() == AND[1].tolist()


# The theorems. Here the loop, which agrees with Keras, is in integers and therefore exact.

vectors = st.integers(2, 5).flatmap(
    lambda size: st.tuples(
        st.lists(st.integers(-5, 5), min_size=size + 1, max_size=size + 1),
        st.lists(st.lists(st.integers(-6, 6), min_size=size, max_size=size), min_size=1, max_size=25),
    )
)


def separated(drawn):
    """Return rows that the hyperplane u separates, the desired outputs, and R²|u|² and γ|u| of Novikoff's bound.

    The bias is a weight whose input is 1: it is a part of u, and counts into R.
    """
    u, rows = np.array(drawn[0]), np.array(drawn[1])
    folded = np.hstack([rows, np.ones((len(rows), 1), int)])
    sums = folded @ u
    folded, sums = folded[sums != 0], sums[sums != 0]
    assume(len(sums))
    radius = (folded**2).sum(axis=1).max()
    return folded[:, :-1].tolist(), (sums > 0).astype(int).tolist(), int(radius * (u @ u)), int(np.abs(sums).min())


@given(vectors)
def test_novikoffs_bound(drawn):
    """There are at most (R/γ)² mistakes, so training reaches an epoch without any, and then all rows are right."""
    rows, desired, radius, margin = separated(drawn)
    assume(radius <= 2000 * margin**2)
    unit, mistakes = Rosenblatt(len(rows[0])), 0
    while found := unit.epoch(rows, desired):
        mistakes += found
        assert mistakes * margin**2 <= radius
    assert [unit.b + sum(w * x for w, x in zip(unit.w, row, strict=True)) > 0 for row in rows] == [d == 1 for d in desired]


def test_novikoffs_bound_can_be_reached():
    """One row, x = 1 and d = 1: with the bias R² = 2 and γ² = 2, and there is one mistake."""
    unit = Rosenblatt(1)
    assert [unit.epoch([[1]], [1]) for _ in range(2)] == [1, 0]


@given(vectors, st.integers(-20, 20))
def test_step_size_does_not_change_the_mistakes_from_zero_weights(drawn, power):
    """All weights are alpha times those of alpha = 1, to the bit for a power of two."""
    rows, desired, *_ = separated(drawn)
    desired[0] = 1 - desired[0]  # separable or not
    one, other = Rosenblatt(len(rows[0])), Rosenblatt(len(rows[0]), 2.0**power)
    for _ in range(10):
        for x, d in zip(rows, desired, strict=True):
            assert one.learn(x, d) == other.learn(x, d)
        assert other.state == [2.0**power * w for w in one.state]


def test_step_size_does_not_change_the_mistakes_in_keras():
    """The loss is the sum of the wrong scores: it scales with alpha and is zero in the same steps."""
    rng = np.random.default_rng(3)
    rows, desired = as_images(rng.integers(-3, 4, (30, 4))), rng.integers(0, 2, 30)
    one, other = one_unit(4), one_unit(4, 2.0**-7)
    for x, d in zip(rows, desired, strict=True):
        losses = [float(net.train_on_batch(x[None], np.array([d]), return_dict=True)["loss"]) for net in (one, other)]
        assert losses[1] == 2.0**-7 * losses[0]
    assert state(other) == [2.0**-7 * w for w in state(one)] and any(state(one))


def test_xor_never_converges():
    """Earlier weights recur, with mistakes in between, so the sequence is periodic."""
    unit, seen = Rosenblatt(2), []
    while unit.state not in seen:
        seen.append(unit.state)
        assert unit.epoch(*XOR) > 0
    first = seen.index(unit.state)
    period = len(seen) - first
    assert (first, period) == (2, 1)
    # One epoch of the cycle: the weights change and return.
    inside = []
    for x, d in zip(*XOR, strict=True):
        unit.learn(x, d)
        inside.append(unit.state)
    assert inside[-1] == seen[first] and len({tuple(each) for each in inside}) > 1
    # The same with Keras.
    net = one_unit(2)
    for epoch in range(first + 3 * period):
        assert state(net) == (seen[epoch] if epoch < len(seen) else seen[first + (epoch - first) % period])
        history = net.fit(as_images(XOR[0]), XOR[1], batch_size=1, shuffle=False, verbose=0).history
    assert history["loss"][0] > 0


# The Mark I.


def machine(images, wiring, threshold, weights):
    """The whole machine, wire by wire: photocells, A-units, R-units."""
    sums = np.zeros((len(images), weights.shape[1]))
    for number, image in enumerate(images):
        cells = [1 if pixel > 0.5 else 0 for pixel in image.ravel()]
        for a_unit in range(wiring.shape[1]):
            excitation = sum(cell for cell, wire in zip(cells, wiring[:, a_unit], strict=True) if wire == 1)
            inhibition = sum(cell for cell, wire in zip(cells, wiring[:, a_unit], strict=True) if wire == -1)
            if excitation - inhibition > threshold:
                sums[number] += weights[a_unit]
    return sums


def test_mark1_agrees_with_the_machine_in_numpy():
    """Integer weights, so that every sum is exact; pixels at the very threshold of a photocell are off."""
    rng = np.random.default_rng(4)
    net = mark1(classes=3, associations=60, reach=12)
    wiring = net.get_layer("association").get_weights()[0]
    weights = rng.integers(-9, 10, (60, 3))
    net.get_layer("response").set_weights([weights])
    images = rng.choice([0, 0.2, 0.5, 0.50001, 1], size=(6, 20, 20, 1)).astype("float32")
    expected = machine(images, wiring, 1, weights)
    assert len(np.unique(expected)) > 6
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(net(images)), expected)


def test_plugboard():
    """400 photocells, each with 40 wires to as many of the 512 A-units, half of which excite."""
    wiring = mark1().get_layer("association").get_weights()[0]
    assert wiring.shape == (400, 512) and wiring.dtype == "int8"
    assert ((wiring == 1).sum(axis=1) == 20).all() and ((wiring == -1).sum(axis=1) == 20).all()
    assert set(np.unique(wiring)) == {-1, 0, 1}
    assert len(np.unique(wiring, axis=0)) == 400 and len(np.unique(wiring, axis=1).T) == 512


@pytest.mark.parametrize("associations, reach", [(512, 40), (1000, 40), (9, 9), (30, 7), (5, 1)])
def test_each_photocell_reaches_as_many_units(associations, reach):
    net = mark1(associations=associations, reach=reach)
    wiring = net.get_layer("association").get_weights()[0]
    assert (np.abs(wiring).sum(axis=1) == reach).all()
    assert arithmetic.totals(arithmetic.table(net))["connections"] == 400 * reach + 8 * associations


def test_counts_of_mark1():
    """4,096 potentiometers are trained; the wires are not."""
    net = mark1()
    (kernel,) = net.trainable_weights
    assert kernel.shape == (512, 8) and not keras.ops.convert_to_numpy(kernel).any()
    rows = {row.name: row for row in arithmetic.table(net)}
    assert (rows["association"].connections, rows["association"].trainable) == (16_000, 0)
    assert (rows["response"].connections, rows["response"].trainable) == (4096, 4096)


def test_wiring_is_determined_by_the_seed():
    same, again, other = (mark1(seed=seed).get_layer("association").get_weights()[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(same, again)
    assert (same != other).any()


@pytest.mark.parametrize("reach", [0, 11])
def test_reach_must_be_within_the_units(reach):
    with pytest.raises(ValueError, match=f"reach must be between 1 and units=10. Received: reach={reach}"):
        AssociationUnits(10, reach)


def test_step_is_0_at_its_threshold():
    x = np.float32([-1, 0, 1e-30, 0.5, 0.75])
    assert keras.ops.convert_to_numpy(Step()(x)).tolist() == [0, 0, 1, 1, 1]
    assert keras.ops.convert_to_numpy(Step(0.5)(x)).tolist() == [0, 0, 0, 0, 1]


def test_only_the_potentiometers_are_trained_by_rosenblatts_rule():
    rng = np.random.default_rng(5)
    images = rng.integers(0, 2, (25, 20, 20, 1)).astype("float32")
    labels = rng.integers(0, 3, 25)
    net = compiled(mark1(classes=3, associations=50, reach=5))
    wiring = net.get_layer("association").get_weights()[0]
    net.fit(images, labels, batch_size=1, epochs=3, shuffle=False, verbose=0)
    np.testing.assert_array_equal(net.get_layer("association").get_weights()[0], wiring)
    active = (images.reshape(25, -1) @ wiring > 1).astype(int)
    weights = np.zeros((50, 3), int)
    for _ in range(3):
        for x, label in zip(active, labels, strict=True):
            y = x @ weights > 0
            weights += np.outer(x, np.eye(3, dtype=int)[label] - y)
    np.testing.assert_array_equal(net.get_layer("response").get_weights()[0], weights)
    assert np.abs(weights).max() > 1


def test_loaded_wiring_overrides_the_seed(tmp_path):
    """A file from another random stream still gives its own machine."""
    model = zoo.load("mark1")
    layer = model.net.get_layer("association")
    layer.set_weights([np.roll(layer.get_weights()[0], 1, axis=1)])
    model.save(tmp_path / "a.keras")
    again = zoo.load(tmp_path / "a.keras")
    assert again.fingerprint() == model.fingerprint() != zoo.load("mark1").fingerprint()


def test_project_to_input():
    """Without the thresholds the machine is linear, and these are its templates."""
    rng = np.random.default_rng(6)
    layer = AssociationUnits(30, reach=7)
    layer.build((None, 12))
    wiring, weights = layer.get_weights()[0], rng.integers(-9, 10, (30, 3)).astype("float32")
    x = rng.integers(0, 2, (5, 12))
    found = keras.ops.convert_to_numpy(layer.project_to_input(weights))
    np.testing.assert_array_equal(x @ found, (x @ wiring) @ weights)
