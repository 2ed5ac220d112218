"""Files that do not run, exhaust a limit or crash only affect the child process."""

import subprocess
import sys

import pytest
from onnx import helper

from exporters.onnx.untrusted import sandbox
from untrusted_models import add_weight, cyclic, endless_loop, filled, model, weight
from zoo.errors import ZooError


@pytest.mark.parametrize(
    ("proto", "reason"),
    [
        (filled(10**12), "does not run"),
        (filled(2**16, 2**16, 2), "does not run"),
        (cyclic(), "sorted"),
        (model([helper.make_node("Relu", ["x"], ["y"], domain="of.nobody")]), "does not run"),
        (model([helper.make_node("Gemm", ["x", "x"], ["y"])], sizes=(3, 4)), "does not run"),
        (model([helper.make_node("Relu", ["x"], ["y"])], sizes=(10**6, 10**6), output=(10**6, 10**6)), "more memory"),
    ],
    ids=["10^12 numbers", "32 GB", "circle", "unknown operator", "wrong sizes", "huge input"],
)
def test_file_that_does_not_run_is_rejected(folder, proto, reason):
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ZooError, match=reason) as caught:
        sandbox.load(path)
    assert str(path) in str(caught.value)


def test_endless_loop_is_stopped(folder, monkeypatch):
    monkeypatch.setattr(sandbox, "SECONDS", 2)
    path = folder / "model.onnx"
    path.write_bytes(endless_loop().SerializeToString())
    with pytest.raises(ZooError, match="was stopped after 2 seconds of CPU time"):
        sandbox.load(path)


BOUND = """
import resource, sys
from exporters.onnx.untrusted import sandbox
for kind in (resource.RLIMIT_CPU, resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
    resource.setrlimit(kind, (50, 50))
print(sandbox.load(sys.argv[1]).graph.name)
"""


def test_lower_limits_of_the_user_are_respected(folder):
    path = folder / "model.onnx"
    path.write_bytes(add_weight(weight()).SerializeToString())
    result = subprocess.run([sys.executable, "-c", BOUND, str(path)], capture_output=True, text=True)
    assert result.stdout == "g\n", result.stderr


CRASHING = """
import sys
{act}
"""


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "onnxruntime crashed with SIGSEGV"),
        ("sys.exit(7)", "onnxruntime exited with code 7"),
        ("print('first', 'second\\x1b[2J'); sys.exit(1)", r"first second\\x1b\[2J"),
        ("open('here', 'w').write('x')", None),
    ],
)
def test_failure_of_the_child_is_reported(folder, tmp_path_factory, monkeypatch, act, reason):
    """A script stands in for the child: a file that crashes onnxruntime today may not crash the next release."""
    child = tmp_path_factory.mktemp("child") / "sandbox_child.py"
    child.write_text(CRASHING.format(act=act))
    monkeypatch.setattr(sandbox, "__file__", str(child.with_name("sandbox.py")))
    path = folder / "model.onnx"
    path.write_bytes(add_weight(weight()).SerializeToString())
    if reason is None:
        assert sandbox.load(path).graph.name == "g"  # its working folder, with the file it wrote, is deleted
    else:
        with pytest.raises(ZooError, match=reason):
            sandbox.load(path)
