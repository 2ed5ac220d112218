"""What may crash or be killed, in a process of its own: the drivers and TensorRT are not ours."""

import multiprocessing
import signal

from .files import BundleError


def call(function, *arguments):
    """Return what a function of a module returns in a new process.

    Raises:
        BundleError: the function's own.
        Died: if the process came to its end without an answer.
    """
    context = multiprocessing.get_context("spawn")  # a forked process could not use a GPU that its parent has used
    answer, end = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(end, function, arguments), daemon=True)
    process.start()
    end.close()
    try:
        worked, result = answer.recv()
        process.join()
    except EOFError:
        process.join()
        raise Died(process.exitcode) from None
    finally:  # Ctrl-C, too, leaves no process behind
        process.terminate()
        process.join()
    if not worked:
        raise BundleError(result)
    return result


class Died(BundleError):
    """A process came to its end without an answer.

    Attributes:
        killed: whether with SIGKILL, as the kernel does where memory is short.
    """

    def __init__(self, code):
        self.killed = code == -signal.SIGKILL
        by = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
        super().__init__(by)


def _answer(end, function, arguments):
    try:
        end.send((True, function(*arguments)))
    except BundleError as error:
        end.send((False, str(error)))
