"""``harness check``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from harness.cli import common


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
@common.quiet_option(help="No progress; only the answer.")
@click.option("--exact", is_flag=True, help="Same seeds, same versions, equal to the last digit.")
@common.setting(
    "--alpha",
    type=click.FloatRange(0, 0.5, min_open=True),
    default=1e-4,
    help="Probability of one false alarm in a whole check.",
)
@common.setting(
    "--location",
    type=click.FloatRange(0, 10, min_open=True),
    default=0.1,
    help="A mean or median that moved by less, in posterior sds, is the same; twice for 5/95%.",
)
@common.setting(
    "--scale",
    type=click.FloatRange(0, 10, min_open=True),
    default=0.1,
    help="An sd that changed by a smaller share is the same.",
)
@common.setting(
    "--budget",
    type=click.IntRange(1, 64),
    default=4,
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
    """Run again and say what changed since the baselines were written."""
    import math

    from harness import stan
    from harness.check import show
    from harness.check.baseline import BaselineError, Margins
    from harness.check.request import Request, locate
    from harness.check.run import check as run_check
    from harness.check.show import terminal
    from harness.models.data import ModelError
    from harness.study import progress

    common.end_gently()
    if exact and seed_offset:
        raise common.fail("--exact compares the same seeds; leave out --seed-offset")
    request = Request(
        folder=folder,
        jobs=jobs,
        timeout_s=timeout,
        command=common.command_line(),
        alpha=alpha,
        margins=Margins(location, math.log1p(scale)),
        budget=budget,
        seed_offset=seed_offset,
        exact=exact,
    )
    try:
        targets = locate(what, request, common.read_models)
    except (ModelError, stan.ToolchainError, BaselineError) as error:
        raise common.fail(str(error)) from error
    display = progress.choose(quiet=quiet)
    outcome = common.guarded(display, lambda: run_check(targets, request, display))
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
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise common.fail(f"cannot write {path}: {error.strerror}") from error
