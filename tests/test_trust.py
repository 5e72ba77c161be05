"""NUTS as the reference: noise does not refuse it, and what can be corrected is corrected."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import chi2

from harness import judgement
from harness.judgement.trust import rhat_limit
from harness.methods import METHODS
from harness.metrics.measure import chain_measures
from harness.records import Cost, Draws, FloatArray, Model, RunResult, RunSpec
from harness.records.budget import MAX_NUTS_SAMPLES
from harness.study.reference import ADAPT_DELTAS, Chosen, choose_reference, made_again

MODEL = Model("m", "m", Path("m.stan"), None)


def chains(rng: np.random.Generator, d: int, rho: float, n: int = 1000) -> FloatArray:
    """Return four stationary AR(1) chains of d standard normals, shape (chain, draw, quantity)."""
    noise = rng.standard_normal((4, n, d)) * math.sqrt(1 - rho**2)
    noise[:, 0] = rng.standard_normal((4, d))
    return np.asarray(lfilter([1.0], [1.0, -rho], noise, axis=1))


def nuts(values: FloatArray, *, diverging: int = 0, key: str = "", **options: Any) -> RunResult:
    """Return a run of NUTS with these draws."""
    shape = values.shape[:2]
    diverged = np.zeros(shape)
    diverged.flat[:diverging] = 1
    depth = np.full(shape, 3.0)
    energy = np.random.default_rng(0).standard_normal(shape)
    stats = {"diverging": diverged, "energy": energy, "tree_depth": depth}
    names = tuple(f"x[{i + 1}]" for i in range(values.shape[2]))
    chosen = {**METHODS["nuts"].defaults, "samples": shape[1], **options}
    spec = RunSpec("m", "nuts", chosen, 1, values.shape[0] * shape[1])
    draws = Draws(names, values, stats=stats, iid=False)
    limit = {"max_tree_depth": float(chosen["max_treedepth"])}
    key = key or f"{chosen['adapt_delta']}/{shape[1]}/{diverging}"
    return RunResult(spec, key, "ok", "", draws, None, limit, Cost(1.0), {})


def trust(values: FloatArray) -> judgement.ChainJudgement:
    """Judge chains by all their diagnostics."""
    run = nuts(values)
    assert run.draws is not None
    return judgement.judge_chains(chain_measures(run, run.draws.names, "nuts"))


# --- R-hat -----------------------------------------------------------------------------------


def test_the_limit_of_r_hat_is_what_chance_explains() -> None:
    """√(1 + χ²/ESS), rounded up to 0.0001, at most 1.05, NaN where the ESS is."""
    for ess, d in ((710.0, 10), (400.0, 50), (2000.0, 400)):
        wanted = math.sqrt(1 + chi2.isf(0.01 / d, 7) / ess)
        assert 0 <= rhat_limit(ess, 4, d) - wanted <= 1e-4
    assert rhat_limit(100.0, 4, 50) == 1.05
    assert rhat_limit(710.0, 2, 10) < rhat_limit(710.0, 4, 10)
    for bad in (math.nan, 0.0, -3.0):
        assert math.isnan(rhat_limit(bad, 4, 1))


def refused(d: int, rho: float, repetitions: int, seed: int) -> int:
    """Return how many sets of stationary chains are refused."""
    rng = np.random.default_rng([seed, d])
    return sum(not trust(chains(rng, d, rho)).trusted for _ in range(repetitions))


def allowed(repetitions: int) -> float:
    """Return 1% of the repetitions and three standard errors."""
    return 0.01 * repetitions + 3 * math.sqrt(0.01 * 0.99 * repetitions)


@pytest.mark.parametrize(("d", "rho", "repetitions"), [(1, 0.7, 300), (10, 0.6, 60), (50, 0.5, 12)])
def test_stationary_chains_are_trusted(d: int, rho: float, repetitions: int) -> None:
    """All diagnostics together refuse at most 1%, within three standard errors."""
    assert refused(d, rho, repetitions, 1) <= allowed(repetitions)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("d", "rho", "repetitions"),
    [
        (1, 0.7, 3000),
        (10, 0.3, 500),
        (10, 0.65, 500),
        (50, 0.6, 200),
        (400, 0.0, 40),
        (400, 0.5, 40),
    ],
)
def test_many_stationary_chains_are_trusted(d: int, rho: float, repetitions: int) -> None:
    """The same with more repetitions and up to 400 quantities."""
    assert refused(d, rho, repetitions, 2) <= allowed(repetitions)


@pytest.mark.parametrize("d", [1, 10, 50])
def test_chains_in_different_places_are_refused(d: int) -> None:
    """One chain shifted by half an sd, or each in one of two modes: never taken for chance."""
    rng = np.random.default_rng(d)
    for rho in (0.0, 0.7):
        shifted = chains(rng, d, rho)
        shifted[3, :, 0] += 0.5
        assert not trust(shifted).trusted
        stuck = chains(rng, d, rho)
        stuck[:2, :, 0] += 8
        assert not trust(stuck).trusted


def test_the_limit_that_was_used_is_printed() -> None:
    """A finding has the limit of its own quantity's ESS, and its words say it."""
    figures = {"rhat": 1.03, "ess_bulk": 900.0, "ess_tail": 900.0, "chain_modes": 0.0}
    run = nuts(chains(np.random.default_rng(1), 1, 0.0))
    measures = [
        replace(m, value=figures.get(m.metric, m.value))
        for m in chain_measures(run, ("x[1]",), "nuts")
    ]
    found = judgement.judge_chains(measures)
    (finding,) = found.findings
    assert finding.rule.close == rhat_limit(900.0, 4, 1)
    assert "Here up to 1.0103 is close" in finding.sentence


# --- made again ------------------------------------------------------------------------------


def choose(*runs: RunResult) -> Chosen:
    """Choose a reference among runs of NUTS; the last is the present one."""
    return choose_reference(MODEL, runs[-1:], "auto", earlier=runs[:-1])


def good(seed: int, n: int = 1000, shift: float = 0.0, **more: Any) -> RunResult:
    """Return independent chains of two quantities."""
    rng = np.random.default_rng(seed)
    values = chains(rng, 2, 0.0, n)
    values[:, :, 0] += shift
    return nuts(values, **more)


def again(chosen: Chosen) -> Mapping[str, Any]:
    """Return what is asked for, if the reference is not trusted."""
    assert not chosen.reference.trusted
    return chosen.again


def test_divergences_are_followed_by_smaller_steps() -> None:
    """0.95, then 0.99; a run without any is the reference, and the record says what was done."""
    first = good(1, diverging=8)
    assert again(choose(first)) == {"adapt_delta": 0.95}
    second = good(2, adapt_delta=0.95)
    found = choose(first, second)
    assert found.reference.trusted
    assert found.nuts is second
    assert not found.again
    tried = [(a.adapt_delta, a.divergences, a.trusted) for a in found.reference.attempts]
    assert tried == [(0.8, 8, False), (0.95, 0, True)]
    (words,) = made_again(found.reference.attempts)
    assert words == "made again with adapt_delta 0.95: 8 divergences at 0.8, 0 now"
    assert words in found.reference.why


def test_the_user_may_begin_with_smaller_steps() -> None:
    """``--set nuts.adapt_delta=0.99`` leaves nothing to raise."""
    found = choose(good(1, diverging=8, adapt_delta=0.99))
    assert again(found) == {}
    assert again(choose(good(1, diverging=8, adapt_delta=0.9))) == {"adapt_delta": 0.95}


def test_a_few_divergences_are_a_note_where_a_second_run_agrees() -> None:
    """Up to 0.1% of the draws, in the means and outer quantiles of every quantity."""
    few = good(1, diverging=3)
    assert again(choose(few)) == {"adapt_delta": 0.95}
    agrees = choose(few, good(2, diverging=2, adapt_delta=0.95))
    assert agrees.reference.trusted
    assert agrees.reference.attempts[0].trusted
    differs = good(2, diverging=2, adapt_delta=0.95, shift=0.3)
    assert again(choose(few, differs)) == {"adapt_delta": 0.99}
    last = good(3, diverging=1, adapt_delta=0.99, shift=-0.3)
    found = choose(few, differs, last)
    assert again(found) == {}
    assert "made again with adapt_delta 0.95" in found.reference.why
    assert "made again with adapt_delta 0.99" in found.reference.why
    assert [f.measure.metric for f in found.reference.findings] == ["divergences"]


def test_divergences_at_every_step_size_are_refused() -> None:
    """More than 0.1% throughout: the reasons say that smaller steps were tried."""
    runs = [good(i, diverging=40, adapt_delta=a) for i, a in enumerate((0.8, *ADAPT_DELTAS))]
    found = choose(*runs)
    assert again(found) == {}
    assert "40 divergences at 0.95, 40 now" in found.reference.why


def test_stuck_chains_are_not_made_again() -> None:
    """Smaller steps do not bring chains together, and neither do deeper trees."""
    values = chains(np.random.default_rng(1), 2, 0.0)
    values[0] += 8
    run = nuts(values, diverging=4)
    assert again(choose(run)) == {}
    assert run.draws is not None
    run.draws.stats["tree_depth"][:] = 10.0  # type: ignore[index]
    assert again(choose(run)) == {}


def test_too_few_effective_draws_are_lengthened_up_to_the_budget() -> None:
    """By what the ESS lacks, at least twice; at the budget the reference is refused."""
    slow = nuts(chains(np.random.default_rng(3), 2, 0.9))
    more = int(again(choose(slow))["samples"])
    assert 2000 <= more <= MAX_NUTS_SAMPLES
    longer = nuts(chains(np.random.default_rng(4), 2, 0.9, more))
    found = choose(slow, longer)
    assert found.reference.trusted
    assert f"made again with {more} draws a chain: bulk ESS" in found.reference.why
    end = nuts(chains(np.random.default_rng(5), 2, 0.99, MAX_NUTS_SAMPLES))
    assert again(choose(slow, end)) == {}


def test_a_few_divergences_beside_other_faults_are_followed_by_smaller_steps() -> None:
    """A funnel's ESS suffers from what the sampler could not enter: length comes second."""
    slow = chains(np.random.default_rng(3), 2, 0.9)
    assert again(choose(nuts(slow, diverging=3))) == {"adapt_delta": 0.95}
    assert "samples" in again(choose(nuts(slow, diverging=3, adapt_delta=0.99)))


def test_trajectories_that_are_cut_short_get_deeper_trees() -> None:
    """Two doublings more, twice."""
    run = good(1)
    assert run.draws is not None
    run.draws.stats["tree_depth"][:] = 10.0  # type: ignore[index]
    assert again(choose(run)) == {"max_treedepth": 12}


def test_a_trusted_run_that_loses_trust_by_growing_stays_at_its_first_length() -> None:
    """With its larger error; smaller steps are tried first."""
    first, longer = good(1), good(2, 2000, diverging=9)
    found = choose(first, longer)
    assert found.reference.trusted
    assert found.nuts is first
    assert found.again == {"adapt_delta": 0.95}
    end = [good(3, 2000, diverging=9, adapt_delta=a) for a in ADAPT_DELTAS]
    found = choose(first, longer, *end)
    assert found.reference.trusted
    assert not found.again
    assert found.nuts is first
    assert found.reference.draws is first.draws
    grown = made_again(found.reference.attempts)[0]
    assert "and is not trusted (0.1% of transitions diverged)" in grown


def test_a_second_run_without_draws_changes_nothing() -> None:
    """The first stays what it was, and no third is made."""
    first = good(1, diverging=8)
    spec = RunSpec("m", "nuts", {**first.spec.options, "adapt_delta": 0.95}, 1, 4000)
    gone = RunResult(spec, "gone", "timed_out", "too long", None, None, {}, Cost(1.0), {})
    found = choose(first, gone)
    assert again(found) == {}
    assert found.nuts is first
    assert found.reference.attempts[1].divergences is None
    assert "no draws now" in found.reference.why
