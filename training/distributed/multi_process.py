"""Data-parallel training on JAX, on several devices of one process or in several processes.

The number of processes does not change the result: batches, their order and all random numbers follow from the recipe, loss
and metrics are those of global batches, and all devices hold the same weights. Process 0 writes the run directory.
"""

import contextlib
import hashlib
import importlib.util
import math
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from training.distributed.strategy import Strategy
from zoo import cli
from zoo.errors import ZooError
from zoo.files import atomic

# A process that sends nothing for so many seconds is dead, and the run ends in all others.
HEARTBEAT_SECONDS = 20
# JAX ends all processes when process 0 exits. A process that fails with an error of its own therefore waits so many seconds
# for the others, which may be about to report the same error. Any other error may come from a dead process, which JAX
# detects after HEARTBEAT_SECONDS.
SHUTDOWN_SECONDS = 5
CONNECTION_ATTEMPTS = 2  # made by JAX, each with the full timeout
BROADCAST_BYTES = 2**26  # size of one broadcast
HOSTNAME_BYTES = 64

# Facts that must be equal in all processes, and how to make them so.
MUST_MATCH = {
    "--num-processes": "give the same number to each",
    "versions": "install the same versions of history-zoo, keras, jax and numpy on all machines",
    "recipe": "use the same command in each, except for --process-id",
    "data": "give the same images to each, such as a folder that the machines share",
}


class DataParallelStrategy(Strategy):
    """Several devices of this process.

    Args:
        devices: number of devices; the first ones that JAX lists are used.

    Raises:
        ZooError: if there are fewer devices.
    """

    def __init__(self, devices: int) -> None:
        import jax

        from training.distributed.devices import check_number

        found = jax.local_devices()
        kind = found[0].platform.upper()
        check_number(devices, len(found), kind)
        self._distribute_over(found[:devices])
        self.description = f" on {devices} {kind}s"

    def _distribute_over(self, devices):
        import keras

        names = [f"{device.platform}:{device.id}" for device in devices]
        self._distribution = keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)
        self.replicas = len(names)

    def scope(self) -> contextlib.AbstractContextManager:
        """Return the context of Keras' `DataParallel` distribution, in which all variables are replicated."""
        return self._distribution.scope()


class MultiProcessStrategy(DataParallelStrategy):
    """One of several processes, with all of its devices; `join` creates it.

    Args:
        processes: number of processes.
        process_id: number of this process, from 0.
    """

    # JAX handles SIGTERM: all processes agree on a step after which they stop.
    signals = (signal.SIGINT,)

    def __init__(self, processes: int, process_id: int) -> None:
        import jax

        self.processes, self.process_id = processes, process_id
        self._distribute_over(jax.devices())
        self.is_chief = process_id == 0
        self.description = f" on {self.replicas} {jax.devices()[0].platform.upper()}s of {processes} processes"
        self._stop_requested = False

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Check that all processes have the same versions, and disconnect from them at the end.

        After an error of its own, a process waits `SHUTDOWN_SECONDS` for the others to disconnect.
        """
        packages = ("history-zoo", "keras", "jax", "numpy")
        try:
            with super().scope():
                self.check_equal({"--num-processes": lambda: self.processes, "versions": lambda: [*map(version, packages)]})
                yield
        except BaseException as error:
            shutdown = threading.Thread(target=_shut_down, daemon=True)
            shutdown.start()
            own_error = isinstance(error, (ZooError, OSError, KeyboardInterrupt))
            shutdown.join(SHUTDOWN_SECONDS if own_error else 2 * HEARTBEAT_SECONDS)
            raise
        _shut_down()

    def local_rows(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows of a global batch that this process feeds to its devices: an equal, contiguous share."""
        size = len(rows) // self.processes
        return rows[self.process_id * size : (self.process_id + 1) * size]

    def check_equal(self, facts: dict[str, Callable[[], Any]]) -> None:
        """Compare the hashes of the values of all processes, as `Strategy` describes; the error names the hosts."""
        from jax.experimental.multihost_utils import process_allgather

        texts = [str(fact()) for fact in facts.values()]
        gathered = process_allgather(np.stack([_digest(text) for text in texts]))  # (processes, facts, 32)
        host = socket.gethostname().encode()[:HOSTNAME_BYTES].ljust(HOSTNAME_BYTES)
        hosts = [bytes(row).decode(errors="replace").strip() for row in process_allgather(np.frombuffer(host, "uint8"))]
        for index, fact in enumerate(facts):
            others = np.flatnonzero((gathered[:, index] != gathered[0, index]).any(axis=1))
            if len(others):
                named = " and ".join(f"process {number} ({hosts[number]})" for number in others)
                raise ZooError(f"{named} and process 0 ({hosts[0]}) do not have the same {fact}: {MUST_MATCH[fact]}")

    def broadcast(self, path: Path) -> None:
        """Send a file of the chief to the same path of each other process, `BROADCAST_BYTES` at a time."""
        from jax.experimental.multihost_utils import broadcast_one_to_all

        content = np.fromfile(path, "uint8") if self.is_chief and path.exists() else np.empty(0, "uint8")
        halves = broadcast_one_to_all(np.array(divmod(len(content), 2**32), "uint32"))  # JAX has no larger integers
        size = int(halves[0]) * 2**32 + int(halves[1])
        if not self.is_chief:
            content = np.zeros(size, "uint8")
        starts = range(0, size, BROADCAST_BYTES)
        chunks = [broadcast_one_to_all(content[start : start + BROADCAST_BYTES]) for start in starts]
        if chunks and not self.is_chief:
            with atomic(path) as temporary:
                np.concatenate(chunks).tofile(temporary)

    def should_stop(self, interrupted: bool, sync_point: int) -> bool:
        """Return whether JAX has agreed with all processes to stop after this step, on a signal to any of them."""
        from jax.experimental.multihost_utils import reached_preemption_sync_point

        if interrupted and not self._stop_requested:
            self._stop_requested = True
            signal.raise_signal(signal.SIGTERM)
        return reached_preemption_sync_point(sync_point)


def _digest(text):
    return np.frombuffer(hashlib.sha256(text.encode()).digest(), "uint8")


def _shut_down():
    """Disconnect from the other processes once all of them do so."""
    import jax

    with contextlib.suppress(jax.errors.JaxRuntimeError):
        jax.distributed.shutdown()


def check_options(
    processes: int | None, process_id: int | None, coordinator: str | None, devices: int | None = None
) -> None:
    """Raise `ZooError` if the options of one of several processes are inconsistent, or it cannot train on JAX.

    Args:
        processes: number of processes; None if it was not given.
        process_id: number of this process, from 0, or None.
        coordinator: "HOST:PORT" of process 0, or None.
        devices: number of requested devices, or None.
    """
    options = {"--num-processes": processes, "--process-id": process_id, "--coordinator": coordinator}
    if missing := [name for name, value in options.items() if value is None]:
        raise ZooError(f"training in several processes needs {', '.join(options)}; give {' and '.join(missing)} too")
    if not 0 <= process_id < processes:
        raise ZooError(f"--process-id {process_id}: {processes} processes have the numbers 0 to {processes - 1}")
    host, colon, port = coordinator.rpartition(":")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 2**16):
        raise ZooError(f"--coordinator {coordinator}: expected HOST:PORT of process 0, such as node1:7000")
    if devices is not None:
        raise ZooError(
            "--devices: one of several processes uses all devices that it sees; remove it, or set CUDA_VISIBLE_DEVICES"
        )
    backend = sys.modules["keras"].backend.backend() if "keras" in sys.modules else os.environ.get("KERAS_BACKEND") or "jax"
    if backend != "jax":
        raise ZooError(f"training in several processes needs JAX, and Keras uses {backend}: set KERAS_BACKEND=jax")
    if importlib.util.find_spec("jax") is None:
        raise ZooError(
            "training in several processes needs JAX, which is not installed; in a checkout of the zoo: pip install '.[jax]'"
        )


def join(
    processes: int, process_id: int, coordinator: str, timeout: float, heartbeat: int = HEARTBEAT_SECONDS
) -> MultiProcessStrategy:
    """Connect to the other processes of a run. Call it before anything is computed.

    If the processes cannot connect, and later when another process dies, JAX ends this process: see
    `training.distributed.supervisor`.

    Args:
        processes: number of processes.
        process_id: number of this process, from 0.
        coordinator: "HOST:PORT" of process 0.
        timeout: seconds to wait until all processes are connected.
        heartbeat: seconds after which a silent process counts as dead.

    Raises:
        ZooError: if the port of process 0 is not free.
    """
    os.environ["KERAS_BACKEND"] = "jax"
    import jax

    if process_id == 0:
        _check_port(coordinator)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(
        coordinator,
        processes,
        process_id,
        initialization_timeout=math.ceil(timeout / CONNECTION_ATTEMPTS),
        heartbeat_timeout_seconds=heartbeat,
        cluster_detection_method="deactivate",
    )
    cli.start_keras()
    return MultiProcessStrategy(processes, process_id)


def _check_port(coordinator):
    port = coordinator.rpartition(":")[2]
    try:
        socket.create_server(("", int(port))).close()
    except OSError as error:
        reason = os.strerror(error.errno)
        raise ZooError(
            f"--coordinator {coordinator}: process 0 cannot use port {port} ({reason}); choose another port"
        ) from error
