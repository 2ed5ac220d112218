"""Build an engine from model.onnx for this board's GPU, run it once, and write it with a JSON file that describes it."""

import argparse
import os

from board import apart, command, engine, files, runtime, sidecar, typed
from board.cuda import Cuda, probe
from board.files import ONNX, BundleError


def main():
    arguments = _arguments()
    bundle = files.opened()
    files.check_free(arguments.out, sidecar.path_of(arguments.out))
    device = _device()
    _print_device(bundle, device)
    core = _dla_core(arguments, bundle)
    batches = arguments.min_batch, arguments.opt_batch, arguments.max_batch
    profile = engine.shapes(bundle, core is not None, *batches)
    workspace = arguments.workspace or bundle["workspace_mb"]
    print(f"building for batches of {profile['min']} to {profile['max']}; this can take minutes", flush=True)
    with files.atomic(arguments.out) as temporary:
        try:
            version = apart.call(build, temporary, bundle, profile, workspace, core)
        except apart.Died as died:
            raise BundleError(f"the build {died}; {_advice(died, workspace, profile)}") from None
    sidecar.write(arguments.out, bundle, version, device, core, profile)
    print(f"{arguments.out}: TensorRT {version}, {os.path.getsize(arguments.out):,} bytes; one test run passed")
    print(f"next: {typed.told('verify.py', engine=arguments.out)}")


def build(path, bundle, profile, workspace, core):
    """Write an engine, run it once, and return the TensorRT version; runs in a child process."""
    trt = engine.imported()
    _warn_of_other_version(bundle, trt.__version__)
    ranges = files.calibration(bundle) if bundle["calibration"] else None
    content = engine.build(trt, ONNX, bundle, profile, workspace, core, ranges, tell=_print)
    images, _ = files.samples(bundle)
    runtime.Runtime(trt, Cuda(), content, bundle, profile, core).run(images[: profile["max"]])
    with files.writing(path), open(path, "wb") as file:
        file.write(content)
    return trt.__version__


def _device():
    try:
        return apart.call(probe)
    except apart.Died as died:
        without = typed.told("verify.py", cpu=True)
        raise BundleError(f"the GPU test {died}: the driver does not work; {without} needs no GPU") from None


def _dla_core(arguments, bundle):
    """Return the DLA core, or None for the GPU alone."""
    core = arguments.dla_core
    if core is None:
        return 0 if bundle["dla"] else None
    if core >= 0 and not bundle["dla"]:
        raise BundleError("the model in this bundle is not for DLA; export it with --dla, or omit --dla-core")
    return core if core >= 0 else None


def _print_device(bundle, device):
    target = bundle["target"]
    print(f"{device.name}, compute capability {device.compute_capability}, {device.free_mb} of {device.total_mb} MB free")
    if device.compute_capability != target["compute_capability"]:
        print(
            f"warning: the bundle was made for {target['board']}, compute capability {target['compute_capability']}; the "
            "engine is built for this GPU"
        )


def _warn_of_other_version(bundle, version):
    expected = bundle["target"]["tensorrt"]
    if version.split(".")[:2] != expected.split(".")[:2]:
        _print(
            f"warning: the bundle was made for TensorRT {expected}, and this is {version}; if the build or verify.py fails, "
            "export the model for this version"
        )


def _print(line):
    print(line, flush=True)


def _advice(died, workspace, profile):
    if died.killed:
        return (
            f"not enough memory: close other programs, or give a smaller --workspace than {workspace} or a smaller "
            f"--max-batch than {profile['max']}"
        )
    return "the output above is all that is known"


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default=files.ENGINE, help="engine file to write (default: model.engine in this folder)")
    parser.add_argument(
        "--workspace", type=command.positive, metavar="MB", help="workspace of the builder: the most memory for one layer"
    )
    parser.add_argument(
        "--dla-core", type=int, choices=(-1, 0, 1), help="DLA core for the layers that it supports, or -1 for none"
    )
    for name in ("min", "opt", "max"):
        parser.add_argument(f"--{name}-batch", type=command.positive, metavar="N", help=f"{name} batch of the profile")
    return parser.parse_args()


if __name__ == "__main__":
    command.run(main)
