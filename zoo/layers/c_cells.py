import keras
from keras import ops

from zoo.layers.s_cells import proximity
from zoo.layers.traits import Traits


@keras.saving.register_keras_serializable("zoo")
class CCells(keras.layers.Layer):
    """Answer a feature wherever it lies in a window of the S-plane, with fixed connections and fewer cells.

    u_C = ψ[(1 + Σ d·u_S) / (1 + v_S) - 1], ψ(x) = φ(x) / (α + φ(x)), v_S the mean of Σ d·u_S over the planes.

    Args:
        window: side of the square of S-cells that one cell sees, in cells.
        stride: distance of the windows of two neighbours, in cells.
        padding: (before, after), widths of the border of silent cells at the top and left and at the bottom and right.
        alpha: the input at which ψ is one half, positive.
        decay: d falls as decay**distance from the middle of the window; a reconstruction, as `scale` is.
        scale: d in the middle of the window.

    Raises:
        ValueError: if alpha, decay or scale are not positive.

    References:
        Fukushima (1980), Neocognitron, Biological Cybernetics 36, section 2.
    """

    traits = Traits()

    def __init__(self, window=5, stride=1, padding=(0, 0), alpha=0.5, decay=0.8, scale=1.0, **kwargs):
        super().__init__(**kwargs)
        for name, value in {"alpha": alpha, "decay": decay, "scale": scale}.items():
            if value <= 0:
                raise ValueError(f"{self.name}: {name} must be positive. Received: {name}={value}")
        self.window = window
        self.stride = stride
        self.padding = tuple(padding)
        self.alpha = alpha
        self.decay = decay
        self.scale = scale

    def build(self, input_shape):
        self.d = (self.scale * proximity(self.window, self.decay)).astype("float32")

    def call(self, x):
        planes = x.shape[-1]
        border = self.padding
        if any(border):
            x = ops.pad(x, ((0, 0), border, border, (0, 0)))
        d = ops.cast(self.d[:, :, None, None], x.dtype)
        excitation = ops.depthwise_conv(x, ops.tile(d, (1, 1, planes, 1)), self.stride, padding="valid")
        inhibition = ops.mean(excitation, axis=-1, keepdims=True)
        difference = ops.relu((1 + excitation) / (1 + inhibition) - 1)
        return difference / (self.alpha + difference)

    def compute_output_shape(self, input_shape):
        batch, height, width, planes = input_shape
        lost = self.window - sum(self.padding)
        return batch, (height - lost) // self.stride + 1, (width - lost) // self.stride + 1, planes

    def connections(self):
        """Return (connections, multiply-accumulates) of one picture: d to each cell and to the cells v_S, and from these."""
        _, height, width, planes = self.output.shape
        count = height * width * planes * (2 * self.window**2 + 1)
        return count, count

    def get_config(self):
        return {
            **super().get_config(),
            "window": self.window,
            "stride": self.stride,
            "padding": list(self.padding),
            "alpha": self.alpha,
            "decay": self.decay,
            "scale": self.scale,
        }
