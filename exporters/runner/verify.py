"""Compare what the engine computes with what the model computed on the workstation."""

import os

from board import command, files, gate
from board.files import BundleError


def main():
    arguments = command.parser(__doc__).parse_args()
    bundle = files.opened()
    pictures, scores = files.samples(bundle)
    runner = command.loaded(arguments, bundle)
    batches = sorted({min(size, runner.most or size) for size in gate.BATCHES})
    order = gate.filled(len(pictures), batches)
    precision = "fp32" if arguments.cpu and bundle["calibration"] else bundle["precision"]
    comparison = gate.Comparison(scores[order], order, precision, bundle["output"]["dtype"], bundle["real"])
    problems = comparison.ask(runner.run, pictures, batches) + comparison.flips()
    what = "model.onnx" if arguments.cpu else os.path.basename(arguments.engine)
    if problems:
        raise BundleError(f"{what} does not compute what the model computes: {'; '.join(problems)}")
    difference, agreement = comparison.largest_difference, comparison.agreement()
    print(f"{what} {gate.summary(len(pictures), batches, difference, agreement, comparison.noise)}")
    print(f"next: {command.told('bench.py', engine=arguments.engine, cpu=arguments.cpu)}")


if __name__ == "__main__":
    command.run(main)
