"""Principal components of MNIST, beside a published number."""

import numpy as np
import pytest

from training import data
from zoo.layers import PCAWhitening


@pytest.mark.mnist
@pytest.mark.slow("fits to all of MNIST")
def test_thirty_components_of_mnist():
    """Fitted to the 60,000: a squared error of 13.866 on the 10,000, 13.87 in Hinton and Salakhutdinov (2006)."""
    source = data.load("mnist", {"height": 28, "width": 28, "channels": 1, "resize": "fit"})
    train, test = (source.splits[part].images.astype("float32") / 255 for part in ("train", "test"))
    assert (len(train), len(test)) == (60_000, 10_000)
    layer = PCAWhitening(30)
    layer.adapt(train)
    back = np.asarray(layer.inverse(layer(test)))
    assert np.sum((back - test) ** 2, axis=(1, 2, 3)).mean() == pytest.approx(13.866, abs=6e-4)
