"""How far training has come: kept for checkpoints, written for programs, shown."""

import time
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from rich import progress as rich_progress
from rich.console import Console

from nerve_jax.runs.checkpoints import Progress
from nerve_jax.runs.log import MetricsLog
from nerve_jax.system.console import create_console, is_first
from nerve_jax.system.files import Path


class TrainingBar:
    """Steps, loss, validation score, images per second and time left.

    On a terminal it is one line that moves; elsewhere one line per evaluation.
    """

    def __init__(
        self,
        folds: Sequence[int],
        num_steps: int,
        batch_size: int,
        measure: str,
        console: Console,
    ):
        self.frames_a_step, self.num_steps = batch_size * len(folds), num_steps
        self.measure, self.label = measure, measure.capitalize()
        self.console = console
        self.bar = rich_progress.Progress(
            rich_progress.TextColumn("fold {task.fields[fold]}"),
            rich_progress.BarColumn(),
            rich_progress.MofNCompleteColumn(),
            rich_progress.TextColumn(
                f"loss {{task.fields[loss]}}  {self.label} {{task.fields[score]}}  "
                "{task.fields[rate]} img/s"
            ),
            rich_progress.TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task(
            "",
            total=num_steps,
            fold=", ".join(map(str, folds)),
            loss="–",
            score="–",
            rate="–",
        )

    def start_at(self, fold: int, step: int) -> None:
        """Show the step that a fold goes on from."""
        self.bar.update(self.task, completed=step)
        if step:
            self._say(f"fold {fold}: going on from step {step}")

    def show_step(self, step: int, loss: float) -> None:
        """Show progress within an interval."""
        speed = self.bar.tasks[0].speed
        rate = f"{speed * self.frames_a_step:.0f}" if speed else "–"
        self.bar.update(self.task, completed=step, loss=f"{loss:.3f}", rate=rate)

    def show_eval(self, row: dict) -> None:
        """Show scores after an evaluation."""
        self.bar.update(self.task, score=f"{row[self.measure]:.3f}")
        if not self.console.is_terminal:
            self._say(
                f"fold {row['fold']}  step {row['step']}/{self.num_steps}  "
                f"loss {row['loss']:.3f}  {self.label} {row[self.measure]:.3f}  "
                f"{row['images_per_second']:.1f} img/s"
            )

    def _say(self, line: str) -> None:
        """Print a line above the bar, unbroken."""
        self.console.print(line, soft_wrap=True)


class RunLog:
    """Losses and time of the folds that train together: kept, written and shown.

    Rows of metrics.jsonl and event files are written by process 0 alone. Use it as a
    context manager.

    Args:
      workdir: of the run.
      folds: numbers of the folds.
      num_train_steps: of each.
      batch_size: frames per step and fold.
      measure: name of the score that is shown.
      started: `time.perf_counter()` from which wall seconds count; now by default.

    Attributes:
      losses: float64 [folds 2], sum and number of each fold's losses since its last
        evaluation. They are added one by one, so that a run in two pieces gives the same.
      train_seconds: spent in training steps.
    """

    def __init__(
        self,
        workdir: Path,
        folds: Sequence[int],
        *,
        num_train_steps: int,
        batch_size: int,
        measure: str,
        started: float | None = None,
    ):
        self.batch_size, self.losses = batch_size, np.zeros((len(folds), 2))
        self.train_seconds = 0.0
        self._started = time.perf_counter() if started is None else started
        self._folds, self._metrics = folds, MetricsLog(workdir)
        self._bar = TrainingBar(
            folds, num_train_steps, batch_size, measure, create_console()
        )

    def __enter__(self):
        self._bar.bar.start()
        return self

    def __exit__(self, *_) -> None:
        self._bar.bar.stop()
        self._metrics.close()

    @property
    def wall_seconds(self) -> float:
        """Spent altogether, also by the commands before."""
        return time.perf_counter() - self._started

    def resume(self, checkpoints: Sequence[tuple[int, Progress]]) -> None:
        """Go on from the step and progress of each fold's newest checkpoint."""
        self.losses[:] = [progress[2:] for _, progress in checkpoints]
        self.train_seconds = max(progress[0] for _, progress in checkpoints)
        self._started -= max(progress[1] for _, progress in checkpoints)
        for fold, (step, _) in zip(self._folds, checkpoints, strict=True):
            if is_first():
                self._metrics.begin(fold, step)
            self._bar.start_at(fold, step)

    def add_losses(self, step: int, losses: Float[np.ndarray, "folds steps"]) -> None:
        """Add the losses of some steps, of which `step` is the number of the first."""
        for loss in losses.T:
            self.losses += np.stack([loss, np.ones_like(loss)], axis=1)
        self._bar.show_step(step + losses.shape[1] - 1, float(losses[:, -1].mean()))

    def write(self, place: int, step: int, scores: Mapping[str, float]) -> None:
        """Write and show the mean loss since the last evaluation, and begin another."""
        total, count = self.losses[place]
        row = {
            "fold": self._folds[place],
            "step": step,
            "loss": total / count,
            **scores,
            "train_seconds": self.train_seconds,
            "images_per_second": step * self.batch_size / self.train_seconds,
        }
        if is_first():
            self._metrics.write(row)
        self._bar.show_eval(row)
        self.losses[place] = 0
