"""Whether baselines written with one set of seeds pass with others, on the lecture's models.

``python benchmarks/other_seeds.py [MODEL …] [--sets 10]`` checks the committed baselines with
other seeds. Nothing has changed, so every check should end with 0: a 1 is a false alarm, a 2 a
check that could not decide within its budget. The exit code is 1 if any check ends with 1 or 2.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from harness.check.baseline.change import AddedSeeds
from harness.check.request import Request, locate
from harness.check.run import check
from harness.check.show import words
from harness.cli.common import read_models
from harness.study.progress import Quiet


def main() -> int:
    """Check with every set of seeds and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", help="all with a baseline, unless named")
    parser.add_argument("--sets", type=int, default=10)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--baselines", type=Path, default=Path("baselines"))
    parser.add_argument("--jobs", type=int)
    asked = parser.parse_args()
    codes = []
    for number in range(asked.first, asked.first + asked.sets):
        began = time.monotonic()
        request = Request(
            folder=asked.baselines,
            jobs=asked.jobs,
            seed_offset=1000 * number,
            command=f"benchmarks/other_seeds.py, set {number}",
        )
        targets = locate(asked.models, request, read_models)
        outcome = check(targets, request, Quiet())
        codes.append(outcome.exit_code)
        print(
            f"set {number}: exit code {outcome.exit_code}, {outcome.tests} figures tested in "
            f"{len(outcome.models)} models, {time.monotonic() - began:.0f} s"
        )
        for model in outcome.models:
            for said in model.notes:
                if isinstance(said, AddedSeeds):
                    print(f"    more seeds: {model.model}: {words.note(said)}")
            if model.error is not None:
                print(f"    {model.model}: {model.error}")
            for change in model.changes:
                if change.conclusion != "same":
                    why = words.reason(change)
                    print(
                        f"    {change.conclusion}: {words.address(change)}: p = {change.p}, {why}"
                    )
        sys.stdout.flush()
    passed = sum(code == 0 for code in codes)
    print(f"{passed} of {len(codes)} sets of other seeds: the same")
    return 0 if passed == len(codes) else 1


if __name__ == "__main__":
    sys.exit(main())
