import keras
import numpy as np
from keras import ops

from zoo.layers.traits import Traits
from zoo.types import Config, Shape, Tensor

# The largest k at which float32 separates the scores of adjacent ranks: k·2^-23 must stay well below 1/(k + 1).
LARGEST_K = 1000


@keras.saving.register_keras_serializable("zoo")
class NearestNeighbors(keras.layers.Layer):
    """k-nearest-neighbor classifier: the k memorized patterns nearest to the input vote for their classes.

    The score of a class is its number of votes plus a term below 1 that breaks ties in favor of the class with the nearest
    neighbor: (k - r)/(k + 1), where r is the rank of its nearest neighbor, from 0. Of patterns at the same distance the
    one memorized first ranks first. Empty places of the memory never vote.

    A memorized pattern b is a column of `memory`, as the weights of a unit are a column of a dense kernel. The squared
    distance is |x|² - 2(xb - |b|²/2), so the nearest pattern is the unit with the largest response if its bias is -|b|²/2.

    Input shape: (batch, features). Output shape: (batch, classes).

    Args:
        classes: number of classes.
        k: number of neighbors that vote, at most 1,000.
        metric: "l2", the Euclidean distance, or "l1", the sum of absolute differences. With l2 the distances of a batch are
            one matrix product; with l1 they are a loop of `capacity` steps of batch x features differences.
        capacity: number of patterns that the memory can hold.

    Raises:
        ValueError: if the metric is unknown, or k is not between 1 and the capacity, or more than 1,000.

    References:
        Cover, Hart (1967), Nearest neighbor pattern classification; CS231n (2017), lecture 2. The way ties are broken is a
        reconstruction.
    """

    traits = Traits(keep_float32=True)  # squared differences

    def __init__(self, classes: int, k: int = 1, metric: str = "l2", capacity: int = 60000, **kwargs) -> None:
        # Half precision cannot represent the distances, so Keras' global precision does not apply.
        super().__init__(**{"dtype": "float32", **kwargs})
        if metric not in ("l1", "l2"):
            raise ValueError(f"{self.name}: metric must be 'l1' or 'l2'. Received: metric={metric}")
        if not 1 <= k <= capacity:
            raise ValueError(f"{self.name}: k must be between 1 and capacity={capacity}. Received: k={k}")
        if k > LARGEST_K:
            raise ValueError(
                f"{self.name}: k must be at most {LARGEST_K}: float32 cannot rank more neighbors. Received: k={k}"
            )
        self.classes = classes
        self.k = k
        self.metric = metric
        self.capacity = capacity

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) != 2:
            raise ValueError(f"{self.name}: the input must be (batch, features). Received: input_shape={tuple(input_shape)}")
        self.memory = self.add_weight((input_shape[-1], self.capacity), "zeros", trainable=False, name="memory")
        # Added to the closeness of each place: an empty place is infinitely far.
        nowhere = keras.initializers.Constant(-np.inf)
        self.offset = self.add_weight((self.capacity,), nowhere, trainable=False, name="offset")
        self.labels = self.add_weight((self.capacity, self.classes), "zeros", trainable=False, name="labels")

    def call(self, x: Tensor) -> Tensor:
        return self.vote(self.nearest(x, self.k))

    def nearest(self, x: Tensor, k: int) -> Tensor:
        """Return the places in the memory of the k nearest patterns, nearest first.

        Args:
            x: (batch, features) patterns.
            k: number of neighbors.

        Returns:
            (batch, k) int32.
        """
        if self.metric == "l2":
            closeness = ops.matmul(x, self.memory)
        else:  # one memorized pattern at a time: a tensor of all differences would have batch x capacity x features values
            apart = ops.map(lambda pattern: ops.sum(ops.abs(x - pattern), axis=-1), ops.transpose(self.memory))
            closeness = -ops.transpose(apart)
        return ops.top_k(closeness + self.offset, k)[1]

    def vote(self, nearest: Tensor) -> Tensor:
        """Return the (batch, classes) scores of the votes of neighbors.

        Args:
            nearest: (batch, k) int places in the memory, nearest first.
        """
        k = nearest.shape[-1]
        nearness = (np.arange(k, 0, -1) / (k + 1)).astype("float32")[:, None]
        votes = self.labels_at(nearest)
        return ops.sum(votes, axis=1) + ops.max(votes * nearness, axis=1)

    def labels_at(self, places: Tensor) -> Tensor:
        """Return the one-hot labels, (..., classes), at places of the memory."""
        return ops.take(self.labels, places, axis=0)

    def examples(self, per_class: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the first memorized patterns of each class, class after class.

        Args:
            per_class: largest number of patterns per class.

        Returns:
            (n, features) float32 array of patterns, and (n,) int array of their class indices.
        """
        labels = ops.convert_to_numpy(self.labels)
        first = [np.flatnonzero(column)[:per_class] for column in labels.T]
        places = np.concatenate(first).astype("int32")
        patterns = ops.convert_to_numpy(ops.take(self.memory, places, axis=1)).T
        return patterns, np.repeat(np.arange(self.classes), [len(each) for each in first])

    def filled(self) -> Tensor:
        """Return the number of memorized patterns, an int32 tensor."""
        return ops.sum(ops.cast(self.offset > -np.inf, "int32"))

    def memorize(self, patterns: Tensor, labels: Tensor) -> None:
        """Write patterns to the next free places. If there are too few, nothing is memorized.

        Args:
            patterns: (batch, features).
            labels: (batch, classes), one-hot.
        """
        first = self.filled()
        fits = first + ops.shape(patterns)[0] <= self.capacity
        first = ops.where(fits, first, 0)
        offset = -ops.sum(ops.square(patterns), axis=-1) / 2 if self.metric == "l2" else ops.zeros_like(patterns[:, 0])
        for weight, new, start in (
            (self.memory, ops.transpose(patterns), [0, first]),
            (self.offset, offset, [first]),
            (self.labels, labels, [first, 0]),
        ):
            value = ops.convert_to_tensor(weight)
            old = ops.slice(value, start, ops.shape(new))
            weight.assign(ops.slice_update(value, start, ops.where(fits, new, old)))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[0], self.classes

    def connections(self) -> tuple[int, int]:
        """Return (connections, multiply-accumulates) for one image: each feature with each memorized one."""
        pairs = self.memory.shape[0] * self.capacity
        return pairs, pairs

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "classes": self.classes,
            "k": self.k,
            "metric": self.metric,
            "capacity": self.capacity,
        }
