"""A parent process that runs the training in a child, and reports why JAX ended the child.

JAX aborts a process, without a chance to run Python code, when another process of the run has died.
"""

import contextlib
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import NoReturn

from zoo import cli

# JAX's services write dated lines to the standard error. An error is followed by more lines, such as a stack.
LOG = re.compile(rb"[IW]\d{4} \d\d:\d\d:|WARNING: All log messages before absl::")
ERROR = re.compile(rb"[EF]\d{4} \d\d:\d\d:")
# Patterns of the message with which JAX ends a process, and their meaning.
NOT_CONNECTED = (
    "not all {processes} processes connected within {timeout} s: check that {coordinator} can be reached from here and is "
    "the machine of process 0, and that each --process-id from 0 to {last} was used once"
)
DUPLICATE_ID = "two processes have the same --process-id; give each its own number"
DEAD = "process {who} has died or cannot be reached any more"
REASONS = (
    (r"unhealthy \(stopped sending heartbeats\):\s*((?:\d+\s+)+)", DEAD),
    (r"Task (\d+) heartbeat timeout", DEAD),
    (r"ALREADY_EXISTS|different incarnation", DUPLICATE_ID),
    (r"DEADLINE_EXCEEDED[^/]*RPC: \S*/RegisterTask", NOT_CONNECTED),
    (r"UNAVAILABLE|CANCELLED", "process 0 has ended or cannot be reached any more; see its output"),
)


def run(
    work: Callable[[], None], processes: int, process_id: int, coordinator: str, timeout: float, resume_command: str
) -> NoReturn:
    """Run a function in a child process, report how it ended, and exit with its exit code. Never returns.

    Ctrl-C and SIGTERM are passed on to the child; a second one kills it. The child ends when this process ends, for whatever
    reason.

    Args:
        work: function without arguments.
        processes: number of processes of the run.
        process_id: number of this process, from 0.
        coordinator: "HOST:PORT" of process 0.
        timeout: seconds to wait until all processes are connected.
        resume_command: command that resumes the run.
    """
    child, stderr = _start(work)
    signals = _pass_on_signals(child)
    log = _relay(stderr)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    name = f"process {process_id} of {processes}"
    if code >= 0:
        sys.stderr.write(log)
    elif signals and -code in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        _report(f"{name} was killed", resume_command)
    elif code == -signal.SIGABRT:
        text = _reason(log)
        reason = text.format(processes=processes, last=processes - 1, coordinator=coordinator, timeout=timeout)
        _report(f"{name} ends: {reason}", "" if text in (NOT_CONNECTED, DUPLICATE_ID) else resume_command)
    else:
        _report(f"{name} was ended by signal {-code}; a system does so when memory runs out", resume_command)
    sys.stderr.flush()
    os._exit(code if code >= 0 else 1)


def _start(work):
    """Fork a child that does the work; return its process id and the pipe from its standard error."""
    sys.stdout.flush()
    sys.stderr.flush()
    alive, held = os.pipe()
    read, written = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(held)
        os.close(read)
        os.setpgid(0, 0)  # the parent alone gets a terminal's Ctrl-C and passes it on
        os.dup2(written, 2)
        os.close(written)
        threading.Thread(target=_exit_with_parent, args=(alive,), daemon=True).start()
        _work(work)
    os.close(alive)
    os.close(written)
    return child, read


def _pass_on_signals(child):
    """Pass Ctrl-C and SIGTERM on to the child; return the list to which received signals are added."""
    received = []

    def pass_on(number, frame):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL if received else number)
        received.append(number)

    for each in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(each) != signal.SIG_IGN:
            signal.signal(each, pass_on)
    return received


def _report(message, resume_command):
    resume = f"\nto resume, with any number of processes: {resume_command}" if resume_command else ""
    print(f"zoo: {message}{resume}", file=sys.stderr)


def _exit_with_parent(alive):
    """Exit when the parent has ended: it alone holds the other end of the pipe."""
    os.read(alive, 1)
    os._exit(1)


def _work(work):
    """Do the work and exit without shutting the interpreter down, because JAX would then wait for the other processes."""
    code = 1
    try:
        with cli.reporting_errors():
            work()
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _relay(pipe):
    """Copy lines from a pipe to the standard error, except those of JAX's services; return their error lines."""
    errors = []
    with open(pipe, "rb") as lines:
        for line in lines:
            if errors or ERROR.match(line):
                errors.append(line)
            elif not LOG.match(line):
                sys.stderr.buffer.write(line)
                sys.stderr.buffer.flush()
    return b"".join(errors).decode(errors="replace")


def _reason(log):
    for pattern, text in REASONS:
        if found := re.search(pattern, log):
            return text.replace("{who}", ", ".join(" ".join(found.groups()).split()))
    return "JAX reported an error:\n" + log.replace("{", "{{").replace("}", "}}")
