"""An engine from model.onnx, with whatever TensorRT there is: what it offers is asked of it, not of its version."""

from . import precision
from .files import BundleError


def imported():
    """Return the module `tensorrt`; raises `BundleError` if Python has none."""
    try:
        import tensorrt
    except (ImportError, OSError) as error:  # OSError: a library of it cannot be loaded
        raise BundleError(
            f"Python cannot import tensorrt ({error}); install it with sudo apt-get install nvidia-jetpack. A virtual "
            "environment sees it if it was made with --system-site-packages"
        ) from None
    return tensorrt


def logger(trt, each=None):
    """Return a logger that keeps TensorRT's errors, a list of str, as its attribute `errors`.

    Args:
        trt: the module `tensorrt`.
        each: function called with (severity, message) of everything that is logged.
    """

    class Log(trt.ILogger):
        def __init__(self):
            trt.ILogger.__init__(self)
            self.errors = []

        def log(self, severity, message):
            if each:
                each(severity, message)
            if int(severity) <= int(trt.ILogger.ERROR):
                self.errors.append(message)

    return Log()


def shapes(bundle, dla=False, least=None, best=None, most=None):
    """Return the batches that an engine is to take: dict of min, opt and max.

    Args:
        bundle: dict, what bundle.json holds.
        dla: for DLA, which takes one batch size: opt.
        least, best, most: other ones than the bundle's, or None. What they leave out of order moves with them.

    Raises:
        BundleError: if they are below 1, not in order, or several for DLA.
    """
    profile = bundle["profile"]
    if dla:
        given = sorted({each for each in (least, best, most) if each}) or [profile["opt"]]
        if len(given) > 1:
            raise BundleError(f"DLA takes one batch size; given were {' and '.join(map(str, given))}")
        return {"min": given[0], "opt": given[0], "max": given[0]}
    highest = most or max(profile["max"], best or 0, least or 0)
    lowest = least or min(profile["min"], best or highest, highest)
    usual = best or min(max(profile["opt"], lowest), highest)
    if not 1 <= lowest <= usual <= highest:
        raise BundleError(f"batches go from 1 up, the smallest first; given were {lowest}, {usual} and {highest}")
    return {"min": lowest, "opt": usual, "max": highest}


def build(trt, path, bundle, profile=None, workspace_mb=None, dla_core=None, ranges=None, log=None, tell=None):
    """Return an engine, bytes.

    Args:
        trt: the module `tensorrt`, or one that has its names.
        path: of model.onnx.
        bundle: dict, what bundle.json holds.
        profile: dict of the smallest, usual and largest batch: min, opt and max; by default the bundle's.
        workspace_mb: memory that the builder may use for one layer; by default the bundle's.
        dla_core: number of the DLA core that takes what it can; None for the GPU alone.
        ranges: dict, name of a tensor -> largest magnitude, for a model without ranges of its own.
        log: as from `logger`.
        tell: function called with a line that a person may read.

    Raises:
        BundleError: if TensorRT cannot read the model, or makes no engine; it says why.
    """
    log = log or logger(trt)
    builder = trt.Builder(log)
    _check_platform(builder, bundle["precision"], dla_core)
    typed = precision.binds(trt, dla_core, ranges)
    network = _network(trt, builder, typed)
    _parse(trt, network, path, log)
    config = builder.create_builder_config()
    workspace_mb = workspace_mb or bundle["workspace_mb"]
    if hasattr(config, "set_memory_pool_limit"):
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_mb << 20)
    else:
        config.max_workspace_size = workspace_mb << 20
    precision.allow(trt, config, bundle["precision"], typed, dla_core)
    if bundle["precision"] == "fp16" and not typed:
        held = precision.keep_float32(trt, network, config)
        if tell and held is None:
            tell(
                "warning: TensorRT tells no types and may compute any layer in float16; verify.py tells whether that will do"
            )
        elif tell:
            tell(f"{held} layers are held in float32, as in the model")
    if dla_core is not None:
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = dla_core
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    if ranges:
        precision.set_ranges(trt, network, ranges)
    profile = profile or shapes(bundle, dla_core is not None)
    _set_batches(builder, network, config, profile)
    if hasattr(builder, "build_serialized_network"):
        plan = builder.build_serialized_network(network, config)
    else:
        engine = builder.build_engine(network, config)
        plan = engine.serialize() if engine else None
    if plan is None:
        raise BundleError(
            f"TensorRT {trt.__version__} makes no engine of {path}: {_last(log)}. If memory is short, give a smaller "
            f"--workspace than {workspace_mb} or a smaller --max-batch than {profile['max']}"
        )
    return bytes(plan)


def _check_platform(builder, precision, dla_core):
    if precision == "int8" and hasattr(builder, "platform_has_fast_int8") and not builder.platform_has_fast_int8:
        raise BundleError("this GPU computes nothing in INT8; export the model again with --precision fp16")
    if dla_core is not None and dla_core >= builder.num_DLA_cores:
        raise BundleError(
            f"there is no DLA core {dla_core}: TensorRT sees {builder.num_DLA_cores} of them here; for the GPU alone give "
            "--dla-core -1"
        )


def _network(trt, builder, typed):
    flags = 0
    if hasattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH"):
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
    if typed and hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    return builder.create_network(flags)


def _parse(trt, network, path, log):
    parser = trt.OnnxParser(network, log)
    if hasattr(parser, "parse_from_file"):
        read = parser.parse_from_file(str(path))
    else:
        with open(str(path), "rb") as file:
            read = parser.parse(file.read())
    if read:
        return
    problems = [_told(parser.get_error(index)) for index in range(parser.num_errors)] or [_last(log)]
    raise BundleError(
        f"TensorRT {trt.__version__} cannot read {path}: {'; '.join(problems)}. A model must be exported for the version "
        "that is to read it"
    )


def _told(refusal):
    said = refusal.desc().strip(" .")
    if hasattr(refusal, "node_name"):
        return f"{refusal.node_name()} ({refusal.node_operator()}): {said}" if refusal.node_operator() else said
    return f"node {refusal.node()}: {said}" if refusal.node() >= 0 else said


def _set_batches(builder, network, config, profile):
    """Add a profile of the batches, without which a builder makes no engine of a network whose batch is free."""
    tensor = network.get_input(0)
    _, *rest = tensor.shape
    if tensor.shape[0] < 0:
        optimization = builder.create_optimization_profile()
        optimization.set_shape(tensor.name, *[(profile[key], *rest) for key in ("min", "opt", "max")])
        config.add_optimization_profile(optimization)


def _last(log):
    return "; ".join(log.errors[-2:]) or "it does not say why"
