"""The command `zoo doctor`: check the installation and the hardware."""

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from zoo import console, machine
from zoo.cli import DISTRIBUTION
from zoo.commands.probes import PROBES, Probe, ask
from zoo.console import Json
from zoo.errors import printable
from zoo.files import cache_folder, data_folder

if TYPE_CHECKING:
    from packaging.requirements import Requirement


@dataclass
class Part:
    """The state of a package.

    Attributes:
        title: name for the user.
        state: "ok", "missing", "broken" or "other version".
        use: what the zoo needs it for.
        needed: whether the zoo requires it.
        version: the installed version, or None.
        wanted: the required versions, such as ">=3.15,<3.16".
        details: facts that its probe prints.
        gpus: names of the GPUs that it can use.
        error: the error of its import, in one line, or None.
        mend: the command that fixes it, or None.
    """

    title: str
    state: str
    use: str
    needed: bool
    version: str | None = None
    wanted: str = ""
    details: list[str] = field(default_factory=list)
    gpus: list[str] = field(default_factory=list)
    error: str | None = None
    mend: str | None = None


def doctor(as_json: Json = False) -> None:
    """Check the installed packages, the GPU and the data sets, and print commands that fix problems.

    Example: zoo doctor
    """
    needed, optional = _requirements()
    bar = console.progress()  # imports may take a minute
    with bar, ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda probe: examine(probe, needed, optional), PROBES)
        parts = list(bar.track(found, len(PROBES), description="checking packages"))
    asked = {probe.package for probe in PROBES}
    parts += [_installed(requirement) for name, requirement in needed.items() if name not in asked]
    found = {
        "python": platform.python_version(),
        "zoo": importlib.metadata.version(DISTRIBUTION),
        "cpu": machine.cpu(),
        "memory": machine.memory() if importlib.util.find_spec("psutil") else {},
        "disk": {str(folder): machine.free_disk(folder) for folder in (Path.cwd(), cache_folder())},
        "nvidia": machine.nvidia(),
        "trtexec": machine.trtexec(),
        "data": {"folder": str(data_folder()), "prepared": prepared(data_folder())},
    }
    ok = all(part.state == "ok" for part in parts if part.needed)
    advice = advise(parts, found)
    if as_json:
        report = {"ok": ok, **found, "parts": [asdict(part) for part in parts], **advice}
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        for line in [*_machine_lines(found), "", *_part_lines(parts), "", advice["verdict"], f"next: {advice['next']}"]:
            print(line)
    raise typer.Exit(0 if ok else 1)


def _requirements() -> "tuple[dict[str, Requirement], dict[str, Requirement]]":
    """Return the requirements of the distribution and those of its extras, by name."""
    from packaging.requirements import Requirement

    found = [Requirement(text) for text in importlib.metadata.requires(DISTRIBUTION)]
    needed = {each.name: each for each in found if "extra" not in str(each.marker)}
    return needed, {each.name: each for each in reversed(found) if "extra" in str(each.marker) and not each.extras}


def examine(probe: Probe, needed: "dict[str, Requirement]", optional: "dict[str, Requirement]") -> Part:
    """Run a probe and return the state of its package. A crash of the package does not end this process.

    Args:
        probe: the probe.
        needed: requirements of the distribution, by name.
        optional: requirements of its extras, by name.
    """
    wanted = needed.get(probe.package) or optional.get(probe.package)
    part = Part(probe.title, "missing", probe.use, probe.package in needed, wanted=str(wanted.specifier) if wanted else "")
    if importlib.util.find_spec(probe.module) is None:
        part.mend = _mend(probe.package, wanted)
        return part
    part.version, part.details, part.gpus, part.error = ask(probe)
    if part.error:
        reinstall = _mend(probe.package, wanted, "--force-reinstall ")
        part.state, part.mend = "broken", _backend_mend(part.error, {**optional, **needed}) or reinstall
    elif wanted and not wanted.specifier.contains(part.version, prereleases=True):
        part.state, part.mend = "other version", _mend(probe.package, wanted)
    else:
        part.state = "ok"
    return part


def _installed(requirement: "Requirement") -> Part:
    """Return the state of a required package without a probe, by its version only."""
    part = Part(requirement.name, "ok", "the zoo itself", True, wanted=str(requirement.specifier))
    try:
        part.version = importlib.metadata.version(requirement.name)
        if not requirement.specifier.contains(part.version, prereleases=True):
            part.state = "other version"
    except importlib.metadata.PackageNotFoundError:
        part.state = "missing"
    if part.state != "ok":
        part.mend = _mend(requirement.name, requirement)
    return part


def _mend(package: str, wanted: "Requirement | None", options: str = "") -> str:
    """Return the command that installs a package."""
    if package == "tensorrt":
        return "pip install tensorrt; on a Jetson: sudo apt install nvidia-jetpack"
    return f"pip install {options}'{wanted.name}{wanted.specifier}'"


def _backend_mend(error: str, wanted: "dict[str, Requirement]") -> str | None:
    """Return the command that fixes the error of a missing Keras backend, or None for another error."""
    if error.startswith("ValueError: Unable to import backend"):
        return "unset KERAS_BACKEND, or set it to tensorflow or jax"
    missing = re.match("ModuleNotFoundError: No module named '(tensorflow|jax)'", error)
    if missing is None:
        return None
    chosen = os.environ.get("KERAS_BACKEND") == missing[1]
    return _mend(missing[1], wanted[missing[1]]) + ("; or unset KERAS_BACKEND" if chosen else "")


def prepared(folder: Path) -> list[str]:
    """Return the names of the data sets of TensorFlow Datasets that are prepared in a folder, sorted."""
    found = [*folder.glob("*/*/dataset_info.json"), *folder.glob("*/*/*/dataset_info.json")]
    return sorted({path.relative_to(folder).parts[0] for path in found})


def advise(parts: list[Part], found: dict[str, Any]) -> dict[str, str]:
    """Return the conclusion, "verdict", and the next command, "next".

    Args:
        parts: state of each package.
        found: facts about the machine, as `doctor` prints them with `--json`.
    """
    bad = [part for part in parts if part.needed and part.state != "ok"]
    unseen = "" if bad else _unseen_gpu(parts, found["nvidia"])
    if bad:
        verdict = f"the zoo does not work here: {', '.join(f'{part.title} is {_state(part)}' for part in bad)}"
    elif unseen:
        verdict = f"the zoo works here, but not on the GPU: {unseen}"
    else:
        gpus = next((part.gpus for part in parts if part.title == _backend(parts) and part.gpus), None)
        verdict = f"the zoo works here, on {', '.join(gpus) if gpus else 'the CPU'}"
    following = "zoo train lenet5-modern-fast" if "mnist" in found["data"]["prepared"] else "zoo list"
    return {"verdict": verdict, "next": bad[0].mend if bad else following}


def _unseen_gpu(parts: list[Part], nvidia: dict[str, Any]) -> str:
    """Return why the backend does not use an existing GPU, with the fix; "" if it does, or if there is no GPU."""
    if nvidia["error"]:
        return f"{nvidia['error']}; reinstall NVIDIA's driver, on Ubuntu: sudo ubuntu-drivers install, then restart"
    backend = next(part for part in parts if part.title == _backend(parts))
    if backend.gpus or not (nvidia["gpus"] or nvidia["driver"]) or nvidia["board"]:
        return ""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides it; unset it"
    version = f"=={backend.version}"
    mend = f"tensorflow[and-cuda]{version}" if backend.title == "TensorFlow" else f"jax[cuda12]{version}"
    return f"{backend.title} does not see it, as CUDA's libraries are missing or too old; pip install '{mend}'"


def _backend(parts: list[Part]) -> str:
    keras = next(part for part in parts if part.title == "Keras")
    return "JAX" if keras.details == ["on jax"] else "TensorFlow"


def _machine_lines(found: dict[str, Any]) -> Iterator[str]:
    cpu, memory, nvidia = found["cpu"], found["memory"], found["nvidia"]
    instructions = " ".join(cpu["instructions"]) or "no fast instruction sets known"
    yield f"zoo         {found['zoo']}, Python {found['python']}"
    yield f"CPU         {cpu['name']}, {cpu['cores']} cores; {instructions}"
    if memory:
        yield f"memory      {_gigabytes(memory['total'])}, {_gigabytes(memory['available'])} available"
    for folder, free in found["disk"].items():
        yield f"disk        {_gigabytes(free)} free for {printable(folder)}"
    for gpu in nvidia["gpus"]:
        yield f"GPU         {gpu['name']}, {gpu['memory.total']}, compute capability {gpu['compute_cap']}"
    if nvidia["board"]:
        yield f"board       {printable(nvidia['board'])}, {nvidia['release'] or 'L4T unknown'}"
    driver = f"driver {nvidia['driver']}" if nvidia["driver"] else "no driver; needed for training on an NVIDIA GPU"
    yield f"NVIDIA      {nvidia['error'] or driver}"
    yield f"trtexec     {found['trtexec'] or 'not found; builds engines; part of TensorRT on a board'}"
    names = ", ".join(found["data"]["prepared"]) or "none; TFDS_DATA_DIR sets the folder"
    yield f"data sets   {names}, in {printable(found['data']['folder'])}"


def _part_lines(parts: list[Part]) -> Iterator[str]:
    others = [part for part in parts if part.use == "the zoo itself" and part.state == "ok"]
    for part in parts:
        if part in others:
            continue
        details = ", ".join([*part.details, *(f"GPU {name}" for name in part.gpus)])
        yield f"{part.title:20} {part.version or '':10} {_state(part)}{f'; {details}' if details else ''}"
        if part.state != "ok":
            yield f"{'':20} needed for {part.use}; {part.mend}"
    yield f"{'other packages':20} {len(others)} ok"


def _state(part: Part) -> str:
    wanted = f" than {part.wanted}" if part.state == "other version" else ""
    return f"{part.state}{wanted}" + (f": {printable(part.error)}" if part.error else "")


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:,.1f} GB"
