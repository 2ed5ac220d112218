"""Several processes, or several devices of one, that train as one on JAX: each feeds its rows of every batch.

Nothing that is learned depends on how many there are. Batches, their order and all that is random follow from the recipe;
loss and metrics are those of whole batches; all devices hold the same weights. Process 0 writes the run folder.
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
from importlib.metadata import version

import numpy as np

from training.distributed.strategy import Placement
from zoo import cli
from zoo.errors import ZooError
from zoo.files import atomic

# A process of which nothing was heard for so many seconds is dead, and the run ends in all others.
HEARTBEAT = 20
# Who ends with an error of its own waits so many seconds for the others, who may be about to tell the same one: without
# process 0 JAX ends them at once. Any other error may come from a dead process, which JAX finds out after HEARTBEAT.
PARTING = 5
ATTEMPTS = 2  # that JAX makes to join, each as long as it is told
PIECE = 2**26  # bytes sent at once
HOST = 64  # bytes of the name of a machine

# What all processes of a run must have alike, and what to do where they have not.
ALIKE = {
    "--num-processes": "give each the same",
    "versions": "install the same of history-zoo, keras, jax and numpy on all machines",
    "recipe": "give each the same command, but for --process-id",
    "data": "give each the same pictures, such as those of a folder that the machines share",
}


class Parallel(Placement):
    """Several devices of this process.

    Args:
        number: how many, the first ones that JAX sees.

    Raises:
        ZooError: if there are not so many.
    """

    def __init__(self, number):
        import jax

        from training.distributed import devices

        found = jax.local_devices()
        kind = found[0].platform.upper()
        devices.check(number, len(found), kind)
        self._spread(found[:number])
        self.how = f" on {number} {kind}s"

    def _spread(self, found):
        import keras

        names = [f"{device.platform}:{device.id}" for device in found]
        self._distribution = keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)
        self.parts = len(names)

    def scope(self):
        return self._distribution.scope()


class Cluster(Parallel):
    """This process as one of several, with all of its devices; made by `join`.

    Args:
        processes: how many there are.
        number: of this one, from 0.
    """

    # SIGTERM is left to JAX, by which all processes agree on a step after which they stop.
    signals = (signal.SIGINT,)

    def __init__(self, processes, number):
        import jax

        self.processes, self.number = processes, number
        self._spread(jax.devices())
        self.writes = number == 0
        self.how = f" on {self.parts} {jax.devices()[0].platform.upper()}s of {processes} processes"
        self._asked = False

    @contextlib.contextmanager
    def scope(self):
        packages = ("history-zoo", "keras", "jax", "numpy")
        try:
            with super().scope():
                self.compare({"--num-processes": lambda: self.processes, "versions": lambda: [*map(version, packages)]})
                yield
        except BaseException as error:
            parting = threading.Thread(target=_part, daemon=True)
            parting.start()
            parting.join(PARTING if isinstance(error, (ZooError, OSError, KeyboardInterrupt)) else 2 * HEARTBEAT)
            raise
        _part()

    def own(self, rows):
        share = len(rows) // self.processes
        return rows[self.number * share : (self.number + 1) * share]

    def compare(self, facts):
        from jax.experimental.multihost_utils import process_allgather

        texts = [str(fact()) for fact in facts.values()]
        gathered = process_allgather(np.stack([_digest(text) for text in texts]))  # (processes, facts, 32)
        host = socket.gethostname().encode()[:HOST].ljust(HOST)
        hosts = [bytes(row).decode(errors="replace").strip() for row in process_allgather(np.frombuffer(host, "uint8"))]
        for place, fact in enumerate(facts):
            others = np.flatnonzero((gathered[:, place] != gathered[0, place]).any(axis=1))
            if len(others):
                named = " and ".join(f"process {number} ({hosts[number]})" for number in others)
                raise ZooError(f"{named} and process 0 ({hosts[0]}) do not have the same {fact}: {ALIKE[fact]}")

    def share(self, path):
        from jax.experimental.multihost_utils import broadcast_one_to_all

        content = np.fromfile(path, "uint8") if self.writes and path.exists() else np.empty(0, "uint8")
        halves = broadcast_one_to_all(np.array(divmod(len(content), 2**32), "uint32"))  # JAX has no larger integers
        size = int(halves[0]) * 2**32 + int(halves[1])
        if not self.writes:
            content = np.zeros(size, "uint8")
        pieces = [broadcast_one_to_all(content[start : start + PIECE]) for start in range(0, size, PIECE)]
        if pieces and not self.writes:
            with atomic(path) as temporary:
                np.concatenate(pieces).tofile(temporary)

    def stopped(self, interrupted, moment):
        from jax.experimental.multihost_utils import reached_preemption_sync_point

        if interrupted and not self._asked:
            self._asked = True
            signal.raise_signal(signal.SIGTERM)
        return reached_preemption_sync_point(moment)


def _digest(text):
    return np.frombuffer(hashlib.sha256(text.encode()).digest(), "uint8")


def _part():
    """Leave the other processes, once all want to."""
    import jax

    with contextlib.suppress(jax.errors.JaxRuntimeError):
        jax.distributed.shutdown()


def check(processes, number, coordinator, devices=None):
    """Raise `ZooError` if the options of one of several processes do not fit together, or it cannot train on JAX.

    Args:
        processes: how many there are, or None where it was not given.
        number: of this one, from 0, or None.
        coordinator: "HOST:PORT" at which process 0 is reached, or None.
        devices: how many devices are asked for, or None.
    """
    options = {"--num-processes": processes, "--process-id": number, "--coordinator": coordinator}
    if missing := [name for name, value in options.items() if value is None]:
        raise ZooError(f"one of several processes needs all of {', '.join(options)}; give {' and '.join(missing)}, too")
    if not 0 <= number < processes:
        raise ZooError(f"--process-id {number}: {processes} processes have the numbers 0 to {processes - 1}")
    host, colon, port = coordinator.rpartition(":")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 2**16):
        raise ZooError(f"--coordinator {coordinator}: expected HOST:PORT at which process 0 is reached, such as node1:7000")
    if devices is not None:
        raise ZooError(
            "--devices: one of several processes takes all that it sees; leave it out, or set CUDA_VISIBLE_DEVICES"
        )
    chosen = sys.modules["keras"].backend.backend() if "keras" in sys.modules else os.environ.get("KERAS_BACKEND") or "jax"
    if chosen != "jax":
        raise ZooError(f"several processes train on JAX, and Keras is told to use {chosen}: set KERAS_BACKEND=jax")
    if importlib.util.find_spec("jax") is None:
        raise ZooError(
            "training in several processes needs JAX, which is not installed; in a checkout of the zoo: pip install '.[jax]'"
        )


def join(processes, number, coordinator, within, heartbeat=HEARTBEAT):
    """Join the other processes of a run, before anything is computed, and return the `Cluster`.

    Where that cannot be, and later when another process dies, JAX ends this one: see `training.distributed.supervisor`.

    Args:
        processes, number, coordinator: as for `check`.
        within: seconds to wait for the others.
        heartbeat: seconds after which a silent process is taken for dead.

    Raises:
        ZooError: if process 0 cannot have the port.
    """
    os.environ["KERAS_BACKEND"] = "jax"
    import jax

    if number == 0:
        _check_port(coordinator)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(
        coordinator,
        processes,
        number,
        initialization_timeout=math.ceil(within / ATTEMPTS),
        heartbeat_timeout_seconds=heartbeat,
        cluster_detection_method="deactivate",
    )
    cli.start_keras()
    return Cluster(processes, number)


def _check_port(coordinator):
    port = coordinator.rpartition(":")[2]
    try:
        socket.create_server(("", int(port))).close()
    except OSError as error:
        raise ZooError(
            f"--coordinator {coordinator}: process 0 cannot have port {port} ({os.strerror(error.errno)}); take another"
        ) from error
