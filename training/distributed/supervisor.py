"""A process that watches over another, and says in words why that one had to end.

JAX ends a process from within, with no chance for Python to say anything, when another process of its run has died.
"""

import contextlib
import os
import re
import signal
import sys
import threading
import traceback

from zoo import cli

# What JAX's services write to the standard error: dated lines. With an error come more lines, a stack for one.
LOG = re.compile(rb"[IW]\d{4} \d\d:\d\d:|WARNING: All log messages before absl::")
ERROR = re.compile(rb"[EF]\d{4} \d\d:\d\d:")
# What is found in the message with which JAX ends a process, and what that means.
TOGETHER = (
    "not all {processes} processes came together within {within} s: can {coordinator} be reached from here, is it the "
    "machine of process 0, and was each --process-id from 0 to {last} given once?"
)
TWICE = "two processes have the same --process-id; give each one of its own"
GONE = "process {who} has died or cannot be reached any more"
REASONS = (
    (r"unhealthy \(stopped sending heartbeats\):\s*((?:\d+\s+)+)", GONE),
    (r"Task (\d+) heartbeat timeout", GONE),
    (r"ALREADY_EXISTS|different incarnation", TWICE),
    (r"DEADLINE_EXCEEDED[^/]*RPC: \S*/RegisterTask", TOGETHER),
    (r"UNAVAILABLE|CANCELLED", "process 0 has ended or cannot be reached any more; see what it said"),
)


def run(work, processes, number, coordinator, within, again):
    """Do some work in a process of its own, and end this one as that one ended; never returns.

    Ctrl-C and SIGTERM are passed on to it; a second one ends it at once. It ends with this one, however this one ends.

    Args:
        work: function without arguments.
        processes, number, coordinator, within: as for `training.distributed.multi_process.join`; for the words.
        again: command with which to go on.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    alive, held = os.pipe()
    read, written = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(held)
        os.close(read)
        os.setpgid(0, 0)  # a terminal's Ctrl-C reaches it once, from its supervisor
        os.dup2(written, 2)
        os.close(written)
        threading.Thread(target=_end_with, args=(alive,), daemon=True).start()
        _work(work)
    os.close(alive)
    os.close(written)
    stopped = []

    def pass_on(sent, frame):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL if stopped else sent)
        stopped.append(sent)

    for each in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(each) != signal.SIG_IGN:
            signal.signal(each, pass_on)
    said = _relay(read)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    name = f"process {number} of {processes}"
    if code >= 0:
        sys.stderr.write(said)
    elif stopped and -code in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        _tell(f"{name} was ended at once", again)
    elif code == -signal.SIGABRT:
        words = _reason(said)
        why = words.format(processes=processes, last=processes - 1, coordinator=coordinator, within=within)
        _tell(f"{name} ends: {why}", "" if words in (TOGETHER, TWICE) else again)
    else:
        _tell(f"{name} was ended by signal {-code}; so a system ends what takes too much memory", again)
    sys.stderr.flush()
    os._exit(code if code >= 0 else 1)


def _tell(what, again):
    print(f"zoo: {what}" + (f"\nto go on, with any number of processes: {again}" if again else ""), file=sys.stderr)


def _end_with(alive):
    """End this process when its supervisor has ended, which alone holds the other end of the pipe."""
    os.read(alive, 1)
    os._exit(1)


def _work(work):
    """Do the work and end, without the interpreter's own end, at which JAX would wait for the others."""
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


def _relay(read):
    """Write what comes through a pipe to the standard error, and return what JAX's services said of an error instead."""
    said = []
    with open(read, "rb") as lines:
        for line in lines:
            if said or ERROR.match(line):
                said.append(line)
            elif not LOG.match(line):
                sys.stderr.buffer.write(line)
                sys.stderr.buffer.flush()
    return b"".join(said).decode(errors="replace")


def _reason(said):
    for pattern, words in REASONS:
        if found := re.search(pattern, said):
            return words.replace("{who}", ", ".join(" ".join(found.groups()).split()))
    return "JAX met an error:\n" + said.replace("{", "{{").replace("}", "}}")
