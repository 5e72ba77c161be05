"""The command line. Imports nothing heavy until a command needs it."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli import check as check_commands
from harness.cli.common import EXIT_UNUSABLE, fail
from harness.cli.compare import compare


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="stan-advi-harness", prog_name="harness")
def main() -> None:
    """May I use ADVI on this Stan model instead of NUTS, and if not, why not?"""


main.add_command(compare)
main.add_command(check_commands.check)
main.add_command(check_commands.baseline)


@main.command()
def models() -> None:
    """List the lecture's models and the methods."""
    from harness.methods import DEFAULT_METHODS, METHODS
    from harness.models import folders
    from harness.report.terminal import print_models

    try:
        found = [folders.load(name) for name in folders.lecture_models()]
    except folders.ModelError as error:
        raise fail(str(error)) from error
    print_models(found, METHODS, DEFAULT_METHODS)


@main.command()
@click.argument("results_folder", type=click.Path(path_type=Path), metavar="RESULTS")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The HTML to write.")
def report(results_folder: Path, out: Path | None) -> None:
    """Write the HTML again from a results folder, without running anything."""
    from harness.report import files
    from harness.report.html import render

    try:
        comparison = files.read(results_folder)
    except files.ResultsError as error:
        raise fail(str(error)) from error
    if not any(r.draws is not None for m in comparison.models for r in m.runs):
        raise fail(
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
    from harness import stan
    from harness.report.terminal import print_checks

    if install:
        try:
            stan.ensure_cmdstan(click.echo)
        except stan.ToolchainError as error:
            raise fail(str(error)) from error
    checks = stan.diagnose()
    print_checks(checks)
    raise SystemExit(0 if all(c.ok for c in checks) else EXIT_UNUSABLE)


if __name__ == "__main__":
    main()
