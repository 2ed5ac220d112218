"""The child process of `exporters.tensorrt.rtx`: -m exporters.tensorrt.rtx_child FILE BUNDLE BYTES SECONDS

It builds the file with TensorRT-RTX and the program of a bundle, and prints one line of JSON: the table of layers, or an
error.
"""

import json
import sys
import types

from exporters.onnx.untrusted.sandbox_child import limit
from exporters.runner.board import engine
from exporters.runner.board.files import BundleError

TABLE = "Layers:\n"  # start of the log message with the table


def build(path: str, bundle: dict) -> dict:
    """Build a file; return a dict of version, engine_bytes and table, or of error."""
    import tensorrt_rtx

    class Detailed(tensorrt_rtx.Builder):
        """Reports each layer within a fused one; a board does not need that."""

        def create_builder_config(self):
            config = super().create_builder_config()
            config.profiling_verbosity = tensorrt_rtx.ProfilingVerbosity.DETAILED
            return config

    trt = types.SimpleNamespace(**{**vars(tensorrt_rtx), "Builder": Detailed})
    messages = []
    log = engine.logger(trt, lambda severity, message: messages.append(message))
    try:
        plan = engine.build(trt, path, bundle, log=log)
    except BundleError as error:
        return {"error": str(error)}
    (table,) = [message.removeprefix(TABLE) for message in messages if message.startswith(TABLE)]
    return {"version": trt.__version__, "engine_bytes": len(plan), "table": table}


if __name__ == "__main__":
    file, about, memory, seconds = sys.argv[1:]
    limit(int(memory), int(seconds))
    print(json.dumps(build(file, json.loads(about))))
