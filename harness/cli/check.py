"""``harness baseline`` and ``harness check``."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from harness.cli.common import (
    EXIT_INTERRUPTED,
    EXIT_UNUSABLE,
    check_reference,
    chosen_methods,
    end_gently,
    fail,
    names,
    read_models,
)

if TYPE_CHECKING:
    from harness.study.progress import Progress

T = TypeVar("T")


def _shared(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the arguments and options that both commands have."""
    for option in reversed(
        (
            click.argument("what", nargs=-1, metavar="[MODEL … | FILE.stan [DATA.json]]"),
            click.option(
                "--baselines",
                "folder",
                type=click.Path(file_okay=False, path_type=Path),
                default=Path("baselines"),
                show_default=True,
                help="Folder of the baselines.",
            ),
            click.option("--jobs", type=click.IntRange(1), help="Processes. [all cores]"),
            click.option(
                "--timeout",
                type=click.FloatRange(min=0, min_open=True),
                default=600.0,
                show_default=True,
                help="Seconds one run may take.",
            ),
            click.option("--quiet", "-q", is_flag=True, help="No progress; only the answer."),
        )
    ):
        command = option(command)
    return command


@click.command()
@_shared
@click.option("--methods", metavar="A,B,…", help="Methods to keep; see `harness models`.")
@click.option("--seeds", type=click.IntRange(1, 1000), help="Seeds per variational method.")
@click.option(
    "--reference",
    default="auto",
    show_default=True,
    metavar="auto|nuts|FILE.nc",
    help="What the methods are judged against, as in `harness compare`.",
)
@click.option("--quantities", metavar="A,B,…", help="Only these variables.")
def baseline(
    what: tuple[str, ...],
    folder: Path,
    jobs: int | None,
    timeout: float,
    quiet: bool,  # noqa: FBT001 - click passes options by name
    methods: str | None,
    seeds: int | None,
    reference: str,
    quantities: str | None,
) -> None:
    r"""Write down what a comparison finds, for `harness check` to hold it to.

    \b
    harness baseline my.stan my.json      your own program -> baselines/my.json
    harness baseline my                   the same again, after a change that was meant
    harness baseline                      all that baselines/ holds, else all lecture models
    """
    from harness import stan
    from harness.check.baseline import BaselineError
    from harness.check.request import Request, to_write
    from harness.check.write import rewrite
    from harness.models import folders
    from harness.study import progress

    end_gently()
    check_reference(reference)
    request = Request(
        folder=folder,
        methods=chosen_methods(methods),
        seeds=seeds,
        reference=reference,
        quantities=names(quantities),
        jobs=jobs,
        timeout_s=timeout,
        command=_command(),
    )
    try:
        targets = to_write(what, request, read_models)
    except (folders.ModelError, stan.ToolchainError, BaselineError) as error:
        raise fail(str(error)) from error
    display = progress.choose(quiet=quiet)
    written = _guarded(display, lambda: rewrite(targets, request, display))
    for name, path, said in written:
        if path is None:
            click.echo(f"✗ {name}: no baseline written: {said}")
        elif not quiet:
            click.echo(f"✓ {name}: {path} ({said})")
    if not all(path for _, path, _ in written):
        raise SystemExit(EXIT_UNUSABLE)


@click.command()
@_shared
@click.option("--exact", is_flag=True, help="Same seeds, same versions, equal to the last digit.")
@click.option(
    "--alpha",
    type=click.FloatRange(0, 0.5, min_open=True),
    default=1e-4,
    show_default=True,
    help="Probability of one false alarm in a whole check.",
)
@click.option(
    "--location",
    type=click.FloatRange(0, 10, min_open=True),
    default=0.1,
    show_default=True,
    help="A mean or median that moved by less, in posterior sds, is the same; twice for 5/95%.",
)
@click.option(
    "--scale",
    type=click.FloatRange(0, 10, min_open=True),
    default=0.1,
    show_default=True,
    help="An sd that changed by a smaller share is the same.",
)
@click.option(
    "--budget",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="Where it cannot be told, up to this many times the baseline's seeds are run.",
)
@click.option(
    "--seed-offset",
    type=click.IntRange(0, 1_000_000),
    default=0,
    show_default=True,
    help="Run other seeds than the baseline's: those after this number.",
)
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="JUnit XML.")
@click.option(
    "--markdown",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A table for a pull request or a job summary.",
)
def check(
    what: tuple[str, ...],
    folder: Path,
    jobs: int | None,
    timeout: float,
    quiet: bool,  # noqa: FBT001 - click passes options by name
    exact: bool,  # noqa: FBT001 - the same
    alpha: float,
    location: float,
    scale: float,
    budget: int,
    seed_offset: int,
    junit: Path | None,
    markdown: Path | None,
) -> None:
    r"""Run again and say what changed since the baselines were written.

    \b
    harness check                         every baseline in baselines/
    harness check mixture --exact         one of them, to the last digit
    Exit code: 0 the same, 1 changed, 2 could not tell or could not run.
    """
    import math

    from harness import stan
    from harness.check.baseline import BaselineError, Margins
    from harness.check.request import Request, locate
    from harness.check.run import check as run_check
    from harness.models import folders
    from harness.study import progress

    end_gently()
    if exact and seed_offset:
        raise fail("--exact compares the same seeds; leave out --seed-offset")
    request = Request(
        folder=folder,
        jobs=jobs,
        timeout_s=timeout,
        command=_command(),
        alpha=alpha,
        margins=Margins(location, math.log1p(scale)),
        budget=budget,
        seed_offset=seed_offset,
        exact=exact,
    )
    try:
        targets = locate(what, request, read_models)
    except (folders.ModelError, stan.ToolchainError, BaselineError) as error:
        raise fail(str(error)) from error
    display = progress.choose(quiet=quiet)
    outcome = _guarded(display, lambda: run_check(targets, request, display))
    from harness.check import show
    from harness.check.show import terminal

    terminal.print_check(outcome, quiet=quiet)
    for path, make in ((junit, show.junit), (markdown, show.markdown)):
        if path is not None:
            _write(path, make(outcome))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in show.annotations(outcome):
            click.echo(line)
    raise SystemExit(outcome.exit_code)


def _command() -> str:
    return shlex.join(["harness", *sys.argv[1:]])


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise fail(f"cannot write {path}: {error.strerror}") from error


def _guarded(display: Progress, work: Callable[[], T]) -> T:
    """Do the work; end with the message and the exit code of whatever keeps it from being done."""
    from harness import stan
    from harness.study import comparing

    try:
        return work()
    except comparing.Interrupted as interrupt:
        display.close()
        click.echo(str(interrupt), err=True)
        raise SystemExit(EXIT_INTERRUPTED) from interrupt
    except (stan.ToolchainError, OSError) as error:
        display.close()
        raise fail(str(error)) from error
    finally:
        display.close()
