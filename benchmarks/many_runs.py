"""What a study of many runs leaves behind in its process: open files, threads, memory, litter.

    python benchmarks/many_runs.py [--runs 1000]

A short study comes first, so that what is loaded once is not counted. It prints one line of JSON:
before and after the long one, with the runs that were made.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import tempfile
import threading
from pathlib import Path

PROGRAM = "parameters { real x; } model { target += -0.5 * square(x); }"

WARM = 20


def standing(folder: Path) -> dict[str, int]:
    """Return what this process holds now; memory in kB, the heap's own and the libraries'."""
    gc.collect()
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    resident = next(line for line in status if line.startswith("VmRSS"))
    return {
        "open files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
        "memory": int(resident.split()[1]),
        "temporary files": len(list(folder.iterdir())),
    }


def study(file: Path, first: int, runs: int) -> int:
    """Make some runs of a small program and judge them; return how many were made."""
    from harness.models import folders
    from harness.study import comparing
    from harness.study.plan import Plan

    plan = Plan(
        (folders.user_model(file, None),),
        methods=("laplace",),
        seeds=runs,
        first_seed=first,
        engine="embedded",
        nuts=False,
        explain=False,
        figures=False,
    )
    return int(comparing.run(plan)[0].provenance["runs_made"])


def main() -> None:
    """Run the short study and the long one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        scratch = root / "scratch"
        scratch.mkdir()
        os.environ["HARNESS_CACHE"] = str(root / "cache")
        os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
        file = root / "normal.stan"
        file.write_text(PROGRAM, encoding="utf-8")
        study(file, 1, WARM)
        before = standing(scratch)
        made = study(file, 1 + WARM, runs)
        print(json.dumps({"runs": made, "before": before, "after": standing(scratch)}))


if __name__ == "__main__":
    main()
