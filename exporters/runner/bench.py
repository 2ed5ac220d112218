"""Measure throughput and latency on this board."""

import functools
import time

import numpy as np

from board import command, files, sidecar, typed
from board.files import BundleError

WARM_UP = 10  # runs; the first ones are slower: memory is allocated and clocks rise


def main():
    arguments = _arguments()
    bundle = files.opened()
    samples, _ = files.samples(bundle)
    runner = command.loaded(arguments, bundle)
    batch = arguments.batch or runner.usual
    if runner.most and batch > runner.most:
        raise BundleError(f"the engine supports batches of at most {runner.most}; build it again with --max-batch {batch}")
    images = np.resize(samples, (batch, *samples.shape[1:]))
    times = []
    run = runner.run if arguments.cpu else functools.partial(runner.run, times=times)
    for _ in range(WARM_UP):
        run(images)
    del times[:]
    seconds = _timed(run, images, arguments.seconds)
    print(f"{bundle['model']} in {bundle['precision']} on {_device(arguments)}")
    print(f"{batch * len(seconds) / sum(seconds):,.1f} images/s in batches of {batch}, {len(seconds)} batches, host to host")
    _print_percentiles("latency per batch, host to host", [1000 * each for each in seconds])
    if times:
        _print_percentiles("latency per batch, GPU only", times)
    print(f"next: {typed.told('infer.py', 'samples/0.png', engine=arguments.engine, cpu=arguments.cpu)}")


def _timed(run, images, limit):
    """Run repeatedly for `limit` seconds and return the seconds of each run."""
    seconds, end = [], time.perf_counter() + limit
    while not seconds or time.perf_counter() < end:
        start = time.perf_counter()
        run(images)
        seconds.append(time.perf_counter() - start)
    return seconds


def _print_percentiles(title, milliseconds):
    middle, slow, slowest = np.percentile(milliseconds, (50, 90, 99))
    print(f"{title}: p50 {middle:.3f} ms, p90 {slow:.3f} ms, p99 {slowest:.3f} ms")


def _device(arguments):
    """Return the board and the runtime as text."""
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
