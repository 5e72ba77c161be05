"""What the commands share: options, exit codes, and how they read their arguments."""

from __future__ import annotations

import contextlib
import math
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from harness.records import CHOICES
from harness.records.text import clip, one_line, printed
from harness.records.untrusted import MOST_JOBS, MOST_SECONDS, MOST_SEEDS

if TYPE_CHECKING:
    from harness.records import Comparison, Model
    from harness.study.progress import Progress

T = TypeVar("T")

EXIT_LEVEL = 1
EXIT_UNUSABLE = 2
EXIT_INTERRUPTED = 130
EXIT_UNREAD = 141

setting = partial(click.option, show_default=True)
"""An option whose help shows its default."""

WHAT = click.argument("what", nargs=-1, metavar="[MODEL … | SUITE | FILE.stan [DATA.json]]")
SEEDS = click.option(
    "--seeds", type=click.IntRange(1, MOST_SEEDS), help="Seeds per variational method."
)


class FiniteRange(click.FloatRange):
    """A range without NaN, which is in no order with its ends."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value} is not a number.", param, ctx)
        return number


POSITIVE = FiniteRange(0, MOST_SECONDS, min_open=True)
JOBS = click.option("--jobs", type=click.IntRange(1, MOST_JOBS), help="Processes. [all cores]")
DASK = click.option(
    "--dask",
    default="",
    metavar="ADDRESS",
    help="Make the runs on the workers of a Dask scheduler: tcp://HOST:PORT or a scheduler file.",
)
TIMEOUT = setting(
    "--timeout",
    "timeout_s",
    type=POSITIVE,
    default=600.0,
    help="Time limit of one run, in seconds.",
)
COMPILE_TIMEOUT = setting(
    "--compile-timeout",
    "compile_timeout_s",
    type=POSITIVE,
    default=1800.0,
    help="Time limit of compiling a program, in seconds.",
)
MEMORY = click.option(
    "--memory",
    "memory_gb",
    type=POSITIVE,
    metavar="GB",
    help="Memory of one process, in GB. [the machine's, divided by the jobs]",
)
ENGINE = setting(
    "--engine",
    type=click.Choice(["auto", "embedded", "cmdstan"]),
    default="auto",
    help="auto: densities by the embedded engine, NUTS and ADVI by CmdStan if there is one.",
)
DRAWS = click.option("--draws", is_flag=True, help="Write all draws as NetCDF, below draws/.")
SETTINGS = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="METHOD.OPTION=VALUE",
    help="Set a method's option, such as advi.iterations=20000; may be repeated.",
)
FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
BASELINES = setting(
    "--baselines", "folder", type=FOLDER, default=Path("baselines"), help="Folder of the baselines."
)
quiet_option = partial(click.option, "--quiet", "-q", is_flag=True)


class UnusableError(click.ClickException):
    """A command that cannot do what was asked."""

    exit_code = EXIT_UNUSABLE


def fail(message: str) -> click.ClickException:
    """Return what a command raises when it cannot do what was asked."""
    # Names of files and words of programs stand in it.
    return UnusableError(printed(message))


def echo(text: str, *, err: bool = False) -> None:
    """Print text in which names and words of others may stand."""
    click.echo(printed(text), err=err)


def command_line() -> str:
    """Return the command as the user could type it again."""
    return shlex.join(["harness", *sys.argv[1:]])


def guarded(work: Callable[[Progress], T], *, quiet: bool) -> T:
    """Do the work and close its display; turn errors into a message and an exit code."""
    from harness.study import comparing, progress

    # SIGTERM and a closed terminal are like Ctrl-C, so that finished runs are kept.
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        # nohup ignores it, and so must this.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    display = progress.choose(quiet=quiet)
    try:
        try:
            return work(display)
        finally:
            display.close()
    except comparing.Interrupted as interrupt:
        echo(str(interrupt), err=True)
        raise SystemExit(EXIT_INTERRUPTED) from interrupt
    except BrokenPipeError:
        raise
    except OSError as error:
        raise fail(str(error)) from error


@contextlib.contextmanager
def showing(folder: Path) -> Iterator[None]:
    """Refuse results that have the form of results and contradict themselves, in one line."""
    try:
        yield
    except (OSError, click.ClickException):
        raise
    except Exception as error:
        from harness.report.files import ResultsError

        if isinstance(error, ResultsError):
            raise
        what = f"{type(error).__name__}: {clip(one_line(str(error)), 300)}"
        msg = f"{folder} cannot be shown ({what}): damaged, or a fault of the harness"
        raise ResultsError(f"{msg}; run harness compare again") from error


def write_markdown(comparison: Comparison, path: Path) -> None:
    """Write the verdicts for a pull request, and say where."""
    from harness.records.whole import write_text
    from harness.report.markdown import markdown

    try:
        write_text(path, markdown(comparison))
    except OSError as error:
        raise fail(f"{path} cannot be written: {error.strerror}") from error
    echo(f"markdown: {path}")


def _reference(_context: click.Context, _option: click.Parameter, reference: str) -> str:
    if reference not in CHOICES:
        from harness.intake import DrawsError, files_of

        try:
            files_of(reference)
        except DrawsError as error:
            raise fail(str(error)) from error
    return reference


def _names(
    _context: click.Context, _option: click.Parameter, listed: str | None
) -> tuple[str, ...] | None:
    """Return the words of a comma-separated list, each once; None if there is no list."""
    if listed is None:
        return None
    return tuple(dict.fromkeys(w.strip() for w in listed.split(",") if w.strip()))


def _methods(
    context: click.Context, option: click.Parameter, listed: str | None
) -> tuple[str, ...] | None:
    chosen = _names(context, option, listed)
    if chosen is None:
        return None
    import difflib

    from harness.methods import METHODS

    for name in chosen:
        if name not in METHODS:
            near = difflib.get_close_matches(name, METHODS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise fail(f"unknown method {name!r}{hint} (known: {', '.join(METHODS)})")
    if not chosen:
        raise fail(f"--methods is empty (known: {', '.join(METHODS)})")
    return chosen


methods_option = partial(click.option, "--methods", metavar="A,B,…", callback=_methods)
quantities_option = partial(click.option, "--quantities", metavar="A,B,…", callback=_names)
reference_option = partial(
    setting, "--reference", default="auto", metavar="auto|nuts|ensemble|FILE", callback=_reference
)


def _is_data(word: str) -> bool:
    """Tell whether a word after a program is a data file, of whatever kind."""
    path = Path(word)
    return path.suffix != ".stan" and (path.suffix != "" or path.is_file()) and not path.is_dir()


def read_posteriors(words: Sequence[str], path: Path, *, everything: bool) -> list[Model]:
    """Read posteriors of a posteriordb; those that a pattern means and cannot be read are said.

    Raises
    ------
    harness.ModelError
        If there is no database, no such posterior, one that was named cannot be read, or none of
        several can.
    """
    from harness.models import posteriordb
    from harness.models.data import ModelError

    root = posteriordb.database(path)
    models: list[Model] = []
    named = dict.fromkeys(word.removeprefix(posteriordb.PREFIX) for word in words)
    for pattern in ["*"] if everything else named:
        for name in posteriordb.names(root, pattern):
            if name in {model.name for model in models}:
                continue
            try:
                models.append(posteriordb.load(root, name))
            except ModelError as error:
                if name == pattern:
                    raise
                echo(f"left out: {error}", err=True)
    if not models:
        raise ModelError("none of these posteriors can be read")
    return models


def read_models(what: Sequence[str], quantities: tuple[str, ...] | None = None) -> list[Model]:
    """Read what the user named: nothing (all lecture models), models, suites, FILE.stan DATA.json.

    Raises
    ------
    harness.ModelError
        If a model is unknown or its files are unusable.
    """
    from harness.models import folders
    from harness.models.data import ModelError

    words = list(what) or list(folders.lecture_models())
    models = []
    while words:
        word = words.pop(0)
        if word.endswith(".stan"):
            data = Path(words.pop(0)) if words and _is_data(words[0]) else None
            models.append(folders.user_model(Path(word), data))
        elif word.endswith(".json"):
            msg = f"{word}: a data file follows its program: harness compare FILE.stan {word}"
            raise ModelError(msg)
        else:
            models += [folders.load(name) for name in folders.suite(word) or (word,)]
    return distinct(models, quantities)


def distinct(models: list[Model], quantities: tuple[str, ...] | None) -> list[Model]:
    """Return models with the quantities that are asked for.

    Raises
    ------
    harness.ModelError
        If two have the same name.
    """
    import dataclasses

    from harness.models.data import ModelError

    called = [m.name for m in models]
    for name in called:
        if called.count(name) > 1:
            raise ModelError(f"{name} is named twice; rename one of the programs")
    if quantities is not None:
        models = [dataclasses.replace(m, quantities=quantities) for m in models]
    return models
