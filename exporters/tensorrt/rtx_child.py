"""What `exporters.tensorrt.rtx` runs in a process of its own: -m exporters.tensorrt.rtx_child FILE BUNDLE BYTES SECONDS

A board's own program builds the file, with TensorRT-RTX. The child prints a line of JSON: the table of layers, or why there
is none.
"""

import json
import sys
import types

from exporters.onnx.untrusted.sandbox_child import limit
from exporters.runner.board import engine
from exporters.runner.board.files import BundleError

TABLE = "Layers:\n"  # begins the message with the table


def build(path, bundle):
    """Return what a file became, as a dict: version, engine_bytes and table, or error."""
    import tensorrt_rtx

    class Detailed(tensorrt_rtx.Builder):
        """Tells of each layer within what it compiles as one; on a board nobody would read it."""

        def create_builder_config(self):
            config = super().create_builder_config()
            config.profiling_verbosity = tensorrt_rtx.ProfilingVerbosity.DETAILED
            return config

    trt = types.SimpleNamespace(**{**vars(tensorrt_rtx), "Builder": Detailed})
    said = []
    log = engine.logger(trt, lambda severity, message: said.append(message))
    try:
        plan = engine.build(trt, path, bundle, log=log)
    except BundleError as error:
        return {"error": str(error)}
    (table,) = [message.removeprefix(TABLE) for message in said if message.startswith(TABLE)]
    return {"version": trt.__version__, "engine_bytes": len(plan), "table": table}


if __name__ == "__main__":
    file, about, memory, seconds = sys.argv[1:]
    limit(int(memory), int(seconds))
    print(json.dumps(build(file, json.loads(about))))
