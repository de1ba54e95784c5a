"""Training watchers: one line per epoch for logs, a live progress bar for terminals, TensorBoard events for a folder."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from neural_echos.errors import EchosError


class Watcher:
    """Follows the progress of a training; this base class does nothing."""

    def begin(self, name: str, epochs: int, steps: int, done: int) -> None:
        """A run begins, or resumes after `done` of epochs · steps."""

    def step(self, images_per_second: float) -> None:
        """A step is done, at this speed since the epoch began."""

    def epoch(self, row: Mapping[str, Any], line: str) -> None:
        """An epoch is done: its row of the history, and the same row as a line of text."""

    def end(self) -> None:
        """The run is over, or stopped."""


class Lines(Watcher):
    """Passes one line per epoch to a function, such as a logger's."""

    def __init__(self, write: Callable[[str], None]):
        self.write = write

    def epoch(self, row: Mapping[str, Any], line: str) -> None:
        """Write the line."""
        self.write(line)


class LiveBar(Watcher):
    """A progress bar on a terminal: epoch, images per second, time left, and the last epoch's accuracy."""

    def begin(self, name: str, epochs: int, steps: int, done: int) -> None:
        """Draw the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.steps, self.epochs, self.top1 = steps, epochs, ""
        columns = ("{task.description}", "epoch {task.fields[epoch]}", "{task.fields[speed]}", "{task.fields[top1]}")
        shown = (TextColumn(columns[0]), BarColumn(), *map(TextColumn, columns[1:]), TimeRemainingColumn())
        self.bar = Progress(*shown, console=Console(stderr=True))
        self.task = self.bar.add_task(name, total=epochs * steps, completed=done, **self._fields(done, 0.0))
        self.bar.start()

    def step(self, images_per_second: float) -> None:
        """Advance the bar."""
        done = int(self.bar.tasks[0].completed) + 1
        self.bar.update(self.task, completed=done, **self._fields(done, images_per_second))

    def epoch(self, row: Mapping[str, Any], line: str) -> None:
        """Show the accuracy."""
        self.top1 = f"top-1 {100 * row['top1']:.1f} %"

    def end(self) -> None:
        """Leave the bar as it is."""
        self.bar.stop()

    def _fields(self, done: int, speed: float) -> dict[str, Any]:
        epoch = min(self.epochs, 1 + (max(done, 1) - 1) // self.steps)
        return {"epoch": f"{epoch}/{self.epochs}", "speed": f"{speed:,.0f} images/s", "top1": self.top1}


class Events(Watcher):
    """TensorBoard events in a folder: losses, accuracies and learning rate of each epoch.

    Raises
    ------
    EchosError
        No package that can write them is installed.
    """

    def __init__(self, folder: Path):
        from accelerate.tracking import TensorBoardTracker, is_tensorboard_available

        if not is_tensorboard_available():
            raise EchosError(
                "TensorBoard events need the package tensorboardX or tensorboard, but neither is installed; pip install "
                "tensorboardX, or train without events"
            )
        self.tracker = TensorBoardTracker(folder.name, logging_dir=str(folder.parent))
        self.tracker.start()

    def epoch(self, row: Mapping[str, Any], line: str) -> None:
        """Write the epoch's numbers."""
        shown = ("train_loss", "loss", "top1", "top5", "learning_rate")
        self.tracker.log({name: row[name] for name in shown}, step=row["epoch"])

    def end(self) -> None:
        """Close the file."""
        self.tracker.finish()
