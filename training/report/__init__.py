"""What people would rather look at than read: figures, a page a run, and runs side by side.

report.write_predictions(evaluation, samples, out / "predictions.csv")    the answer to each picture
report.plot_mistakes(evaluation, samples, out / "mistakes.png")          and likewise curves and confusion
report.write(out)                                                   report.html, from what lies in the run folder
report.compare(runs, "comparison.html")                             the same of several runs
"""

from training.report.comparison import compare
from training.report.figures import plot_confusion_matrix, plot_curves, plot_mistakes, save_figure
from training.report.page import write
from training.report.runs import read_run, write_predictions

__all__ = [
    "compare",
    "plot_confusion_matrix",
    "plot_curves",
    "plot_mistakes",
    "read_run",
    "save_figure",
    "write",
    "write_predictions",
]
