import keras
import numpy as np
from keras import ops

from zoo.layers.traits import Traits

# Who divides alpha by the number of maps in the window, and who takes it for the factor of each square.
DIVIDES_ALPHA = {
    "paper": False,
    "cuda-convnet": True,
    "caffe": True,
    "onnx": True,
    "pytorch": True,
    "tensorflow": False,
}


def widened(x):
    """Return x in float32 at least: squares of half precision would overflow."""
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))


def inverse_power(x, exponent):
    """Return x^-exponent of positive x; at the 0.75 that everybody takes by two roots, which are faster than a power."""
    if exponent == 0.75:
        root = ops.rsqrt(x)
        return root * ops.sqrt(root)
    return ops.exp(-exponent * ops.log(x))


@keras.saving.register_keras_serializable("zoo")
class LocalResponseNormalization(keras.layers.Layer):
    """Divide each unit by the activity of the maps beside it: b_i = a_i / (k + alpha · sum a_j²)^beta, j within size/2 of i.

    Everybody writes this formula, and no two mean the same: with the paper's numbers the paper's text, the authors' code and
    Caffe give three results. Here alpha is what each square is multiplied with; `of` takes the numbers of the others.

    Args:
        size: n, how many maps the window has, odd; it is cut off at the first and the last map.
        alpha: factor of each square, not divided by the size.
        beta: the exponent.
        k: what is added before the exponent.
        groups: in how many groups the maps are, as on the two GPUs of 2012; a window does not reach into another group.

    Raises:
        ValueError: if the size is even; at build, if the maps cannot be divided into the groups.

    References:
        Krizhevsky, Sutskever, Hinton (2012), section 3.3.
    """

    traits = Traits(pointwise=True)

    def __init__(self, size=5, alpha=1e-4, beta=0.75, k=2.0, groups=1, **kwargs):
        super().__init__(**kwargs)
        if size % 2 == 0:
            raise ValueError(f"{self.name}: the window has a middle, so its size is odd. Received: size={size}")
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k
        self.groups = groups

    @classmethod
    def of(cls, convention, size, alpha, beta, k, **kwargs):
        """Return the layer that numbers written in somebody else's convention mean.

        Args:
            convention: "paper", "cuda-convnet" (the authors' code), "caffe", "onnx", "pytorch" or "tensorflow".
            size: how many maps the window has; 2r + 1 for TensorFlow's depth_radius r.
            alpha: alpha or scale, as written there.
            beta: beta or pow.
            k: k or bias; 2 in the paper, 1 where Caffe and PyTorch are told nothing.
            **kwargs: as for the layer.

        Raises:
            ValueError: if there is no such convention.
        """
        if convention not in DIVIDES_ALPHA:
            raise ValueError(f"the conventions are {', '.join(DIVIDES_ALPHA)}. Received: convention={convention}")
        return cls(size, alpha / size if DIVIDES_ALPHA[convention] else alpha, beta, k, **kwargs)

    def build(self, input_shape):
        maps = input_shape[-1]
        if maps % self.groups:
            raise ValueError(f"{self.name}: {maps} maps are not {self.groups} equal groups. Received: {tuple(input_shape)}")
        place = np.arange(maps)
        near = np.abs(place[:, None] - place) <= self.size // 2
        group = place // (maps // self.groups)
        # A product with this band of ones is, on a CPU, twice as fast as TensorFlow's own operator, gradient included.
        self._window = (near & (group[:, None] == group)).astype("float32")

    def call(self, x):
        wide = widened(x)
        activity = ops.matmul(ops.square(wide), ops.convert_to_tensor(self._window, wide.dtype))
        return ops.cast(wide * inverse_power(self.k + self.alpha * activity, self.beta), x.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "size": self.size,
            "alpha": self.alpha,
            "beta": self.beta,
            "k": self.k,
            "groups": self.groups,
        }
