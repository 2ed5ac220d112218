import keras

from zoo.layers.traits import Traits
from zoo.losses import MulticlassHinge


@keras.saving.register_keras_serializable("zoo")
class HingeLoss(keras.layers.Layer):
    """Add the multiclass hinge to the loss of the model it stands in, and pass the scores on: [scores, labels] -> scores.

    Such a model has the labels as a second input. It is compiled with an optimizer alone and fitted without targets.

    Args:
        margin: how far the true score must lead, in units of the score.
        squared: charge the square of each term instead.

    References:
        Weston, Watkins (1999). The loss is `zoo.losses.MulticlassHinge`, averaged over the batch.
    """

    traits = Traits()

    def __init__(self, margin=1.0, squared=False, **kwargs):
        super().__init__(**kwargs)
        self.hinge = MulticlassHinge(margin, squared, dtype=self.dtype_policy)

    def call(self, inputs):
        scores, labels = inputs
        self.add_loss(self.hinge(labels, scores))
        return scores

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def get_config(self):
        return {**super().get_config(), "margin": self.hinge.margin, "squared": self.hinge.squared}
