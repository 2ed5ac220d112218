"""The learning rules of the historical machines that are no gradient of a loss.

Rosenblatt's rule and LMS are gradients: see `zoo.losses.PerceptronCriterion` and `zoo.losses.LMS`.
"""

from zoo.rules.lms import AlphaLMS
from zoo.rules.madaline import MadalineI, MadalineII
from zoo.rules.memorise import Memorise
from zoo.rules.rule import Rule, get
from zoo.rules.seed_cells import SeedCells

__all__ = ["AlphaLMS", "MadalineI", "MadalineII", "Memorise", "Rule", "SeedCells", "get"]
