"""Records of a comparison from given draws, for the tests of figures and report.

Distances are computed from the draws; rules, verdicts and sentences are the fixture's own.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import wasserstein_distance

from harness.records import (
    Cost,
    Draws,
    Finding,
    Measure,
    Model,
    ModelComparison,
    Reference,
    Rule,
    RunResult,
    RunSpec,
    SeedVerdict,
    Trace,
    Verdict,
)
from harness.records.text import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.records import Closeness, FloatArray, Level, Status

BIAS = Rule(0.1, 0.5, "both", "a tenth of a posterior sd is seldom seen in a summary")
WIDTH = Rule(math.log(1.15), math.log(1.5), "both", "intervals 15% too short")
W1 = Rule(0.1, 0.5, "above", "the mean distance the mass has to be moved")
RHAT = Rule(1.01, 1.1, "above", "chains that differ have not forgotten their start")
KHAT = Rule(0.7, 1.0, "above", "importance weights have no finite mean", alarm=True)
RULES = {"bias": BIAS, "log_width_ratio": WIDTH, "w1": W1, "rhat": RHAT}

PROGRAM = """// Fixture program: a mean with known sd.
data {
  int<lower=0> N;
  vector[N] x;
}
parameters { real m; }
model {
  m ~ normal(0, 1); // prior
  x ~ normal(m, 1);
}
"""


def draws(names: Sequence[str], values: FloatArray, *, iid: bool = True) -> Draws:
    """Wrap ``values`` of shape (draw, k) or (chain, draw, k)."""
    return Draws(tuple(names), values if values.ndim == 3 else values[None], iid=iid)


def trace(rng: np.random.Generator, *, level: float, start: float, end: int, eta: float) -> Trace:
    """Monte Carlo ELBOs (100 draws each) of a normal q gliding onto a normal target."""
    iteration = np.arange(100.0, end + 1, 100.0)
    offset = start * np.exp(-iteration / 400) + 0.02 * math.sqrt(eta) * rng.normal(
        size=iteration.size
    )
    eps = rng.normal(size=(iteration.size, 100))
    # log p − log q at offset + eps for unit normals: −offset·eps − offset²/2
    elbo = level + np.mean(-offset[:, None] * eps - offset[:, None] ** 2 / 2, axis=1)
    return Trace(iteration, iteration * 1e-5, elbo + 0.05 * rng.normal(size=elbo.size))


def run(
    model: str,
    method: str,
    seed: int,
    found: Draws | None,
    *,
    status: Status = "ok",
    message: str = "",
    eta: float = math.nan,
    elbo: Trace | None = None,
    seconds: float = 0.1,
) -> RunResult:
    """Return a run with the fields a report looks at."""
    diagnostics = {} if math.isnan(eta) else {"eta": eta}
    if elbo is not None:
        diagnostics["iterations"] = float(elbo.iteration[-1])
    return RunResult(
        spec=RunSpec(model, method, {"grad_samples": 1}, seed, 1000),
        key=f"{model}-{method}-{seed}",
        status=status,
        message=message,
        draws=found,
        trace=elbo,
        diagnostics=diagnostics,
        cost=Cost(seconds),
        versions={"cmdstan": "none, fixture"},
        console=f"fixture output of {model} <{method}> & seed {seed}",
    )


def closeness(metric: str, value: float) -> Closeness | None:
    """Apply a rule without its error term."""
    rule = RULES.get(metric)
    if rule is None:
        return None
    size = abs(value)
    return "wrong" if not size <= rule.wrong else "off" if size > rule.close else "close"


def measure(model: str, runs: Sequence[RunResult], reference: Draws) -> list[Measure]:
    """Compute distances and summaries of all runs, with i.i.d. standard errors."""
    found: list[Measure] = []

    def add(method: str, seed: int | None, name: str | None, metric: str, value: float) -> None:
        found.append(Measure(model, method, seed, name, metric, float(value), 0.01, "exact"))

    quantiles = {"q5": 0.05, "q50": 0.5, "q95": 0.95}
    summary: dict[str, dict[str, float]] = {}
    columns = {name: reference.quantity(name).ravel() for name in reference.names}
    for name, x in columns.items():
        summary[name] = {"mean": x.mean(), "sd": x.std()}
        summary[name] |= {k: np.quantile(x, p) for k, p in quantiles.items()}
        for metric, value in summary[name].items():
            add("reference", None, name, metric, value)
    for r in runs:
        if r.draws is None:
            continue
        method, seed = r.spec.method, r.spec.seed
        for name in reference.names:
            q, truth = r.draws.quantity(name).ravel(), summary[name]
            here = {"mean": q.mean(), "sd": q.std()}
            here |= {k: np.quantile(q, p) for k, p in quantiles.items()}
            for metric, value in here.items():
                add(method, seed, name, metric, value)
            add(method, seed, name, "bias", (here["mean"] - truth["mean"]) / truth["sd"])
            width = (here["q95"] - here["q5"]) / (truth["q95"] - truth["q5"])
            add(method, seed, name, "log_width_ratio", math.log(width) if width > 0 else -math.inf)
            far = max(abs(here[k] - truth[k]) for k in ("q5", "q95"))
            add(method, seed, name, "tail", far / truth["sd"])
            thinned = columns[name][:: max(1, columns[name].size // 2000)]
            distance = wasserstein_distance(q[:: max(1, q.size // 2000)], thinned)
            add(method, seed, name, "w1", distance / truth["sd"])
    return found


def verdict(
    model: str,
    method: str,
    measures: Sequence[Measure],
    runs: Sequence[RunResult],
    headline: str = "",
) -> Verdict:
    """Judge by the fixture's rules: the level is that of the worst seed."""
    by_seed: list[SeedVerdict] = []
    order: list[Level] = ["pass", "warn", "fail"]
    worst_findings: list[Finding] = []
    for r in (r for r in runs if r.spec.method == method):
        findings = []
        for m in measures:
            level = closeness(m.metric, m.value)
            if (m.method, m.seed) == (method, r.spec.seed) and level and level != "close":
                words = f"{m.quantity}: {m.metric} of seed {m.seed} is {number(m.value, 3)}."
                findings.append(Finding(RULES[m.metric], m, level, words))
        bad = r.draws is None or any(f.level == "wrong" for f in findings)
        found: Level = "fail" if bad else "warn" if findings else "pass"
        by_seed.append(SeedVerdict(r.spec.seed, found, r.status, tuple(findings)))
        worst_findings += sorted(findings, key=lambda f: -abs(f.measure.value))[:1]
    levels = sorted((s.level for s in by_seed), key=order.index)
    lost = [r for r in runs if r.spec.method == method and r.draws is None]
    return Verdict(
        model=model,
        method=method,
        level=levels[-1],
        typical=levels[(len(levels) - 1) // 2],
        seeds=len(by_seed),
        seeds_failed=sum(s.level == "fail" for s in by_seed),
        headline=headline or (worst_findings[0].sentence if worst_findings else "close"),
        findings=tuple(worst_findings),
        notes=tuple(f"Seed {r.spec.seed} gave no draws." for r in lost),
        by_seed=tuple(by_seed),
    )


def compare(
    model: Model,
    reference: Reference,
    runs: Sequence[RunResult],
    *,
    extra: Sequence[Measure] = (),
    headlines: dict[str, str] | None = None,
    notes: Sequence[str] = (),
) -> ModelComparison:
    """Put a model's pieces together."""
    assert reference.draws is not None
    measures = [*measure(model.name, runs, reference.draws), *extra]
    verdicts = []
    for method in dict.fromkeys(r.spec.method for r in runs):
        if method == "nuts" and reference.kind == "nuts":
            verdicts.append(Verdict(model.name, "nuts", "reference", "reference", 1, 0, "", ()))
            continue
        headline = (headlines or {}).get(method, "")
        verdicts.append(verdict(model.name, method, measures, runs, headline))
    return ModelComparison(
        model=model,
        error=None,
        reference=reference,
        runs=tuple(runs),
        measures=tuple(measures),
        levels=tuple(closeness(m.metric, m.value) for m in measures),
        verdicts=tuple(verdicts),
        notes=tuple(notes),
    )


def exact_reference(found: Draws) -> Reference:
    """Return a trusted reference of independent draws."""
    return Reference("exact", trusted=True, why="Exact independent draws.", draws=found)


def stan_model(folder: Path, name: str, lesson: str) -> Model:
    """Write the fixture's program and return a model that points to it."""
    path = folder / f"{name}.stan"
    path.write_text(PROGRAM, encoding="utf-8")
    return Model(name, name.replace("_", " "), path, None, source="fixture", lesson=lesson)
