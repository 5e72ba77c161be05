"""``make bench``: one page of ratios, each measured in one run: docs/speed.md.

    python benchmarks/bench.py [PART…] [--peers PYTHON] [--markdown docs/speed.md]

Parts are ``ratios``, ``gradients``, ``comparisons``, ``fits`` (beside PyMC, NumPyro and BlackJAX,
where ``--peers`` names an interpreter that has them) and ``report``; without names all of them.
Seconds are the CPU's, with those of child processes. ``--markdown`` writes each part between its
marks, with the kind of machine. The exit code is 1 where a limit is missed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

# Before NumPy is loaded: threads that wait count as CPU seconds.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import click
import engines
import peers
import ratios
from lecture import new_cache
from ratios import cpu_s
from self_check import write

HELP_S, UNCHANGED_S = 0.3, 1.5
"""Limits: of `harness --help`, and of a comparison that has nothing to do, without its page."""

MODELS = ("normal_mean", "mixture", "linear_regression")
"""What the report is of whose parts are timed."""

REPORT = """
import sys, time
begin = time.process_time()
from harness.models import folders
from harness.report import files, html
from harness.report.figures import cost_figure
from harness.study import comparing, writing
from harness.study.plan import Plan, QUICK
from pathlib import Path
def lap(name):
    global begin
    now = time.process_time()
    print(name, now - begin)
    begin = time.process_time()
lap("imports")
out = Path(sys.argv[1])
models = tuple(map(folders.load, sys.argv[2:]))
found, figures = comparing.compare(
    Plan(models, QUICK, engine="embedded", nuts=False, seeds=1, explain=False, out=out)
)
lap("models, plan, stored runs and verdicts")
files.write(found, out)
lap("CSV and JSON files")
cost_figure(found)
lap("matplotlib and the figure of cost")
html.render(found, out / "index.html", figures=figures)
lap("page, with that figure again")
"""
"""What ``harness compare --quick`` does, part by part."""


def limited(what: str, seconds: float, limit: float) -> str:
    """Return a row of seconds beside their limit."""
    return f"| {what} | {seconds:.2f} | {limit:.1f}{' **missed**' if seconds > limit else ''} |"


def quick_ratios() -> Iterator[str]:
    """Yield the ratios that history.csv keeps."""
    yield from ratios.table(ratios.measured())


def report() -> Iterator[str]:
    """Yield the seconds of the command line and of the parts of a report."""
    yield "| what | CPU seconds | limit |"
    yield "|---|---|---|"
    begin = cpu_s()
    subprocess.run([sys.executable, "-m", "harness", "--help"], check=True, capture_output=True)
    yield limited("`harness --help`", cpu_s() - begin, HELP_S)
    with tempfile.TemporaryDirectory() as scratch:
        env = {**os.environ, "HARNESS_CACHE": str(new_cache(Path(scratch) / "cache"))}
        command = [sys.executable, "-c", REPORT, str(Path(scratch) / "out"), *MODELS]
        lines: list[str] = []
        for _ in range(2):  # the first time the runs are made
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
            lines = done.stdout.splitlines()
    unchanged = 0.0
    for number, line in enumerate(lines):
        name, _, seconds = line.rpartition(" ")
        unchanged += float(seconds) if number < 3 else 0.0  # noqa: PLR2004 - all but the page
        yield f"| {len(MODELS)} models, nothing changed: {name} | {float(seconds):.2f} | |"
    yield limited("the same, all but figures and page", unchanged, UNCHANGED_S)


PARTS: dict[str, Callable[[], Iterator[str]]] = {
    "ratios": quick_ratios,
    "gradients": engines.gradients,
    "comparisons": engines.comparisons,
    "report": report,
}


@click.command(help=__doc__)
@click.argument("names", nargs=-1, type=click.Choice([*PARTS, "fits"]))
@click.option("--peers", "python", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--markdown", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(names: tuple[str, ...], python: Path | None, markdown: Path | None) -> None:
    """Print each table, and write it into the page."""
    parts = dict(PARTS)
    if python is not None:
        parts["fits"] = lambda: peers.fits(python)
    elif "fits" in names:
        raise click.UsageError("fits needs --peers PYTHON, an interpreter that has the peers")
    missed = False
    for name in names or parts:
        lines = [f"{ratios.machine()}, {ratios.versions()}.", ""]
        for line in parts[name]():
            click.echo(line)
            lines.append(line)
        missed |= any("missed" in line for line in lines)
        if markdown is not None:
            write(markdown, f"<!-- benchmarks/bench.py {name} -->", lines)
    sys.exit(int(missed))


if __name__ == "__main__":
    main()
