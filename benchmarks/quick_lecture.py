"""Verdicts on the lecture's models without NUTS, beside those against the best reference there is.

    python benchmarks/quick_lecture.py [--markdown docs/without-nuts.md]

``harness compare --quick --reference ensemble`` judges the default methods that need no CmdStan on
an empty cache; its CPU seconds are those of all its processes. Then the same runs are judged
against exact draws, or against NUTS where there are none. A verdict is decided if it is not
unknown. The exit code is 1 where a decided pass or fail has its opposite beside it.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

# Before NumPy is loaded: threads that wait count as CPU seconds.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from lecture import new_cache
from self_check import write

from harness.methods import METHODS
from harness.models import folders
from harness.records import ModelComparison
from harness.report.files.reading import read
from harness.study.plan import QUICK

MARK = "<!-- benchmarks/quick_lecture.py -->"

APART = ({"pass", "fail"},)
"""Verdicts that cannot both be right; a pass and a warn differ by less than a limit's width."""


def compared(cache: Path, out: Path, *options: str) -> tuple[dict[str, ModelComparison], float]:
    """Compare the lecture's models in a process of its own; return them and the CPU seconds."""
    begin = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "harness", "compare", *options, "--quiet", "--out", str(out)],
        env={**os.environ, "HARNESS_CACHE": str(cache)},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime
    return {m.model.name: m for m in read(out).models}, cpu


def main() -> int:
    """Print the table; see the module's words for the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markdown", type=Path, help="a page whose table is written anew")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="harness-quick-") as scratch:
        cache = new_cache(Path(scratch) / "cache")
        quick, cpu = compared(cache, Path(scratch) / "q", "--quick", "--reference", "ensemble")
        best, _ = compared(cache, Path(scratch) / "b", "--methods", ",".join(QUICK))
    titles = [METHODS[name].title for name in QUICK]
    lines = [
        f"| model | {' | '.join(titles)} | the other reference |",
        f"{'|---' * (len(titles) + 2)}|",
    ]
    decided = same = apart = 0
    for name in folders.lecture_models():
        cells = []
        one, two = ({v.method: v.level for v in found[name].verdicts} for found in (quick, best))
        for method in QUICK:
            pair = one.get(method, "–"), two.get(method, "–")
            cells.append(pair[0] if pair[0] == pair[1] else " / ".join(pair))
            if {"–", "unknown"} & set(pair):
                continue
            decided += 1
            same += pair[0] == pair[1]
            apart += set(pair) in APART
        kind = best[name].reference.kind
        lines.append(f"| {name} | {' | '.join(cells)} | {kind} |")
    lines += [
        "",
        f"- Decided on both sides: {decided}. The same: {same}. A pass beside a fail: {apart}.",
        f"- CPU seconds of the comparison without NUTS, for all models: {cpu:.0f}.",
    ]
    print("\n".join(lines))
    if args.markdown is not None:
        write(args.markdown, MARK, lines)
    return int(apart > 0)


if __name__ == "__main__":
    sys.exit(main())
