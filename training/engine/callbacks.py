"""Callbacks that report progress and save checkpoints."""

import contextlib
import csv
import math
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import keras
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training import CHECKPOINT_SECONDS
from training.engine import checkpoint, mixed_precision
from training.history import best, rank
from zoo.errors import CheckFailed
from zoo.files import atomic

if TYPE_CHECKING:
    from rich.console import Console

    from training.engine.trainer import Trainer
    from training.recipe import Recipe


class TensorCallbackList(keras.callbacks.CallbackList):
    """A CallbackList that passes losses on as tensors. Keras' own converts them to floats, which waits for the step."""

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs)


class EpochTensorBoard(keras.callbacks.TensorBoard):
    """A TensorBoard callback that writes nothing for single steps."""

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        pass

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        pass


class TrainingRun(keras.callbacks.Callback):
    """Train to the end of a recipe. Report progress, and save checkpoints after each epoch and within long ones.

    Args:
        out: run directory.
        recipe: `training.recipe.Recipe`.
        trainer: `training.engine.trainer.Trainer`, prepared.
        fingerprint: fingerprint of the data, for the checkpoints.
        console: Rich console.
        checkpoint_every: seconds between checkpoints within an epoch.
    """

    def __init__(
        self,
        out: Path,
        recipe: "Recipe",
        trainer: "Trainer",
        fingerprint: str,
        console: "Console",
        checkpoint_every: float = CHECKPOINT_SECONDS,
    ) -> None:
        super().__init__()
        self.out = out
        self.best_path, self.checkpoint_path = out / "best.keras", out / "last.npz"
        self.recipe = recipe
        self.trainer = trainer
        self.strategy = trainer.strategy
        self.fingerprint = fingerprint
        self.console = console
        self.checkpoint_every = checkpoint_every
        self.history = []
        self.step = 0  # steps done of the current epoch
        self.earlier_seconds = 0.0  # that earlier processes spent on the current epoch
        self._restored_metrics = None
        self._pending = None  # loss and status of the last steps, which may still be computed, and their numbers
        self._interrupted = self._stopping = False
        self._sync_points = 0
        self.bar = Progress(
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self.task = self.bar.add_task("", total=recipe.epochs, rate="")

    @property
    def state(self) -> list[keras.Variable]:
        """All variables that the rest of the run depends on: weights, metrics, seed states and optimizer slots."""
        return [*self.trainer.variables, *self.trainer.metrics_variables, *self.trainer.optimizer.variables]

    def restore(self, notes: dict) -> None:
        """Restore the last checkpoint.

        Args:
            notes: notes of the checkpoint, from `checkpoint.notes`.
        """
        checkpoint.restore(self.checkpoint_path, self.state)
        self.history, self.step, self.earlier_seconds = notes["history"], notes["step"], notes["spent"]
        if self.step:
            self._restored_metrics = [np.asarray(variable).copy() for variable in self.trainer.metrics_variables]

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or the recipe's patience is exhausted."""
        waited = len(self.history) - best(self.history)["epoch"] if self.history else 0
        return len(self.history) >= self.recipe.epochs or 0 < self.recipe.patience <= waited

    def train(self, validation_data: Any = None) -> None:
        """Train to the end, starting with the rest of an interrupted epoch.

        Args:
            validation_data: dataset for Keras' `fit`, or None.

        Raises:
            KeyboardInterrupt: on Ctrl-C or SIGTERM, after the state is saved.
            CheckFailed: if the loss or a weight is no longer finite; the last good checkpoint stays.
        """
        with self._deferred_interrupts(), self.bar:
            while not self.finished:
                epochs, step = len(self.history), self.step
                tensorboard = EpochTensorBoard(self.out / "logs", write_graph=False)
                self.trainer.fit(
                    self.trainer.train_dataset(self.recipe.seed, epochs, step),
                    steps_per_epoch=self.trainer.elements(step),
                    initial_epoch=epochs,
                    epochs=epochs + 1 if step else self.recipe.epochs,
                    shuffle=False,  # the dataset has the order of the epoch
                    verbose=0,
                    callbacks=TensorCallbackList([self, tensorboard], add_history=True, model=self.trainer),
                    validation_data=validation_data,
                )
                if self._stopping:  # only now, because TensorBoard writes at the end of an epoch too
                    raise KeyboardInterrupt
        if self._interrupted and self.strategy.is_chief:  # by a signal after the last sync point
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def _deferred_interrupts(self) -> Iterator[None]:
        """Let Ctrl-C and SIGTERM wait for the end of the running steps. A second one is handled as usual."""

        def note(number, frame):
            self._interrupted = True
            for each, handler in before.items():
                signal.signal(each, handler)

        if threading.current_thread() is not threading.main_thread():  # Python handles signals in the main thread only
            yield
            return
        before = {each: signal.getsignal(each) for each in self.strategy.signals}
        # Ignored signals stay ignored; a shell starts background jobs with Ctrl-C ignored.
        before = {each: handler for each, handler in before.items() if handler not in (signal.SIG_IGN, None)}
        try:
            for each in before:
                signal.signal(each, note)
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._first_step = self.step
        self._started = self._saved = time.perf_counter()
        self.bar.update(self.task, completed=epoch + self.step / self.trainer.steps)
        if self._restored_metrics is not None:  # Keras has just reset them, and the epoch is resumed in its middle
            for variable, value in zip(self.trainer.metrics_variables, self._restored_metrics, strict=True):
                variable.assign(value)
            self._restored_metrics = None

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        before = self.step
        self.step = min(self.trainer.steps, self._first_step + (batch + 1) * self.trainer.steps_per_element)
        self._check_loss()  # of the previous steps, while these are still computed
        self._pending = logs["loss"], self.trainer.loss_status(logs), before, self.step
        self._check_stop()
        now = time.perf_counter()
        self.bar.update(self.task, completed=len(self.history) + self.step / self.trainer.steps)
        if self.step < self.trainer.steps:  # otherwise the end of the epoch saves a checkpoint
            if self._stopping or now - self._saved >= self.checkpoint_every:
                self._check_loss()
                self._save()
                self._saved = time.perf_counter()
            if self._stopping:
                raise KeyboardInterrupt

    def _check_loss(self):
        """Fail if the loss of the pending steps is not finite. Waits for them."""
        if self._pending is None:
            return
        (loss, status, before, after), self._pending = self._pending, None
        if step := self.trainer.first_nonfinite_step(status, before, after):
            self._fail(f"the loss is {float(loss)}", f" at step {step:,} of {self.trainer.steps:,}")

    def _check_stop(self):
        """Find out whether to stop at this sync point. There is one after each dataset element and after each epoch."""
        self._sync_points += 1
        self._stopping = self._stopping or self.strategy.should_stop(self._interrupted, self._sync_points)

    def on_test_begin(self, logs: dict | None = None) -> None:
        self._check_loss()
        self._trained = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._check_loss()
        row = self._row(epoch, logs)
        logs["images_per_second"] = row["images_per_second"]  # for TensorBoard, which is called next
        # The loss is measured before each step; the validation loss shows the effect of the last step of an epoch.
        if not all(map(math.isfinite, row.values())):
            on_validation = f" ({row['val_loss']} on validation)" if "val_loss" in row else ""
            self._fail(f"the loss is {row['loss']}{on_validation}")
        best_rank = min((rank(each) for each in self.history), default=(math.inf,))
        self.history.append(row)
        self.step, self.earlier_seconds = 0, 0.0
        # In this order a kill between any two lines loses at most this epoch, and a resumed run repeats it bit by bit.
        if rank(row) < best_rank and self.strategy.is_chief:
            with atomic(self.best_path) as temporary, mixed_precision.using(self.trainer.classifier, "float32"):
                self.trainer.classifier.save(temporary)
        self._save()
        self.write_history()
        self._print_epoch(row)
        self._check_stop()
        self.trainer.stop_training = self._stopping or self.finished

    def _row(self, epoch, logs):
        """Return the row of an epoch for history.csv."""
        now = time.perf_counter()
        images = self.trainer.images_per_epoch * (1 - self._first_step / self.trainer.steps)
        validated = "val_loss" in logs
        row = {"epoch": epoch + 1, "loss": float(logs["loss"]), "error": 100 * (1 - float(logs["accuracy"]))}
        if validated:
            row |= {"val_loss": float(logs["val_loss"]), "val_error": 100 * (1 - float(logs["val_accuracy"]))}
        if not self.trainer.rule:
            row["learning_rate"] = float(self.trainer.optimizer.learning_rate)
        return {
            **row,
            "images_per_second": images / ((self._trained if validated else now) - self._started),
            "seconds": now - self._started + self.earlier_seconds,
        }

    def _print_epoch(self, row):
        rate = f"{row['images_per_second']:,.0f} images/s"
        self.bar.update(self.task, completed=row["epoch"], rate=rate)
        on_validation = f"validation {row['val_error']:6.2f} %  " if "val_error" in row else ""
        self.console.print(
            f"epoch {row['epoch']:3}  loss {row['loss']:8.4f}  error {row['error']:6.2f} %  {on_validation}{rate}",
            soft_wrap=True,
        )
        if self.finished and row["epoch"] < self.recipe.epochs:
            number = best(self.history)["epoch"]
            self.console.print(
                f"early stopping: no improvement since epoch {number} (patience {self.recipe.patience})", soft_wrap=True
            )

    def _save(self):
        """Save the state, the current step and the history to the last checkpoint, if this process is the chief."""
        if not self.strategy.is_chief:
            return
        if keras.backend.backend() == "jax":
            self.trainer.jax_state_sync()  # within an epoch Keras holds the state outside of the variables
        notes = {
            "history": self.history,
            "step": self.step,
            "spent": self.earlier_seconds + (time.perf_counter() - self._started if self.step else 0.0),
            "data_fingerprint": self.fingerprint,
            "backend": keras.backend.backend(),
        }
        try:
            checkpoint.save(self.checkpoint_path, self.state, notes)
        except CheckFailed as error:
            self._fail(str(error), f" at step {self.step:,} of {self.trainer.steps:,}" if self.step else "")

    def _fail(self, what: str, where: str = "") -> NoReturn:
        """Raise `CheckFailed`. Values that are not finite are not saved, and the last good checkpoint stays."""
        state = "has the last good checkpoint" if self.checkpoint_path.exists() else "has no checkpoint yet"
        raise CheckFailed(
            f"{what} in epoch {len(self.history) + 1}{where}: the learning rate is too large, or the data are wrong; "
            f"{self.out} {state}"
        )

    def write_history(self) -> None:
        """Write the history as history.csv."""
        with atomic(self.out / "history.csv") as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.history[0])
            writer.writeheader()
            writer.writerows(self.history)
