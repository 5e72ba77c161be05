"""Seconds of a whole lecture, uncached and cached, of this checkout and of another one.

    python benchmarks/lecture.py [--models A,B,…] [--rounds N] [OTHER_CHECKOUT]

Each checkout has a cache of its own, which shares only CmdStan and compiled programs with the
user's. The checkouts take turns, so that whatever else the machine does meets both alike; the
ratios are of their medians. Without another checkout there are seconds only.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

from harness.stan import cache_dir, ensure_cmdstan

HERE = Path(__file__).parents[1]

SHARED = ("cmdstan", "programs", "unoptimised", "bridge", "locks")
"""What both caches have from the user's: nothing that a comparison measures."""


def new_cache(folder: Path, shared: Sequence[str] = SHARED) -> Path:
    """Make a cache without data and results, with some folders of the user's."""
    folder.mkdir(parents=True)
    for name in shared:
        source = cache_dir() / name
        if source.is_dir():
            (folder / name).symlink_to(source, target_is_directory=True)
    return folder


def seconds(checkout: Path, models: list[str], cache: Path, out: Path) -> float:
    """Compare the models with remedies in a process of its own; return how long it took."""
    command = [sys.executable, "-m", "harness", "compare", *models, "--remedies", "--quiet"]
    begin = time.perf_counter()
    done = subprocess.run(
        [*command, "--out", str(out)],
        env={**os.environ, "PYTHONPATH": str(checkout), "HARNESS_CACHE": str(cache)},
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        msg = f"{checkout}: exit code {done.returncode}\n{done.stderr}"
        raise SystemExit(msg)
    return time.perf_counter() - begin


@click.command(help=__doc__)
@click.argument("other", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--models", default="", help="Lecture models, with commas. [all]")
@click.option("--rounds", type=click.IntRange(1), default=1, show_default=True)
def main(other: Path | None, models: str, rounds: int) -> None:
    """Print the seconds of each checkout, and their ratios."""
    ensure_cmdstan(print)
    chosen = [m for m in models.split(",") if m]
    checkouts = [HERE] if other is None else [HERE, other.resolve()]
    took: dict[tuple[str, Path], list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="harness-lecture-") as scratch:
        for number in range(rounds):
            caches = {c: new_cache(Path(scratch) / f"{number}-{c.name}-{i}")
                      for i, c in enumerate(checkouts)}  # fmt: skip
            for kind in ("uncached", "cached"):
                # Whoever was second goes first in the next round.
                for checkout in checkouts[:: 1 if number % 2 == 0 else -1]:
                    out = caches[checkout] / "report"
                    found = seconds(checkout, chosen, caches[checkout], out)
                    took.setdefault((kind, checkout), []).append(found)
                    click.echo(f"round {number + 1}  {kind:9} {found:8.1f} s  {checkout}")
    for kind in ("uncached", "cached"):
        median = [statistics.median(took[kind, c]) for c in checkouts]
        ratio = f"  ratio {median[0] / median[1]:.2f}" if other is not None else ""
        click.echo(f"{kind:9} {'  '.join(f'{m:8.1f} s' for m in median)}{ratio}")


if __name__ == "__main__":
    main()
