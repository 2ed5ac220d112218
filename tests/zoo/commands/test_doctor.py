"""The command `zoo doctor`: states of packages, facts about the machine, and advice."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys

import onnxruntime
import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from typer.testing import CliRunner

from zoo import cli, machine
from zoo.commands import doctor, probes


def probe(code, module="json", package="numpy"):
    return probes.Probe("Thing", module, package, "tests", code)


NEEDED = {"numpy": Requirement("numpy>=2,<3")}


@pytest.mark.slow("imports each optional package in a separate process")
def test_this_machine(monkeypatch, tmp_path):
    """The command reports the versions of the installed packages."""
    (tmp_path / "digits" / "1.0.0").mkdir(parents=True)
    (tmp_path / "digits" / "1.0.0" / "dataset_info.json").touch()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    command = [sys.executable, "-c", "from zoo.cli import main; main()", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["ok"] and report["data"] == {"folder": str(tmp_path), "prepared": ["digits"]}
    parts = {part["title"]: part for part in report["parts"]}
    for title, package in {"Keras": "keras", "TensorFlow": "tensorflow", "JAX": "jax", "numpy": "numpy"}.items():
        assert (parts[title]["state"], parts[title]["version"]) == ("ok", importlib.metadata.version(package))
    assert parts["onnxruntime"]["details"] == onnxruntime.get_available_providers() and parts["onnxruntime"]["needed"]
    assert parts["Keras"]["details"] == [f"on {os.environ.get('KERAS_BACKEND', 'tensorflow')}"]
    assert all(part["state"] == "ok" or part["mend"] for part in report["parts"])
    assert report["verdict"].startswith("the zoo works here") and report["next"].startswith("zoo ")


def test_requirements_are_those_of_the_distribution():
    needed, optional = doctor._requirements()
    assert {"keras", "tensorflow", "tf2onnx", "onnxruntime", "tensorflow-datasets"} <= set(needed)
    assert {"jax", "torch", "openvino"} <= set(optional) and not {"jax", "pytest"} & set(needed)
    for probe in probes.PROBES:
        assert probe.package in {**needed, **optional} or probe.package == "tensorrt"


def test_part_with_the_required_version():
    part = doctor.examine(probe("version, details = '2.5.0+local', [1]"), NEEDED, {})
    assert (part.state, part.version, part.details, part.needed, part.mend) == ("ok", "2.5.0", ["1"], True, None)


@pytest.mark.parametrize("version", ["1.9", "3.0"])
def test_part_with_another_version(version):
    part = doctor.examine(probe(f"version = '{version}'"), NEEDED, {})
    assert part.state == "other version"
    assert not Requirement(part.mend.removeprefix("pip install ").strip("'")).specifier.contains(Version(version))


def test_missing_part_is_not_imported():
    part = doctor.examine(probe("open('never', 'w')", module="no_such_module"), {}, NEEDED)
    assert (part.state, part.needed, part.mend) == ("missing", False, "pip install 'numpy<3,>=2'")


@pytest.mark.parametrize(
    "code, error",
    [
        (
            "raise ImportError('libcudart.so.12: cannot open shared object file')",
            "ImportError: libcudart.so.12: cannot open.*",
        ),
        ("import os; os.abort()", "its import crashes with SIGABRT"),
        ("import os; os._exit(3)", "exit status 3"),
        ("import time; time.sleep(60)", "its import takes longer than 0.5 s"),
        ("print('noise'); version = 'none'", None),
    ],
)
def test_broken_part_is_reported_in_one_line(monkeypatch, code, error):
    monkeypatch.setattr(probes, "SECONDS", 0.5 if "sleep" in code else 60)
    part = doctor.examine(probe(code), NEEDED, {})
    assert part.state == ("broken" if error else "other version")
    if error:
        assert re.fullmatch(error, part.error)
        assert "--force-reinstall" in part.mend


def test_keras_without_a_backend_need_not_be_reinstalled(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "bogus")
    for package in ("keras", "tensorflow"):  # TensorFlow imports Keras, too
        (real,) = [each for each in probes.PROBES if each.package == package]
        part = doctor.examine(real, *doctor._requirements())
        assert part.state == "broken" and "bogus" in part.error
        assert part.mend == "unset KERAS_BACKEND, or set it to tensorflow or jax"


@pytest.mark.parametrize("backend, other_way", [("jax", "; or unset KERAS_BACKEND"), ("tensorflow", "")])
def test_missing_backend_is_to_be_installed(monkeypatch, backend, other_way):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    part = doctor.examine(
        probe("raise ModuleNotFoundError(\"No module named 'jax'\")"), {}, doctor._requirements()[1] | NEEDED
    )
    assert part.state == "broken" and part.mend == f"pip install 'jax<0.11,>=0.10'{other_way}"


def fake(monkeypatch, folder, answer, status=0):
    """Put an nvidia-smi on the PATH that answers the expected query only."""
    script = folder / "nvidia-smi"
    query = "--query-gpu=name,memory.total,driver_version,compute_cap --format=csv,noheader"
    script.write_text(f'#!/bin/sh\n[ "$*" = "{query}" ] || exit 9\nprintf \'{answer}\'\nexit {status}\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_gpus_of_a_workstation(monkeypatch, tmp_path):
    fake(monkeypatch, tmp_path, "NVIDIA H100 80GB HBM3, 81559 MiB, 550.54.15, 9.0\\nTesla T4, 15360 MiB, 550.54.15, 7.5\\n")
    found = machine.nvidia()
    assert [gpu["name"] for gpu in found["gpus"]] == ["NVIDIA H100 80GB HBM3", "Tesla T4"]
    assert found["gpus"][1] == {
        "name": "Tesla T4",
        "memory.total": "15360 MiB",
        "driver_version": "550.54.15",
        "compute_cap": "7.5",
    }
    assert (found["driver"], found["error"]) == ("550.54.15", None)


def test_nvidia_smi_that_fails(monkeypatch, tmp_path):
    message = "NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver."
    fake(monkeypatch, tmp_path, f"{message}\\n", 9)
    found = machine.nvidia()
    assert (found["gpus"], found["error"]) == ([], f"nvidia-smi: {message}")


def test_driver_without_nvidia_smi(monkeypatch, tmp_path):
    (tmp_path / "version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\nGCC version: 12.2.0\n"
    )
    monkeypatch.setattr(machine, "DRIVER", tmp_path / "version")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.nvidia()["driver"] == "535.129.03"
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n")
    assert machine.nvidia()["driver"] == "570.86.15"


def test_jetson(monkeypatch, tmp_path):
    (tmp_path / "model").write_bytes(b"NVIDIA Jetson Xavier NX Developer Kit\0")
    (tmp_path / "release").write_text("# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64\n")
    (tmp_path / "cpu").write_text("processor\t: 0\nFeatures\t: fp asimd fphp asimdhp\n")
    for name, file in {"BOARD": "model", "BOARD_RELEASE": "release", "CPU": "cpu"}.items():
        monkeypatch.setattr(machine, name, tmp_path / file)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = machine.nvidia()
    assert (found["board"], found["release"]) == ("NVIDIA Jetson Xavier NX Developer Kit", "L4T 35.4.1")
    assert machine.cpu()["instructions"] == ["asimd", "fphp"]


def test_system_without_any_of_the_files(monkeypatch, tmp_path):
    for name in ("CPU", "GROUPS", "DRIVER", "BOARD", "BOARD_RELEASE", "TRTEXEC"):
        monkeypatch.setattr(machine, name, tmp_path / "nothing")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.memory()["available"] > 0 and machine.trtexec() is None and machine.cpu()["instructions"] == []
    assert machine.nvidia() == {"gpus": [], "driver": None, "board": None, "release": None, "error": None}


def test_memory_and_disk_agree_with_the_system(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "GROUPS", tmp_path / "nothing")
    assert machine.memory()["total"] == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    stat = os.statvfs(tmp_path)
    assert machine.free_disk(tmp_path / "not" / "yet") == pytest.approx(stat.f_bavail * stat.f_frsize, rel=0.05)


V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


@pytest.mark.parametrize(
    "groups, folder, names",
    [
        ("0::/a/b", ".", ("memory.max", "memory.current", "inactive_file")),
        ("4:cpu,memory:/a/b\n1:name=systemd:/\n0::/", "memory", V1),
        ("4:memory:/not/in/this/container", "memory", V1),
    ],
)
def test_memory_of_a_container(monkeypatch, tmp_path, groups, folder, names):
    """The lowest limit of its groups counts, and the file cache does not count as used."""
    limit, used, files = names
    for place, most in ((".", 50_000_000), ("a", 40_000_000), ("a/b", "max" if limit == "memory.max" else 2**63 - 4096)):
        if place == "." or "not" not in groups:
            group = tmp_path / folder / place
            group.mkdir(parents=True, exist_ok=True)
            (group / limit).write_text(f"{most}\n")
            (group / used).write_text("30000000\n")
            (group / "memory.stat").write_text(f"{files}_of_another 9\nx{files} 9\n{files} 5000000\nanon 1\n")
    (tmp_path / "groups").write_text(f"{groups}\n")
    monkeypatch.setattr(machine, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(machine, "LIMITS", tmp_path)
    most = 50_000_000 if "not" in groups else 40_000_000
    assert machine.memory() == {"total": most, "available": most - 25_000_000}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes cannot be bound to cores on this system")
def test_cores_that_a_process_may_use():
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert machine.cores() == machine.cpu()["cores"] == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert machine.cores() == len(allowed)


GPU = {"name": "Tesla T4", "memory.total": "15360 MiB", "driver_version": "550.54.15", "compute_cap": "7.5"}


def parts(seen=(), backend="tensorflow", tensorflow="ok"):
    return [
        doctor.Part("Keras", "ok", "", True, "3.15.1", details=[f"on {backend}"]),
        doctor.Part("TensorFlow", tensorflow, "", True, "2.21.0", gpus=list(seen), mend="pip install 'tensorflow'"),
        doctor.Part("JAX", "ok", "", False, "0.10.2"),
    ]


def found(gpus=(), board=None, error=None, prepared=()):
    driver = "550.54.15" if gpus else None
    return {
        "nvidia": {"gpus": list(gpus), "driver": driver, "board": board, "release": None, "error": error},
        "data": {"prepared": list(prepared)},
    }


@pytest.mark.parametrize(
    "parts, found, verdict, following",
    [
        (parts(), found(), "the zoo works here, on the CPU", "zoo list"),
        (parts(["Tesla T4"]), found([GPU]), "the zoo works here, on Tesla T4", "zoo list"),
        (parts(), found([GPU]), r"not on the GPU: TensorFlow .*pip install 'tensorflow\[and-cuda\]==2.21.0'", "zoo list"),
        (parts(backend="jax"), found([GPU]), r"not on the GPU: JAX .*pip install 'jax\[cuda12\]==0.10.2'", "zoo list"),
        (parts(), found(error="nvidia-smi: failed"), "not on the GPU: nvidia-smi: failed; .*driver", "zoo list"),
        (parts(), found([GPU], board="Jetson"), "the zoo works here, on the CPU", "zoo list"),
        (parts(), found(prepared=["mnist"]), "works here", "zoo train"),
        (parts(tensorflow="broken"), found(), "does not work here: TensorFlow is broken", "pip install 'tensorflow'"),
    ],
)
def test_verdict(monkeypatch, parts, found, verdict, following):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    advice = doctor.advise(parts, found)
    assert re.search(verdict, advice["verdict"]) and advice["next"].startswith(following)


def test_hidden_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "CUDA_VISIBLE_DEVICES hides it" in doctor.advise(parts(), found([GPU]))["verdict"]


def test_missing_part_is_reported_with_its_use_and_fix_and_exits_with_1(monkeypatch):
    two = (
        probes.Probe("Keras", "json", "none", "models", "version = '3.15.1'; details = ['on tensorflow']"),
        probes.Probe("TensorFlow", "no_such_module", "tensorflow", "training", ""),
    )
    needed, optional = {"tensorflow": Requirement("tensorflow>=2.21")}, {"none": Requirement("none>=3")}
    monkeypatch.setattr(doctor, "PROBES", two)
    monkeypatch.setattr(doctor, "_requirements", lambda: (needed, optional))
    done = CliRunner().invoke(cli.app, ["doctor"])
    assert done.exit_code == 1
    assert re.search(r"TensorFlow +missing\n +needed for training; pip install 'tensorflow>=2.21'\n", done.output)
    assert done.output.endswith("TensorFlow is missing\nnext: pip install 'tensorflow>=2.21'\n")
