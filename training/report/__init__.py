"""Reports of runs: figures, an HTML page per run, and comparisons of runs.

report.write_predictions(evaluation, samples, out / "predictions.csv")    write the prediction for each image
report.plot_mistakes(evaluation, samples, out / "mistakes.png")           plot the most confident mistakes
report.write(out)                                                         write report.html of a run directory
report.compare(runs, "comparison.html")                                   compare several runs
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
