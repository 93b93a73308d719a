"""The progress bar of training."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)


class TrainingBar:
    """Steps, loss, validation score, images per second and time left.

    On a terminal it is one line that moves; elsewhere one line an evaluation.
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
        self.bar = Progress(
            TextColumn("fold {task.fields[fold]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(
                f"loss {{task.fields[loss]}}  {self.label} {{task.fields[score]}}  "
                "{task.fields[rate]} img/s"
            ),
            TimeRemainingColumn(),
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
            self.console.print(f"fold {fold}: going on from step {step}")

    def show_step(self, step: int, loss: float) -> None:
        """Show progress within an interval."""
        speed = self.bar.tasks[0].speed
        rate = f"{speed * self.frames_a_step:.0f}" if speed else "–"
        self.bar.update(self.task, completed=step, loss=f"{loss:.3f}", rate=rate)

    def show_eval(self, row: dict) -> None:
        """Show scores after an evaluation."""
        self.bar.update(self.task, score=f"{row[self.measure]:.3f}")
        if not self.console.is_terminal:
            self.console.print(
                f"fold {row['fold']}  step {row['step']}/{self.num_steps}  "
                f"loss {row['loss']:.3f}  {self.label} {row[self.measure]:.3f}  "
                f"{row['images_per_second']:.1f} img/s"
            )


@contextmanager
def training_bar(
    folds: Sequence[int], num_steps: int, batch_size: int, measure: str
) -> Iterator[TrainingBar]:
    """Show a bar for as long as the context lasts."""
    bar = TrainingBar(folds, num_steps, batch_size, measure, Console(file=sys.stdout))
    with bar.bar:
        yield bar
