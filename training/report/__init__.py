"""What people would rather look at than read: figures, a page a run, and runs side by side.

report.predictions(evaluation, samples, out / "predictions.csv")    the answer to each picture
report.mistakes(evaluation, samples, out / "mistakes.png")          and likewise curves and confusion
report.write(out)                                                   report.html, from what lies in the run folder
report.compare(runs, "comparison.html")                             the same of several runs
"""

from training.report.comparison import compare
from training.report.figures import confusion, curves, mistakes, save
from training.report.page import write
from training.report.runs import predictions, read

__all__ = ["compare", "confusion", "curves", "mistakes", "predictions", "read", "save", "write"]
