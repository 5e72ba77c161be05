"""``harness report``."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.common import FILE, fail, write_markdown


@click.command()
@click.argument("results_folder", type=click.Path(path_type=Path), metavar="RESULTS")
@click.option("--out", type=FILE, help="The HTML to write.")
@click.option("--markdown", type=FILE, help="The verdicts for a pull request.")
def report(results_folder: Path, out: Path | None, markdown: Path | None) -> None:
    """Write the HTML again from a results folder, without running anything."""
    from harness.report import files
    from harness.report.html import render

    comparison = files.read(results_folder)
    if markdown is not None:
        write_markdown(comparison, markdown)
    if not any(r.draws is not None for m in comparison.models for r in m.runs):
        raise fail(
            f"{results_folder} has no draws/ to make figures from (committed samples leave them "
            "out); make them: harness compare --out FOLDER"
        )
    path = out or results_folder / "index.html"
    render(comparison, path)
    click.echo(f"report: {path}")
