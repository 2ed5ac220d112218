import keras
from keras import ops

from zoo.errors import ZooError
from zoo.layers.nearest_neighbors import NearestNeighbors
from zoo.rules.rule import Rule


@keras.saving.register_keras_serializable("zoo")
class Memorise(Rule):
    """Learn by heart: write every picture and its class into the memory of `zoo.layers.NearestNeighbors`.

    One epoch is all of its learning, and the memory is as large as the training part, unless a recipe says otherwise. A
    batch that no longer fits is not memorised; `prepare` refuses a run with one.

    References:
        CS231n (2017), lecture 2: "memorize all data and labels".
    """

    def options(self, rows):
        return {"capacity": rows}

    def prepare(self, net, rows, presentations):
        layer = net.layers[-1]
        if not isinstance(layer, NearestNeighbors):
            raise ZooError(f"Memorise fills a NearestNeighbors layer; {net.name} ends in a {type(layer).__name__}")
        if presentations > rows:
            raise ZooError(
                f"the run has {presentations:,} presentations of {rows:,} pictures; one epoch is all of learning by heart: "
                "epochs = 1, data.repeat = 1"
            )
        free = layer.capacity - int(layer.filled())
        if rows > free:
            raise ZooError(
                f"{rows:,} pictures are to be memorised and {free:,} of the {layer.capacity:,} places are free; "
                f"make room with --set options.capacity={layer.capacity - free + rows}"
            )

    def learn(self, net, x, labels):
        layer = net.layers[-1]
        known = ops.one_hot(ops.cast(labels, "int32"), layer.classes, dtype="float32")
        patterns = ops.cast(ops.reshape(x, (-1, layer.memory.shape[0])), "float32")
        layer.memorise(patterns, known)
        return known  # what is memorised is recalled
