"""The page that the calibration writes: results, tables, limits."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from calibration import Row

HEAD = """\
# How often is a regression check wrong?

The harness's own summaries, tests and decisions were run on draws from known distributions. This
page is written by

<!-- not run: an hour; tests/test_calibration.py has a short form -->
```sh
python benchmarks/calibration.py --markdown docs/calibration.md
```

(about an hour on two cores; `--only`, `--replays`, `--seed` and `--jobs` choose). The exit code is
1 if a demand below is missed. The tests contain a short form.
"""

TEST = """\
## Nothing changed: the test alone

Without margins and at a family-wise error of 0.05, every difference counts that chance cannot
explain, in five figures (mean, sd, 5%, 50% and 95% quantile) of every quantity together. Demand:
false alarms in at most 7% of replays, or in at most 5% plus three Monte Carlo errors where that is
more. Holm's procedure keeps the family-wise error under any dependence. The mean, the median and
the tails of one quantity move together, so the error stays below 5%.

*Draws*: "400, then 1600" compares a baseline with four times its draws, as a check does when it
looks again. ρ is the autocorrelation of the normal AR(1) chains behind the draws; *ESS* is the
median effective sample size of the baseline's means. "Spread" is the sd over seeds of an
approximation's mean and of its ln sd, in posterior sds; with t₄ they follow Student's t with four
degrees of freedom.
"""

CONTROL = """\
The same seeds are treated as independent draws of one distribution. This shows why seeds have an
error of their own, and that this benchmark can fail. Demand: more than half.
"""

CHECK = """\
## Nothing changed: the check as it is used

Baselines are written to disk and read again. They have margins (0.1 sd, 10% of the sd, 0.2 sd for
the tails, wider where the baseline's own error requires it). A check takes up to three looks, the
second with twice and the third with four times the baseline's draws or seeds, and they share α.
Demand: no false `changed` at the default α of 1e-4, and at most 5% at 0.05. *Undecided* replays
end with exit code 2 (at 1e-4) after the last look. *No moments*: where seeds lie too far apart or
chains have hardly mixed, a baseline has only a method's level and its shares of seeds. Where the
new chains mix well and the baseline's did not, the check is undecided.
"""

FAULT = """\
## Something changed

One quantity of the family changes, the others do not; default margins, α = 1e-4, up to three
looks. Demand: found in at least 95%. Stretching the upper half of a normal distribution by 1.3
moves its 95% quantile by 0.49 sd and its mean by 0.12 sd, makes the sd 15% larger and leaves the
median and the 5% quantile unchanged. Where chains of a hundred quantities would take too long,
independent draws stand for a sampler with the same effective sample size.
"""

CURVE = """\
### Power

One of ten quantities changes. A change within its margin is `same`. A change a little beyond is
*undecided*, because there are too few draws, and never `same`: for that, the whole interval must
lie inside the margin.
"""

LIMITS = """\
## Why it works

- **Quantiles** are compared by the number of new draws below the old quantile. That number is
  beta-binomial for every distribution (Student's t accounts for the error of the effective sample
  sizes). With the normal approximation, 400 draws, 20 of them in the tail, gave three times too
  many p-values under 0.0025.
- **Sds** must differ both as variances and as logarithms. Alone, the first gave 3.6 times too many
  p-values under 0.0025 (exponential, 400 draws then 1600), the second 4.5 times too many
  (lognormal, 400 and 400).
- **Errors** are a figure's own, or that of both samples together where it is larger: a few draws
  of a skewed distribution that miss its tail have too small a figure and too small an error.
- **Margins** of a baseline allow for the uncertainty of its own error, which depends on the number
  of seeds, the kurtosis and the draws near a quantile.
- **Seeds** carry the error of a variational method: Student's test with their pooled spread.

## Limits

- A change no larger than its margin is not found, and should not be. The curves show what happens
  between one and about two margins. A quantity whose baseline has a wide margin of its own
  (`margin` in the file) can move within it.
- Where tails are heavy (generalised Pareto shape above about 0.15: Student's t with three to five
  degrees of freedom, lognormals), the error of the sd cannot be estimated. The baseline says so
  and the check leaves the sd out; the quantiles remain. With a few hundred to a few thousand draws
  such tails are not always recognised, and some checks end undecided: see the rows of Student's t
  and of the lognormal.
- Ten seeds estimate their own spread to within a quarter. Where the spread is a tenth of the
  posterior's sd or more, or heavy-tailed, one check in several dozen with *other* seeds ends
  undecided. A baseline with spread 0.3 has no moments.
- A baseline needs chains with an effective sample size of 100 and an R-hat of 1.1. New chains may
  be worse, and then have larger errors; beyond an R-hat of 1.3 or below an effective sample size
  of 25 they have `changed`. Chains that are all stuck in the same place look mixed to every test
  here.
- The distributions are normal, t, exponential and lognormal, as independent draws and AR(1)
  chains; the approximations are normal. Real models are tested by putting faults into Stan
  programs (`tests/test_faults.py`).
- Families of 100 and 500 quantities were replayed fewer than 2000 times; the tables give the
  numbers and their Monte Carlo errors. Where no false alarm was seen, the rate is below 3 /
  replays with 95% confidence.
"""


def page(rows: Sequence[Row], replays: int, seed: int) -> str:
    """Return the page in Markdown."""
    kinds = {k: [r for r in rows if r.case.kind == k] for k in
             ("test", "control", "check", "fault", "curve")}  # fmt: skip
    checks = [r for r in kinds["check"] if r.what == min(c.what for c in kinds["check"])]
    loose = {r.case: r for r in kinds["check"] if r not in checks}
    parts = [
        HEAD,
        _held(rows),
        _made(replays, seed),
        TEST,
        _table(
            ("draws", "quantities", "ESS", "replays", "false alarms", ""),
            ([r.case.words, r.size, _ess(r), r.tally.replays, _share(r), _mark(r)]
             for r in kinds["test"]),
        ),
        CONTROL,
        _table(
            ("draws", "quantities", "replays", "false alarms", ""),
            ([r.case.words, r.size, r.tally.replays, _share(r), _mark(r)]
             for r in kinds["control"]),
        ),
        CHECK,
        _table(
            ("draws", "quantities", "replays", "changed, 1e-4", "changed, 0.05", "looked again",
             "undecided", "no moments", ""),
            ([r.case.words, r.size, r.tally.replays, _share(r), _share(loose[r.case]),
              _part(r.tally.more, r), _part(r.tally.undecided, r), _part(r.tally.without, r),
              _mark(r, loose[r.case])] for r in checks),
        ),
        FAULT,
        _table(
            ("what changed", "draws", "quantities", "replays", "found", "at the first look", ""),
            ([r.what, r.case.words, r.size, r.tally.replays, _share(r), _part(r.tally.first, r),
              _mark(r)] for r in kinds["fault"]),
        ),
        CURVE,
        _table(
            ("what changed", "draws", "replays", "found", "undecided", "same"),
            ([r.what, r.case.words, r.tally.replays, _share(r), _part(r.tally.undecided, r),
              _part(r.tally.replays - r.tally.changed - r.tally.undecided, r)]
             for r in kinds["curve"]),
        ),
        LIMITS,
    ]  # fmt: skip
    return "\n".join(parts)


def _made(replays: int, seed: int) -> str:
    return (
        f"Up to {replays} replays a row, seed {seed}; Python {platform.python_version()}, NumPy "
        f"{np.__version__}, SciPy {version('scipy')}, arviz-stats {version('arviz-stats')}.\n"
    )


def _held(rows: Sequence[Row]) -> str:
    """Summarise the results in four lines."""
    lines = []
    for kind, said, worst in (
        ("test", "False alarms of the test alone, at 0.05: at most", max),
        ("check", "False alarms of the check as it is used: at most", max),
        ("fault", "Changes that a check must find: found in at least", min),
    ):
        some = [r for r in rows if r.case.kind == kind]
        if some:
            row = worst(some, key=lambda r: r.share)
            n = sum(r.tally.replays for r in some)
            lines.append(f"- {said} {row.share:.1%} ({row.case.name.partition(': ')[2]}); "
                         f"{len(some)} rows, {n} replays.")  # fmt: skip
    missed = [r for r in rows if not r.good]
    lines += [f"- **Missed**: {r.case.name} {r.what}: {r.share:.1%}." for r in missed]
    if not missed:
        lines.append("- No demand is missed.")
    return "\n".join(lines) + "\n"


def _share(row: Row) -> str:
    if row.tally.changed == 0:
        return "0"
    return f"{row.share:.1%} ± {row.error:.1%}"


def _part(count: int, row: Row) -> str:
    return f"{count / row.tally.replays:.1%}" if count else "0"


def _ess(row: Row) -> str:
    if not row.tally.ess or row.case.words[:2] == "10":
        return ""
    size = float(np.median(row.tally.ess))
    return f"{round(size, 1 - math.floor(math.log10(size))):.0f}"


def _mark(*rows: Row) -> str:
    return "" if all(r.good for r in rows) else "**missed**"


def _table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(str(c) for c in row) + " |" for row in lines) + "\n"
