"""``harness baseline``."""

from __future__ import annotations

from pathlib import Path

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
@common.quiet_option(help="No progress; only the answer.")
@common.methods_option(help="Methods to keep; see `harness models`.")
@common.SEEDS
@common.reference_option(help="What the methods are judged against, as in `harness compare`.")
@common.quantities_option(help="Only these variables.")
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
    """Write down what a comparison finds, so that `harness check` can compare with it later."""
    from harness import stan
    from harness.check.baseline import BaselineError
    from harness.check.request import Request, to_write
    from harness.check.write import rewrite
    from harness.models.data import ModelError
    from harness.study import progress

    common.end_gently()
    common.check_reference(reference)
    request = Request(
        folder=folder,
        methods=common.chosen_methods(methods),
        seeds=seeds,
        reference=reference,
        quantities=common.names(quantities),
        jobs=jobs,
        timeout_s=timeout,
        command=common.command_line(),
    )
    try:
        targets = to_write(what, request, common.read_models)
    except (ModelError, stan.ToolchainError, BaselineError) as error:
        raise common.fail(str(error)) from error
    display = progress.choose(quiet=quiet)
    written = common.guarded(display, lambda: rewrite(targets, request, display))
    for name, path, said in written:
        if path is None:
            click.echo(f"✗ {name}: no baseline written: {said}")
        elif not quiet:
            click.echo(f"✓ {name}: {path} ({said})")
    if not all(path for _, path, _ in written):
        raise SystemExit(common.EXIT_UNUSABLE)
