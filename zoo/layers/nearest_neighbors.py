import keras
import numpy as np
from keras import ops

from zoo.layers.traits import Traits

# Up to so many voters float32 tells a score from that of the next rank: k·2^-23 stays well below 1/(k + 1).
LARGEST_K = 1000


@keras.saving.register_keras_serializable("zoo")
class NearestNeighbors(keras.layers.Layer):
    """Let the k nearest of the memorised patterns vote; of classes with equal votes that with the nearest neighbour wins.

    The score of a class is its votes, and a part below one vote that is the larger the nearer its nearest neighbour is:
    (k - r)/(k + 1), r its rank from 0. Of patterns at the same distance the one that was memorised first is the nearer. A
    place that holds no pattern never votes.

    A memorised pattern is a column of `memory`, as the weights of a unit are a column of a dense kernel: the distance is
    |x|² - 2(xb - |b|²/2), so the nearest pattern is the unit with the largest response where -|b|²/2 is its bias.

    Args:
        classes: number of classes.
        k: how many neighbours vote, at most 1,000.
        metric: "l2", the Euclidean distance, or "l1", the sum of absolute differences. With l2 the distances of a batch are
            one matrix product; with l1 they are a loop over the memory, `capacity` steps of batch x features differences.
        capacity: how many patterns the memory can hold.

    Raises:
        ValueError: if there is no such metric, or k is not from 1 to the capacity, or more than 1,000.

    References:
        Cover, Hart (1967), Nearest neighbor pattern classification; CS231n (2017), lecture 2. How ties are
        broken is a reconstruction.
    """

    traits = Traits(keep_float32=True)  # squared differences

    def __init__(self, classes, k=1, metric="l2", capacity=60000, **kwargs):
        # Half precision would not hold the distances, whatever it does to the nets.
        super().__init__(**{"dtype": "float32", **kwargs})
        if metric not in ("l1", "l2"):
            raise ValueError(f"{self.name}: the metric is l1 or l2. Received: metric={metric}")
        if not 1 <= k <= capacity:
            raise ValueError(f"{self.name}: from 1 to capacity={capacity} neighbours can vote. Received: k={k}")
        if k > LARGEST_K:
            raise ValueError(
                f"{self.name}: of more than {LARGEST_K} neighbours float32 does not hold the votes by rank. Received: k={k}"
            )
        self.classes = classes
        self.k = k
        self.metric = metric
        self.capacity = capacity

    def build(self, input_shape):
        if len(input_shape) != 2:
            raise ValueError(f"{self.name}: a pattern is one axis of features. Received: input_shape={tuple(input_shape)}")
        self.memory = self.add_weight((input_shape[-1], self.capacity), "zeros", trainable=False, name="memory")
        # What is added to the closeness of each place: a place without a pattern is infinitely far.
        nowhere = keras.initializers.Constant(-np.inf)
        self.offset = self.add_weight((self.capacity,), nowhere, trainable=False, name="offset")
        self.labels = self.add_weight((self.capacity, self.classes), "zeros", trainable=False, name="labels")

    def call(self, x):
        return self.vote(self.nearest(x, self.k))

    def nearest(self, x, k):
        """Return the places in the memory of the k nearest patterns, nearest first.

        Args:
            x: (batch, features) patterns.
            k: int.

        Returns:
            (batch, k) int32.
        """
        if self.metric == "l2":
            closeness = ops.matmul(x, self.memory)
        else:  # one memorised pattern at a time: a tensor of all differences would have batch x capacity x features values
            apart = ops.map(lambda pattern: ops.sum(ops.abs(x - pattern), axis=-1), ops.transpose(self.memory))
            closeness = -ops.transpose(apart)
        return ops.top_k(closeness + self.offset, k)[1]

    def vote(self, nearest):
        """Return the (batch, classes) scores that neighbours give.

        Args:
            nearest: (batch, k) int places in the memory, nearest first.
        """
        k = nearest.shape[-1]
        nearness = (np.arange(k, 0, -1) / (k + 1)).astype("float32")[:, None]
        votes = self.labels_at(nearest)
        return ops.sum(votes, axis=1) + ops.max(votes * nearness, axis=1)

    def labels_at(self, places):
        """Return the (..., classes) labels at places of the memory."""
        return ops.take(self.labels, places, axis=0)

    def examples(self, per_class):
        """Return the first memorized patterns of each class, class after class.

        Args:
            per_class: int, the largest number of patterns per class.

        Returns:
            (n, features) float32 array of patterns, and (n,) int array of their class indices.
        """
        labels = ops.convert_to_numpy(self.labels)
        first = [np.flatnonzero(column)[:per_class] for column in labels.T]
        places = np.concatenate(first).astype("int32")
        patterns = ops.convert_to_numpy(ops.take(self.memory, places, axis=1)).T
        return patterns, np.repeat(np.arange(self.classes), [len(each) for each in first])

    def filled(self):
        """Return how many places hold a pattern, an int32 tensor."""
        return ops.sum(ops.cast(self.offset > -np.inf, "int32"))

    def memorise(self, patterns, labels):
        """Put patterns at the next free places; where there are too few of them, nothing is memorised.

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

    def compute_output_shape(self, input_shape):
        return input_shape[0], self.classes

    def connections(self):
        """Return (connections, multiply-accumulates) of one picture: each of its features meets each memorised one."""
        pairs = self.memory.shape[0] * self.capacity
        return pairs, pairs

    def get_config(self):
        return {
            **super().get_config(),
            "classes": self.classes,
            "k": self.k,
            "metric": self.metric,
            "capacity": self.capacity,
        }
