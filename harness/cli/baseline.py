"""``harness baseline``."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.common import (
    BASELINES,
    EXIT_UNUSABLE,
    JOBS,
    SEEDS,
    TIMEOUT,
    WHAT,
    check_reference,
    chosen_methods,
    command_line,
    end_gently,
    fail,
    guarded,
    methods_option,
    names,
    quantities_option,
    quiet_option,
    read_models,
    reference_option,
)


@click.command(
    epilog="""\b
    harness baseline my.stan my.json      your own program -> baselines/my.json
    harness baseline my                   the same again, after a change you meant
    harness baseline                      every baseline, else the whole lecture
    """
)
@WHAT
@BASELINES
@JOBS
@TIMEOUT
@quiet_option("No progress; only the answer.")
@methods_option("Methods to keep")
@SEEDS
@reference_option("What the methods are judged against, as in `harness compare`.")
@quantities_option("Only these variables.")
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
        command=command_line(),
    )
    try:
        targets = to_write(what, request, read_models)
    except (ModelError, stan.ToolchainError, BaselineError) as error:
        raise fail(str(error)) from error
    display = progress.choose(quiet=quiet)
    written = guarded(display, lambda: rewrite(targets, request, display))
    for name, path, said in written:
        if path is None:
            click.echo(f"✗ {name}: no baseline written: {said}")
        elif not quiet:
            click.echo(f"✓ {name}: {path} ({said})")
    if not all(path for _, path, _ in written):
        raise SystemExit(EXIT_UNUSABLE)
