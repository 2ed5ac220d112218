"""What the scripts ask of TensorRT is there in each version, by the names that its real Python bindings list."""

import ast
import importlib.util
import json
from pathlib import Path

import pytest

from exporters.runner.board import engine, precision, runtime

HERE = Path(__file__).parent
APIS = {path.stem.partition("-")[2]: json.loads(path.read_text()) for path in sorted((HERE / "trt_api").glob("*.json"))}
SOURCES = [ast.parse(Path(module.__file__).read_text("utf-8")) for module in (engine, precision, runtime)]

_spec = importlib.util.spec_from_file_location("reach", HERE / "reach.py")
reach = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reach)


def asked(version, *sources):
    visitor = reach.Reach(APIS[version])
    for source in sources:
        visitor.visit(source)
    return visitor


@pytest.mark.parametrize("version", APIS)
def test_every_name_exists_in_each_version(version):
    assert asked(version, *SOURCES).missing == set()


def test_version_specific_names_are_used():
    old, new, newest = (asked(version, *SOURCES).asked for version in ("8.6.1", "10.3", "11.4"))
    assert len(old) > 40
    assert {"BuilderFlag.FP16", "ITensor.set_dynamic_range", "Runtime.deserialize_cuda_engine"} <= old & new
    assert "NetworkDefinitionCreationFlag.STRONGLY_TYPED" in (new & newest) - old
    assert "ParserError.node_name" in (new & newest) - old and "ParserError.node" in old - new
    assert "NetworkDefinitionCreationFlag.EXPLICIT_BATCH" in old - newest
    assert not newest & {"BuilderFlag.FP16", "BuilderFlag.INT8", "ITensor.set_dynamic_range", "ILayer.precision"}
    for names in (old, new, newest):
        assert {"BuilderFlag.TF32", "BuilderFlag.GPU_FALLBACK", "IExecutionContext.execute_async_v3"} <= names
        assert "IBuilderConfig.set_memory_pool_limit" in names and "IBuilderConfig.max_workspace_size" not in names


def test_older_names_are_used_without_the_newer_ones():
    """As by TensorRT 8.2 and older, whose lists are not at hand."""
    api = json.loads(json.dumps(APIS["8.6.1"]))
    newer = {
        "IBuilderConfig": ["set_memory_pool_limit"],
        "Builder": ["build_serialized_network"],
        "OnnxParser": ["parse_from_file"],
        "IExecutionContext": ["execute_async_v3", "set_input_shape", "set_tensor_address"],
        "ICudaEngine": ["get_tensor_dtype"],
    }
    for kind, names in newer.items():
        api["classes"][kind] = [name for name in api["classes"][kind] if name not in names]
    visitor = reach.Reach(api)
    for source in SOURCES:
        visitor.visit(source)
    assert visitor.missing == set()
    expected = {"IBuilderConfig.max_workspace_size", "Builder.build_engine", "OnnxParser.parse"}
    assert expected | {"IExecutionContext.execute_async_v2", "ICudaEngine.get_binding_dtype"} <= visitor.asked


@pytest.mark.parametrize(
    ("code", "missing"),
    [
        ("config.max_workspace_size = 1", {"IBuilderConfig.max_workspace_size"}),
        ("config.set_flag(trt.BuilderFlag.STRICT_TYPES)", {"BuilderFlag.STRICT_TYPES"}),
        ("trt.Unheard()", {"Unheard"}),
        ("self._context.execute_async_v2([], 0)", {"IExecutionContext.execute_async_v2"}),
        ("builder.create_network(0).add_rnn_v2", {"INetworkDefinition.add_rnn_v2"}),
        ("if hasattr(config, 'set_memory_pool_limit'):\n pass\nelse:\n config.max_workspace_size = 1", set()),
        ("if hasattr(config, 'max_workspace_size'):\n config.max_workspace_size = 1", set()),
        ("if not hasattr(config, 'max_workspace_size'):\n config.max_workspace_size", {"IBuilderConfig.max_workspace_size"}),
        ("if hasattr(config, 'flags'):\n config.max_workspace_size = 1", {"IBuilderConfig.max_workspace_size"}),
        ("if other and hasattr(builder, 'max_batch_size'):\n builder.max_batch_size", set()),
        ("if other or hasattr(builder, 'max_batch_size'):\n builder.max_batch_size", {"Builder.max_batch_size"}),
        ("x = other and builder.max_batch_size", {"Builder.max_batch_size"}),
        ("x = hasattr(builder, 'max_batch_size') and builder.max_batch_size", set()),
        ("x = builder.max_batch_size if hasattr(builder, 'max_batch_size') else 1", set()),
        ("def f():\n if hasattr(config, 'flags'):\n  return 1\n config.max_workspace_size", set()),
        ("def f():\n if other:\n  return 1\n config.max_workspace_size", {"IBuilderConfig.max_workspace_size"}),
    ],
)
def test_missing_name_is_found_unless_guarded(code, missing):
    assert asked("10.3", ast.parse(code)).missing == missing


@pytest.mark.parametrize("code", ["nameless = builder.create_builder_config()", "hasattr(nameless, 'set_flag')"])
def test_object_of_unknown_class_is_an_error(code):
    with pytest.raises(AssertionError, match="nameless"):
        asked("10.3", ast.parse(code))
