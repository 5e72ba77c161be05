"""The page that the calibration writes: what holds, the tables, the limits."""

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

Measured, with the harness's own summaries, tests and decisions on draws of known laws. This page
is written by

```
python benchmarks/calibration.py --markdown docs/calibration.md
```

(about an hour on two cores; `--only`, `--replays`, `--seed` and `--jobs` choose). The exit
code is 1 if a demand below is missed. A short form of it is among the tests.
"""

TEST = """\
## Nothing changed: the test alone

Without margins and at a family-wise error of 0.05, any difference that chance cannot explain
counts, in five figures (mean, sd, 5%, 50% and 95% quantile) of every quantity together. Demanded:
false alarms in at most 7% of replays, or three Monte Carlo errors over 5% where few replays make
that more. Holm's procedure keeps the family's error whatever depends on what. The mean, the median
and the tails of one quantity move together, so the error stays below 5%.

*Draws*: "400, then 1600" compares a baseline with four times its draws, as a check that looks again
does. ρ is the autocorrelation of the normal AR(1) chains behind the draws; *ESS* the median
effective size of the baseline's means. "Spread" is the sd over seeds of an approximation's mean and
of its ln sd, in posterior sds; t₄: they move by Student's t with four degrees of freedom.
"""

CONTROL = """\
The same seeds, taken for independent draws of one distribution, show what the seeds' error is for,
and that this benchmark can fail. Demanded: more than half.
"""

CHECK = """\
## Nothing changed: the check as it is used

Baselines written to disk and read again, with margins (0.1 sd, 10% of the sd, 0.2 sd for the tails,
wider where the baseline's own error demands it), up to three looks with twice and four times the
baseline's draws or seeds, α shared between them. Demanded: no false `changed` at the default α of
1e-4, and at most 5% at 0.05. *Undecided* replays end with exit code 2 (at 1e-4) after the last
look. *No moments*: baselines of seeds that lie too far apart, or of chains that have hardly mixed;
they hold a method's level and shares of seeds only. Chains that mix well where the baseline's did
not are undecided.
"""

FAULT = """\
## Something changed

One quantity of the family changed, all others did not; default margins, α = 1e-4, up to three
looks. Demanded: found in at least 95%. Stretching the upper half of a normal distribution by 1.3
moves its 95% quantile by 0.49 sd and its mean by 0.12 sd, makes the sd 15% larger and leaves median
and 5% quantile where they were. Independent draws stand for a sampler of the same effective size
where a hundred quantities of chains would take too long.
"""

CURVE = """\
### Power

Ten quantities of which one changed. What lies within its margin is `same`; what lies a little
beyond is *undecided* for want of draws, never `same`: the whole interval must lie inside the
margin.
"""

LIMITS = """\
## What this rests on

- **Quantiles** are compared by how many new draws lie under the old quantile, which is
  beta-binomial whatever the distribution (Student's t over the effective sizes' error). With the
  normal approximation 400 draws, 20 of them in the tail, gave three times as many p-values under
  0.0025 as there should be.
- **Sds** must differ on the scale of variances and on that of logarithms. Alone, the first gave 3.6
  times too many p-values under 0.0025 (exponential, 400 draws then 1600), the second 4.5 times
  (lognormal, 400 and 400).
- **Errors** are a figure's own, or that of both samples together where it is larger: the few draws
  of a skewed distribution that miss its tail have too small an error with too small a figure.
- **Margins** of a baseline leave room for what its own error may be wrong by: by the seeds' number,
  the kurtosis, the draws near a quantile.
- **Seeds** carry the error of a variational method: Student's test with their pooled spread.

## Limits

- A change no larger than its margin is not found, and should not be; between one and about two
  margins see the curves. A quantity whose baseline has a wide margin of its own (in the file as
  `margin`) can move within that.
- Where tails are heavy (generalised Pareto shape from about 0.15 on: Student's t with three to
  five degrees of freedom, lognormals) the sd has no error worth stating. The baseline says so and
  the check leaves it out; the quantiles remain. From a few hundred to a few thousand draws such
  tails are not always recognised, and some checks end undecided: see the rows of Student's t and
  of the lognormal.
- Ten seeds tell their own spread to a quarter. Where it is a tenth of the posterior's sd or more,
  or heavy-tailed, one check in some dozens with *other* seeds ends undecided. A baseline of
  spread 0.3 has no moments.
- Chains need an effective size of 100 and an R-hat of 1.1 for a baseline. New chains may be worse,
  with larger errors; beyond an R-hat of 1.3 or an effective size of 25 they have `changed`.
  Chains that are all stuck in the same place look mixed to every test here.
- The laws are normal, t, exponential and lognormal, as independent draws and AR(1) chains; the
  approximations are normal. What real models do to the check is tested with faults put into Stan
  programs (`tests/test_faults.py`).
- Families of 100 and 500 quantities were replayed less often than 2000 times; the tables give the
  numbers and their Monte Carlo errors. Where none was seen, the rate is below 3 / replays with
  95% confidence.
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
    """Say in four lines what holds."""
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
