"""What a machine is, by what its system says of it: nothing here imports a package or touches a GPU's memory."""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

CPU = Path("/proc/cpuinfo")
GROUPS = Path("/proc/self/cgroup")
LIMITS = Path("/sys/fs/cgroup")
DRIVER = Path("/proc/driver/nvidia/version")
# Jetson boards have no nvidia-smi, or one that knows little.
BOARD = Path("/proc/device-tree/model")
BOARD_RELEASE = Path("/etc/nv_tegra_release")
TRTEXEC = Path("/usr/src/tensorrt/bin/trtexec")  # where NVIDIA's packages put it, which is not on the PATH

QUERY = ("name", "memory.total", "driver_version", "compute_cap")
# Instructions that make nets faster, as Linux calls them: those of x86 and of ARM.
FAST = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8", "amx_fp16")
FAST += ("asimd", "asimddp", "fphp", "bf16", "i8mm", "sve")


def cpu_flags():
    """Return the names of the instruction sets of the CPU as Linux gives them, a set; empty on other systems."""
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", _read(CPU), re.MULTILINE)
    return set(flags[1].split()) if flags else set()


def cpu():
    """Return name, usable cores and fast instructions of the CPU, a dict."""
    name = re.search(r"^model name\s*:(.*)$", _read(CPU), re.MULTILINE)
    flags = cpu_flags()
    return {
        "name": name[1].strip() if name else platform.processor() or platform.machine(),
        "cores": cores(),
        "instructions": [flag for flag in FAST if flag in flags],
    }


def cores():
    """Return how many cores this process may use: as many threads are busy at a time."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory():
    """Return total and available bytes of memory, a dict: the machine's, or a container's where it may have less."""
    import psutil

    found = psutil.virtual_memory()
    total, available = found.total, found.available
    for limit, used in _limits():
        total, available = min(total, limit), min(available, max(0, limit - used))
    return {"total": total, "available": available}


def _limits():
    """Yield (limit, used) bytes of each control group around this process that has a limit, of either version of Linux's.

    What files were read into is given back when it is needed, and does not count as used.
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
        for folder in (group, *group.parents):  # above the root there are no such files
            limit, used = (_read(folder / name).strip() for name in names)
            if limit.isdecimal() and used.isdecimal():
                held = re.search(rf"^{files} (\d+)$", _read(folder / "memory.stat"), re.MULTILINE)
                yield int(limit), int(used) - (int(held[1]) if held else 0)


def free_disk(folder):
    """Return the free bytes where a folder is, or would be made."""
    folder = Path(folder).expanduser().absolute()
    return shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.exists())).free


def nvidia():
    """Return what there is of NVIDIA's, a dict.

    Returns:
        "gpus", a list of dicts of QUERY; "driver", a version or None; "board", the name of a Jetson or None, and "release",
        its L4T; "error", a line where nvidia-smi is there and fails, or None.
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


def _smi():
    """Ask nvidia-smi, and return (list of dicts of QUERY, error or None)."""
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
        said = (done.stdout + done.stderr).strip().splitlines() or [f"exit status {done.returncode}"]
        return [], f"nvidia-smi: {said[0]}"
    return [dict(zip(QUERY, row, strict=True)) for row in rows], None


def trtexec():
    """Return the path of TensorRT's builder, or None."""
    return shutil.which("trtexec") or (str(TRTEXEC) if TRTEXEC.is_file() else None)


def _read(path):
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
