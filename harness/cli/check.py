"""``harness check``."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import click

from harness.check.baseline.change import ALPHA, BUDGET, USUAL, Margins
from harness.cli import common
from harness.records.whole import write_text


@click.command(
    epilog="""\b
    harness check                         every baseline in baselines/
    harness check mixture --exact         one of them, to the last digit
    Exit code: 0 the same, 1 changed, 2 undecided or not checked.
    """
)
@common.WHAT
@common.BASELINES
@common.JOBS
@common.TIMEOUT
@common.COMPILE_TIMEOUT
@common.MEMORY
@common.quiet_option(help="No progress; only the answer.")
@click.option("--exact", is_flag=True, help="Same seeds, same versions, equal to the last digit.")
@common.setting(
    "--alpha",
    type=common.FiniteRange(0, 0.5, min_open=True),
    default=ALPHA,
    help="Probability of one false alarm in a whole check.",
)
@common.setting(
    "--location",
    type=common.FiniteRange(0, 10, min_open=True),
    default=USUAL.location,
    help="A mean or median that moved by less, in posterior sds, is the same; twice for 5/95%.",
)
@common.setting(
    "--scale",
    type=common.FiniteRange(0, 10, min_open=True),
    default=round(math.expm1(USUAL.scale), 9),
    help="An sd that changed by a smaller share is the same.",
)
@common.setting(
    "--budget",
    type=click.IntRange(1, 64),
    default=BUDGET,
    help="Run up to this many times the baseline's seeds if fewer cannot decide.",
)
@common.setting(
    "--seed-offset",
    type=click.IntRange(0, 1_000_000),
    default=0,
    help="Run other seeds than the baseline's: those after this number.",
)
@click.option("--junit", type=common.FILE, help="JUnit XML.")
@click.option("--markdown", type=common.FILE, help="A table for a pull request or a job summary.")
def check(
    *,
    what: tuple[str, ...],
    quiet: bool,
    location: float,
    scale: float,
    junit: Path | None,
    markdown: Path | None,
    **options: Any,
) -> None:
    """Run again and say what changed since the baselines were written."""
    from harness.check import show
    from harness.check.request import Request, locate
    from harness.check.run import check as run_check
    from harness.check.show import terminal

    if options["exact"] and options["seed_offset"]:
        raise common.fail("--exact compares the same seeds; leave out --seed-offset")
    margins = Margins(location, math.log1p(scale))
    request = Request(margins=margins, command=common.command_line(), **options)
    targets = locate(what, request, common.read_models)
    outcome = common.guarded(lambda display: run_check(targets, request, display), quiet=quiet)
    terminal.print_check(outcome, quiet=quiet)
    for path, make in ((junit, show.junit), (markdown, show.markdown)):
        if path is not None:
            _write(path, make(outcome))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in show.annotations(outcome):
            click.echo(line)
    raise SystemExit(outcome.exit_code)


def _write(path: Path, text: str) -> None:
    try:
        write_text(path, text)
    except OSError as error:
        raise common.fail(f"cannot write {path}: {error.strerror}") from error
