"""Adaline: its rules agree with loops that follow the papers, and LMS has the published convergence properties."""

import json
import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo
from training.data import synthetic
from zoo import ZooError, losses, rules
from zoo.models.adaline import adaline

TARGETS = [60.0, 0.0, -60.0]


@pytest.fixture(scope="module")
def demonstration():
    """The six letters as switches of ±1, (6, 4, 4, 1), and their labels."""
    samples = synthetic.load("drawn:tgf", {"height": 4, "width": 4, "channels": 1}).splits["train"]
    return samples.images.astype("float32") * 2 / 255 - 1, samples.labels


@pytest.fixture
def rng():
    keras.utils.set_random_seed(4)
    return np.random.default_rng(4)


def with_one(x):
    x = x.reshape(len(x), -1)
    return np.concatenate([x, np.ones((len(x), 1))], axis=1).astype("float64")


def knobs(net):
    kernel, bias = net.get_weights()
    return np.concatenate([kernel, bias[None]]).astype("float64")


def turn(net, knobs):
    net.set_weights([knobs[:-1], knobs[-1]])


# Loops that follow the papers; w is (inputs + 1, units).


def mu_lms(w, x, d, mu):
    for pattern, wanted in zip(with_one(x), d, strict=True):
        for unit in range(w.shape[1]):
            error = wanted[unit] - sum(w[:, unit] * pattern)
            w[:, unit] += 2 * mu * error * pattern
    return w


def alpha_lms(w, x, d, alpha):
    sums = []
    for pattern, wanted in zip(with_one(x), d, strict=True):
        sums.append(pattern @ w)
        for unit in range(w.shape[1]):
            error = wanted[unit] - sum(w[:, unit] * pattern)
            w[:, unit] += alpha * error * pattern / sum(pattern**2)
    return w, np.array(sums)


def sgd(net, loss, rate, x, labels, batch_size=1):
    net.compile(keras.optimizers.SGD(rate), loss)
    for start in range(0, len(x), batch_size):
        net.train_on_batch(x[start : start + batch_size], labels[start : start + batch_size])


def one_by_one(net, loss, rate, x, labels):
    """Train on the rows one by one, many steps per graph; return the mean of the losses before each step."""
    net.compile(keras.optimizers.SGD(rate), loss, steps_per_execution=200)
    return net.fit(x, labels, batch_size=1, shuffle=False, verbose=0).history["loss"][0]


# The rules.


def test_mu_lms_is_sgd_on_the_linear_error(rng):
    """One unit per class: losses.LMS halves the squared error, so the learning rate is Widrow's 2 mu."""
    x, labels = rng.normal(size=(12, 2, 3, 1)).astype("float32"), rng.integers(0, 4, 12)
    net = adaline(4, input_shape=(2, 3, 1))
    turn(net, rng.normal(size=(7, 4)))
    expected = mu_lms(knobs(net), x, 2 * np.eye(4)[labels] - 1, mu=0.02)
    sgd(net, losses.LMS(), 2 * 0.02, x, labels)
    np.testing.assert_allclose(knobs(net), expected, rtol=1e-4, atol=1e-5)


def test_mu_lms_is_sgd_on_the_squared_error_to_a_target(rng, demonstration):
    """A single unit: the squared error is not halved, so the learning rate is Widrow's mu."""
    x, labels = demonstration
    net = adaline(3, TARGETS, (4, 4, 1))
    expected = mu_lms(np.zeros((17, 1)), x, np.take(TARGETS, labels)[:, None], mu=0.02)
    sgd(net, losses.MinimumDistance(), 0.02, x, labels)
    np.testing.assert_allclose(knobs(net), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("targets", [None, [60.0, 0.0, -60.0, 5.0]])
def test_alpha_lms(rng, targets):
    x, labels = rng.normal(size=(12, 2, 3, 1)).astype("float32"), rng.integers(0, 4, 12)
    net = adaline(4, targets, (2, 3, 1))
    turn(net, rng.normal(size=knobs(net).shape))
    wanted = 2 * np.eye(4)[labels] - 1 if targets is None else np.take(targets, labels)[:, None]
    expected, sums = alpha_lms(knobs(net), x, wanted, alpha=0.3)
    scores = sums if targets is None else -((sums - targets) ** 2)
    given = keras.ops.convert_to_numpy(rules.AlphaLMS(0.3).train_on_batch(net, x, labels))
    np.testing.assert_allclose(knobs(net), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(given, scores, rtol=1e-3, atol=1e-3)


@settings(max_examples=40)
@given(st.floats(0.01, 1.99), st.integers(0, 2**32 - 1), st.floats(0.1, 30.0))
def test_alpha_lms_removes_the_same_share_of_every_error(alpha, seed, scale):
    """The error on the row is multiplied by (1 - alpha), for inputs of any norm."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(1, 1, 5, 1), scale=scale).astype("float32")
    net = adaline(3, input_shape=(1, 5, 1))
    turn(net, rng.normal(size=(6, 3)))
    wanted = np.array([-1, 1, -1])
    before = wanted - with_one(x) @ knobs(net)
    rules.AlphaLMS(alpha).train_on_batch(net, x, np.array([1]))
    after = wanted - with_one(x) @ knobs(net)
    np.testing.assert_allclose(after, (1 - alpha) * before, atol=1e-5 * (1 + scale))


@pytest.mark.parametrize("alpha", [0.0, -0.1, 2.0, 2.5])
def test_alpha_must_shrink_the_error(alpha):
    with pytest.raises(ValueError, match=rf"within \(0, 2\).*{alpha}"):
        rules.AlphaLMS(alpha)


def test_rule_config():
    rule = rules.get({"class_name": "zoo>AlphaLMS", "config": {"alpha": 0.25}})
    assert rule.get_config() == {"alpha": 0.25}
    assert rules.get(json.loads(json.dumps(keras.saving.serialize_keras_object(rule)))).alpha == 0.25


def test_rule_requires_its_machine():
    with pytest.raises(ZooError, match=r"AlphaLMS trains a network of Dense, .*lenet5 has Conv2D, ScaledTanh"):
        rules.AlphaLMS(0.5).prepare(zoo.build("lenet5"), 1, 1)
    softmax = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
    with pytest.raises(ZooError, match="without activations"):
        rules.AlphaLMS(0.5).prepare(softmax, 1, 1)


# The machine.


def test_initial_weights_are_zero_one_per_switch_and_a_bias():
    net = adaline(3, TARGETS, (4, 4, 1))
    assert knobs(net).shape == (17, 1) and not knobs(net).any()


def test_needs_one_target_per_class():
    with pytest.raises(ZooError, match="3 targets for 10 classes"):
        adaline(10, TARGETS)


def test_scores_are_squared_distances_to_the_targets(rng, demonstration):
    x, _ = demonstration
    net = adaline(3, TARGETS, (4, 4, 1))
    turn(net, 10 * rng.normal(size=(17, 1)))
    expected = -((with_one(x) @ knobs(net) - TARGETS) ** 2)
    np.testing.assert_allclose(net.predict(x, verbose=0), expected, rtol=1e-4)


# The demonstration of 1960.


def test_letters_of_the_demonstration(demonstration):
    """The second example of each letter is the first, one column to the right."""
    x, labels = demonstration
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert set(np.unique(x)) == {-1, 1} and len(np.unique(x.reshape(6, -1), axis=0)) == 6
    np.testing.assert_array_equal(x[1::2, :, 1:], x[::2, :, :-1])
    assert (x[1::2, :, 0] == -1).all() and (x[::2, :, -1] == -1).all()


def test_letters_of_another_size():
    with pytest.raises(ZooError, match="images of 4x4x1; requested 28x28x1"):
        synthetic.load("drawn:tgf", {"height": 28, "width": 28, "channels": 1})


def correlation(x):
    return with_one(x).T @ with_one(x) / len(x)


def test_demonstration_has_an_exact_solution(demonstration):
    x, labels = demonstration
    eigenvalues = np.linalg.eigvalsh(correlation(x))
    np.testing.assert_allclose(eigenvalues.max(), 6.108, atol=5e-4)
    np.testing.assert_allclose(np.trace(correlation(x)), 17, atol=1e-12)
    wanted = np.take(TARGETS, labels)
    assert (wanted**2).sum() == 14_400  # the squared error with zero weights
    solution = np.linalg.lstsq(with_one(x), wanted)[0]
    np.testing.assert_allclose(with_one(x) @ solution, wanted, atol=1e-9)


def test_two_hundred_presentations(demonstration):
    """With 2 mu = 0.06 they reduce the squared error from 14,400 to about 0.1, the median over many random orders."""
    x, labels = demonstration
    net, final = adaline(3, TARGETS, (4, 4, 1)), []
    for seed in range(15):
        shown = np.random.default_rng(seed).integers(0, 6, 200)
        turn(net, np.zeros((17, 1)))
        one_by_one(net, losses.MinimumDistance(), 0.03, x[shown], labels[shown])
        final.append(squared_error(net, x, labels))
    assert 0.03 < np.median(final) < 0.3
    # |x|² is 17 for every pattern, so alpha-LMS with 17 · 0.06 is equivalent.
    other = adaline(3, TARGETS, (4, 4, 1))
    rules.AlphaLMS(17 * 0.06).train_on_batch(other, x[shown], labels[shown])
    np.testing.assert_allclose(knobs(other), knobs(net), rtol=1e-3, atol=1e-3)


# Convergence. Steepest descent on all patterns at once is the mean behavior of mu-LMS.


def squared_error(net, x, labels):
    return ((np.take(TARGETS, labels)[:, None] - with_one(x) @ knobs(net)) ** 2).sum()


@pytest.mark.parametrize("share, converges", [(0.95, True), (1.05, False)])
def test_mean_converges_below_one_over_the_largest_eigenvalue(demonstration, share, converges):
    x, labels = demonstration
    net = adaline(3, TARGETS, (4, 4, 1))
    mu = share / np.linalg.eigvalsh(correlation(x)).max()
    sgd(net, losses.MinimumDistance(), mu, np.tile(x, (150, 1, 1, 1)), np.tile(labels, 150), batch_size=6)
    error = squared_error(net, x, labels)
    assert error < 1e-3 if converges else error > 1e9


@pytest.mark.parametrize("share, converges", [(0.95, True), (1.05, False)])
def test_mean_square_converges_below_one_over_the_trace(demonstration, share, converges):
    """All patterns of ±1 have |x|² = tr R, so the bound is sharp: it is alpha = 2."""
    x, labels = demonstration
    shown = np.random.default_rng(1).integers(0, 6, 3000)
    net = adaline(3, TARGETS, (4, 4, 1))
    one_by_one(net, losses.MinimumDistance(), share / 17, x[shown], labels[shown])
    error = squared_error(net, x, labels)
    assert error < 1e-3 if converges else not error < 1e9


@pytest.mark.parametrize("mode", [-1, -6])
def test_time_constant(demonstration, mode):
    """Along the p-th eigenvector the squared error falls with the time constant 1 / (4 mu lambda_p), for small mu."""
    x, labels = demonstration
    eigenvalues, vectors = np.linalg.eigh(correlation(x))
    net = adaline(3, TARGETS, (4, 4, 1))
    solution = np.linalg.lstsq(with_one(x), np.take(TARGETS, labels))[0]
    turn(net, (solution + 10 * vectors[:, mode])[:, None])
    mu, steps = 0.01 / eigenvalues[mode], 40
    before = squared_error(net, x, labels)
    sgd(net, losses.MinimumDistance(), mu, np.tile(x, (steps, 1, 1, 1)), np.tile(labels, steps), batch_size=6)
    measured = steps / math.log(before / squared_error(net, x, labels))
    np.testing.assert_allclose(measured, 1 / (4 * mu * eigenvalues[mode]), rtol=0.02)


@pytest.mark.parametrize("mu", [0.002, 0.005])
def test_misadjustment(mu):
    """Noise makes the weights fluctuate: excess over smallest squared error, about mu tr R.

    The answers wanted are thrown by a coin, so that the best weights are zero and the smallest squared error is 1. A hundred
    Adalines with coins of their own see Gaussian inputs of unequal strength, and the 1 of the bias. The prediction is for
    small mu; the next term of the series is about mu tr R times the first, so that the tolerance is a share of it.
    """
    machines, rows = 100, 4000
    rng = np.random.default_rng(7)
    strength = np.array([1.0, 2.0, 0.5, 2.5])  # standard deviations; tr R is the sum of their squares and 1
    x = (rng.normal(size=(2 * rows, 1, 4, 1)) * strength[:, None]).astype("float32")
    coins = rng.integers(0, 2, size=(2 * rows, machines)).astype("float32")
    net = adaline(machines, input_shape=(1, 4, 1))
    one_by_one(net, losses.LMS(), 2 * mu, x[:rows], coins[:rows])  # until the fluctuation of the weights is stationary
    error = 2 * one_by_one(net, losses.LMS(), 2 * mu, x[rows:], coins[rows:]) / machines
    predicted = mu * ((strength**2).sum() + 1)
    np.testing.assert_allclose(error - 1, predicted, rtol=2 * predicted + 0.02)
