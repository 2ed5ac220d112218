"""Learning rules that are not gradient descent on a loss.

Rosenblatt's rule and LMS are gradient descent: see `zoo.losses.PerceptronCriterion` and `zoo.losses.LMS`.
"""

from zoo.rules.lms import AlphaLMS
from zoo.rules.madaline import MadalineI, MadalineII
from zoo.rules.memorize import Memorize
from zoo.rules.rule import Rule, get
from zoo.rules.seed_cells import SeedCells

__all__ = ["AlphaLMS", "MadalineI", "MadalineII", "Memorize", "Rule", "SeedCells", "get"]
