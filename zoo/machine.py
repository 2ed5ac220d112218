"""Facts about this machine, from files and commands of its system, without touching the GPU."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CPU = Path("/proc/cpuinfo")
GROUPS = Path("/proc/self/cgroup")
LIMITS = Path("/sys/fs/cgroup")
DRIVER = Path("/proc/driver/nvidia/version")
# Jetson boards have no nvidia-smi, or one that reports little.
BOARD = Path("/proc/device-tree/model")
BOARD_RELEASE = Path("/etc/nv_tegra_release")
TRTEXEC = Path("/usr/src/tensorrt/bin/trtexec")  # NVIDIA's packages install it here, outside of the PATH

QUERY = ("name", "memory.total", "driver_version", "compute_cap")
# Instruction sets of x86 and ARM that make networks faster, by their names in Linux.
FAST = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8", "amx_fp16")
FAST += ("asimd", "asimddp", "fphp", "bf16", "i8mm", "sve")


def cpu_flags() -> set[str]:
    """Return the names of the CPU's instruction sets in Linux; an empty set on other systems."""
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", _read(CPU), re.MULTILINE)
    return set(flags[1].split()) if flags else set()


def cpu() -> dict[str, Any]:
    """Return the CPU's "name", the number of usable "cores", and its fast "instructions"."""
    name = re.search(r"^model name\s*:(.*)$", _read(CPU), re.MULTILINE)
    flags = cpu_flags()
    return {
        "name": name[1].strip() if name else platform.processor() or platform.machine(),
        "cores": cores(),
        "instructions": [flag for flag in FAST if flag in flags],
    }


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> dict[str, int]:
    """Return the "total" and "available" bytes of memory, within the limits of a container."""
    import psutil

    found = psutil.virtual_memory()
    total, available = found.total, found.available
    for limit, used in _limits():
        total, available = min(total, limit), min(available, max(0, limit - used))
    return {"total": total, "available": available}


def _limits() -> Iterator[tuple[int, int]]:
    """Yield (limit, used) bytes of each control group with a limit that contains this process, version 1 or 2.

    The file cache does not count as used, because the system frees it when memory is needed.
    """
    for line in _read(GROUPS).splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, names, files = LIMITS, ("memory.max", "memory.current"), "inactive_file"
        elif "memory" in controllers.split(","):
            root, names, files = LIMITS / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes"), "total_inactive_file"
        else:
            continue
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):  # these files do not exist above the root
            limit, used = (_read(folder / name).strip() for name in names)
            if limit.isdecimal() and used.isdecimal():
                cached = re.search(rf"^{files} (\d+)$", _read(folder / "memory.stat"), re.MULTILINE)
                yield int(limit), int(used) - (int(cached[1]) if cached else 0)


def free_disk(folder: str | os.PathLike) -> int:
    """Return the free bytes on the disk of a folder, which need not exist yet."""
    folder = Path(folder).expanduser().absolute()
    return shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.exists())).free


def nvidia() -> dict[str, Any]:
    """Return the NVIDIA GPUs, driver and board.

    Returns:
        A dict of "gpus": a list of dicts with the keys QUERY; "driver": its version or None; "board": the name of a Jetson
        board or None; "release": its version of L4T or None; "error": a line if nvidia-smi is installed but fails, or None.
    """
    gpus, error = _smi()
    version = re.search(r"Module\s+(?:for \S+\s+)?(\d+(?:\.\d+)+)", _read(DRIVER))
    release = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", _read(BOARD_RELEASE))
    board = _read(BOARD).rstrip("\0\n")
    return {
        "gpus": gpus,
        "driver": gpus[0]["driver_version"] if gpus else version[1] if version else None,
        "board": board if release or "jetson" in board.lower() else None,
        "release": f"L4T {release[1]}.{release[2]}" if release else None,
        "error": error,
    }


def _smi() -> tuple[list[dict[str, str]], str | None]:
    """Run nvidia-smi; return (list of dicts with the keys QUERY, error or None)."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return [], None
    try:
        done = subprocess.run(
            [command, f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        return [], f"nvidia-smi: {problem}"
    rows = [[value.strip() for value in line.split(",")] for line in done.stdout.splitlines()]
    if done.returncode or not all(len(row) == len(QUERY) for row in rows):
        output = (done.stdout + done.stderr).strip().splitlines() or [f"exit status {done.returncode}"]
        return [], f"nvidia-smi: {output[0]}"
    return [dict(zip(QUERY, row, strict=True)) for row in rows], None


def trtexec() -> str | None:
    """Return the path of trtexec, TensorRT's command line tool, or None."""
    return shutil.which("trtexec") or (str(TRTEXEC) if TRTEXEC.is_file() else None)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
