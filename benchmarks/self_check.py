"""How often the ensemble of short chains is trusted, and how often it is then wrong.

``nice python benchmarks/self_check.py [--seeds 20] [PROGRAM …]`` runs the ensemble on log densities
whose exact draws are known, and on Stan programs with answers from long runs
(benchmarks/long_runs.py), and prints a table: in how many runs it was trusted, in how many of
those it was wrong (a figure beyond 1.5 of its close limit, the judge's bound of a pass), in how
many of all its draws were close, seconds and gradients, and which checks refused the others.
``--far 0`` leaves the far starts out: the difference is what they buy. ``--moved`` prints another
table: how often short chains from a fit's own draws show that it is wrong by at least so much, and
how often that is true. ``--markdown docs/without-nuts.md`` writes the table between the marks of
that page.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

# Before NumPy is loaded: threads that wait count as CPU seconds.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from answers import Answer, answer_of, read
from exact_programs import EXACT, INVISIBLE, PROGRAMS, Program
from fit_programs import FOLDER, data_of
from long_runs import ANSWERS, NAMES, opened
from scipy.special import ndtri
from short_chains import expected

from harness.judgement import closeness, critical_z, rules_for
from harness.judgement.movement import shown
from harness.methods.bridged import BridgeTarget
from harness.metrics import METRICS, Sample
from harness.records import NO_ESTIMATE, FloatArray, RunSpec
from harness.vi import deterministic, short_chains
from harness.vi.deterministic import Settings, StartError
from harness.vi.gaussian import Gaussian
from harness.vi.short_chains.coordinates import from_covariance, low_rank
from harness.vi.short_chains.hmc import PILOTS
from harness.vi.short_chains.movement import move
from harness.vi.target import Clock, Counted

LIMITS = {"mean": 0.1, "width": math.log(1.15), "tail": 0.2, "mass": 0.01}
"""Close limits of the judge: of means and tails in sds, of log widths, and of missed mass."""

BOUND = 1.5


class Fitted(BridgeTarget):
    """A Stan program of benchmarks/fits, on the embedded engine."""

    def __init__(self, name: str, folder: Path) -> None:
        model = opened(name, folder)
        super().__init__(model)
        self.name = name
        self.seconds = expected(FOLDER / f"{name}.stan", model, data_of(name))

    def answer(self) -> Answer:
        """Return the figures of a long run, or of all orders of its components."""
        return read(ANSWERS / f"{self.name}.json")[0]


MOVED, LIKE = 1024, 40_000
"""Chains from a fit's draws, and draws of it that say what its errors are."""

OFF, WRONG = 1.5, 1.7
"""How linear response is made wrong on purpose: the rms of the sds by which a coordinate is moved,
in a random direction, and a factor of all sds."""

MARK = "<!-- benchmarks/self_check.py -->"
MARK_NEAR = "<!-- benchmarks/self_check.py --far 0 -->"

MARK_MOVED = "<!-- benchmarks/self_check.py --moved -->"

MOVED_COLUMNS = (
    "program",
    "fits",
    "truly wrong",
    "wrong by at least",
    "off by at least",
    "false",
    "cannot tell",
    "gradients",
)
"""*False* counts fits with any figure that is not wrong by as much as was said."""

COLUMNS = (
    "program",
    "runs",
    "close",
    "trusted",
    "false",
    "error",
    "ESS",
    "seconds",
    "gradients",
    "refused by",
)
"""``error`` is the largest, in its close limit; it, ESS, CPU seconds and gradients are medians."""


@dataclass
class Tally:
    """What became of a program's runs."""

    runs: int = 0
    trusted: int = 0
    false: int = 0
    right: int = 0
    seconds: list[float] = field(default_factory=list)
    gradients: list[int] = field(default_factory=list)
    ess: list[float] = field(default_factory=list)
    doubts: Counter[str] = field(default_factory=Counter)
    worst: list[float] = field(default_factory=list)


def errors(draws: FloatArray, answer: Answer) -> float:
    """Return the largest error in units of its close limit, over all coordinates."""
    own, width = answer_of(draws), answer.high - answer.low
    unit = width / (2 * ndtri(0.95))
    # As in the judge, where a mean has no useful error the median takes its place.
    heavy = answer.sd > 2 * unit
    shift = np.where(heavy, own.median - answer.median, own.mean - answer.mean) / unit
    width = np.log((own.high - own.low) / width)
    tail = np.maximum(np.abs(own.low - answer.low), np.abs(own.high - answer.high)) / unit
    found = {"mean": np.abs(shift), "width": np.abs(width), "tail": tail}
    return max(float(np.max(v)) / LIMITS[k] for k, v in found.items())


def tried(program: Program | Fitted, seed: int, far: int, tally: Tally, answer: Answer) -> None:
    """Make one run and note what became of it."""
    target, clock = Counted(program), Clock(600)
    rng = np.random.default_rng([seed, *program.name.encode()])
    tally.runs += 1
    begin = time.process_time()
    try:
        with np.errstate(all="ignore"):
            optimum = deterministic.fit(
                target, rng, clock, Settings(starts=24, error=0.2, seconds=program.seconds)
            )
            found = short_chains.run(target, optimum, rng, clock, short_chains.Sizes(far=far))
    except (StartError, np.linalg.LinAlgError) as error:
        tally.doubts[type(error).__name__] += 1
        return
    tally.seconds.append(time.process_time() - begin)
    tally.gradients.append(target.gradients)
    tally.ess.append(found.figures["ess"])
    off = errors(found.z.reshape(-1, program.dimension), answer)
    tally.worst.append(off)
    doubts = short_chains.doubts(found.figures)
    tally.right += off <= BOUND
    tally.trusted += not doubts
    tally.false += not doubts and off > BOUND
    tally.doubts.update(c.id for c in doubts)


@dataclass
class Movements:
    """What was said of a program's fits by moving their draws."""

    fits: int = 0
    wrong: int = 0
    said_wrong: int = 0
    said_off: int = 0
    false: int = 0
    silent: int = 0
    gradients: list[int] = field(default_factory=list)

    def row(self, name: str) -> str:
        """Return a line of the table."""
        gradients = float(np.median(self.gradients)) if self.gradients else math.nan
        return (
            f"| {name} | {self.fits} | {self.wrong} | {self.said_wrong} | {self.said_off} "
            f"| {self.false} | {self.silent} | {gradients:.0f} |"
        )

    def add(self, other: Movements) -> None:
        """Add another program's counts."""
        for name in ("fits", "wrong", "said_wrong", "said_off", "false", "silent"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.gradients += other.gradients


def moved(program: Program, seed: int, exact: list[Sample], tally: Movements) -> None:
    """Move draws of fits, and compare what is said with the truth.

    They are mean field, linear response, and linear response moved, widened and narrowed.
    """
    target, clock = Counted(program), Clock(600)
    rng = np.random.default_rng([seed, *program.name.encode()])
    with np.errstate(all="ignore"):
        optimum = deterministic.fit(
            target, rng, clock, Settings(starts=24, error=0.2, seconds=program.seconds)
        )
        own = (
            None
            if optimum.covariance is None
            else from_covariance(optimum.mean, optimum.covariance)
        )
        fits = [Gaussian(optimum.mean, optimum.sd)]
        if own is not None:
            factor = own.factor
            off = OFF * factor @ rng.standard_normal(len(factor))
            fits += [
                Gaussian(optimum.mean, factor),
                Gaussian(optimum.mean + off, factor),
                Gaussian(optimum.mean, WRONG * factor),
                Gaussian(optimum.mean, factor / WRONG),
            ]
        found = short_chains.run(target, optimum, rng.spawn(1)[0], clock)
        regions = len(found.shares) + found.figures["other_regions"]
        coordinates = own or low_rank(target, optimum.mean, optimum.sd, rng, clock)
        for q in fits:
            before = target.gradients
            z = q.draw(MOVED + PILOTS, rng)
            movement = move(target, z, coordinates, rng, clock)
            tally.fits += 1
            tally.gradients.append(target.gradients - before)
            like = q.draw(LIKE, rng)
            truth = {
                (str(j), m): METRICS[m].measure(ours, theirs) or NO_ESTIMATE
                for j, theirs in enumerate(exact)
                for ours in [Sample(like[None, :, j], iid=True)]
                for m in ("bias", "median_bias", "log_width_ratio", "tail")
            }
            rules = rules_for()
            tally.wrong += any(
                abs(e.value) > rules[m].wrong
                for (_, m), e in truth.items()
                if not (m == "bias" and exact[0].kind == "heavy")
            )
            if movement is None or movement.doubts or not regions <= 1:
                tally.silent += 1
                continue
            start = z[movement.start]
            names = [str(j) for j in range(program.dimension)]
            spec = RunSpec(program.name, "dadvi", {}, seed, len(z))
            told = shown(spec, names, start, movement.z, movement, np.ones(len(start)))
            bound = critical_z(told.quantities)
            said = [(m, closeness(m, rules[m.metric], bound)) for m in told.measures]
            levels = {level for _, level in said}
            tally.said_wrong += "wrong" in levels
            tally.said_off += "off" in levels and "wrong" not in levels
            tally.silent += told.slow == program.dimension
            tally.false += any(
                abs(m.value) - bound * m.mcse > abs(true.value) + 3 * true.mcse
                for m, level in said
                if level in {"wrong", "off"}
                for true in [truth[m.quantity or "", m.metric]]
            )


def movements(args: argparse.Namespace) -> int:
    """Print the table of movement; the exit code is 1 if what is said is false too often."""
    lines: list[str] = []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    say(f"| {' | '.join(MOVED_COLUMNS)} |")
    say(f"{'|---' * len(MOVED_COLUMNS)}|")
    total = Movements()
    for program in PROGRAMS:
        if args.programs and program.name not in args.programs:
            continue
        tally = Movements()
        exact = program.draw(np.random.default_rng(0), EXACT)
        samples = [Sample(x[None], iid=True) for x in exact.T]
        for seed in range(args.seeds):
            moved(program, seed, samples, tally)
        say(tally.row(program.name))
        total.add(tally)
    say(total.row("all"))
    say("")
    said = total.said_wrong + total.said_off
    say(share("- *Wrong* or *off by at least* is true", said - total.false, said))
    if args.markdown is not None:
        write(args.markdown, MARK_MOVED, lines)
    return int(total.false > 0.01 * said)


def row(name: str, tally: Tally) -> str:
    """Return a line of the table."""
    why = ", ".join(f"{k} {n}" for k, n in tally.doubts.most_common(4))
    middle = [float(np.median(x)) if x else math.nan for x in (tally.worst, tally.seconds)]
    gradients = float(np.median(tally.gradients)) if tally.gradients else math.nan
    ess = float(np.median(tally.ess)) if tally.ess else math.nan
    return (
        f"| {name} | {tally.runs} | {tally.right} | {tally.trusted} | {tally.false} "
        f"| {middle[0]:.2f} | {ess:.0f} | {middle[1]:.2f} | {gradients:.0f} | {why} |"
    )


def interval(count: int, of: int) -> tuple[float, float]:
    """Return Wilson's 95% interval of a share; all of 0 to 1 where nothing was counted."""
    if not of:
        return 0.0, 1.0
    z = float(ndtri(0.975))
    rate = count / of
    half = z * math.sqrt(rate * (1 - rate) / of + z**2 / (4 * of**2))
    scale = 1 + z**2 / of
    centre = rate + z**2 / (2 * of)
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def share(noun: str, count: int, of: int) -> str:
    """Return a line that states a share with its interval."""
    low, high = interval(count, of)
    return f"{noun}: {count} of {of}, 95% interval {low:.1%} to {high:.1%}."


def write(page: Path, mark: str, lines: list[str]) -> None:
    """Replace what is between the two marks of a page."""
    before, _, after = page.read_text(encoding="utf-8").split(mark)
    page.write_text(f"{before}{mark}\n\n{chr(10).join(lines)}\n\n{mark}{after}", encoding="utf-8")


def main() -> int:
    """Run the benchmark; the exit code is 1 if a trusted ensemble was wrong too often."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programs", nargs="*")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--far", type=int, default=256)
    parser.add_argument("--markdown", type=Path, help="a page whose table is written anew")
    parser.add_argument("--moved", action="store_true", help="the table of moved draws instead")
    args = parser.parse_args()
    if args.moved:
        return movements(args)
    lines: list[str] = []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    say(f"| {' | '.join(COLUMNS)} |")
    say(f"{'|---' * len(COLUMNS)}|")
    total = Tally()
    covered = 0
    with tempfile.TemporaryDirectory() as folder:
        fitted = tuple(Fitted(name, Path(folder)) for name in NAMES)
    programs: tuple[Program | Fitted, ...] = (*PROGRAMS, *fitted, *INVISIBLE)
    for program in programs:
        if args.programs and program.name not in args.programs:
            continue
        tally, answer = Tally(), program.answer()
        for seed in range(args.seeds):
            tried(program, seed, args.far, tally, answer)
        say(row(program.name, tally))
        if program in INVISIBLE:
            continue
        for name in ("runs", "trusted", "false", "right"):
            setattr(total, name, getattr(total, name) + getattr(tally, name))
        total.seconds += tally.seconds
        total.gradients += tally.gradients
        total.worst += tally.worst
        total.ess += tally.ess
        covered += tally.trusted - tally.false
    say(row("all but invisible", total))
    say("")
    say(share("- False trust, of all runs", total.false, total.runs))
    say(share("- Trusted, of the close", covered, total.right))
    if args.markdown is not None:
        write(args.markdown, MARK if args.far else MARK_NEAR, lines)
    return int(total.false > 0.01 * total.runs)


if __name__ == "__main__":
    sys.exit(main())
