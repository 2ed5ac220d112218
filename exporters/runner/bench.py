"""Measure throughput and latency on this board."""

import functools
import time

import numpy as np

from board import command, files, sidecar, typed
from board.files import BundleError

WARM_UP = 10  # runs; the first ones wait for memory and clocks


def main():
    arguments = _arguments()
    bundle = files.opened()
    samples, _ = files.samples(bundle)
    runner = command.loaded(arguments, bundle)
    batch = arguments.batch or runner.usual
    if runner.most and batch > runner.most:
        raise BundleError(f"the engine takes batches of up to {runner.most}; build one with --max-batch {batch}")
    pictures = np.resize(samples, (batch, *samples.shape[1:]))
    times = []
    run = runner.run if arguments.cpu else functools.partial(runner.run, times=times)
    for _ in range(WARM_UP):
        run(pictures)
    del times[:]
    seconds = _timed(run, pictures, arguments.seconds)
    print(f"{bundle['model']} in {bundle['precision']} on {_where(arguments)}")
    print(f"{batch * len(seconds) / sum(seconds):,.1f} images/s in batches of {batch}, {len(seconds)} of them, host to host")
    _tell("latency of a batch, host to host", [1000 * each for each in seconds])
    if times:
        _tell("latency of a batch, the GPU alone", times)
    print(f"next: {typed.told('infer.py', 'samples/0.png', engine=arguments.engine, cpu=arguments.cpu)}")


def _timed(run, pictures, limit):
    """Return the time of each run in seconds; repeat until `limit` seconds have passed."""
    seconds, end = [], time.perf_counter() + limit
    while not seconds or time.perf_counter() < end:
        start = time.perf_counter()
        run(pictures)
        seconds.append(time.perf_counter() - start)
    return seconds


def _tell(what, milliseconds):
    middle, slow, slowest = np.percentile(milliseconds, (50, 90, 99))
    print(f"{what}: p50 {middle:.3f} ms, p90 {slow:.3f} ms, p99 {slowest:.3f} ms")


def _where(arguments):
    """Return the board and what runs the model on it, as text."""
    board = sidecar.machine()
    if arguments.cpu:
        return f"{board}, the CPU"
    facts = sidecar.read(arguments.engine)
    return f"{board}, {facts['gpu']}, TensorRT {facts['tensorrt']}"


def _arguments():
    parser = command.parser(__doc__)
    parser.add_argument(
        "--batch", type=command.positive, metavar="N", help="images per batch (default: the optimal batch of the profile)"
    )
    parser.add_argument("--seconds", type=command.duration, default=5.0, help="seconds to measure (default: 5)")
    return parser.parse_args()


if __name__ == "__main__":
    command.run(main)
