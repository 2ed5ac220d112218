"""Whitening layers whiten the data that they were fitted to, and apply the same transform to other data."""

import json

import keras
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from zoo.analysis import arithmetic
from zoo.layers import PCAWhitening, ZCAWhitening, ZeroCenter

SHAPE = (2, 3, 1)
LAYERS = [ZeroCenter, PCAWhitening, ZCAWhitening]


def images(seed=0, rows=200, shape=SHAPE):
    """Correlated images with a mean, float32."""
    rng = np.random.default_rng(seed)
    features = int(np.prod(shape))
    mixed = rng.normal(size=(rows, features)) @ rng.normal(size=(features, features)) + 5 * rng.normal(size=features)
    return mixed.reshape(rows, *shape).astype("float32")


def run(layer, x):
    return keras.ops.convert_to_numpy(layer(x))


def adapted(layer, data):
    layer.adapt(data)
    return layer


def covariance(z):
    z = z.reshape(len(z), -1).astype("float64")
    z = z - z.mean(axis=0)
    return z.T @ z / len(z)


@pytest.mark.parametrize("per_channel", [False, True])
def test_zero_center(per_channel):
    """The mean image, or one number per channel."""
    data = images(shape=(3, 2, 4))
    layer = adapted(ZeroCenter(per_channel), data)
    mean = data.astype("float64").mean(axis=(0, 1, 2) if per_channel else 0)
    np.testing.assert_allclose(run(layer, data), data - mean, atol=1e-5)
    assert layer.count_params() == (4 if per_channel else 24)


def test_mean_is_that_of_the_fitted_data():
    """Other data keep their difference from it."""
    train, test = images(), images() + 3
    np.testing.assert_allclose(run(adapted(ZeroCenter(), train), test).mean(axis=0), 3, atol=1e-4)


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from([PCAWhitening, ZCAWhitening]))
def test_covariance_of_whitened_data_is_the_identity(seed, make):
    data = images(seed)
    assume(np.linalg.cond(covariance(data)) < 1e5)  # float32 has no digits for others
    z = run(adapted(make(epsilon=0), data), data)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-2)
    np.testing.assert_allclose(covariance(z), np.eye(6), atol=1e-2)


def test_pca_components_are_sorted_by_variance():
    """Without the scaling, the components are those of an eigen-decomposition and are uncorrelated."""
    data = images(1)
    layer = adapted(PCAWhitening(epsilon=0), data)
    rotated = run(layer, data) * keras.ops.convert_to_numpy(layer.deviations)
    found = covariance(rotated)
    variances = np.linalg.eigvalsh(covariance(data))[::-1]
    np.testing.assert_allclose(np.diag(found), variances, rtol=1e-3)
    np.testing.assert_allclose(found - np.diag(np.diag(found)), 0, atol=1e-3 * variances[0])


def test_components_are_the_first_ones():
    data = images(2)
    every = run(adapted(PCAWhitening(), data), data)
    few = adapted(PCAWhitening(2), data)
    np.testing.assert_allclose(run(few, data), every[:, :2], rtol=1e-3, atol=1e-4)
    assert few.compute_output_shape((None, *SHAPE)) == (None, 2)


def test_zca_is_symmetric_and_the_nearest_whitening():
    """Any rotation of white data is white; that of ZCA is the nearest to the data."""
    data = images(3)
    centered = (data - data.mean(axis=0)).reshape(200, 6)
    zca = run(adapted(ZCAWhitening(epsilon=0), data), data)
    assert zca.shape == data.shape
    zca = zca.reshape(200, 6)
    # The matrix of the layer, by least squares.
    matrix = np.linalg.lstsq(centered, zca, rcond=None)[0]
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-3)
    distance = np.sum((zca - centered) ** 2)
    rng = np.random.default_rng(3)
    for size in (1e-2, 0.3, 10):
        rotation, _ = np.linalg.qr(np.eye(6) + size * rng.normal(size=(6, 6)))
        rotation *= np.sign(np.diag(rotation))
        assert np.sum((zca @ rotation - centered) ** 2) > distance
    assert np.sum((run(adapted(PCAWhitening(epsilon=0), data), data) - centered) ** 2) > distance


def test_epsilon_limits_the_gain_of_small_variances():
    """Variances v and epsilon e: the output has the variance v/(v + e)."""
    data = np.random.default_rng(4).normal(size=(500, 2)).astype("float32") * np.float32([10, 0.01])
    z = run(adapted(PCAWhitening(epsilon=0.01), data), data)
    v = np.linalg.eigvalsh(covariance(data))[::-1]
    np.testing.assert_allclose(covariance(z), np.diag(v / (v + 0.01)), atol=1e-3)


@pytest.mark.parametrize("make", [PCAWhitening, ZCAWhitening])
def test_inverse(make):
    data = images(5)
    layer = adapted(make(), data)
    other = images(6, rows=10)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer.inverse(layer(other))), other, rtol=1e-3, atol=1e-3)


def test_inverse_of_some_components_is_the_projection():
    """The mean squared error is the sum of the variances of the other components."""
    data = images(7)
    layer = adapted(PCAWhitening(4), data)
    back = keras.ops.convert_to_numpy(layer.inverse(layer(data)))
    error = np.mean(np.sum((back - data) ** 2, axis=(1, 2, 3)))
    np.testing.assert_allclose(error, np.linalg.eigvalsh(covariance(data))[:2].sum(), rtol=1e-3)


@pytest.mark.parametrize("make", LAYERS)
def test_must_be_fitted_before_it_runs(make):
    with pytest.raises(ValueError, match="is not fitted: call `adapt`"):
        make()(images())
    model = keras.Sequential([keras.Input(SHAPE), make()])
    with pytest.raises(ValueError, match="is not fitted"):
        model(images())
    model.layers[0].adapt(images())
    assert np.isfinite(run(model, images())).all()


def test_epsilon_of_zero_requires_variance():
    data = images()
    data[:, 0, 0] = data[:, 1, 1]
    with pytest.raises(ValueError, match="vary along 5 of 6 axes"):
        PCAWhitening(epsilon=0).adapt(data)
    assert np.isfinite(run(adapted(PCAWhitening(5, epsilon=0), data), data)).all()
    assert np.isfinite(run(adapted(ZCAWhitening(), data), data)).all()


def test_at_most_as_many_components_as_features():
    with pytest.raises(ValueError, match="7 components need as many features, not"):
        PCAWhitening(7).build((None, *SHAPE))


@pytest.mark.parametrize("make", LAYERS)
def test_saved_and_loaded(make, tmp_path):
    data = images()
    model = keras.Sequential([keras.Input(SHAPE), adapted(make(), data)])
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    fresh = keras.Sequential([keras.Input(SHAPE), make()])
    fresh.load_weights(tmp_path / "model.weights.h5")
    for loaded in (keras.saving.load_model(tmp_path / "model.keras"), fresh):
        np.testing.assert_array_equal(run(loaded, data), run(model, data))


@pytest.mark.parametrize("make", LAYERS)
def test_set_weights_counts_as_fitting(make):
    """Of a layer, and of a model: a clone that was not fitted itself."""
    data = images()
    model = keras.Sequential([keras.Input(SHAPE), adapted(make(), data)])
    clone, layer = keras.models.clone_model(model), make()
    layer.build(data.shape)
    for copy in (clone, layer):
        with pytest.raises(ValueError, match="is not fitted"):
            copy(data)
        copy.set_weights(model.get_weights())
        np.testing.assert_array_equal(run(copy, data), run(model, data))
    np.testing.assert_array_equal(clone.predict(data, verbose=0), model.predict(data, verbose=0))


def test_net_must_be_fitted_before_it_runs_in_a_graph():
    with pytest.raises(ValueError, match="is not fitted"):
        keras.Sequential([keras.Input(SHAPE), ZeroCenter()]).predict(images(), verbose=0)


@pytest.mark.parametrize("layer", [ZeroCenter(True), PCAWhitening(3, 0.5), ZCAWhitening(0.5)], ids=lambda layer: layer.name)
def test_config(layer):
    copy = type(layer).from_config(json.loads(json.dumps(layer.get_config())))
    assert copy.get_config() == layer.get_config()
    assert copy.compute_output_shape((2, *SHAPE)) == run(adapted(copy, images()), images()[:2]).shape


@pytest.mark.parametrize("make, connections", [(ZeroCenter, 0), (lambda: PCAWhitening(2), 12), (ZCAWhitening, 72)])
def test_connections(make, connections):
    (row,) = arithmetic.table(keras.Sequential([keras.Input(SHAPE), make()]))
    assert (row.connections, row.macs, row.trainable) == (connections, connections, 0)
