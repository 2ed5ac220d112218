import keras


class Rule:
    """A learning rule that is no gradient: it sees pictures and labels, and changes the weights of a net itself.

    A subclass is registered with Keras, as a loss is, so that cards and recipes can name it. `training.fit` uses it in
    place of loss and optimizer; by hand it is `rule.learn(net, x, labels)`.
    """

    def options(self, rows):
        """Return arguments for the builder of a net that follow from the data; those of a recipe come before them.

        Args:
            rows: pictures of the training part.

        Returns:
            dict.
        """
        return {}

    def prepare(self, net, rows, presentations):
        """Check, before anything is learned, that a net can learn by this rule.

        Args:
            net: the Keras model, built.
            rows: pictures of the training part.
            presentations: how many it will be shown in all, the same ones again counted again.

        Raises:
            zoo.ZooError: if it cannot.
        """

    def learn(self, net, x, labels):
        """Learn from a batch, in a machine that learned on line one row after the other, and change the net's weights.

        Args:
            net: the Keras model.
            x: (batch, height, width, channels) preprocessed pictures.
            labels: (batch,) int, the true classes.

        Returns:
            (batch, classes) scores that the net gave before it learned from them.
        """
        raise NotImplementedError

    def get_config(self):
        """Return the arguments of the constructor."""
        return {}

    @classmethod
    def from_config(cls, config):
        """Return the rule of a configuration."""
        return cls(**config)


def get(described):
    """Return the rule of a Keras description, a dict of class_name and config.

    Raises:
        ValueError: if there is no such rule, or its arguments are wrong.
    """
    rule = keras.saving.deserialize_keras_object(dict(described))
    if not isinstance(rule, Rule):
        raise ValueError(f"no rule of the name {described['class_name']}. Received: {described}")
    return rule
