"""What the commands that train share: their options, the handling of Ctrl-C, and the printed result."""

import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from training import CHECKPOINT_SECONDS

if TYPE_CHECKING:
    from training.distributed.strategy import Strategy

DATA = "a folder with one subfolder per class, a list (.csv, or COCO's .json), a TFDS name, or drawn:NAME."
# TFDS reads data and TensorBoard's files are written with it, on JAX too.
DATA_PACKAGES = ("tensorflow",)


@dataclass(frozen=True)
class RunOptions:
    """Options of a training run that do not depend on the model or the data."""

    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override a value of the recipe, such as seed=2 or data.validation=0.2."
        ),
    ] = None
    precision: Annotated[
        str | None, typer.Option(metavar="float32|bfloat16|float16", help="Compute precision during training.")
    ] = None
    devices: Annotated[int | None, typer.Option(min=1, help="Number of GPUs of this machine to split each batch over.")] = (
        None
    )
    checkpoint_every: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Seconds between checkpoints within an epoch.")
    ] = CHECKPOINT_SECONDS
    resume: Annotated[bool, typer.Option("--resume", help="Resume from the last checkpoint in the run directory.")] = False

    def changes(self, **options: Any) -> dict[str, Any]:
        """Return the changes to a recipe: those of a command's own options, overridden by --set.

        Args:
            **options: recipe values by key; None for an option that was not given.
        """
        from training import recipe as recipes

        given = {"precision": self.precision, **options}
        settings = dict(map(recipes.parse_setting, self.settings or ()))
        return {**{key: value for key, value in given.items() if value is not None}, **settings}


@dataclass(frozen=True)
class ProcessOptions:
    """Options of a process that trains together with others."""

    num_processes: Annotated[
        int | None, typer.Option(min=1, help="Number of processes that train together; only on JAX.")
    ] = None
    process_id: Annotated[
        int | None, typer.Option(help="Number of this process, from 0. Process 0 writes the run directory.")
    ] = None
    coordinator: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Address of process 0.")] = None
    join_within: Annotated[
        int, typer.Option(min=1, metavar="SECONDS", help="Seconds to wait for all processes to connect.")
    ] = 60

    @property
    def given(self) -> bool:
        """Whether this is one of several processes."""
        return (self.num_processes, self.process_id, self.coordinator) != (None, None, None)

    @property
    def join_arguments(self) -> tuple[int, int, str, int]:
        """The arguments of `training.distributed.multi_process.join`."""
        return self.num_processes, self.process_id, self.coordinator, self.join_within


def distribution_strategy(devices: int | None) -> "Strategy":
    """Return the distribution strategy for a number of devices.

    Args:
        devices: number of devices that each batch is split over. Default: the one that Keras chooses.
    """
    from training.distributed.strategy import Strategy

    if devices in (None, 1):
        return Strategy()
    import keras

    if keras.backend.backend() == "jax":
        from training.distributed.multi_process import DataParallelStrategy

        return DataParallelStrategy(devices)
    from training.distributed.devices import MirroredStrategy

    return MirroredStrategy(devices)


def typed_command() -> str:
    """Return the command line as the user typed it, without --resume."""
    return shlex.join(["zoo", *(word for word in sys.argv[1:] if word != "--resume")])


def run_resumably(train: Callable[[], dict | None], out: Path, is_chief: bool = True) -> dict | None:
    """Train; when the run is interrupted, print the command that resumes it.

    On Ctrl-C and SIGTERM the process ends with exit code 1.

    Args:
        train: function that trains and returns the content of metrics.json.
        out: run directory.
        is_chief: whether this process writes the run directory.

    Returns:
        The result of `train`.
    """
    resume_command = f"{typed_command()} --resume"
    try:
        return train()
    except KeyboardInterrupt:
        if not is_chief:
            print("\nStopped, as are all processes of the run.")
        elif (out / "last.npz").exists():
            print(f"\nStopped; the run directory has the last checkpoint. To resume: {resume_command}")
        else:
            print("\nStopped before the first training step; there is no checkpoint.")
        # TensorFlow's threads are still running, and may crash while the interpreter shuts down.
        sys.stdout.flush()
        os._exit(1)
    except OSError:  # such as a full disk
        if (out / "last.npz").exists():
            print(f"The run directory still has the last checkpoint. To resume after fixing the error: {resume_command}")
        raise


def print_result(metrics: dict, out: Path) -> None:
    """Print the result of a run, its confidence interval, the report and the next command.

    Args:
        metrics: content of metrics.json.
        out: run directory.
    """
    from training.evaluation.metrics import describe_interval

    validation = f"validation error {metrics['validation_error']:.2f} %, " if "validation_error" in metrics else ""
    print(
        f"{metrics['part']} error {metrics['error']:.2f} % ({metrics['wrong']} of {metrics['pictures']:,}), "
        f"{validation}best epoch {metrics['best_epoch']}, {metrics['wall_seconds']:.0f} s"
    )
    print(describe_interval(metrics["wrong"], metrics["pictures"], metrics["part"]))
    best = out / "best.keras"
    print(f"report: {out / 'report.html'}")
    print(f"next: {shlex.join(['zoo', 'export', str(best), '--to', 'onnx', '--out', str(best.with_suffix('.onnx'))])}")
