"""Stands in for NVIDIA's module, which needs a GPU that no test machine has: it offers the names that one version has, and
no others, and what it builds is run by onnxruntime.

That a script passes with it says that the script asks only for what that version has, in an order that makes sense, and does
what it should when it is refused. It says nothing of TensorRT itself, of its numbers or its speed.

Environment:
    STAND_IN_VERSION    "8.6.1", "10.3", "10.13" or "11.4": whose names, from ../trt_api
    STAND_IN_WITHOUT    names that are left out besides, as in "Builder.build_serialized_network,DataType.UINT8"
    STAND_IN_BUILDER    what building ends in: "none", or the name of a signal
    STAND_IN_ERROR      what is added to the first score of every picture, as by an engine that computes something else
    STAND_IN_CONTEXT    "none": there is no memory to run an engine in
    STAND_IN_DLA        number of DLA cores
    STAND_IN_TYPES      "none" where the parser calls every tensor FLOAT, whatever the model says
"""

import ctypes
import enum
import json
import os
import signal
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

API = json.loads((Path(__file__).parent.parent / "trt_api" / f"tensorrt-{os.environ['STAND_IN_VERSION']}.json").read_text())
WITHOUT = os.environ.get("STAND_IN_WITHOUT", "").split(",")

__version__ = API["version"]


def has(owner, name):
    """Whether this version has a name of a class or of an enumeration."""
    return f"{owner}.{name}" not in WITHOUT and name in (*API["classes"].get(owner, ()), *API["enums"].get(owner, ()))


def _enumeration(name):
    return enum.IntEnum(name, {member: value for member, value in API["enums"][name].items() if has(name, member)})


BuilderFlag, DataType, DeviceType, LayerType, MemoryPoolType, NetworkDefinitionCreationFlag = map(
    _enumeration, ("BuilderFlag", "DataType", "DeviceType", "LayerType", "MemoryPoolType", "NetworkDefinitionCreationFlag")
)
TYPES = {onnx.TensorProto.FLOAT: "FLOAT", onnx.TensorProto.FLOAT16: "HALF", onnx.TensorProto.UINT8: "UINT8"}


class Offered:
    """A class of TensorRT: it has the attributes that this version has, and takes no others, as pybind11's classes do."""

    def __init_subclass__(cls):
        for name in [name for name in vars(cls) if not name.startswith("_") and not has(cls.__name__, name)]:
            delattr(cls, name)

    def __setattr__(self, name, value):
        if not name.startswith("_") and not has(type(self).__name__, name):
            raise AttributeError(f"'{type(self).__name__}' object of TensorRT {__version__} has no attribute '{name}'")
        super().__setattr__(name, value)


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class Builder(Offered):
    platform_has_fast_fp16 = True
    platform_has_fast_int8 = os.environ.get("STAND_IN_CAPABILITY") != "5.3"
    num_DLA_cores = int(os.environ.get("STAND_IN_DLA", "0"))

    def __init__(self, logger):
        self._logger = logger

    def create_network(self, flags):
        return INetworkDefinition({flag.name for flag in NetworkDefinitionCreationFlag if flags & 1 << flag})

    def create_builder_config(self):
        return IBuilderConfig()

    def create_optimization_profile(self):
        return IOptimizationProfile()

    def build_serialized_network(self, network, config):
        return self._plan(network, config)

    def build_engine(self, network, config):
        plan = self._plan(network, config)
        return None if plan is None else ICudaEngine(plan, self._logger)

    def _plan(self, network, config):
        end = os.environ.get("STAND_IN_BUILDER")
        if end and end != "none":
            os.kill(os.getpid(), getattr(signal, end))
        # From 10 on a network has an explicit batch whatever is asked, and from 11 on it is strongly typed.
        typed = "STRONGLY_TYPED" in network._flags or not has("BuilderFlag", "FP16")
        refused = None
        if end == "none":
            refused = "Could not find any implementation for node conv1"
        elif has("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH") and "EXPLICIT_BATCH" not in network._flags:
            refused = "the parser takes explicit batches alone"
        elif typed and ({"FP16", "INT8"} & config._flags or network._ranges):
            refused = "a strongly typed network takes neither flags of a precision nor ranges"
        elif not config._profile:
            refused = "Network has dynamic or shape inputs, but no optimization profile has been defined."
        if refused:
            return self._logger.log(ILogger.ERROR, refused)
        known = {
            "version": __version__,
            "typed": typed,
            "flags": sorted(config._flags),
            "workspace": config._workspace if has("IBuilderConfig", "set_memory_pool_limit") else config.max_workspace_size,
            "dla": config.DLA_core if config.default_device_type == DeviceType.DLA else None,
            "ranges": network._ranges,
            "float32": [layer._name for layer in network._layers if layer._kept()],
            "profile": config._profile,
        }
        return json.dumps(known).encode() + b"\n" + network._model.SerializeToString()


class IBuilderConfig(Offered):
    max_workspace_size = 0
    default_device_type = DeviceType.GPU
    DLA_core = None

    def __init__(self):
        self._flags, self._profile, self._workspace = {"TF32"}, None, None

    def set_memory_pool_limit(self, pool, size):
        assert pool == MemoryPoolType.WORKSPACE
        self._workspace = size

    def set_flag(self, flag):
        self._flags.add(BuilderFlag(flag).name)

    def clear_flag(self, flag):
        self._flags.discard(BuilderFlag(flag).name)

    def add_optimization_profile(self, profile):
        self._profile = profile._shapes
        return 0


class IOptimizationProfile(Offered):
    def set_shape(self, name, least, best, most):
        self._shapes = [list(least), list(best), list(most)]


class ITensor(Offered):
    name = shape = dtype = None

    def __init__(self, name, shape, ranges, dtype=None):
        self.name, self.shape, self._ranges, self.dtype = name, shape, ranges, dtype

    def set_dynamic_range(self, low, high):
        self._ranges[self.name] = [low, high]
        return True


class ILayer(Offered):
    num_inputs = num_outputs = precision = None
    type = LayerType.IDENTITY

    def __init__(self, name, inputs, outputs):
        self._name, self._inputs, self._outputs, self._wide = name, inputs, outputs, set()
        self.num_inputs, self.num_outputs = len(inputs), len(outputs)

    def get_input(self, index):
        return self._inputs[index]

    def get_output(self, index):
        return self._outputs[index]

    def set_output_type(self, index, dtype):
        assert dtype == DataType.FLOAT
        self._wide.add(index)

    def _kept(self):
        return getattr(self, "precision", None) == DataType.FLOAT and self._wide == set(range(self.num_outputs))


class INetworkDefinition(Offered):
    num_inputs, num_layers = 1, 0

    def __init__(self, flags):
        self._flags, self._ranges = flags, {}

    def _take(self, model):
        self._model, (input,) = model, model.graph.input
        shape = tuple(each.dim_value or -1 for each in input.type.tensor_type.shape.dim)
        self._input = ITensor(input.name, shape, self._ranges)
        inferred = onnx.shape_inference.infer_shapes(model).graph
        values = [*inferred.value_info, *inferred.input, *inferred.output]
        known = {each.name: each.type.tensor_type.elem_type for each in values}
        known |= {each.name: each.data_type for each in inferred.initializer}

        def tensors(names):
            typed = os.environ.get("STAND_IN_TYPES") != "none"
            types = [getattr(DataType, TYPES.get(known.get(name), "INT32") if typed else "FLOAT") for name in names]
            return [
                ITensor(name, (), self._ranges, dtype) if name else None for name, dtype in zip(names, types, strict=True)
            ]

        self._layers = [ILayer(node.name, tensors(node.input), tensors(node.output)) for node in model.graph.node]
        self.num_layers = len(self._layers)

    def get_input(self, index):
        return [self._input][index]

    def get_layer(self, index):
        return self._layers[index]


class ParserError(Offered):
    def __init__(self, number, node, message):
        self._number, self._node, self._message = number, node, message

    def node(self):
        return self._number

    def node_name(self):
        return self._node.name if self._node else ""

    def node_operator(self):
        return self._node.op_type if self._node else ""

    def desc(self):
        return self._message


class OnnxParser(Offered):
    num_errors = 0

    def __init__(self, network, logger):
        self._network, self._errors = network, []

    def parse_from_file(self, path):
        return self.parse(Path(path).read_bytes())

    def parse(self, content):
        model = onnx.load_model_from_string(content)
        nodes = enumerate(model.graph.node)
        unknown = [(number, node) for number, node in nodes if not onnx.defs.has(node.op_type)]
        self._errors = [ParserError(*each, "no importer registered for op.") for each in unknown]
        self.num_errors = len(self._errors)
        if not unknown:
            self._network._take(model)
        return not unknown

    def get_error(self, index):
        return self._errors[index]


class Runtime(Offered):
    DLA_core = -1

    def __init__(self, logger):
        self._logger = logger

    def deserialize_cuda_engine(self, plan):
        if not plan.startswith(b"{") or json.loads(plan.partition(b"\n")[0])["version"] != __version__:
            return self._logger.log(ILogger.ERROR, "Serialization assertion failed")
        return ICudaEngine(plan, self._logger)


class ICudaEngine(Offered):
    def __init__(self, plan, logger):
        known, _, model = plan.partition(b"\n")
        self._plan, self._logger, self._profile = plan, logger, json.loads(known)["profile"]
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.x64quantprecision", "1")  # sums of INT8 as exact as TensorRT's
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._ends = [*self._session.get_inputs(), *self._session.get_outputs()]

    def serialize(self):
        return self._plan

    def create_execution_context(self):
        if os.environ.get("STAND_IN_CONTEXT") == "none":
            return self._logger.log(ILogger.ERROR, "Requested size was 4096 bytes")
        return IExecutionContext(self)

    def get_tensor_dtype(self, name):
        (end,) = [end for end in self._ends if end.name == name]
        return getattr(DataType, {"tensor(float)": "FLOAT", "tensor(uint8)": "UINT8"}[end.type])

    def get_binding_dtype(self, index):
        return self._dtype(self._ends[index].name)

    def get_binding_index(self, name):
        return next((index for index, end in enumerate(self._ends) if end.name == name), -1)

    _dtype = get_tensor_dtype


class IExecutionContext(Offered):
    def __init__(self, engine):
        self._engine, self._shape, self._addresses = engine, None, {}

    def set_input_shape(self, name, shape):
        least, _, most = self._engine._profile
        within = all(low <= size <= high for low, size, high in zip(least, shape, most, strict=True))
        if within:
            self._shape = tuple(shape)
        else:
            self._engine._logger.log(ILogger.ERROR, f"{name} is out of the range of the profile")
        return within

    def set_tensor_address(self, name, address):
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream_handle):
        return self._execute(self._addresses, stream_handle)

    def set_binding_shape(self, index, shape):
        return self._set(self._engine._ends[index].name, shape)

    def execute_async_v2(self, bindings, stream_handle):
        names = [end.name for end in self._engine._ends]
        return self._execute(dict(zip(names, bindings, strict=True)), stream_handle)

    _set = set_input_shape

    def _execute(self, addresses, stream):
        assert stream
        input, scores = self._engine._ends
        dtype = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}[input.type]
        size = int(np.prod(self._shape)) * np.dtype(dtype).itemsize
        pictures = np.frombuffer(ctypes.string_at(addresses[input.name], size), dtype).reshape(self._shape)
        (output,) = self._engine._session.run([scores.name], {input.name: pictures})
        output[:, 0] += float(os.environ.get("STAND_IN_ERROR", "0"))
        ctypes.memmove(addresses[scores.name], np.ascontiguousarray(output).ctypes.data, output.nbytes)
        return True
