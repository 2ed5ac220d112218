import keras
import numpy as np
from keras import ops

from zoo.layers.traits import Traits
from zoo.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class SCells(keras.layers.Layer):
    """Simple cells of the Neocognitron: planes of feature detectors whose excitation is divided by inhibition.

    u_S = r·φ[(1 + Σ a·u_C) / (1 + 2r/(1+r)·b·v_C) - 1], φ(x) = max(0, x), v_C = sqrt(Σ c·u_C²). All cells of a plane share
    a and b. Both are trained by `zoo.rules.SeedCells` and have no gradient.

    Input shape: (batch, height, width, input planes). Output shape: (batch, height, width, planes) with the default padding.

    Args:
        planes: number of S-planes.
        window: side of the square window of input cells that one cell sees, in cells.
        r: strength of the inhibition, positive. A cell that was trained on one pattern responds to patterns whose cosine
            with it, weighted by c, is above r / (1 + r).
        padding: width of the border of zeros on each side, in cells. Default: the planes are as large as the input.
        decay: c falls as decay**distance from the middle of the window. This is a reconstruction: the paper only says that
            it falls.
        start: scale of the initial a, positive. The initial b are 0.

    Raises:
        ValueError: if `planes`, `window`, `r`, `decay` or `start` is not positive; at build, if the window is larger than
            the input.

    References:
        Fukushima (1980), Neocognitron, Biological Cybernetics 36, section 2.
    """

    traits = Traits()

    def __init__(
        self,
        planes: int,
        window: int = 5,
        r: float = 1.5,
        padding: int | None = None,
        decay: float = 0.9,
        start: float = 1e-4,
        **kwargs,
    ) -> None:
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

    def build(self, input_shape: Shape) -> None:
        *_, height, width, seen = input_shape
        if min(height, width) + 2 * self.padding < self.window:
            raise ValueError(
                f"{self.name}: a window of {self.window} is larger than the input with its border of {self.padding}. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        c = proximity(self.window, self.decay)
        self.c = (c / (seen * c.sum())).astype("float32")
        start = self.start * weak_orientation(self.window, seen, self.planes)
        # Not trainable by gradients.
        self.a = self.add_weight(
            start.shape, lambda shape, dtype: ops.convert_to_tensor(start, dtype), trainable=False, name="a"
        )
        self.b = self.add_weight((self.planes,), "zeros", trainable=False, name="b")
        self.shown = self.add_weight((), "zeros", dtype="int32", trainable=False, name="shown")  # images so far in training

    def bordered(self, x: Tensor) -> Tensor:
        """Return the input with its border of zeros."""
        border = (self.padding, self.padding)
        return ops.pad(x, ((0, 0), border, border, (0, 0))) if self.padding else x

    def inhibition(self, x: Tensor) -> Tensor:
        """Return v_C, the weighted root mean square of the input in each window, (batch, height, width, 1)."""
        power = ops.sum(ops.square(self.bordered(x)), axis=-1, keepdims=True)
        mean = ops.conv(power, ops.cast(self.c[..., None, None], x.dtype), padding="valid")
        # The root has no gradient at 0: where the window is zero the root is taken of 1 and not used.
        return ops.where(mean > 0, ops.sqrt(ops.where(mean > 0, mean, 1)), 0)

    def respond(self, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Return u_S for given connections, such as those that a rule is training.

        Args:
            x: (batch, height, width, input planes).
            a: (window, window, input planes, planes).
            b: (planes,).
        """
        excitation = ops.conv(self.bordered(x), ops.cast(a, x.dtype), padding="valid")
        inhibition = 2 * self.r / (1 + self.r) * ops.cast(b, x.dtype) * self.inhibition(x)
        return self.r * ops.relu((1 + excitation) / (1 + inhibition) - 1)

    def call(self, x: Tensor) -> Tensor:
        return self.respond(x, self.a, self.b)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, height, width, _ = input_shape
        lost = self.window - 1 - 2 * self.padding
        return batch, height - lost, width - lost, self.planes

    def connections(self) -> tuple[int, int]:
        """Return (connections, multiply-accumulates) for one image: a, b, and the c of the v_C-cells that planes share."""
        _, height, width, planes = self.output.shape
        seen = self.window**2 * self.input.shape[-1]
        count = height * width * (planes * (seen + 1) + seen)
        return count, count

    def images(self) -> list[tuple[str, np.ndarray]]:
        """Return the connections a of each plane as (title, 2-D array); empty if the layer has several input planes."""
        if self.a.shape[2] != 1:
            return []
        a = ops.convert_to_numpy(self.a)
        return [(f"{self.name} plane {plane}", a[:, :, 0, plane]) for plane in range(self.planes)]

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "planes": self.planes,
            "window": self.window,
            "r": self.r,
            "padding": self.padding,
            "decay": self.decay,
            "start": self.start,
        }


def proximity(window: int, decay: float) -> np.ndarray:
    """Return decay**distance from the middle of a window, (window, window) float64."""
    place = np.arange(window) - (window - 1) / 2
    return decay ** np.hypot(*np.meshgrid(place, place))


def weak_orientation(window: int, seen: int, planes: int) -> np.ndarray:
    """Return initial connections, (window, window, seen, planes) float32 in (0, 1]. They are not random.

    Plane k weakly prefers lines at the angle πk / planes, and input planes whose number is near its own. The paper
    initializes with a function of these, which it does not print; this function is a reconstruction.

    Args:
        window: side of the window, in cells.
        seen: number of input planes.
        planes: number of S-planes.
    """
    place = np.arange(window) - (window - 1) / 2
    x, y = np.meshgrid(place, place)
    angle = np.pi * np.arange(planes) / planes
    across = x[..., None] * np.sin(angle) - y[..., None] * np.cos(angle)
    line = 0.5 + 0.5 * np.exp(-(across**2))
    apart = np.abs(np.arange(seen)[:, None] / seen - np.arange(planes) / planes)
    near = 0.5 + 0.5 * np.exp(-((np.minimum(apart, 1 - apart) * 8) ** 2)) if seen > 1 else np.ones((1, planes))
    return (line[:, :, None] * near).astype("float32")
