"""``harness report``."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.common import FILE, echo, fail, showing, write_markdown


@click.command()
@click.argument("results_folder", type=click.Path(path_type=Path), metavar="RESULTS")
@click.option("--out", type=FILE, help="The HTML to write.")
@click.option("--markdown", type=FILE, help="The verdicts for a pull request.")
def report(results_folder: Path, out: Path | None, markdown: Path | None) -> None:
    """Write the HTML again from a results folder, without running anything."""
    from harness.records.text import listed
    from harness.report import files
    from harness.report.html import render
    from harness.study import kept

    comparison = files.read(results_folder)
    with showing(results_folder):
        comparison = kept.with_draws(comparison)
        if markdown is not None:
            write_markdown(comparison, markdown)
    if not any(r.draws is not None for m in comparison.models for r in m.runs):
        raise fail(
            f"{results_folder} has no draws/, and its runs are no longer in the cache to make "
            "figures from; make them: harness compare --draws --out FOLDER"
        )
    if without := kept.lacking(comparison):
        echo(
            f"figures leave out draws that are neither in {results_folder / 'draws'} nor in the "
            f"cache: {listed(without, 5)} (harness compare --draws keeps all)",
            err=True,
        )
    path = out or results_folder / "index.html"
    try:
        with showing(results_folder):
            render(comparison, path)
    except OSError as error:
        raise fail(f"{path} cannot be written: {error.strerror or error}") from error
    echo(f"report: {path}")
