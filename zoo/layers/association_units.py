import keras
import numpy as np

from zoo.layers.traits import Traits


@keras.saving.register_keras_serializable("zoo")
class AssociationUnits(keras.layers.Layer):
    """Wire a retina at random to units that fire when excitation exceeds inhibition by more than a threshold.

    The wires are plugged once and never learn. Each S-unit has the same number of them, to as many different A-units; half
    excite and half inhibit. On a retina of zeros and ones every sum is a small integer: all machines agree to the bit.

    Args:
        units: number of A-units.
        reach: how many A-units each S-unit is wired to, at most `units`.
        threshold: what the sum of an A-unit must exceed.
        seed: int from which the wiring follows.

    Raises:
        ValueError: if reach is not between 1 and units.

    References:
        Rosenblatt (1958); Hay, Martin, Wightman (1960), The Mark I perceptron: design and performance.
    """

    traits = Traits(keep_float32=True)  # counts wires

    def __init__(self, units, reach=40, threshold=1, seed=1958, **kwargs):
        super().__init__(**kwargs)
        if not 1 <= reach <= units:
            raise ValueError(f"{self.name}: an S-unit reaches 1 to units={units} A-units. Received: reach={reach}")
        self.units = units
        self.reach = reach
        self.threshold = threshold
        self.seed = seed

    def build(self, input_shape):
        wiring = plugboard(input_shape[-1], self.units, self.reach, self.seed)
        # Saved with the weights, though it follows from the seed: NumPy may change its streams. A byte a wire is enough.
        self.wiring = self.add_weight(
            wiring.shape, lambda *_, **__: keras.ops.convert_to_tensor(wiring), dtype="int8", trainable=False, name="wiring"
        )

    def call(self, x):
        sums = keras.ops.matmul(x, keras.ops.cast(self.wiring, x.dtype))
        return keras.ops.cast(sums > self.threshold, x.dtype)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def project_to_input(self, weights):
        """Return the weights of units that read the A-units as weights on the retina, summed over the wires.

        Args:
            weights: (units, readers) tensor.

        Returns:
            (S-units, readers) tensor: one template per reader. It ignores the thresholds of the A-units.
        """
        return keras.ops.matmul(keras.ops.cast(self.wiring, weights.dtype), weights)

    def connections(self):
        """Return (connections, multiply-accumulates) of one picture: the wires that are plugged."""
        wires = self.reach * self.wiring.shape[0]
        return wires, wires

    def get_config(self):
        config = {"units": self.units, "reach": self.reach, "threshold": self.threshold, "seed": self.seed}
        return {**super().get_config(), **config}


def plugboard(inputs, units, reach, seed):
    """Return a random wiring, (inputs, units) int8: in each row `reach` entries are +1 and -1 by turns, the others 0."""
    # The first columns of a random order are a choice without repetition.
    order = np.random.default_rng(seed).random((inputs, units)).argsort(axis=1)
    wiring = np.zeros((inputs, units), "int8")
    signs = np.where(np.arange(reach) % 2, -1, 1)
    np.put_along_axis(wiring, order[:, :reach], np.broadcast_to(signs, (inputs, reach)).astype("int8"), axis=1)
    return wiring
