import keras

from zoo.layers.traits import Traits
from zoo.losses import MulticlassHinge
from zoo.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class HingeLoss(keras.layers.Layer):
    """Multiclass hinge loss as a layer: [scores, labels] -> scores. It adds the loss to the model that contains it.

    Such a model has the labels as a second input. Compile it with an optimizer only, and fit it without targets.

    Args:
        margin: by how much the true score must exceed the others, in units of the score.
        squared: square each term of the loss.

    References:
        Weston, Watkins (1999). The loss is `zoo.losses.MulticlassHinge`, averaged over the batch.
    """

    traits = Traits()

    def __init__(self, margin: float = 1.0, squared: bool = False, **kwargs) -> None:
        super().__init__(**kwargs)
        self.hinge = MulticlassHinge(margin, squared, dtype=self.dtype_policy)

    def call(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        scores, labels = inputs
        self.add_loss(self.hinge(labels, scores))
        return scores

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        return input_shape[0]

    def get_config(self) -> Config:
        return {**super().get_config(), "margin": self.hinge.margin, "squared": self.hinge.squared}
