"""Comparisons for the tests of figures and report, from real draws of known distributions.

Approximations are normal draws as ADVI gives them; no text or number here is claimed to
come from CmdStan. Distances are computed from the draws, verdicts and sentences are
written by hand.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import wasserstein_distance

from harness.records import (
    ClaimResult,
    Comparison,
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

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.records import Closeness, FloatArray, Level, Status

BIAS = Rule("bias", 0.1, 0.5, "both", "a tenth of a posterior sd is seldom seen in a summary")
WIDTH = Rule("log_width_ratio", math.log(1.15), math.log(1.5), "both", "intervals 15% too short")
W1 = Rule("w1", 0.1, 0.5, "above", "the mean distance the mass has to be moved")
RHAT = Rule("rhat", 1.01, 1.1, "above", "chains that differ have not forgotten their start")
KHAT = Rule("khat", 0.7, 1.0, "above", "importance weights have no finite mean", alarm=True)
RULES = {rule.metric: rule for rule in (BIAS, WIDTH, W1, RHAT)}

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
                words = f"{m.quantity}: {m.metric} of seed {m.seed} is {m.value:.2f}."
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


def mixture(folder: Path, seeds: int, n: int, rng: np.random.Generator) -> ModelComparison:
    """Two modes; each seed of an approximation holds one, some run away, chains are stuck."""

    def lift(x: FloatArray) -> FloatArray:
        return np.stack([x, x**2, np.sin(x)], axis=-1)

    def exact(size: int) -> FloatArray:
        left = rng.random(size) < 0.2
        return np.where(left, rng.normal(-0.3, 0.1, size), rng.normal(0.5, 0.1, size))

    names = ("x", "x2", "sin_x")
    stuck = np.stack([rng.normal(c, 0.1, n // 4) for c in (-0.3, 0.5, 0.5, 0.5)])
    runs = [run("mixture", "nuts", 1, draws(names, lift(stuck), iid=False), seconds=0.3)]
    for method in ("meanfield", "fullrank", "meanfield_tuned", "fullrank_tuned"):
        for seed in range(1, seeds + 1):
            tuned = method.endswith("tuned")
            eta = 0.1 if tuned else [1.0, 10.0, 100.0][seed % 3]
            centre, sd = (0.5, 0.1) if seed % 3 else (-0.3, 0.1)
            if eta == 100.0:
                centre, sd = (43.0, 321.0, 1.97)[seed // 3 % 3], 1.69
            found = draws(names, lift(rng.normal(centre, sd, n)))
            elbo = trace(
                rng,
                level=-60.0 if eta == 100.0 else -0.22 if centre > 0 else -1.6,
                start=3.0,
                end=30_000 if tuned else 10_000,
                eta=eta,
            )
            status: Status = "ok" if eta == 100.0 else "not_converged"
            message = "" if status == "ok" else "Stopped at the iteration limit."
            runs.append(
                run(
                    "mixture",
                    method,
                    seed,
                    found,
                    status=status,
                    message=message,
                    eta=eta,
                    elbo=elbo,
                    seconds=0.4 if tuned else 0.05 + 0.01 * seed,
                )
            )
    rhat = Measure("mixture", "nuts", 1, "x", "rhat", 3.9, 0.0, "exact")
    model = stan_model(
        folder, "mixture", "A density with two modes, 20% at −0.3 and 80% at 0.5. A normal has one."
    )
    reference = exact_reference(draws(names, lift(exact(2 * n))))
    return compare(
        model,
        reference,
        runs,
        extra=[rhat],
        headlines={"meanfield": "one mode of two: 20% of the mass missed", "nuts": "R-hat 3.9"},
    )


def regression(folder: Path, seeds: int, n: int, rng: np.random.Generator) -> ModelComparison:
    """Intercept and slope correlate at −0.87; NUTS is the reference; one run has failed."""
    names = ("alpha", "beta", "sigma")
    sds = np.array([0.17, 0.29, 0.05])
    corr = np.array([[1.0, -0.87, 0.0], [-0.87, 1.0, 0.0], [0.0, 0.0, 1.0]])
    covariance = corr * np.outer(sds, sds)
    mean = np.array([1.05, 1.9, 0.52])
    chains = rng.multivariate_normal(mean, covariance, (4, n // 4))
    runs = [run("linear_regression", "nuts", 1, draws(names, chains, iid=False), seconds=0.6)]
    narrow = np.diag(1 / np.diag(np.linalg.inv(covariance)))
    for method in ("meanfield", "fullrank", "meanfield_tuned", "fullrank_tuned"):
        for seed in range(1, seeds + 1):
            tuned = method.endswith("tuned")
            wander = rng.normal(size=3) * sds * (0.02 if tuned else 0.25)
            spread = narrow if method.startswith("mean") else covariance
            found = draws(names, rng.multivariate_normal(mean + wander, spread, n))
            elbo = trace(rng, level=-47.0, start=8.0, end=3000, eta=0.1)
            failed = method == "meanfield" and seed == 2
            runs.append(
                run(
                    "linear_regression",
                    method,
                    seed,
                    None if failed else found,
                    status="failed" if failed else "ok",
                    message="The gradient could not be computed." if failed else "",
                    eta=0.1,
                    elbo=None if failed else elbo,
                    seconds=0.5 if tuned else 0.1,
                )
            )
    reference = Reference(
        "nuts",
        trusted=True,
        why="R-hat 1.00, ESS 2900, no divergences.",
        draws=draws(names, chains, iid=False),
    )
    model = stan_model(
        folder, "linear_regression", "Intercept and slope correlate; mean-field cannot say so."
    )
    return compare(
        model, reference, runs, headlines={"meanfield": "width of beta 0.49 of the reference's"}
    )


def normal(
    folder: Path, seeds: int, n: int, rng: np.random.Generator, name: str = "normal_mean"
) -> ModelComparison:
    """Return a model whose posterior is in the family; only default step sizes go wrong."""
    exact = rng.normal(0.4, 0.18, (2 * n, 1))
    chains = rng.normal(0.4, 0.18, (4, n // 4, 1))
    runs = [run(name, "nuts", 1, draws(["m"], chains, iid=False), seconds=0.2)]
    for method in ("meanfield", "meanfield_tuned"):
        for seed in range(1, seeds + 1):
            tuned = method == "meanfield_tuned"
            off = 0.0 if tuned else 0.09 * rng.normal()
            sd = 0.18
            eta = 0.1 if tuned else 1.0
            if seed == 1 and not tuned:
                off, sd, eta = 228.0, 0.0, 100.0
            found = draws(["m"], rng.normal(0.4 + off, sd, (n, 1)))
            elbo = trace(rng, level=-42.0, start=4.0, end=30_000 if tuned else 2000, eta=eta)
            runs.append(run(name, method, seed, found, eta=eta, elbo=elbo, seconds=0.3))
    khat = Measure(name, "meanfield", 1, None, "khat", math.inf, math.nan, "exact")
    reference = exact_reference(draws(["m"], exact))
    model = stan_model(folder, name, "A normal posterior: the family contains it exactly.")
    return compare(model, reference, runs, extra=[khat])


def wide(folder: Path, k: int, n: int, rng: np.random.Generator) -> ModelComparison:
    """Many quantities; the default run stops early, far from the posterior."""
    names = [f"mu[{i + 1}]" for i in range(k)]
    mean, sd = rng.normal(size=k), np.full(k, 0.005)
    exact = draws(names, mean + sd * rng.normal(size=(n, k)))
    runs = [
        run(
            "wide_normal",
            "nuts",
            1,
            draws(names, mean + sd * rng.normal(size=(4, n // 4, k)), iid=False),
            seconds=140.0,
        )
    ]
    for seed in (1, 2):
        off = rng.normal(size=k) * sd * 25
        elbo = trace(rng, level=-5.6e6, start=400.0, end=300, eta=1.0)
        found = draws(names, mean + off + sd * rng.normal(size=(n, k)))
        runs.append(run("wide_normal", "meanfield", seed, found, eta=1.0, elbo=elbo, seconds=9.0))
    reference = exact_reference(exact)
    model = stan_model(folder, "wide_normal", "A relative tolerance stops far too early.")
    notes = ["meanfield_tuned was left out: 600 000 gradients would take an hour."]
    return compare(model, reference, runs, notes=notes)


def broken_model(folder: Path) -> ModelComparison:
    """Return a model that could not be compared."""
    model = stan_model(folder, "broken", "")
    nothing = Reference("none", trusted=False, why="Nothing was run.")
    return ModelComparison(model, "broken.stan, line 3: a semicolon is missing.", nothing)


def claims() -> tuple[ClaimResult, ...]:
    """Return one claim of each outcome."""
    return (
        ClaimResult(
            model="mixture",
            claim="NUTS is easily able to sample from the distribution",
            source="lecture 2",
            expected="R-hat at most 1.01",
            measured=3.9,
            error=0.0,
            holds=False,
            sentence="R-hat of x is 3.9.",
        ),
        ClaimResult(
            model="mixture",
            claim="ADVI finds a single mode",
            source="lecture 2",
            expected="missed mass at least 0.15",
            measured=0.2,
            error=0.004,
            holds=True,
            sentence="It misses 20% of the mass.",
        ),
        ClaimResult(
            model="broken",
            claim="The sum is right",
            source="lecture 3",
            expected="0 within 0.1",
            measured=math.nan,
            error=math.nan,
            holds=None,
            sentence="",
        ),
    )


def build(
    folder: Path,
    *,
    seeds: int = 3,
    n: int = 1000,
    k: int = 30,
    parts: Sequence[Callable[[], ModelComparison]] | None = None,
) -> Comparison:
    """Return a comparison of five models, one of them broken."""
    rng = np.random.default_rng(20261121)
    models = (
        [part() for part in parts]
        if parts is not None
        else [
            mixture(folder, seeds, n, rng),
            regression(folder, seeds, n, rng),
            normal(folder, seeds, n, rng),
            wide(folder, k, n, rng),
            broken_model(folder),
        ]
    )
    provenance = {
        "command": "harness compare mixture linear_regression normal_mean",
        "date": "2026-11-21T14:00:00+00:00",
        "versions": {"harness": "0.1.0", "cmdstan": "none, fixture"},
        "seeds": seeds,
        "seconds": 12.0,
        "hashes": {"mixture": "0123456789abcdef"},
    }
    return Comparison(tuple(models), claims(), provenance)
