"""``harness league``."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.common import FOLDER, echo, fail


@click.command()
@click.argument(
    "results",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="RESULTS…",
)
@click.option("--out", type=FOLDER, default=Path("reports/league"), show_default=True)
def league(results: tuple[Path, ...], out: Path) -> None:
    """Put the verdicts of several results folders into one table, page and CSV file."""
    from harness.records.whole import write_text
    from harness.report import league as report
    from harness.report.html import league_page
    from harness.report.terminal import print_league

    found = report.league(results)
    try:
        write_text(out / "league.csv", report.as_csv(found))
        write_text(out / "index.html", league_page(found))
    except OSError as error:
        raise fail(f"cannot write the league to {out}: {error}") from error
    print_league(found)
    echo(f"league: {out / 'index.html'} and {out / 'league.csv'}")
