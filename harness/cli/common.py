"""What the commands share: options, exit codes, and how they read their arguments."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from harness.records import Model
    from harness.study.progress import Progress

T = TypeVar("T")

EXIT_LEVEL = 1
EXIT_UNUSABLE = 2
EXIT_INTERRUPTED = 130

setting = partial(click.option, show_default=True)
"""An option whose help shows its default."""

WHAT = click.argument("what", nargs=-1, metavar="[MODEL … | FILE.stan [DATA.json]]")
SEEDS = click.option("--seeds", type=click.IntRange(1, 1000), help="Seeds per variational method.")
JOBS = click.option("--jobs", type=click.IntRange(1), help="Processes. [all cores]")
POSITIVE = click.FloatRange(min=0, min_open=True)
TIMEOUT = setting(
    "--timeout", type=POSITIVE, default=600.0, help="Time limit of one run, in seconds."
)
FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
BASELINES = setting(
    "--baselines", "folder", type=FOLDER, default=Path("baselines"), help="Folder of the baselines."
)
methods_option = partial(click.option, "--methods", metavar="A,B,…")
quantities_option = partial(click.option, "--quantities", metavar="A,B,…")
reference_option = partial(setting, "--reference", default="auto", metavar="auto|nuts|FILE.nc")
quiet_option = partial(click.option, "--quiet", "-q", is_flag=True)


class UnusableError(click.ClickException):
    """A command that cannot do what was asked."""

    exit_code = EXIT_UNUSABLE


def fail(message: str) -> click.ClickException:
    """Return what a command raises when it cannot do what was asked."""
    return UnusableError(message)


def end_gently() -> None:
    """Treat SIGTERM like Ctrl-C, so that finished runs are kept."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def command_line() -> str:
    """Return the command as the user could type it again."""
    return shlex.join(["harness", *sys.argv[1:]])


def guarded(display: Progress, work: Callable[[], T]) -> T:
    """Do the work and close the display; turn errors into a message and an exit code."""
    from harness import stan
    from harness.study import comparing

    try:
        try:
            return work()
        finally:
            display.close()
    except comparing.Interrupted as interrupt:
        click.echo(str(interrupt), err=True)
        raise SystemExit(EXIT_INTERRUPTED) from interrupt
    except (comparing.NothingToRunError, stan.ToolchainError, OSError) as error:
        raise fail(str(error)) from error


def check_reference(reference: str) -> None:
    """Refuse a reference that is neither a known word nor a file."""
    if reference not in {"auto", "nuts"} and not Path(reference).is_file():
        raise fail(f"no such reference: {reference}; allowed: auto, nuts, or a NetCDF file")


def chosen_methods(methods: str | None) -> tuple[str, ...] | None:
    """Return the methods in a comma-separated list; None if there is no list."""
    if methods is None:
        return None
    import difflib

    from harness.methods import METHODS

    chosen = names(methods)
    for name in chosen:
        if name not in METHODS:
            near = difflib.get_close_matches(name, METHODS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise fail(f"unknown method {name!r}{hint} (known: {', '.join(METHODS)})")
    if not chosen:
        raise fail(f"--methods is empty (known: {', '.join(METHODS)})")
    return chosen


def names(listed: str | None) -> tuple[str, ...]:
    """Return the words of a comma-separated list, each once."""
    return tuple(dict.fromkeys(w.strip() for w in (listed or "").split(",") if w.strip()))


def read_models(what: Sequence[str], quantities: str | None = None) -> list[Model]:
    """Read what the user named: nothing (all lecture models), models, or FILE.stan DATA.json.

    Raises
    ------
    harness.ModelError
        If a model is unknown or its files are unusable.
    """
    import dataclasses

    from harness.models import folders
    from harness.models.data import ModelError

    words = list(what) or list(folders.lecture_models())
    models = []
    while words:
        word = words.pop(0)
        if word.endswith(".stan"):
            data = Path(words.pop(0)) if words and words[0].endswith(".json") else None
            models.append(folders.user_model(Path(word), data))
        elif word.endswith(".json"):
            msg = f"{word}: a data file follows its program: harness compare FILE.stan {word}"
            raise ModelError(msg)
        else:
            models.append(folders.load(word))
    called = [m.name for m in models]
    for name in called:
        if called.count(name) > 1:
            raise ModelError(f"{name} is named twice; rename one of the programs")
    if quantities is not None:
        models = [dataclasses.replace(m, quantities=names(quantities)) for m in models]
    return models
