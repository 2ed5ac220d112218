"""Compare the scores of the engine with those of the model on the workstation."""

import os

from board import command, files, gate, typed
from board.files import BundleError


def main():
    arguments = _arguments()
    bundle = files.opened()
    images, scores = files.samples(bundle)
    runner = command.loaded(arguments, bundle)
    batches = sorted({min(size, runner.most or size) for size in gate.BATCHES})
    order = gate.filled(len(images), batches)
    precision = "fp32" if arguments.cpu and bundle["calibration"] else bundle["precision"]
    comparison = gate.Comparison(scores[order], order, precision, bundle["output"]["dtype"], bundle["real"])
    problems = comparison.ask(runner.run, images, batches, arguments.most) + comparison.flips()
    name = "model.onnx" if arguments.cpu else os.path.basename(arguments.engine)
    if problems:
        raise BundleError(f"{name} does not compute what the model computes: {'; '.join(problems)}")
    difference, agreement = comparison.largest_difference, comparison.agreement()
    compared = [size for size in batches if size <= (arguments.most or size)]
    print(f"{name} {gate.summary(len(comparison.labelled), compared, difference, agreement, comparison.noise)}")
    if arguments.cpu and bundle.get("note"):
        print(f"note: {bundle['note']}; verify.py does")
    print(f"next: {typed.told('bench.py', engine=arguments.engine, cpu=arguments.cpu)}")


def _arguments():
    parser = command.parser(__doc__)
    slow = "for a slow model: batches of at most N, and about N images of each batch size"
    parser.add_argument("--most", type=command.positive, metavar="N", help=slow)
    return parser.parse_args()


if __name__ == "__main__":
    command.run(main)
