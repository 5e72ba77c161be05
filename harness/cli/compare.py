"""``harness compare``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from harness.cli import common

if TYPE_CHECKING:
    from harness.records import Comparison, Model
    from harness.study.plan import Plan
    from harness.study.progress import Progress

FAIL_ON = ("fail", "warn", "unknown")


@click.command(
    epilog="""\b
    harness compare                       all lecture models
    harness compare mixture --seeds 20    one of them
    harness compare my.stan my.json       your own program
    harness compare suite/                each model folder in a folder
    harness compare my.stan my.json --quick        in seconds, without a compiler
    """
)
@common.WHAT
@click.option(
    "--posteriordb",
    "database",
    type=common.FOLDER,
    help="A posteriordb on disk, for names such as posteriordb:eight_schools*.",
)
@click.option("--all", "everything", is_flag=True, help="All posteriors of the database.")
@common.methods_option(help="Methods to compare; see `harness models`.")
@common.SEEDS
@common.setting(
    "--seed",
    "first_seed",
    type=click.IntRange(1, 10**6),
    default=1,
    help="Number of every method's first seed.",
)
@common.reference_option(
    help="auto: exact draws, else NUTS that short chains confirm; nuts or ensemble (of short "
    "chains): that one; or your draws."
)
@click.option("--reference-iid", is_flag=True, help="The draws of the reference are independent.")
@common.SETTINGS
@common.quantities_option(
    help="Compare only these variables; other generated quantities are not computed."
)
@common.setting(
    "--gq/--no-gq",
    "generated",
    default=True,
    help="Whether generated quantities are computed and compared.",
)
@click.option(
    "--out",
    type=common.FOLDER,
    help="Folder for the report, CSV and JSON. [reports/lecture, or reports/NAME]",
)
@common.DRAWS
@click.option("--markdown", type=common.FILE, help="The verdicts for a pull request.")
@click.option(
    "--seconds/--no-seconds",
    default=True,
    help="Leave seconds, date and command out of CSV, JSON and draws: equal runs, equal files.",
)
@common.JOBS
@common.DASK
@common.TIMEOUT
@common.COMPILE_TIMEOUT
@common.MEMORY
@common.setting(
    "--why/--no-why",
    "explain",
    default=True,
    help="Split the divergence of each Gaussian fit into family and optimiser gap, in nats; "
    "--quick leaves it out unless it is named.",
)
@click.option(
    "--remedies",
    is_flag=True,
    help="Try remedies for every method that fails or warns, and report their effect.",
)
@common.ENGINE
@click.option(
    "--quick",
    is_flag=True,
    help="Deterministic ADVI, Pathfinder and Laplace on the embedded engine, without NUTS.",
)
@common.quiet_option(help="No progress; only the verdicts.")
@click.option(
    "--fail-on",
    type=click.Choice(FAIL_ON),
    help="Exit with 1 if a verdict is as bad as this (fail, warn or worse, unknown or worse).",
)
def compare(
    *,
    what: tuple[str, ...],
    database: Path | None,
    everything: bool,
    methods: tuple[str, ...] | None,
    settings: tuple[str, ...],
    quantities: tuple[str, ...] | None,
    generated: bool,
    out: Path | None,
    markdown: Path | None,
    quick: bool,
    quiet: bool,
    fail_on: str | None,
    **chosen: Any,
) -> None:
    """Compare ADVI with NUTS on lecture models, or on your own program and data."""
    from harness.methods.options import from_words, refuse_unused
    from harness.models.folders import require_data
    from harness.study import engines
    from harness.study.plan import QUICK, Plan, methods_run

    options = from_words(settings)
    models = chosen_models(what, quantities, database, everything=everything)
    models = [dataclasses.replace(m, generated=generated) for m in models]
    require_data(models)
    if quick:
        if chosen["engine"] == "cmdstan":
            raise common.fail("--quick runs on the embedded engine; drop it or --engine cmdstan")
        if chosen["engine"] == "auto":
            chosen["engine"] = engines.quick(chosen["dask"])
        methods = methods or QUICK
        chosen["seeds"] = chosen["seeds"] or 1
        context = click.get_current_context()
        if context.get_parameter_source("explain") is ParameterSource.DEFAULT:
            # Causes take longer than the fits.
            chosen["explain"] = chosen["remedies"]
    refuse_unused(options, methods_run(models, methods, nuts=not quick))
    if chosen["remedies"] and not chosen["explain"]:
        raise common.fail("--remedies needs the causes that --no-why leaves out; drop one of them")
    for sentence in left_out(models, methods or ()):
        common.echo(sentence, err=True)
    plan = Plan(
        models=tuple(models),
        methods=methods,
        out=out or default_out(what or (["--all"] if everything else []), models),
        options=options,
        nuts=not quick,
        command=common.command_line(),
        **chosen,
    )
    comparison, path = common.guarded(lambda display: _compared(plan, display), quiet=quiet)
    from harness.report.terminal import print_verdicts

    print_verdicts(comparison)
    if markdown is not None:
        common.write_markdown(comparison, markdown)
    common.echo(f"report: {path}")
    raise SystemExit(exit_code(comparison, fail_on))


def chosen_models(
    what: Sequence[str],
    quantities: tuple[str, ...] | None,
    database: Path | None,
    *,
    everything: bool,
) -> list[Model]:
    """Read the models that the words and the options for posteriordb name."""
    from harness.models.posteriordb import PREFIX

    there = [word for word in what if word.startswith(PREFIX)]
    if database is None:
        if there or everything:
            asked = there[0] if there else "--all"
            raise common.fail(f"{asked} needs --posteriordb FOLDER, where the database is")
        return common.read_models(what, quantities)
    if not (there or everything):
        raise common.fail(
            f"--posteriordb needs a posterior, such as {PREFIX}eight_schools*, or --all"
        )
    found = common.read_posteriors(there, database, everything=everything)
    own = [word for word in what if not word.startswith(PREFIX)]
    return common.distinct([*found, *(common.read_models(own) if own else ())], quantities)


def _compared(plan: Plan, display: Progress) -> tuple[Comparison, Path]:
    from harness.report import files
    from harness.study import comparing, writing

    assert plan.out is not None  # noqa: S101 - the command sets it
    with files.reserved(plan.out):
        comparison, figures = comparing.compare(plan, display)
        kept = {"draws": plan.draws, "seconds": plan.seconds}
        return writing.write(comparison, figures, plan.out, **kept)


def left_out(models: Sequence[Model], methods: Sequence[str]) -> list[str]:
    """Say which of the named methods cannot be run on which models, and why."""
    from harness.methods import METHODS, title

    reasons = [(m.name, name, METHODS[name].unfit(m)) for m in models for name in methods]
    return [f"{model}: {title(name)} left out: {why}" for model, name, why in reasons if why]


def default_out(what: Sequence[str], models: Sequence[Model]) -> Path:
    """Return the folder a comparison is written to when none is named."""
    from harness.models.folders import suite

    if len(what) == 1 and suite(what[0]):
        return Path("reports") / Path(what[0]).resolve().name
    several = "posteriordb" if "--all" in what else "-".join(m.name for m in models)[:60]
    return Path("reports") / (several if what else "lecture")


def exit_code(comparison: Comparison, fail_on: str | None) -> int:
    """Return the exit code: 1 where a verdict is as bad as ``--fail-on``, or there is none."""
    if fail_on is None:
        return 0
    reached = FAIL_ON[: FAIL_ON.index(fail_on) + 1]
    levels = {v.level for m in comparison.models for v in m.verdicts}
    broken = any(m.error is not None or not m.verdicts for m in comparison.models)
    return common.EXIT_LEVEL if broken or levels & set(reached) else 0
