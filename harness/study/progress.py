"""One live line per phase on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from harness.records.text import printed, seconds

if TYPE_CHECKING:
    from rich.progress import Task, TaskID


_PATIENCE_S = 15.0
"""After this long without a line, the next step is printed whatever its number."""

_KNOWN_S = 10.0
"""Before this much has passed, no line tells the time left."""

_REDRAWN_S = 0.2
"""A notebook is drawn anew no more often than this."""

_ALL = "all"
"""The bar of all work, beside those of the phases."""


class Progress:
    """What the pipeline reports while it works; displays override what they show."""

    def phase(self, name: str, total: int) -> None:
        """Start a phase, or raise its total."""

    def advance(self, name: str, detail: str = "") -> None:
        """Count one more finished in a phase."""

    def outlook(self, done: float, total: float) -> None:
        """Take how much of the expected work is done; the time left is estimated from it."""

    def again(self) -> None:
        """Start over: the next phases count from zero."""

    def say(self, sentence: str) -> None:
        """Print a line that stays."""

    def close(self) -> None:
        """End all phases."""


Quiet = Progress
"""Shows nothing."""


class Plain(Progress):
    """Plain lines for pipes and logs: each tenth of a phase, and after a long silence."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._last = self._begin
        self._total: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._left_s: float | None = None

    def _line(self, text: str) -> None:
        self._last = time.monotonic()
        click.echo(f"[{time.monotonic() - self._begin:6.1f} s] {printed(text)}", err=True)

    def phase(self, name: str, total: int) -> None:
        """Print the start of a phase."""
        if name not in self._total:
            self._done[name] = 0
            self._line(f"{name}: {total}")
        self._total[name] = total

    def advance(self, name: str, detail: str = "") -> None:
        """Print each tenth, the last, and after a long silence."""
        self._done[name] += 1
        done, total = self._done[name], self._total[name]
        silent_s = time.monotonic() - self._last
        if done == total or done % max(total // 10, 1) == 0 or silent_s > _PATIENCE_S:
            left = (
                ""
                if self._left_s is None or done == total
                else f", about {seconds(self._left_s)} left"
            )
            self._line(f"{name}: {done} of {total}" + (f" ({detail})" if detail else "") + left)

    def outlook(self, done: float, total: float) -> None:
        """Estimate the time left, once there is something to go by."""
        elapsed_s = time.monotonic() - self._begin
        known = done > 0 and elapsed_s > _KNOWN_S and total > done
        self._left_s = elapsed_s * (total - done) / done if known else None

    def again(self) -> None:
        """Forget the phases; the clock goes on."""
        self._total.clear()

    def say(self, sentence: str) -> None:
        """Print the sentence."""
        self._line(sentence)


class Live(Progress):
    """A live line per phase, with counts and elapsed time."""

    def __init__(self) -> None:
        # rich is imported only where a terminal will show it: `harness --help` stays quick.
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bars
        from rich.text import Text

        class Count(MofNCompleteColumn):
            """How many of a phase are done; work has no number."""

            def render(self, task: Task) -> Text:
                return Text() if task.description == _ALL else super().render(task)

        class Left(TimeRemainingColumn):
            """The time left, of all work only: a phase may get more to do."""

            def render(self, task: Task) -> Text:
                return super().render(task) if task.description == _ALL else Text()

        self._tasks: dict[str, TaskID] = {}
        self._bars = Bars(
            TextColumn("{task.description:<9}"),
            BarColumn(bar_width=24),
            Count(),
            TimeElapsedColumn(),
            Left(),
            TextColumn("{task.fields[detail]}", style="dim", markup=False),
            console=Console(stderr=True),
            speed_estimate_period=300,
            # Nothing is drawn before it is shown, and not by a thread in a notebook.
            auto_refresh=not isinstance(self, Notebook),
        )
        self._show()

    def _show(self) -> None:
        """Show the lines for the first time."""
        self._bars.start()

    def phase(self, name: str, total: int) -> None:
        """Show a phase, or raise its total."""
        if name in self._tasks:
            self._bars.update(self._tasks[name], total=total)
        else:
            self._tasks[name] = self._bars.add_task(name, total=total, detail="")

    def advance(self, name: str, detail: str = "") -> None:
        """Count one more."""
        self._bars.update(self._tasks[name], advance=1, detail=printed(detail))

    def outlook(self, done: float, total: float) -> None:
        """Show how much of the work is done, and the time left."""
        if _ALL in self._tasks:
            self._bars.update(self._tasks[_ALL], completed=done, total=total)
        else:
            self._tasks[_ALL] = self._bars.add_task(_ALL, total=total, detail="")

    def again(self) -> None:
        """Take the finished phases off the screen."""
        for task in self._tasks.values():
            self._bars.remove_task(task)
        self._tasks.clear()

    def say(self, sentence: str) -> None:
        """Print a line above the live ones."""
        self._bars.console.print(printed(sentence), markup=False, highlight=False)

    def close(self) -> None:
        """Leave the last state on the screen."""
        self._bars.stop()


class Notebook(Live):
    """The same lines below a notebook's cell, drawn anew where they were; no widgets are needed."""

    def _show(self) -> None:
        from IPython.display import display

        self._drawn = time.monotonic()
        self._handle = display(self._bars, display_id=True)  # type: ignore[no-untyped-call]

    def _draw(self, *, now: bool = False) -> None:
        if now or time.monotonic() - self._drawn > _REDRAWN_S:
            self._drawn = time.monotonic()
            self._handle.update(self._bars)

    def phase(self, name: str, total: int) -> None:
        """Show a phase, or raise its total."""
        super().phase(name, total)
        self._draw()

    def advance(self, name: str, detail: str = "") -> None:
        """Count one more."""
        super().advance(name, detail)
        self._draw()

    def outlook(self, done: float, total: float) -> None:
        """Show how much of the work is done, and the time left."""
        super().outlook(done, total)
        self._draw()

    def say(self, sentence: str) -> None:
        """Print a line below those of the phases."""
        click.echo(sentence)

    def close(self) -> None:
        """Draw the last state."""
        self._draw(now=True)


def _in_notebook() -> bool:
    """Tell whether a notebook shows what is displayed."""
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"


def choose(*, quiet: bool) -> Progress:
    """Return the display for this terminal."""
    if quiet:
        return Quiet()
    if _in_notebook():
        return Notebook()
    return Live() if sys.stderr.isatty() else Plain()
