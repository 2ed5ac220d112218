"""What travels to a board runs there: Python 3.6, NumPy 1.13 and what JetPack brings."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import exporters.runner

FOLDER = Path(exporters.runner.__file__).parent
FILES = sorted(FOLDER.rglob("*.py"))
# What may be missing is imported where it is needed; NumPy is on every board that has TensorRT.
OPTIONAL = {"tensorrt", "onnxruntime", "cv2", "PIL"}
# What NumPy got after 1.13, of what one would use here.
NEWER_NUMPY = {"take_along_axis", "put_along_axis", "default_rng", "flip", "quantile", "isin", "unstack", "concat"}


def imports(tree):
    """Yield (top-level name, whether the module itself imports it) of each absolute import."""
    for node in ast.walk(tree):
        outside = node in tree.body
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], outside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0], outside


def test_files_to_check_exist():
    assert {"build_engine.py", "verify.py", "infer.py", "bench.py", "gate.py", "engine.py"} <= {path.name for path in FILES}


def vermin(path):
    command = [sys.executable, "-c", "import vermin; vermin.main()", "-t=3.6-", "--violations", "--no-tips", path]
    return subprocess.run(command, capture_output=True, text=True)


def test_syntax_is_python_3_6():
    result = vermin(FOLDER)
    assert result.returncode == 0, result.stdout + result.stderr


def test_newer_syntax_is_detected(tmp_path):
    (tmp_path / "new.py").write_text("import dataclasses\nprint(x := 1)\n")
    result = vermin(tmp_path)
    assert result.returncode == 1 and "'dataclasses' module requires !2, 3.7" in result.stdout and "3.8" in result.stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_imports_exist_on_a_board(path):
    tree = ast.parse(path.read_text("utf-8"), feature_version=(3, 6))
    for name, outside in imports(tree):
        assert name in sys.stdlib_module_names | {"numpy", "board"} | OPTIONAL, name
        assert not (outside and name in OPTIONAL), f"{name} is imported where it may be missing"
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not used & NEWER_NUMPY
    keywords = {
        keyword.arg
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("max", "min", "sum")
        for keyword in node.keywords
    }
    assert "initial" not in keywords  # of NumPy 1.15


def test_scripts_print_help_in_any_directory(tmp_path):
    for path in FILES:
        if path.parent == FOLDER and path.name != "__init__.py":
            result = subprocess.run([sys.executable, "-B", path, "--help"], capture_output=True, text=True, cwd=tmp_path)
            assert result.returncode == 0 and "usage" in result.stdout
