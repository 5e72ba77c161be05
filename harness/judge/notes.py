"""Sentences that have no rule of their own: lost runs, doubtful runs, runaways."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.records import WITHOUT_DRAWS, Finding, Measure, RunResult
from harness.records.text import number

if TYPE_CHECKING:
    from harness.judge.bench import Bench

RUNAWAY_STEP = 100.0
"""The largest step size of CmdStan's adaptation; with it runs leave the posterior."""

LARGE_STEP = 10.0
"""The next one: with it some do."""

SAID = 3
"""How many different doubts are told, the commonest first."""

FAR = 5.0
"""How many sds off is far, whatever the step size."""


def run_notes(runs: Sequence[RunResult]) -> list[str]:
    """Return sentences on runs without draws, and on those CmdStan itself doubted."""
    notes = []
    total = len(runs)
    lost: dict[tuple[str, str], list[int]] = {}
    for run in runs:
        if run.status in WITHOUT_DRAWS or run.draws is None:
            lost.setdefault((run.status, run.message), []).append(run.spec.seed)
    for (status, message), seeds in lost.items():
        how = "gave no draws" if status not in WITHOUT_DRAWS else status.replace("_", " ")
        said = f": {message}" if message else ""
        notes.append(f"{_seeds(seeds, total)} {how}{said}".rstrip(".") + ".")
    doubts = {
        "not_converged": "CmdStan says it may not have converged",
        "diverged": "CmdStan says it may be diverging",
    }
    said_by: dict[str, int] = {}
    for run in runs:
        if run.status in doubts and run.draws is not None:
            own = "iter" not in run.spec.options and run.message
            says = run.message.rstrip(".") if own else doubts[run.status]
            said_by[says] = said_by.get(says, 0) + 1
    ordered = sorted(said_by.items(), key=lambda item: -item[1])
    for says, count in ordered[:SAID]:
        notes.append(f"{count} of {total} {'seeds' if total > 1 else 'seed'}: {says}.")
    rest = sum(count for _, count in ordered[SAID:])
    if rest:
        notes.append(f"{rest} of {total} seeds: other doubts, see the table of runs.")
    return notes


def _seeds(seeds: Sequence[int], total: int) -> str:
    listed = ", ".join(str(s) for s in seeds[:10]) + (", …" if len(seeds) > 10 else "")  # noqa: PLR2004
    return f"{len(seeds)} of {total} runs (seed {listed})"


def runaway(
    bench: Bench, run: RunResult, own: Sequence[Measure], findings: Sequence[Finding]
) -> list[str]:
    """Name a run that left the posterior, with its worst quantity and its step size.

    A run with a large step ran away; one with a small step that is as far off never arrived.
    """
    if not any(f.level == "wrong" for f in findings):
        return []
    eta = run.diagnostics.get("eta", math.nan)
    scale = 1.0 if eta >= RUNAWAY_STEP else FAR
    far = [
        (abs(m.value) / unit, m)
        for m in own
        for metric, unit in (("bias", scale), ("log_width_ratio", math.log(3) * scale**0.5))
        if m.metric == metric and abs(m.value) >= unit
    ]
    if not far or not run.draws or not run.draws.iid:
        return []
    scene = bench.scene(max(far, key=lambda f: f[0])[1])
    step = f" (step size {eta:g})" if math.isfinite(eta) else ""
    how = "ran away" if eta >= LARGE_STEP else "ended far from the posterior"
    text = f"Seed {run.spec.seed} {how}{step}"
    mean, right = scene.own.get("mean"), scene.theirs.get("mean")
    if mean is not None and right is not None and math.isfinite(mean.value):
        text += (
            f": mean {number(mean.value, 3)} where the posterior of {scene.quantity} has "
            f"{number(right.value, 3)}"
        )
        sd, sd_right = scene.own.get("sd"), scene.theirs.get("sd")
        if sd is not None and sd_right is not None:
            text += f", sd {number(sd.value, 3)} where it has {number(sd_right.value, 3)}"
    else:
        text += f": draws of {scene.quantity} are not finite"
    return [text + "."]


def errors_by_seed(bench: Bench, finding: Finding | None) -> list[str]:
    """Return one sentence with every seed's error of the mean, for the quantity at fault."""
    if finding is None or finding.measure.quantity is None or len(bench.runs) == 1:
        return []
    quantity = finding.measure.quantity
    biases = {
        m.seed: m.value
        for m in bench.measures
        if (m.metric, m.quantity) == ("bias", quantity) and m.seed is not None
    }
    if not biases:
        return []
    said = []
    for run in bench.runs:
        value = biases.get(run.spec.seed)
        eta = run.diagnostics.get("eta", math.nan)
        large = f" (step size {eta:g})" if eta >= LARGE_STEP else ""
        figure = "no draws" if value is None else f"{_signed(value)}{large}"
        said.append(f"{run.spec.seed}: {figure}")
    return [f"Error of the mean of {quantity} by seed, in sd: {', '.join(said)}."]


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + number(value)


def stopped_early(bench: Bench) -> list[str]:
    """Say at which iteration runs were declared converged although their means were still off."""
    limit = bench.rules["bias"].wrong
    said = []
    for run in bench.runs:
        iterations = run.diagnostics.get("iterations", math.nan)
        if run.draws is None or not iterations < float(run.spec.options.get("iter", -math.inf)):
            continue
        own = [m for m in bench.measures if m.metric == "bias" and m.seed == run.spec.seed]
        worst = max(own, key=lambda m: abs(m.value), default=None)
        if worst is not None and abs(worst.value) - bench.z * worst.mcse > limit:
            said.append(
                f"seed {run.spec.seed} at iteration {iterations:.0f} "
                f"({worst.quantity} {number(abs(worst.value))} sd off)"
            )
    if not said:
        return []
    return [f"CmdStan declared convergence while a mean was still off: {'; '.join(said)}."]
