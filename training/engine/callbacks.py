"""What happens between the steps of a run: it is watched, told, and kept so that nothing can lose it."""

import contextlib
import csv
import math
import signal
import threading
import time

import keras
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training import CHECKPOINT_SECONDS
from training.engine import checkpoint, mixed_precision
from training.history import best, rank
from zoo.errors import CheckFailed
from zoo.files import atomic


class Unread(keras.callbacks.CallbackList):
    """Callbacks that are given the losses of a step as they are: Keras would read them first, and wait for the step."""

    def on_train_batch_end(self, batch, logs=None):
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs)


class Scalars(keras.callbacks.TensorBoard):
    """TensorBoard's files, with nothing of single steps."""

    def on_train_batch_begin(self, batch, logs=None):
        pass

    def on_train_batch_end(self, batch, logs=None):
        pass


class Running(keras.callbacks.Callback):
    """Shows progress; at the end of each epoch, and within it now and then, writes what a killed run goes on from.

    Args:
        out: the run folder.
        recipe: `training.recipe.Recipe`.
        trainer: `training.engine.trainer.Trainer`, prepared.
        fingerprint: of the data.
        console: rich console.
        every: seconds between two checkpoints within an epoch.
    """

    def __init__(self, out, recipe, trainer, fingerprint, console, every=CHECKPOINT_SECONDS):
        super().__init__()
        self.best, self.last, self.table = out / "best.keras", out / "last.npz", out / "history.csv"
        self.recipe = recipe
        self.trainer = trainer
        self.placement = trainer.placement
        self.fingerprint = fingerprint
        self.every = every
        self.console = console
        self.history = []
        self.step = 0  # of the epoch that is not finished
        self.spent = 0.0  # seconds, by an earlier process, on that epoch
        self._metrics = None
        self._unread = None  # of the last steps: by what they can be judged, and between which steps they were
        self._interrupted = self._stops = False
        self._moments = 0
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
    def state(self):
        """All that the rest of a run depends on: weights, metrics, seed states and optimizer slots."""
        return [*self.trainer.variables, *self.trainer.metrics_variables, *self.trainer.optimizer.variables]

    def take_up(self, notes):
        """Put the last checkpoint into the trainer.

        Args:
            notes: of it, from `checkpoint.notes`.
        """
        checkpoint.restore(self.last, self.state)
        self.history, self.step, self.spent = notes["history"], notes["step"], notes["spent"]
        if self.step:
            self._metrics = [np.asarray(variable).copy() for variable in self.trainer.metrics_variables]

    @property
    def over(self):
        """Whether all epochs are done, or none was better for as long as the recipe waits."""
        waited = len(self.history) - best(self.history)["epoch"] if self.history else 0
        return len(self.history) >= self.recipe.epochs or 0 < self.recipe.patience <= waited

    def run(self, **validation):
        """Train to the end, with the rest of an interrupted epoch first.

        Args:
            **validation: keywords of Keras' `fit`.

        Raises:
            KeyboardInterrupt: on Ctrl-C or SIGTERM, once the state is written.
            CheckFailed: if the loss or a weight is no longer a finite number; the last good checkpoint stays.
        """
        with self._noting_interrupts(), self.bar:
            while not self.over:
                done, step = len(self.history), self.step
                kept = Scalars(self.last.parent / "logs", write_graph=False)
                self.trainer.fit(
                    self.trainer.feed(self.recipe.seed, done, step),
                    steps_per_epoch=self.trainer.stretches(step),
                    initial_epoch=done,
                    epochs=done + 1 if step else self.recipe.epochs,
                    shuffle=False,  # the feed is in the epoch's order
                    verbose=0,
                    callbacks=Unread([self, kept], add_history=True, model=self.trainer),
                    **validation,
                )
                if self._stops:  # only now, as others have something to do at an epoch's end, too
                    raise KeyboardInterrupt
        if self._interrupted and self.placement.writes:  # after the last moment at which the run could ask
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def _noting_interrupts(self):
        """Within it Ctrl-C and SIGTERM wait for the end of the steps at work; a second one does not."""

        def note(number, frame):
            self._interrupted = True
            for each, handler in before.items():
                signal.signal(each, handler)

        if threading.current_thread() is not threading.main_thread():  # where Python knows no signals
            yield
            return
        before = {each: signal.getsignal(each) for each in self.placement.signals}
        # What ignores them, such as what a shell runs in its background, goes on to.
        before = {each: handler for each, handler in before.items() if handler not in (signal.SIG_IGN, None)}
        try:
            for each in before:
                signal.signal(each, note)
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def on_epoch_begin(self, epoch, logs=None):
        self.first = self.step
        self.started = self.saved = time.perf_counter()
        self.bar.update(self.task, completed=epoch + self.step / self.trainer.steps)
        if self._metrics is not None:  # Keras has just reset them, and the epoch goes on
            for variable, value in zip(self.trainer.metrics_variables, self._metrics, strict=True):
                variable.assign(value)
            self._metrics = None

    def on_train_batch_end(self, batch, logs=None):
        begun, self.step = self.step, min(self.trainer.steps, self.first + (batch + 1) * self.trainer.stretch)
        self._judge()  # the steps before, while these are still computed
        self._unread = logs["loss"], self.trainer.verdict(logs), begun, self.step
        self._ask_to_stop()
        now = time.perf_counter()
        self.bar.update(self.task, completed=len(self.history) + self.step / self.trainer.steps)
        if self.step < self.trainer.steps:  # else the epoch is about to end, and will be written
            if self._stops or now - self.saved >= self.every:
                self._judge()
                self._save()
                self.saved = time.perf_counter()
            if self._stops:
                raise KeyboardInterrupt

    def _judge(self):
        """Stop the run if a loss that was not looked at yet is no finite number."""
        if self._unread is None:
            return
        (loss, verdict, begun, done), self._unread = self._unread, None
        if bad := self.trainer.bad_step(verdict, begun, done):
            self._fail(f"the loss is {float(loss)}", f" at step {bad:,} of {self.trainer.steps:,}")

    def _ask_to_stop(self):
        """Find out whether to stop at this moment of the run; there is one after each step, and one after each epoch."""
        self._moments += 1
        self._stops = self._stops or self.placement.stopped(self._interrupted, self._moments)

    def on_test_begin(self, logs=None):
        self._judge()  # which waits for the last step
        self.trained = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self._judge()
        validated = (
            {}
            if "val_loss" not in logs
            else {
                "val_loss": float(logs["val_loss"]),
                "val_error": 100 * (1 - float(logs["val_accuracy"])),
            }
        )
        now = time.perf_counter()
        shown = self.trainer.presentations * (1 - self.first / self.trainer.steps)
        row = {
            "epoch": epoch + 1,
            "loss": float(logs["loss"]),
            "error": 100 * (1 - float(logs["accuracy"])),
            **validated,
            **({} if self.trainer.rule else {"learning_rate": float(self.trainer.optimizer.learning_rate)}),
            "images_per_second": shown / ((self.trained if validated else now) - self.started),
            "seconds": now - self.started + self.spent,
        }
        logs["images_per_second"] = row["images_per_second"]  # for TensorBoard, which is called next
        # The loss is measured before each step; what the last step of an epoch did shows on validation.
        if not all(map(math.isfinite, row.values())):
            on_validation = f" ({row['val_loss']} on validation)" if validated else ""
            self._fail(f"the loss is {row['loss']}{on_validation}")
        earlier = min((rank(each) for each in self.history), default=(math.inf,))
        self.history.append(row)
        self.step, self.spent = 0, 0.0
        # In this order a kill between any two lines loses at most this epoch, which a resumed run does again, to the bit.
        if rank(row) < earlier and self.placement.writes:
            with atomic(self.best) as temporary, mixed_precision.using(self.trainer.classifier, "float32"):
                self.trainer.classifier.save(temporary)
        self._save()
        self.write_table()
        self._tell(row)
        self._ask_to_stop()
        self.trainer.stop_training = self._stops or self.over

    def _tell(self, row):
        rate = f"{row['images_per_second']:,.0f} images/s"
        self.bar.update(self.task, completed=row["epoch"], rate=rate)
        on_validation = f"validation {row['val_error']:6.2f} %  " if "val_error" in row else ""
        self.console.print(
            f"epoch {row['epoch']:3}  loss {row['loss']:8.4f}  error {row['error']:6.2f} %  {on_validation}{rate}",
            soft_wrap=True,
        )
        if self.over and row["epoch"] < self.recipe.epochs:
            number = best(self.history)["epoch"]
            self.console.print(
                f"stops early: no epoch was better than epoch {number} for {self.recipe.patience}", soft_wrap=True
            )

    def _save(self):
        """Write the state, where it is, and the history to the last checkpoint, if this process is the one that writes."""
        if not self.placement.writes:
            return
        if keras.backend.backend() == "jax":
            self.trainer.jax_state_sync()  # within an epoch Keras has it
        notes = {
            "history": self.history,
            "step": self.step,
            "spent": self.spent + (time.perf_counter() - self.started if self.step else 0.0),
            "data_fingerprint": self.fingerprint,
            "backend": keras.backend.backend(),
        }
        try:
            checkpoint.save(self.last, self.state, notes)
        except CheckFailed as error:
            self._fail(str(error), f" at step {self.step:,} of {self.trainer.steps:,}" if self.step else "")

    def _fail(self, what, where=""):
        """Raise `CheckFailed`: of numbers that are none nothing is written, and the last good ones stay."""
        kept = "the last good checkpoint" if self.last.exists() else "nothing, as no step was kept yet"
        raise CheckFailed(
            f"{what} in epoch {len(self.history) + 1}{where}: the learning rate is too large, or the data are wrong; "
            f"{self.last.parent} keeps {kept}"
        )

    def write_table(self):
        """Write the history as CSV."""
        with atomic(self.table) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.history[0])
            writer.writeheader()
            writer.writerows(self.history)
