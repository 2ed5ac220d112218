"""The learning rules of the historical machines that are no gradient of a loss.

Rosenblatt's rule and LMS are gradients: see `zoo.losses.PerceptronCriterion` and `zoo.losses.LMS`.
"""

from zoo.rules.rule import Rule, get

__all__ = ["Rule", "get"]
