"""Causes of an optimiser gap: each is named for a run built to have it, and not for its like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from harness.methods import METHODS
from harness.records import Cause, Cost, Estimate, RunResult, RunSpec, Status, Trace
from harness.records.text import integer
from harness.why.causes import cause_sentence, causes_of
from harness.why.causes.row import COUNTS, OptimiserScene
from harness.why.causes.stopping import looks_of

BEST = -100.0
"""ELBO(q*), nats."""

GAP = Estimate(0.5, 0.01)


def run(
    method: str = "meanfield",
    *,
    looks: Sequence[float] | None = None,
    status: Status = "ok",
    message: str = "",
    iterations: float = 1000.0,
    eta: float | None = 1.0,
    gain: float | None = None,
    **options: Any,
) -> RunResult:
    """Return a run whose looks at the ELBO were so many nats below the best."""
    spec = RunSpec("m", method, {**METHODS[method].defaults, **options}, 1, 1000)
    diagnostics = {"iterations": iterations}
    if eta is not None:
        diagnostics["eta"] = eta
    if gain is not None:
        diagnostics["elbo_gain"] = gain
    trace = None
    if looks is not None:
        at = np.arange(1.0, len(looks) + 1)
        trace = Trace(at, at, BEST - np.asarray(looks, dtype=float))
    return RunResult(spec, "k", status, message, None, trace, diagnostics, Cost(1.0), {})


def noisy(level: float, n: int = 20, sd: float = 0.05, seed: int = 1) -> Sequence[float]:
    """Return looks that go nowhere."""
    return [float(x) for x in level + sd * np.random.default_rng(seed).standard_normal(n)]


FALLING = [8.0 * 0.8**i for i in range(12)]
"""Looks of a run on its way: it ends 0.69 nats from the best."""


def optimiser_causes(
    result: RunResult, gap: Estimate, basin: Estimate | None = None, lost: float = 0.0
) -> tuple[Cause, ...]:
    """Return the causes of a run's gap."""
    looks = looks_of(result, BEST)
    return causes_of(
        OptimiserScene(
            gap=gap, rest=gap.value, run=result, best=BEST, basin=basin, lost=lost, looks=looks
        )
    )


def only(
    result: RunResult, gap: Estimate = GAP, basin: Estimate | None = None, lost: float = 0.0
) -> Cause:
    """Return the one cause that is found; its sentence has no full stop."""
    (cause,) = optimiser_causes(result, gap, basin, lost)
    assert cause.gap == "optimiser"
    assert cause.nats > 0
    sentence = cause_sentence(cause)
    assert not sentence.endswith(".")
    assert "nan" not in sentence.lower()
    assert "unknown" not in sentence
    return cause


@pytest.mark.parametrize("eta", [10.0, 100.0])
def test_a_large_step_and_a_large_gap_are_a_runaway(eta: float) -> None:
    """The step size that CmdStan's adaptation chose is in the words."""
    cause = only(run(eta=eta, looks=noisy(5.0)), Estimate(5.0, 0.1))
    assert cause.name == "runaway"
    assert cause.nats == 5.0
    assert f"step size {eta:g}" in cause_sentence(cause)


@pytest.mark.parametrize(
    ("eta", "nats"), [(1.0, 500.0), (0.1, 500.0), (None, 500.0), (100.0, 0.12), (10.0, 0.05)]
)
def test_a_small_step_or_a_small_gap_is_no_runaway(eta: float | None, nats: float) -> None:
    """However far a run with a small step is off; nor one with a large step that is near."""
    cause = only(run(eta=eta, looks=noisy(nats)), Estimate(nats, 0.01 * nats))
    assert cause.name != "runaway"


def test_a_run_that_was_stopped_on_its_way_was_stopped_early() -> None:
    """The words have the iteration, the rule's tolerance in nats, and the way from look to look."""
    cause = only(run(looks=FALLING, iterations=700), Estimate(0.6, 0.01))
    assert cause.name == "stopped early"
    for word in ("iteration 700", "0.01 of the ELBO's level", "1.0 nats", "still shrinking"):
        assert word in cause_sentence(cause)


def test_a_rule_that_is_blind_to_the_gap_stopped_the_run_early() -> None:
    """One per cent of an ELBO of −100 is more than the gap: with no looks to tell otherwise too."""
    cause = only(run(looks=None, iterations=200), Estimate(0.9, 0.01))
    assert cause.name == "stopped early"
    assert "1.0 nats" in cause_sentence(cause)


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_run_that_goes_nowhere_under_a_tight_rule_is_noisy(seed: int) -> None:
    """A gap that does not shrink and exceeds the rule's blind spot means noisy steps."""
    made = run(looks=noisy(0.5, seed=seed), tol_rel_obj=1e-4, eta=0.1, grad_samples=20)
    cause = only(made)
    assert cause.name == "noisy steps"
    assert "step size 0.1" in cause_sentence(cause)
    assert "20 draws per gradient" in cause_sentence(cause)
    assert "nats below the best" in cause_sentence(cause)


def test_a_run_that_used_all_its_iterations_on_the_way_ran_into_the_limit() -> None:
    """CmdStan's ``iter`` is reached and the distance still shrinks."""
    limit = float(METHODS["meanfield"].defaults["iter"])
    cause = only(run(looks=FALLING, iterations=limit), Estimate(0.6, 0.01))
    assert cause.name == "iteration limit"
    assert f"all {integer(limit)} iterations" in cause_sentence(cause)
    assert "still shrinking" in cause_sentence(cause)


@pytest.mark.parametrize("seed", range(1, 6))
def test_more_iterations_are_no_answer_where_the_limit_was_reached_at_rest(seed: int) -> None:
    """All iterations and no way made in the later half is noise, not the limit."""
    limit = float(METHODS["meanfield"].defaults["iter"])
    cause = only(run(looks=noisy(0.5, seed=seed), iterations=limit))
    assert cause.name == "noisy steps"


def test_draws_without_a_density_are_named_with_their_share() -> None:
    """The evaluations that CmdStan's ELBO drops are the cause unless a step size is."""
    cause = only(run(looks=noisy(0.5)), lost=0.025)
    assert cause.name == "dropped evaluations"
    assert "2.5%" in cause_sentence(cause)
    assert only(run(looks=noisy(0.5))).name != "dropped evaluations"


def test_a_runaway_that_lost_draws_says_so() -> None:
    """The step size is the cause, the lost draws its evidence."""
    cause = only(run(eta=100.0), Estimate(7.0, 0.1), lost=0.2)
    assert cause.name == "runaway"
    assert "20% of its draws have no density" in cause_sentence(cause)


@pytest.mark.parametrize("nats", [1.386, 1.38])
def test_another_optimum_is_named_with_its_elbo(nats: float) -> None:
    """All of the gap is its: nothing is left for the stopping rule."""
    basin = Estimate(1.386, 0.001)
    cause = only(run(looks=FALLING, eta=1.0), Estimate(nats, 0.01), basin)
    assert cause.name == "other basin"
    assert cause.nats == pytest.approx(nats)
    assert "1.39 nats lower" in cause_sentence(cause)


def test_a_run_may_be_in_another_basin_and_not_at_its_rest() -> None:
    """The gap is split: what the other optimum costs, and the way to it that is left."""
    gap = Estimate(3.386, 0.01)
    found = optimiser_causes(run(looks=FALLING), gap, Estimate(1.386, 0.001))
    assert {c.name for c in found} == {"stopped early", "other basin"}
    assert [c.nats for c in found] == sorted((c.nats for c in found), reverse=True)
    assert sum(c.nats for c in found) == pytest.approx(3.386)


@pytest.mark.parametrize("below", [0.0, 0.004, 0.05, -0.2])
def test_a_basin_that_explains_little_is_not_named(below: float) -> None:
    """A basin as good as the best, or a tenth of the gap, is not a cause."""
    cause = only(run(looks=FALLING), GAP, Estimate(below, 0.0))
    assert cause.name == "stopped early"
    assert cause.nats == GAP.value


@pytest.mark.parametrize(
    ("method", "name", "words"),
    [
        ("dadvi_lr", "linear response", "linear response"),
        ("quadrature_mse", "other objective", "KL(q ‖ p)"),
        ("dadvi", "few base draws", "fixed set of base draws"),
    ],
)
def test_methods_whose_optimum_is_another_by_construction_say_so(
    method: str, name: str, words: str
) -> None:
    """Their paths do not matter, and no other method gets these names."""
    (cause,) = optimiser_causes(run(method, eta=None, looks=FALLING), GAP)
    assert cause.name == name
    assert words in cause_sentence(cause)
    for other in ("meanfield", "advi", "advi_adam"):
        eta = 1.0 if other == "meanfield" else None
        assert only(run(other, eta=eta, looks=FALLING)).name != name


def test_the_harness_own_loop_stopped_by_its_own_rule() -> None:
    """The iteration at which the rule fired is in the words."""
    made = run("advi", eta=None, looks=FALLING, stop="relative", iterations=1234)
    cause = only(made)
    assert cause.name == "stopped early"
    assert "iteration 1234" in cause_sentence(cause)


@pytest.mark.parametrize("seed", range(1, 6))
def test_the_harness_own_loop_without_a_rule_is_limited_or_noisy(seed: int) -> None:
    """The distance still shrinks, or the run itself says so: the limit. Else: noise."""
    limit = float(METHODS["advi"].defaults["iterations"])
    # The looks' own distance is near the gap, as they are of the same q.
    on_its_way = run("advi", eta=None, looks=FALLING, stop="none", iterations=limit)
    assert only(on_its_way, Estimate(0.7, 0.01)).name == "iteration limit"
    rising = run("advi", eta=None, status="not_converged", stop="none", iterations=limit, gain=0.4)
    assert only(rising).name == "iteration limit"
    at_rest = run("advi", eta=None, looks=noisy(0.5, seed=seed), stop="none", iterations=limit)
    assert only(at_rest).name == "noisy steps"


@pytest.mark.parametrize(
    "gap",
    [
        Estimate(0.0, 0.0),
        Estimate(-0.4, 0.01),
        Estimate(COUNTS, 0.0),
        Estimate(COUNTS + 0.0199, 0.01),
        Estimate(0.5, math.nan),
        Estimate(math.nan, 0.01),
        Estimate(math.nan, math.nan),
    ],
)
@pytest.mark.parametrize("method", ["meanfield", "advi", "dadvi", "dadvi_lr"])
def test_a_gap_that_does_not_count_has_no_cause(method: str, gap: Estimate) -> None:
    """Under 0.005 nats beyond two errors, or not known: whatever the run looks like."""
    made = run(method, eta=100.0, looks=FALLING)
    assert optimiser_causes(made, gap, Estimate(1.0, 0.0), 0.1) == ()


@pytest.mark.parametrize("method", ["meanfield", "fullrank_tuned", "advi", "advi_adam", "dadvi"])
def test_a_gap_that_counts_always_has_a_cause(method: str) -> None:
    """Just beyond two errors, with looks or without, and never more nats than the gap."""
    for error in (0.0, 0.001, 0.1):
        gap = Estimate(COUNTS + 2 * error + 1e-4, error)
        for looks in (None, FALLING, noisy(0.5), [math.nan] * 12):
            found = optimiser_causes(run(method, eta=None, looks=looks), gap)
            assert found
            assert sum(c.nats for c in found) <= gap.value * (1 + 1e-12)


def test_looks_that_tell_nothing_are_none() -> None:
    """No trace, fewer than four finite looks: there is no distance."""
    assert looks_of(run(looks=None), BEST) is None
    assert looks_of(run(looks=[1.0, 0.5, 0.2]), BEST) is None
    assert looks_of(run(looks=[math.nan] * 20 + [math.inf] * 3), BEST) is None


def test_the_distance_is_that_of_the_later_half() -> None:
    """It is the median of the second half of the last looks; earlier ones do not count."""
    looks = [900.0] * 5 + [4.0] * 5 + [1.0] * 5
    found = looks_of(run(looks=looks), BEST)
    assert found is not None
    assert (found.earlier, found.later) == (4.0, 1.0)
    assert found.shrinking


@pytest.mark.parametrize("seed", range(1, 6))
def test_noise_is_no_way_that_was_made(seed: int) -> None:
    """Looks that scatter about one level do not shrink."""
    found = looks_of(run(looks=noisy(0.5, n=40, sd=0.3, seed=seed)), BEST)
    assert found is not None
    assert not found.shrinking


@pytest.mark.parametrize("method", ["meanfield", "advi", "dadvi"])
@pytest.mark.parametrize("error", [0.0, math.nan])
def test_an_infinite_gap_has_a_cause(method: str, error: float) -> None:
    """Draws without a density are a cause, whatever the error."""
    for lost in (0.0, 0.025):
        found = optimiser_causes(run(method, eta=None), Estimate(math.inf, error), None, lost)
        assert [math.isinf(c.nats) for c in found] == [True]


@pytest.mark.parametrize(("eta", "name"), [(100.0, "runaway"), (0.1, "collapsed")])
def test_a_q_without_width_has_a_cause(eta: float, name: str) -> None:
    """Its gap is infinite; a large step explains it, and otherwise it is called collapsed."""
    infinite = Estimate(math.inf, 0.0)
    scene = OptimiserScene(gap=infinite, rest=math.inf, run=run(eta=eta), best=BEST, collapsed=True)
    (cause,) = causes_of(scene)
    assert cause.name == name
    assert math.isinf(cause.nats)
    assert "collapsed to a point" in cause_sentence(cause)
