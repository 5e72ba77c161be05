"""``harness baseline``."""

from __future__ import annotations

from typing import Any

import click

from harness.cli import common


@click.command(
    epilog="""\b
    harness baseline my.stan my.json      your own program -> baselines/my.json
    harness baseline my                   the same again, after a change you meant
    harness baseline                      every baseline, else the whole lecture
    """
)
@common.WHAT
@common.BASELINES
@common.JOBS
@common.TIMEOUT
@common.COMPILE_TIMEOUT
@common.MEMORY
@common.quiet_option(help="No progress; only the answer.")
@common.methods_option(help="Methods to keep; see `harness models`.")
@common.SEEDS
@common.reference_option(help="What the methods are judged against, as in `harness compare`.")
@common.quantities_option(help="Only these variables.")
@click.option(
    "--gq/--no-gq",
    "generated",
    default=None,
    help="Whether generated quantities are computed; checks do the same. [--gq, or as before]",
)
@common.SETTINGS
@common.ENGINE
def baseline(
    *, what: tuple[str, ...], quantities: tuple[str, ...] | None, quiet: bool, **options: Any
) -> None:
    """Write down what a comparison finds, so that `harness check` can compare with it later."""
    from harness.check.request import Request, to_write
    from harness.check.write import rewrite

    request = Request(quantities=quantities or (), command=common.command_line(), **options)
    targets = to_write(what, request, common.read_models)
    written = common.guarded(lambda display: rewrite(targets, request, display), quiet=quiet)
    for name, path, said in written:
        if path is None:
            common.echo(f"✗ {name}: no baseline written: {said}")
        elif not quiet:
            common.echo(f"✓ {name}: {path} ({said})")
    if not all(path for _, path, _ in written):
        raise SystemExit(common.EXIT_UNUSABLE)
