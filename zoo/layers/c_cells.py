import keras
from keras import ops

from zoo.layers.s_cells import proximity
from zoo.layers.traits import Traits
from zoo.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class CCells(keras.layers.Layer):
    """Complex cells of the Neocognitron: they respond to a feature anywhere in a window of the S-plane, by fixed weights.

    u_C = ψ[(1 + Σ d·u_S) / (1 + v_S) - 1] with ψ(x) = φ(x) / (α + φ(x)) and φ(x) = max(0, x); v_S is the mean of Σ d·u_S
    over the planes. With a stride there are fewer C-cells than S-cells.

    Input shape: (batch, height, width, planes). The output has the same planes.

    Args:
        window: side of the square window of S-cells that one cell sees, in cells.
        stride: distance between the windows of neighboring cells, in cells.
        padding: (before, after), width of the border of zeros at the top and left, and at the bottom and right, in cells.
        alpha: the input at which ψ is one half, positive.
        decay: the weight d falls as decay**distance from the middle of the window. It is a reconstruction, as `scale` is.
        scale: d in the middle of the window.

    Raises:
        ValueError: if `alpha`, `decay` or `scale` is not positive.

    References:
        Fukushima (1980), Neocognitron, Biological Cybernetics 36, section 2.
    """

    traits = Traits()

    def __init__(
        self,
        window: int = 5,
        stride: int = 1,
        padding: tuple[int, int] = (0, 0),
        alpha: float = 0.5,
        decay: float = 0.8,
        scale: float = 1.0,
        **kwargs,
    ) -> None:
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

    def build(self, input_shape: Shape) -> None:
        self.d = (self.scale * proximity(self.window, self.decay)).astype("float32")

    def call(self, x: Tensor) -> Tensor:
        planes = x.shape[-1]
        border = self.padding
        if any(border):
            x = ops.pad(x, ((0, 0), border, border, (0, 0)))
        d = ops.cast(self.d[:, :, None, None], x.dtype)
        excitation = ops.depthwise_conv(x, ops.tile(d, (1, 1, planes, 1)), self.stride, padding="valid")
        inhibition = ops.mean(excitation, axis=-1, keepdims=True)
        difference = ops.relu((1 + excitation) / (1 + inhibition) - 1)
        return difference / (self.alpha + difference)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, height, width, planes = input_shape
        lost = self.window - sum(self.padding)
        return batch, (height - lost) // self.stride + 1, (width - lost) // self.stride + 1, planes

    def connections(self) -> tuple[int, int]:
        """Return (connections, multiply-accumulates) for one image: d into each C-cell and v_S-cell, and one from v_S."""
        _, height, width, planes = self.output.shape
        count = height * width * planes * (2 * self.window**2 + 1)
        return count, count

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "window": self.window,
            "stride": self.stride,
            "padding": list(self.padding),
            "alpha": self.alpha,
            "decay": self.decay,
            "scale": self.scale,
        }
