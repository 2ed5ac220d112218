import keras
import numpy as np
from keras import ops

from zoo.layers.traits import Traits


@keras.saving.register_keras_serializable("zoo")
class SCells(keras.layers.Layer):
    """Extract features with planes of S-cells: excitation by learned connections, divided by learned inhibition.

    u_S = r·φ[(1 + Σ a·u_C) / (1 + 2r/(1+r)·b·v_C) - 1], φ(x) = max(0, x), v_C = sqrt(Σ c·u_C²). All cells of a plane share
    a and b. Both are learned by `zoo.rules.SeedCells` and have no gradient.

    Args:
        planes: number of S-planes.
        window: side of the square of input cells that one cell sees, in cells.
        r: how strong the inhibition is, positive. A cell that has learned one pattern answers those whose cosine with it,
            weighted by c, is above r / (1 + r).
        padding: width of the border of silent cells on each side; by default the planes are as large as the input.
        decay: c falls as decay**distance from the middle of the window. A reconstruction: the paper says only that it falls.
        start: size of the first a, positive. The first b are 0.

    Raises:
        ValueError: if planes, window, r, decay or start are not positive; at build, if the window is larger than the input.

    References:
        Fukushima (1980), Neocognitron, Biological Cybernetics 36, section 2.
    """

    traits = Traits()

    def __init__(self, planes, window=5, r=1.5, padding=None, decay=0.9, start=1e-4, **kwargs):
        super().__init__(**kwargs)
        given = {"planes": planes, "window": window, "r": r, "decay": decay, "start": start}
        for name, value in given.items():
            if value <= 0:
                raise ValueError(f"{self.name}: {name} must be positive. Received: {name}={value}")
        self.planes = planes
        self.window = window
        self.r = r
        self.padding = window // 2 if padding is None else padding
        self.decay = decay
        self.start = start

    def build(self, input_shape):
        *_, height, width, seen = input_shape
        if min(height, width) + 2 * self.padding < self.window:
            raise ValueError(
                f"{self.name}: a window of {self.window} is larger than the input with its border of {self.padding}. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        c = proximity(self.window, self.decay)
        self.c = (c / (seen * c.sum())).astype("float32")
        start = self.start * weak_orientation(self.window, seen, self.planes)
        # Not trainable: no gradient of a loss has a say here.
        self.a = self.add_weight(
            start.shape, lambda shape, dtype: ops.convert_to_tensor(start, dtype), trainable=False, name="a"
        )
        self.b = self.add_weight((self.planes,), "zeros", trainable=False, name="b")
        self.shown = self.add_weight((), "zeros", dtype="int32", trainable=False, name="shown")  # pictures, while it learned

    def bordered(self, x):
        """Return the input with its border of silent cells."""
        border = (self.padding, self.padding)
        return ops.pad(x, ((0, 0), border, border, (0, 0))) if self.padding else x

    def inhibition(self, x):
        """Return v_C, the weighted root mean square of what each position sees, (batch, height, width, 1)."""
        power = ops.sum(ops.square(self.bordered(x)), axis=-1, keepdims=True)
        mean = ops.conv(power, ops.cast(self.c[..., None, None], x.dtype), padding="valid")
        # The root has no gradient at 0: where all is silent it is taken of 1, and not used.
        return ops.where(mean > 0, ops.sqrt(ops.where(mean > 0, mean, 1)), 0)

    def respond(self, x, a, b):
        """Return u_S for connections that need not be the layer's own: a rule tries out those that it is learning."""
        excitation = ops.conv(self.bordered(x), ops.cast(a, x.dtype), padding="valid")
        inhibition = 2 * self.r / (1 + self.r) * ops.cast(b, x.dtype) * self.inhibition(x)
        return self.r * ops.relu((1 + excitation) / (1 + inhibition) - 1)

    def call(self, x):
        return self.respond(x, self.a, self.b)

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        lost = self.window - 1 - 2 * self.padding
        return batch, height - lost, width - lost, self.planes

    def connections(self):
        """Return (connections, multiply-accumulates) of one picture: a, b, and the c of the cells v_C that planes share."""
        _, height, width, planes = self.output.shape
        seen = self.window**2 * self.input.shape[-1]
        count = height * width * (planes * (seen + 1) + seen)
        return count, count

    def images(self):
        """Return the connections a of each plane as (title, 2-D array); empty if the layer has several input planes."""
        if self.a.shape[2] != 1:
            return []
        a = ops.convert_to_numpy(self.a)
        return [(f"{self.name} plane {plane}", a[:, :, 0, plane]) for plane in range(self.planes)]

    def get_config(self):
        return {
            **super().get_config(),
            "planes": self.planes,
            "window": self.window,
            "r": self.r,
            "padding": self.padding,
            "decay": self.decay,
            "start": self.start,
        }


def proximity(window, decay):
    """Return decay**distance from the middle of a window, (window, window) float64."""
    place = np.arange(window) - (window - 1) / 2
    return decay ** np.hypot(*np.meshgrid(place, place))


def weak_orientation(window, seen, planes):
    """Return first connections, (window, window, seen, planes) float32 in (0, 1], without anything random.

    Plane k prefers, weakly, lines at the angle πk / planes, and the input planes of a number near its own: the paper starts
    from a function of these, which it does not print. This one is a reconstruction.
    """
    place = np.arange(window) - (window - 1) / 2
    x, y = np.meshgrid(place, place)
    angle = np.pi * np.arange(planes) / planes
    across = x[..., None] * np.sin(angle) - y[..., None] * np.cos(angle)
    line = 0.5 + 0.5 * np.exp(-(across**2))
    apart = np.abs(np.arange(seen)[:, None] / seen - np.arange(planes) / planes)
    near = 0.5 + 0.5 * np.exp(-((np.minimum(apart, 1 - apart) * 8) ** 2)) if seen > 1 else np.ones((1, planes))
    return (line[:, :, None] * near).astype("float32")
