"""Without a reference: methods measured against each other, and what each knows of itself."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from harness import metrics
from harness.records import (
    Comparison,
    Cost,
    Draws,
    Estimate,
    Model,
    ModelComparison,
    Reason,
    Reference,
    RunResult,
    RunSpec,
    Standing,
    Verdict,
)
from harness.report import files, standing
from harness.study.measuring import Measuring
from harness.study.standing import standings, with_standings

MODEL = Model("m", "t", Path("m.stan"), None)
N = 10_000


def run(
    method: str, mean: float, sd: float, *, reason: Reason | None = None, seed: int = 1
) -> RunResult:
    """Return a run whose q is N(mean, sd) while the posterior is N(0, 1)."""
    x = np.random.default_rng([seed, N]).normal(mean, sd, size=(1, N))
    log_q = -0.5 * ((x - mean) / sd) ** 2 - math.log(sd)
    draws = Draws(("x",), x[..., None], -0.5 * x**2, log_q)
    status = "ok" if reason is None else "not_converged"
    spec = RunSpec("m", method, {}, seed, N)
    key = f"{method}{seed}".ljust(64, "0")
    return RunResult(spec, key, status, "", draws, None, {}, Cost(1.0), {}, reason=reason)  # type: ignore[arg-type]


def found(*runs: RunResult) -> dict[str, Standing]:
    """Return the standings of runs, by method."""
    judged = tuple(dict.fromkeys(r.spec.method for r in runs))
    return {s.method: s for s in standings(MODEL, judged, runs, (), Measuring())}


def test_the_divergence_of_gaussians_is_that_of_the_closed_form() -> None:
    """KL(N(m, s²) ‖ N(0, 1)) = (m² + s² − 1) / 2 − ln s, within four standard errors."""
    for mean, sd in ((0.3, 0.8), (0.0, 0.6), (0.1, 1.0)):
        draws = run("dadvi", mean, sd).draws
        assert draws is not None
        assert draws.log_p is not None
        assert draws.log_q is not None
        kl = metrics.divergence(draws.log_p, draws.log_q)
        assert abs(kl.value - ((mean**2 + sd**2 - 1) / 2 - math.log(sd))) <= 4 * kl.mcse
        assert 0 < kl.mcse < 0.1


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_weight_that_is_not_finite_gives_no_divergence(bad: float) -> None:
    """One such draw of ten thousand is enough."""
    log_p = np.zeros((1, 100))
    log_p[0, 3] = bad
    assert math.isnan(metrics.divergence(log_p, np.zeros((1, 100))).value)


@pytest.mark.parametrize("seed", range(20))
def test_no_divergence_is_negative(seed: int) -> None:
    """Rounding alone would put that of an exact fit a little below 0, in some seeds."""
    log_p = np.random.default_rng(seed).normal(size=(1, 1000))
    assert metrics.divergence(log_p, log_p + 0.1).value >= 0


def test_a_seed_that_is_not_known_makes_the_worst_unknown() -> None:
    """Its divergence and k-hat might be the largest."""
    whole, other = run("dadvi", 0.0, 0.8), run("dadvi", 0.0, 0.8, seed=2)
    assert other.draws is not None
    blind = dataclasses.replace(other, draws=dataclasses.replace(other.draws, log_q=None))
    assert found(whole, other)["dadvi"].divergence.value > 0
    standing_of = found(whole, blind)["dadvi"]
    assert math.isnan(standing_of.divergence.value)
    assert math.isnan(standing_of.khat.value)


def test_methods_are_measured_against_weighted_draws_without_a_doubt() -> None:
    """Who agrees passes, who differs fails with a figure, and the one in between is itself."""
    by = found(run("dadvi", 0.0, 0.4), run("dadvi_lr", 0.0, 1.0), run("dadvi_psis", 0.0, 1.0))
    assert {s.beside for s in by.values()} == {"dadvi_psis"}
    assert by["dadvi"].level == "fail"
    assert "sd of x" in by["dadvi"].short
    assert by["dadvi_lr"].level == "pass"
    assert by["dadvi_psis"].level == "unknown"
    assert by["dadvi"].divergence.value > 0.3


def test_weighted_draws_that_doubt_themselves_are_no_yardstick() -> None:
    """Then the others are measured against the fit with the smallest k-hat."""
    doubted = run("dadvi_psis", 0.0, 1.0, reason=Reason.WEIGHTS)
    by = found(run("dadvi", 0.5, 0.5), run("dadvi_lr", 0.0, 1.0), doubted)
    assert by["dadvi"].beside == "dadvi_lr"
    assert by["dadvi_psis"].doubts == {Reason.WEIGHTS: 1}


def test_where_everything_is_in_doubt_the_chains_are_the_yardstick() -> None:
    """A fit without a doubt of its own is none if its weights show that it is nowhere near."""
    chains = run("short_chains", 0.0, 1.0, reason=Reason.NOT_MIXED)
    doubted = run("dadvi_psis", 0.0, 1.0, reason=Reason.WEIGHTS)
    narrow, far = run("laplace", 0.0, 0.05), run("laplace", 7.0, 1.0)
    for fit in (narrow, far):
        assert found(fit, chains, doubted)["laplace"].beside == "short_chains"
    assert found(run("laplace", 0.0, 0.9), chains, doubted)["short_chains"].beside == "laplace"
    rather_narrow = run("laplace", 0.0, 0.4)
    khat = found(rather_narrow, chains, doubted)["laplace"].khat.value  # 1 - 0.4^2 in theory
    assert 0.7 < khat < 1.0, khat
    assert found(rather_narrow, chains, doubted)["laplace"].beside == "short_chains"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_fit_whose_divergence_is_not_known_is_not_near(bad: float) -> None:
    """One draw of 10 000 without a finite density is enough, however good the others are."""
    chains = run("short_chains", 0.0, 1.0, reason=Reason.NOT_MIXED)
    fit = run("laplace", 0.0, 0.9)
    assert fit.draws is not None
    assert fit.draws.log_p is not None
    log_p = fit.draws.log_p.copy()
    log_p[0, 3] = bad
    outside = dataclasses.replace(fit, draws=dataclasses.replace(fit.draws, log_p=log_p))
    by = found(outside, chains)
    assert math.isnan(by["laplace"].divergence.value)
    assert by["laplace"].beside == "short_chains"


def test_where_a_run_found_other_basins_a_fit_in_one_is_no_yardstick() -> None:
    """It does not know of the others, and says so of nothing; without chains it is all there is."""
    chains = run("short_chains", 0.0, 1.0, reason=Reason.NOT_MIXED)
    fit, finder = run("laplace", 0.0, 0.9), run("dadvi", 0.0, 0.9, reason=Reason.OTHER_BASINS)
    assert found(fit, chains, finder)["dadvi"].beside == "short_chains"
    assert found(fit, chains, run("dadvi", 0.0, 0.9))["laplace"].beside != "short_chains"
    assert found(fit, finder)["dadvi"].beside == "laplace"


def test_a_method_that_short_chains_found_off_is_no_yardstick(tmp_path: Path) -> None:
    """Then the others are measured against the next, and unknown verdicts say so."""
    runs = (run("dadvi_lr", 0.5, 0.9), run("dadvi", 0.4, 0.8), run("laplace", 0.0, 0.9))
    program = tmp_path / "m.stan"
    program.write_text("parameters { real x; } model { x ~ normal(0, 1); }", encoding="utf-8")
    model = dataclasses.replace(MODEL, stan_file=program)
    none = Reference("none", trusted=False, why="NUTS was not run")
    names = [r.spec.method for r in runs]
    verdicts = [Verdict("m", n, "unknown", "unknown", 1, 0, "nothing", ()) for n in names]
    before = with_standings(
        ModelComparison(model, None, none, runs, verdicts=tuple(verdicts)), runs, Measuring()
    )
    first = before.standings[0].beside
    off = [dataclasses.replace(v, level="warn") if v.method == first else v for v in verdicts]
    after = with_standings(dataclasses.replace(before, verdicts=tuple(off)), runs, Measuring())
    assert after.standings[0].beside not in {first, ""}
    said = {v.method: v.headline for v in after.verdicts}
    assert said[first] == "nothing"
    assert all(n == first or "nothing" not in said[n] for n in names)
    assert with_standings(after, runs, Measuring()) is after


def test_without_draws_there_is_nothing_to_say() -> None:
    """A failed run has no standing, and no other method is measured against it."""
    lost = RunResult(
        RunSpec("m", "dadvi", {}, 1, N), "a" * 64, "failed", "no", None, None, {}, Cost(1.0), {}
    )
    assert found(lost) == {}
    by = found(lost, run("dadvi_lr", 0.0, 1.0))
    assert by["dadvi"].level == "fail"
    assert math.isnan(by["dadvi"].khat.value)


def test_words_name_who_agrees_who_differs_and_what_they_doubt() -> None:
    """The summary counts on nothing that vouches; a cell has figures with their errors."""
    by = found(
        run("dadvi", 0.0, 0.4, reason=Reason.OTHER_BASINS),
        run("dadvi_lr", 0.0, 1.0),
        run("dadvi_psis", 0.0, 1.0),
    )
    none = Reference("none", trusted=False, why="NUTS was not run")
    entry = ModelComparison(MODEL, None, none, standings=tuple(by.values()))
    said = standing.summary(entry)
    assert "measured against DADVI + PSIS, for which nothing vouches" in said
    assert "DADVI + LR agrees" in said
    assert "DADVI differs" in said
    assert standing.headline(by["dadvi"]).startswith("doubts itself: other basins; ")
    assert "with DADVI + PSIS as reference: " in standing.headline(by["dadvi"])
    assert "nats by its own weights" in standing.headline(by["dadvi"])
    known = by["dadvi"].divergence
    vague = dataclasses.replace(by["dadvi"], divergence=Estimate(known.value, known.value))
    assert "nats" not in standing.headline(vague)
    assert standing.first_words(entry, 3) == [f"m: {said} (3 runs to come)"]
    assert standing.summary(ModelComparison(MODEL, None, none)) == ""


def test_doubts_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    """Reasons with their counts; a page made again from results says the same."""
    by = found(run("dadvi", 0.0, 0.4, reason=Reason.WEIGHTS), run("dadvi_lr", 0.0, 1.0))
    assert by["dadvi"].doubts == {Reason.WEIGHTS: 1}
    none = Reference("none", trusted=False, why="NUTS was not run")
    entry = ModelComparison(MODEL, None, none, standings=tuple(by.values()))
    files.write(Comparison((entry,), (), {}), tmp_path)
    (again,) = files.read(tmp_path).models
    assert [s.doubts for s in again.standings] == [s.doubts for s in entry.standings]
