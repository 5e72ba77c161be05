"""The command line. Imports nothing heavy until a command needs it."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from harness.records import Comparison, Model

EXIT_LEVEL = 1
EXIT_UNUSABLE = 2
EXIT_INTERRUPTED = 130

FAIL_ON = ("fail", "warn", "unknown")


class _UnusableError(click.ClickException):
    """A command that cannot do what was asked."""

    exit_code = EXIT_UNUSABLE


def _fail(message: str) -> click.ClickException:
    return _UnusableError(message)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="stan-advi-harness", prog_name="harness")
def main() -> None:
    """May I use ADVI on this Stan model instead of NUTS, and if not, why not?"""


@main.command()
@click.argument("what", nargs=-1, metavar="[MODEL … | FILE.stan [DATA.json]]")
@click.option("--methods", metavar="A,B,…", help="Methods to compare; see `harness models`.")
@click.option("--seeds", type=click.IntRange(1, 1000), help="Seeds per variational method.")
@click.option(
    "--reference",
    default="auto",
    show_default=True,
    metavar="auto|nuts|FILE.nc",
    help="auto: exact draws, else NUTS if it passes; nuts: no exact draws; or your own draws.",
)
@click.option("--quantities", metavar="A,B,…", help="Compare only these variables.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the report, CSV, JSON and draws. [reports/lecture, or reports/NAME]",
)
@click.option("--jobs", type=click.IntRange(1), help="Processes. [all cores]")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    help="Seconds one run may take.",
)
@click.option("--quiet", "-q", is_flag=True, help="No progress; only the verdicts.")
@click.option(
    "--fail-on",
    type=click.Choice(FAIL_ON),
    help="Exit with 1 if a verdict is as bad as this (fail, warn or worse, unknown or worse).",
)
def compare(
    what: tuple[str, ...],
    methods: str | None,
    seeds: int | None,
    reference: str,
    quantities: str | None,
    out: Path | None,
    jobs: int | None,
    timeout: float,
    quiet: bool,  # noqa: FBT001 - click passes options by name
    fail_on: str | None,
) -> None:
    r"""Compare ADVI with NUTS on lecture models, or on your own program and data.

    \b
    harness compare                       all lecture models
    harness compare mixture --seeds 20    one of them
    harness compare my.stan my.json       your own program
    """
    from harness import pipeline, planning, progress, registry, toolchain

    signal.signal(signal.SIGTERM, _as_interrupt)
    chosen = _chosen_methods(methods)
    if reference not in {"auto", "nuts"} and not Path(reference).is_file():
        raise _fail(f"no such reference: {reference}; allowed: auto, nuts, or a NetCDF file")
    try:
        models = read_models(what, quantities)
    except (registry.ModelError, toolchain.ToolchainError) as error:
        raise _fail(str(error)) from error
    plan = planning.Plan(
        models=tuple(models),
        methods=chosen,
        seeds=seeds,
        reference=reference,
        out=out or default_out(what, models),
        jobs=jobs,
        timeout_s=timeout,
        command=shlex.join(["harness", *sys.argv[1:]]),
    )
    display = progress.choose(quiet=quiet)
    try:
        comparison, figures = pipeline.compare(plan, display)
        assert plan.out is not None  # noqa: S101 - set three lines above
        path = pipeline.write(comparison, figures, plan.out)
    except pipeline.Interrupted as interrupt:
        display.close()
        click.echo(str(interrupt), err=True)
        raise SystemExit(EXIT_INTERRUPTED) from interrupt
    except (pipeline.NothingToRunError, toolchain.ToolchainError, OSError) as error:
        display.close()
        raise _fail(str(error)) from error
    display.close()
    from harness.terminal import print_verdicts

    print_verdicts(comparison)
    click.echo(f"report: {path}")
    raise SystemExit(_exit_code(comparison, fail_on))


def _as_interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _chosen_methods(methods: str | None) -> tuple[str, ...] | None:
    if methods is None:
        return None
    import difflib

    from harness.methods import METHODS

    chosen = tuple(dict.fromkeys(m.strip() for m in methods.split(",") if m.strip()))
    for name in chosen:
        if name not in METHODS:
            near = difflib.get_close_matches(name, METHODS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise _fail(f"unknown method {name!r}{hint} (known: {', '.join(METHODS)})")
    if not chosen:
        raise _fail(f"--methods is empty (known: {', '.join(METHODS)})")
    return chosen


def read_models(what: Sequence[str], quantities: str | None = None) -> list[Model]:
    """Read what the user named: nothing (all lecture models), models, or FILE.stan DATA.json.

    Raises
    ------
    harness.registry.ModelError
        For an unknown model or unusable files.
    """
    import dataclasses

    from harness import registry

    words = list(what) or list(registry.lecture_models())
    models = []
    while words:
        word = words.pop(0)
        if word.endswith(".stan"):
            data = Path(words.pop(0)) if words and words[0].endswith(".json") else None
            models.append(registry.user_model(Path(word), data))
        elif word.endswith(".json"):
            msg = f"{word}: a data file follows its program: harness compare FILE.stan {word}"
            raise registry.ModelError(msg)
        else:
            models.append(registry.load(word))
    names = [m.name for m in models]
    for name in names:
        if names.count(name) > 1:
            msg = f"{name} is named twice; rename one of the programs"
            raise registry.ModelError(msg)
    if quantities is not None:
        chosen = tuple(q.strip() for q in quantities.split(",") if q.strip())
        models = [dataclasses.replace(m, quantities=chosen) for m in models]
    return models


def default_out(what: Sequence[str], models: Sequence[Model]) -> Path:
    """Return the folder a comparison is written to when none is named."""
    return Path("reports") / ("lecture" if not what else "-".join(m.name for m in models)[:60])


def _exit_code(comparison: Comparison, fail_on: str | None) -> int:
    if fail_on is None:
        return 0
    reached = FAIL_ON[: FAIL_ON.index(fail_on) + 1]
    levels = {v.level for m in comparison.models for v in m.verdicts}
    broken = any(m.error is not None or not m.verdicts for m in comparison.models)
    return EXIT_LEVEL if broken or levels & set(reached) else 0


@main.command()
def models() -> None:
    """List the lecture's models and the methods."""
    from harness import registry
    from harness.methods import DEFAULT_METHODS, METHODS
    from harness.terminal import print_models

    try:
        found = [registry.load(name) for name in registry.lecture_models()]
    except registry.ModelError as error:
        raise _fail(str(error)) from error
    print_models(found, METHODS, DEFAULT_METHODS)


@main.command()
@click.argument("results_folder", type=click.Path(path_type=Path), metavar="RESULTS")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The HTML to write.")
def report(results_folder: Path, out: Path | None) -> None:
    """Write the HTML again from a results folder, without running anything."""
    from harness import results
    from harness.report import render

    try:
        comparison = results.read(results_folder)
    except results.ResultsError as error:
        raise _fail(str(error)) from error
    if not any(r.draws is not None for m in comparison.models for r in m.runs):
        raise _fail(
            f"{results_folder} has no draws/ to make figures of (committed samples leave them "
            "out); make them: harness compare --out FOLDER"
        )
    path = out or results_folder / "index.html"
    render(comparison, path)
    click.echo(f"report: {path}")


@main.command()
@click.option("--install", is_flag=True, help="Get and build CmdStan if there is none.")
def doctor(install: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Say what was found, what is missing, and the command that mends it."""
    from harness import toolchain
    from harness.terminal import print_checks

    if install:
        try:
            toolchain.ensure_cmdstan(click.echo)
        except toolchain.ToolchainError as error:
            raise _fail(str(error)) from error
    checks = toolchain.diagnose()
    print_checks(checks)
    raise SystemExit(0 if all(c.ok for c in checks) else EXIT_UNUSABLE)


if __name__ == "__main__":
    main()
