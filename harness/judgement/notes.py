"""Sentences on what no rule covers: failed runs, doubtful runs, runaways."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from harness.judgement.context import Bench, lost
from harness.metrics.bias import BIAS
from harness.metrics.summaries import MEAN, SD
from harness.metrics.width import WIDTH
from harness.records import WITHOUT_DRAWS, Finding, Measure, Reason, RunResult
from harness.records.text import ended, listed, number, setting
from harness.records.verdicts import Far

RUNAWAY_STEP = 100.0
"""The largest step size of CmdStan's adaptation; with it runs leave the posterior."""

LARGE_STEP = 10.0
"""The next one: with it some do."""

SAID = 3
"""Different doubts that are given, the commonest first."""

SEEDS = 10
"""Seeds that are listed one by one."""

FAR = 5.0
"""How many sds off is far, whatever the step size."""

DOUBTS = {
    "not_converged": "CmdStan says it may not have converged",
    "diverged": "CmdStan says it may be diverging",
}


def run_notes(runs: Sequence[RunResult]) -> list[str]:
    """Return sentences on runs without draws, and on those that may not have converged."""
    total = len(runs)
    gone: dict[tuple[str, str], list[str]] = {}
    doubted: Counter[str] = Counter()
    for run in runs:
        if lost(run):
            gone.setdefault((how_it_ended(run), run.message), []).append(str(run.spec.seed))
        elif run.status in DOUBTS:
            # CmdStan's message names one run's iterations: the same doubt in other words.
            own = "iter" not in run.spec.options and run.message
            says = run.message if own else DOUBTS[run.status]
            doubted[says] += 1
    notes = [
        f"{len(seeds)} of {total} runs (seed {listed(seeds, SEEDS)}) {how}"
        + ended(f": {message}" if message else "")
        for (how, message), seeds in gone.items()
    ]
    ordered = doubted.most_common()
    seeds = "seeds" if total > 1 else "seed"
    notes += [f"{n} of {total} {seeds}: {ended(says)}" for says, n in ordered[:SAID]]
    if rest := sum(n for _, n in ordered[SAID:]):
        notes.append(f"{rest} of {total} seeds: other doubts, see the table of runs.")
    return notes


def how_it_ended(run: RunResult) -> str:
    """Say how a run without draws ended."""
    if run.status not in WITHOUT_DRAWS:
        return "gave no draws"
    if run.reason is Reason.MACHINE:
        return "ended by the machine"
    if run.reason is Reason.GENERATED:
        return "left no draws"
    return "timed out" if run.status == "timed_out" else run.status


def far_off(
    run: RunResult, own: Sequence[Measure], findings: Sequence[Finding]
) -> tuple[Far, Measure] | None:
    """Return how a run came to lie far from the posterior, and its worst figure.

    A run with a large step ran away; one with a small step that is as far off never arrived.
    """
    if not any(f.level == "wrong" for f in findings) or run.draws is None or not run.draws.iid:
        return None
    eta = run.diagnostics.get("eta", math.nan)
    scale = 1.0 if eta >= RUNAWAY_STEP else FAR
    units = {BIAS.id: scale, WIDTH.id: math.log(3) * scale**0.5}
    sizes = [(abs(m.value) / units[m.metric], m) for m in own if m.metric in units]
    far = [(size, m) for size, m in sizes if size >= 1]
    if not far:
        return None
    worst = max(far, key=lambda f: f[0])[1]
    return ("ran away" if eta >= LARGE_STEP else "never arrived"), worst


def far_words(bench: Bench, run: RunResult, far: Far, worst: Measure) -> str:
    """Name a run that lies far from the posterior, with its step size and worst quantity."""
    scene = bench.scene(worst)
    eta = run.diagnostics.get("eta", math.nan)
    step = f" (step size {setting(eta)})" if math.isfinite(eta) else ""
    how = far if far == "ran away" else "ended far from the posterior"
    text = f"Seed {run.spec.seed} {how}{step}"
    mean, right = scene.own.get(MEAN.id), scene.theirs.get(MEAN.id)
    if mean is None or right is None or not math.isfinite(mean.value):
        return f"{text}: draws of {scene.quantity} are not finite."
    means = f"{number(mean.value, 3)} instead of {number(right.value, 3)}"
    text += f": the mean of {scene.quantity} is {means}"
    sd, sd_right = scene.own.get(SD.id), scene.theirs.get(SD.id)
    if sd is not None and sd_right is not None:
        text += f", its sd {number(sd.value, 3)} instead of {number(sd_right.value, 3)}"
    return f"{text}."


def errors_by_seed(bench: Bench, finding: Finding | None) -> list[str]:
    """Return one sentence with every seed's error of the mean of the quantity at fault."""
    if finding is None or finding.measure.quantity is None or len(bench.runs) == 1:
        return []
    quantity = finding.measure.quantity
    errors = {
        m.seed: f"{'+' if m.value > 0 else ''}{number(m.value)}"
        for m in bench.measures
        if (m.metric, m.quantity) == (BIAS.id, quantity) and m.seed is not None
    }
    if not errors:
        return []
    said = []
    for run in bench.runs:
        figure = errors.get(run.spec.seed, "no draws")
        eta = run.diagnostics.get("eta", math.nan)
        large = run.spec.seed in errors and eta >= LARGE_STEP
        said.append(f"{run.spec.seed}: {figure}{f' (step size {setting(eta)})' if large else ''}")
    return [f"Error of the mean of {quantity} by seed, in sd: {', '.join(said)}."]


def stopped_early(bench: Bench) -> list[str]:
    """Name the runs that were declared converged although a mean was still off."""
    limit = bench.rules[BIAS.id].wrong
    said = []
    for run in bench.runs:
        iterations = run.diagnostics.get("iterations", math.nan)
        if run.draws is None or not iterations < float(run.spec.options.get("iter", -math.inf)):
            continue
        own = [m for m in bench.measures if m.metric == BIAS.id and m.seed == run.spec.seed]
        worst = max(own, key=lambda m: abs(m.value), default=None)
        if worst is not None and abs(worst.value) - bench.z_of(worst.quantity) * worst.mcse > limit:
            said.append(
                f"seed {run.spec.seed} at iteration {setting(iterations)} "
                f"({worst.quantity} {number(abs(worst.value))} sd off)"
            )
    if not said:
        return []
    return [f"CmdStan declared convergence while a mean was still off: {'; '.join(said)}."]
