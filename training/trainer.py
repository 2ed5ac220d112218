"""A classifier while it learns: augmentation in front and, for data that fit in memory, a whole epoch in one graph."""

import keras


class Trainer(keras.Model):
    """Train a classifier on augmented pictures; what is augmented in front of it never leaves with it.

    Args:
        classifier: `zoo.Classifier`, raw pictures -> scores.
        augmentation: layers that take and return (batch, height, width, channels) float raw pixels.
    """

    def __init__(self, classifier, augmentation=()):
        super().__init__(name=f"{classifier.name}-trainer")
        self.classifier = classifier
        self.augmentation = list(augmentation)

    def call(self, pictures, training=None):
        if training and self.augmentation:
            pictures = keras.ops.cast(pictures, self.compute_dtype)
            for layer in self.augmentation:
                pictures = layer(pictures, training=True)
        return self.classifier(pictures, training=training)


class ResidentTrainer(Trainer):
    """Train with the data resident as uint8 and one graph an epoch: `fit` feeds an order of the rows, not the rows.

    Keras' own training step runs inside a loop of the graph, so losses, metrics, optimizers and the callbacks at the ends
    of epochs work as ever; only the step from Python to the graph and back is paid once an epoch. TensorFlow backend.

    Args:
        classifier, augmentation: as for `Trainer`.
        pictures: (rows, height, width, channels) uint8 array.
        labels: (rows,) int array.
        batch_size: rows a step; the last step of an epoch takes what is left.
    """

    def __init__(self, classifier, augmentation, pictures, labels, batch_size):
        super().__init__(classifier, augmentation)
        import tensorflow as tf

        self._pictures = tf.constant(pictures)
        self._labels = tf.constant(labels)
        self._batch_size = batch_size

    def train_step(self, order):
        import tensorflow as tf

        order = tf.reshape(order, (-1,))

        def step(start):
            rows = order[start : start + self._batch_size]
            super(ResidentTrainer, self).train_step((tf.gather(self._pictures, rows), tf.gather(self._labels, rows)))
            return (start + self._batch_size,)

        tf.while_loop(lambda start: start < tf.size(order), step, (tf.constant(0),), parallel_iterations=1)
        return self.get_metrics_result()
