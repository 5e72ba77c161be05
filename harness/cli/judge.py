"""``harness judge``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli import common
from harness.cli.compare import FAIL_ON, exit_code

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.intake import Taken
    from harness.records import Comparison, Model


@click.command(
    epilog="""\b
    harness judge advi.csv --against nuts_csv/          CmdStan's files
    harness judge mine=a.nc mine=b.nc --against r.nc    two seeds of one method
    harness judge advi.csv --against nuts_csv/ --program my.stan --data my.json
    """
)
@click.argument("approximations", nargs=-1, required=True, metavar="[NAME=]FILE …")
@click.option(
    "--against",
    required=True,
    metavar="FILE",
    help="Draws of the posterior; they are judged first.",
)
@click.option("--reference-iid", is_flag=True, help="The draws of the reference are independent.")
@click.option(
    "--program",
    metavar="MODEL|FILE.stan",
    help="The program: causes are looked for, and no parameter may be missing.",
)
@click.option("--data", type=common.FILE, help="The program's data, as JSON.")
@common.quantities_option(help="Judge only these variables. [all that both sides have]")
@click.option(
    "--out",
    type=common.FOLDER,
    help="Folder for the report, CSV and JSON. [reports/judge, or reports/judge-NAME]",
)
@common.DRAWS
@click.option("--markdown", type=common.FILE, help="The verdicts for a pull request.")
@common.setting(
    "--why/--no-why", "why", default=True, help="Look for causes, where there is a program."
)
@common.setting(
    "--timeout",
    "timeout_s",
    type=common.POSITIVE,
    default=600.0,
    help="Time limit of the search for causes, in seconds.",
)
@click.option(
    "--fail-on",
    type=click.Choice(FAIL_ON),
    help="Exit with 1 if a verdict is as bad as this (fail, warn or worse, unknown or worse).",
)
def judge(
    *,
    approximations: tuple[str, ...],
    against: str,
    reference_iid: bool,
    program: str | None,
    data: Path | None,
    quantities: tuple[str, ...] | None,
    out: Path | None,
    draws: bool,
    markdown: Path | None,
    why: bool,
    timeout_s: float,
    fail_on: str | None,
) -> None:
    """Judge fits that exist by draws that exist. Nothing is run.

    Files are those that CmdStan, ArviZ and posteriordb write, and CSV tables: a folder of CmdStan's
    files is one fit of a sampler, or a seed each of another method. Fits of one name are seeds.
    """
    if against in {"auto", "nuts"}:
        raise common.fail(
            f"judge runs nothing, so --against {against} cannot be made; harness compare makes it"
        )
    if data is not None and program is None:
        raise common.fail("--data belong to a program; name it with --program")
    model = None if program is None else _model(program, data)
    out = out or Path("reports") / ("judge" if model is None else f"judge-{model.name}")

    def judged() -> tuple[Comparison, Path]:
        from harness.intake import read_draws_files
        from harness.study import handed, judging, judging_apart, writing

        (truth, *more) = read_draws_files(against, iid=reference_iid)
        if more:
            raise common.fail(f"{against} holds {1 + len(more)} fits, and no reference; name one")
        request = judging.Request(
            approximations=handed.rows_of(_fits(approximations)),
            reference=truth,
            reference_iid=reference_iid,
            model=model,
            quantities=quantities or (),
            why=why,
            timeout_s=timeout_s,
            command=common.command_line(),
            folder=out.resolve() / "draws" if draws else None,
        )
        found = judging_apart.judge(request)
        return writing.write(found.comparison, found.figures, out, draws=draws)

    def alone() -> tuple[Comparison, Path]:
        from harness.report import files

        with files.reserved(out):
            return judged()

    comparison, path = common.guarded(lambda _: alone(), quiet=True)
    from harness.report.terminal import print_verdicts

    print_verdicts(comparison)
    if markdown is not None:
        common.write_markdown(comparison, markdown)
    common.echo(f"report: {path}")
    raise SystemExit(exit_code(comparison, fail_on))


def _fits(words: Sequence[str]) -> list[tuple[str, Taken]]:
    """Read what was named, each fit with the name that it was given, perhaps none."""
    from harness.intake import read_draws_files

    found = []
    for word in words:
        name, equals, path = word.partition("=")
        if not equals or Path(word).exists():
            name, path = "", word
        found += [(name, taken) for taken in read_draws_files(path, role="approximation")]
    return found


def _model(program: str, data: Path | None) -> Model:
    from harness.models.folders import require_data

    (model,) = common.read_models([program])
    if data is not None:
        if not program.endswith(".stan"):
            raise common.fail(f"{program} brings its own data; to change them give its .stan file")
        model = dataclasses.replace(model, data_file=data.resolve())
    require_data([model])
    return model
