import keras
import numpy as np

from zoo.layers.traits import Traits
from zoo.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class AssociationUnits(keras.layers.Layer):
    """Threshold units that read a retina through a fixed random wiring, as the A-units of the Mark I do.

    The wiring is drawn once and is not trained. Each sensory unit (S-unit) has the same number of wires, to as many
    different association units (A-units); half of the wires excite and half inhibit. A unit outputs 1 if excitation exceeds
    inhibition by more than the threshold, else 0. On a retina of zeros and ones every sum is a small integer, so the outputs
    are the same on all machines, to the bit.

    Input shape: (..., S-units). Output shape: (..., units).

    Args:
        units: number of A-units.
        reach: number of A-units that each S-unit is wired to, at most `units`.
        threshold: an A-unit fires if its sum exceeds this.
        seed: random seed of the wiring.

    Raises:
        ValueError: if `reach` is not between 1 and `units`.

    References:
        Rosenblatt (1958); Hay, Martin, Wightman (1960), The Mark I perceptron: design and performance.
    """

    traits = Traits(keep_float32=True)  # counts wires

    def __init__(self, units: int, reach: int = 40, threshold: float = 1, seed: int = 1958, **kwargs) -> None:
        super().__init__(**kwargs)
        if not 1 <= reach <= units:
            raise ValueError(f"{self.name}: reach must be between 1 and units={units}. Received: reach={reach}")
        self.units = units
        self.reach = reach
        self.threshold = threshold
        self.seed = seed

    def build(self, input_shape: Shape) -> None:
        wiring = plugboard(input_shape[-1], self.units, self.reach, self.seed)
        # Saved with the weights although it follows from the seed, because NumPy may change its random streams. int8
        # suffices.
        self.wiring = self.add_weight(
            wiring.shape, lambda *_, **__: keras.ops.convert_to_tensor(wiring), dtype="int8", trainable=False, name="wiring"
        )

    def call(self, x: Tensor) -> Tensor:
        sums = keras.ops.matmul(x, keras.ops.cast(self.wiring, x.dtype))
        return keras.ops.cast(sums > self.threshold, x.dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def project_to_input(self, weights: Tensor) -> Tensor:
        """Return the weights of units that read the A-units as weights on the retina, summed over the wires.

        Args:
            weights: (units, readers) tensor.

        Returns:
            (S-units, readers) tensor: one template per reader. It ignores the thresholds of the A-units.
        """
        return keras.ops.matmul(keras.ops.cast(self.wiring, weights.dtype), weights)

    def connections(self) -> tuple[int, int]:
        """Return (connections, multiply-accumulates) for one image: both are the number of wires."""
        wires = self.reach * self.wiring.shape[0]
        return wires, wires

    def get_config(self) -> Config:
        config = {"units": self.units, "reach": self.reach, "threshold": self.threshold, "seed": self.seed}
        return {**super().get_config(), **config}


def plugboard(inputs: int, units: int, reach: int, seed: int) -> np.ndarray:
    """Return a random wiring, (inputs, units) int8: each row has `reach` nonzero entries, +1 and -1 in turn.

    Args:
        inputs: number of S-units.
        units: number of A-units.
        reach: number of A-units that each S-unit is wired to.
        seed: random seed.
    """
    # The first columns of a random permutation are a sample without replacement.
    order = np.random.default_rng(seed).random((inputs, units)).argsort(axis=1)
    wiring = np.zeros((inputs, units), "int8")
    signs = np.where(np.arange(reach) % 2, -1, 1)
    np.put_along_axis(wiring, order[:, :reach], np.broadcast_to(signs, (inputs, reach)).astype("int8"), axis=1)
    return wiring
