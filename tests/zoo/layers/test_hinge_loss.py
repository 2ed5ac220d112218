"""HingeLoss trains a model as the loss `MulticlassHinge` does."""

import keras
import numpy as np
import pytest

from numeric import run
from zoo.layers import HingeLoss
from zoo.losses import MulticlassHinge


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("form", ["integers", "one-hot"])
def test_same_training_as_with_the_loss(rng, squared, form):
    x, labels = rng.normal(size=(12, 5)).astype("float32"), rng.integers(0, 3, 12)
    labels = labels if form == "integers" else np.eye(3, dtype="float32")[labels]
    eager = keras.backend.backend() == "tensorflow"

    image, answer = keras.Input((5,), name="image"), keras.Input(labels.shape[1:], name="answer", dtype=labels.dtype.name)
    scores = keras.layers.Dense(3)(image)
    inside = keras.Model([image, answer], HingeLoss(0.7, squared)([scores, answer]))
    inside.compile(keras.optimizers.SGD(0.5), run_eagerly=eager)
    outside = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    outside.set_weights(inside.get_weights())
    outside.compile(keras.optimizers.SGD(0.5), MulticlassHinge(0.7, squared), run_eagerly=eager)

    one = inside.fit({"image": x, "answer": labels}, epochs=3, batch_size=4, shuffle=False, verbose=0).history["loss"]
    other = outside.fit(x, labels, epochs=3, batch_size=4, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(one, other, rtol=1e-5)
    for weights, same in zip(inside.get_weights(), outside.get_weights(), strict=True):
        assert weights.any()
        np.testing.assert_allclose(weights, same, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(run(inside, [x, labels]), run(outside, x), rtol=1e-4, atol=1e-5)


def test_example_of_the_lecture():
    """Losses of 2.9, 0 and 12.9, on average 5.2667; the scores are unchanged."""
    scores = np.float32([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
    layer = HingeLoss()
    np.testing.assert_array_equal(run(layer, [scores, np.arange(3)]), scores)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer.losses[0]), 5.2667, atol=5e-5)
