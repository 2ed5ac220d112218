import keras
import numpy as np
from keras import ops

from zoo.layers.traits import Traits
from zoo.types import Config, Shape, Tensor

# Conventions: whether alpha is divided by the number of maps in the window (True), or multiplies each square as it is.
DIVIDES_ALPHA = {
    "paper": False,
    "cuda-convnet": True,
    "caffe": True,
    "onnx": True,
    "pytorch": True,
    "tensorflow": False,
}


def widened(x: Tensor) -> Tensor:
    """Return x in float32 or wider, because squares would overflow in half precision."""
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))


def inverse_power(x: Tensor, exponent: float) -> Tensor:
    """Return x^-exponent of positive x; for the usual exponent 0.75 by two square roots, which are faster than a power."""
    if exponent == 0.75:
        root = ops.rsqrt(x)
        return root * ops.sqrt(root)
    return ops.exp(-exponent * ops.log(x))


@keras.saving.register_keras_serializable("zoo")
class LocalResponseNormalization(keras.layers.Layer):
    """Normalization across neighboring maps: b_i = a_i / (k + alpha · sum_j a_j²)^beta, with j within size/2 of i.

    Implementations of this formula differ: with the same numbers the paper's text, the authors' code and Caffe give three
    results. In this layer alpha multiplies each square; `of` converts the numbers of other conventions.

    Input and output shape: (..., maps).

    Args:
        size: n, number of maps in the window, odd. The window is cut off at the first and the last map.
        alpha: factor of each square, not divided by the size.
        beta: exponent.
        k: constant that is added before the exponent is applied.
        groups: number of groups of maps, as on the two GPUs of 2012. A window does not reach into another group.

    Raises:
        ValueError: if the size is even; at build, if the maps cannot be divided into equal groups.

    References:
        Krizhevsky, Sutskever, Hinton (2012), section 3.3.
    """

    traits = Traits(pointwise=True)

    def __init__(
        self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0, groups: int = 1, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        if size % 2 == 0:
            raise ValueError(f"{self.name}: size must be odd, so that the window has a middle. Received: size={size}")
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k
        self.groups = groups

    @classmethod
    def of(cls, convention: str, size: int, alpha: float, beta: float, k: float, **kwargs) -> "LocalResponseNormalization":
        """Return the layer for parameters in the convention of another implementation.

        Args:
            convention: "paper", "cuda-convnet" (the authors' code), "caffe", "onnx", "pytorch" or "tensorflow".
            size: number of maps in the window; 2r + 1 for TensorFlow's depth_radius r.
            alpha: alpha or scale, in that convention.
            beta: beta or pow.
            k: k or bias; 2 in the paper, 1 by default in Caffe and PyTorch.
            **kwargs: as for the layer.

        Raises:
            ValueError: if the convention is unknown.
        """
        if convention not in DIVIDES_ALPHA:
            raise ValueError(f"convention must be one of {', '.join(DIVIDES_ALPHA)}. Received: convention={convention}")
        return cls(size, alpha / size if DIVIDES_ALPHA[convention] else alpha, beta, k, **kwargs)

    def build(self, input_shape: Shape) -> None:
        maps = input_shape[-1]
        if maps % self.groups:
            raise ValueError(
                f"{self.name}: {maps} maps cannot be divided into {self.groups} equal groups. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        place = np.arange(maps)
        near = np.abs(place[:, None] - place) <= self.size // 2
        group = place // (maps // self.groups)
        # On a CPU, a matrix product with this band of ones is twice as fast as TensorFlow's operator, gradient included.
        self._window = (near & (group[:, None] == group)).astype("float32")

    def call(self, x: Tensor) -> Tensor:
        wide = widened(x)
        activity = ops.matmul(ops.square(wide), ops.convert_to_tensor(self._window, wide.dtype))
        return ops.cast(wide * inverse_power(self.k + self.alpha * activity, self.beta), x.dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "size": self.size,
            "alpha": self.alpha,
            "beta": self.beta,
            "k": self.k,
            "groups": self.groups,
        }
