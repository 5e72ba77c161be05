"""Short chains as a reference: alone, beside NUTS, and where the two disagree."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_trust import chains, nuts

from harness import judgement
from harness.methods.short_chains_fit import in_short
from harness.metrics import two_runs
from harness.records import Cost, Draws, FloatArray, Model, Reason, RunResult, RunSpec, Status
from harness.study.agreement import ALIKE
from harness.study.reference import Chosen, choose_reference
from harness.vi.short_chains.checks import CHECKS

MODEL = Model("m", "m", Path("m.stan"), None)
NAMES = ("x[1]", "x[2]")


def ensemble(values: FloatArray, reason: Reason | None = None) -> RunResult:
    """Return a run of short chains with these draws, shape ``(chain, draw, quantity)``."""
    spec = RunSpec("m", "short_chains", {}, 1, values.shape[0] * values.shape[1])
    draws = Draws(NAMES, values, iid=False)
    status: Status = "ok" if reason is None else "not_converged"
    message = "" if reason is None else "chains remember where they began"
    return RunResult(spec, "short", status, message, draws, None, {}, Cost(1.0), {}, reason=reason)


def short(seed: int, shift: float = 0.0) -> FloatArray:
    """Return 512 chains of 20 independent draws of two standard normals, the first shifted."""
    values = np.random.default_rng([seed, 7]).standard_normal((512, 20, 2))
    values[:, :, 0] += shift
    return values


def long(seed: int) -> FloatArray:
    """Return what NUTS would: four chains of 1000 draws of two standard normals."""
    return chains(np.random.default_rng([seed, 8]), 2, 0.3)


def chosen(*runs: RunResult, choice: str = "auto") -> Chosen:
    """Choose a reference among these runs."""
    return choose_reference(MODEL, runs, choice)


@pytest.mark.parametrize("seed", range(20))
def test_two_references_that_agree_are_stronger_evidence(seed: int) -> None:
    """NUTS stays the reference, and the evidence names both."""
    found = chosen(nuts(long(seed)), ensemble(short(seed))).reference
    assert (found.kind, found.trusted, found.evidence) == ("nuts", True, "nuts+ensemble")
    assert found.disagreement is None


@pytest.mark.parametrize("seed", range(20))
def test_a_mode_that_nuts_misses_makes_neither_trusted(seed: int) -> None:
    """The record has the quantity, the figure, both values and how far apart they are."""
    two = short(seed)
    two[:154, :, 0] -= 8  # 30% of the chains
    found = chosen(nuts(long(seed)), ensemble(two)).reference
    assert not found.trusted
    assert found.evidence == "none"
    assert found.disagreement is not None
    assert found.disagreement.quantity == "x[1]"
    assert found.disagreement.gap > 1
    assert found.disagreement.gap > 10 * found.disagreement.error
    assert "disagree" in found.short


def test_no_verdict_is_given_on_references_that_disagree() -> None:
    """A fit like NUTS does not pass, and one like the ensemble does not either."""
    reference = chosen(nuts(long(1)), ensemble(short(1, shift=0.5))).reference
    for method in ("nuts", "short_chains", "meanfield"):
        run = replace(nuts(long(2)), spec=RunSpec("m", method, {}, 1, 4000))
        verdict = judgement.judge_method(MODEL, method, [run], [], reference)
        assert (verdict.level, verdict.evidence) == ("unknown", "none")


@pytest.mark.parametrize(("shift", "agree"), [(ALIKE, True), (4 * ALIKE, False)])
def test_what_does_not_matter_for_a_verdict_is_no_disagreement(shift: float, agree: bool) -> None:
    """Shifts are in sds: the first is within what is allowed, the second beyond it and noise."""
    found = chosen(nuts(long(3)), ensemble(short(3, shift=shift))).reference
    assert found.trusted is agree


def test_what_cannot_be_compared_does_not_agree() -> None:
    """A quantity that the ensemble lacks leaves both without trust."""
    run = ensemble(short(4))
    assert run.draws is not None
    part = replace(run, draws=replace(run.draws, names=("x[1]", "y")))
    found = chosen(nuts(long(4)), part).reference
    assert not found.trusted
    assert found.disagreement is not None
    assert math.isinf(found.disagreement.gap)


def test_the_ensemble_serves_where_nuts_does_not() -> None:
    """Verdicts rest on it, and the reasons against NUTS are kept."""
    stuck = long(5)
    stuck[0] += 8
    found = chosen(nuts(stuck), ensemble(short(5)))
    assert (found.reference.kind, found.reference.evidence) == ("ensemble", "ensemble")
    assert "R-hat" in found.reference.why
    assert found.reference.draws is not None
    assert found.reference.draws.values.shape[0] == 512


def test_nuts_that_may_be_made_better_is_made_again_first() -> None:
    """The ensemble does not end the attempts."""
    found = chosen(nuts(long(6), diverging=8), ensemble(short(6)))
    assert found.again == {"adapt_delta": 0.95}


@pytest.mark.parametrize(
    ("cut", "diverging", "kind"),
    [(True, 8, "nuts"), (False, 8, "ensemble"), (True, 200, "ensemble")],
)
def test_an_ensemble_that_lacks_a_tail_of_a_nuts_that_only_diverged_does_not_serve(
    cut: bool, diverging: int, kind: str
) -> None:
    """Divergences keep NUTS from narrow places, and bring it nowhere; with many it tells little."""
    values = short(6)
    if cut:
        values[:, :, 0] = np.abs(values[:, :, 0])
    found = chosen(nuts(long(6), diverging=diverging, adapt_delta=0.99), ensemble(values))
    assert not found.again
    assert found.reference.kind == kind
    assert found.reference.trusted is (kind == "ensemble")
    if kind == "nuts":
        assert found.reference.disagreement is not None
        assert found.reference.disagreement.quantity == "x[1]"
        assert "only diverged at times" in found.reference.short


@pytest.mark.parametrize("choice", ["auto", "ensemble"])
def test_without_nuts_the_ensemble_is_the_reference(choice: str) -> None:
    """It is level "reference" itself, and other methods are judged by it."""
    found = chosen(ensemble(short(7)), choice=choice).reference
    assert (found.kind, found.trusted, found.method) == ("ensemble", True, "short_chains")
    run = ensemble(short(7))
    verdict = judgement.judge_method(MODEL, "short_chains", [run], [], found)
    assert (verdict.level, verdict.evidence) == ("reference", "ensemble")


@pytest.mark.parametrize("choice", ["auto", "ensemble"])
def test_an_ensemble_that_doubts_itself_is_no_reference(choice: str) -> None:
    """Neither alone, nor does it take trust from NUTS."""
    doubtful = ensemble(short(8), reason=Reason.NOT_MIXED)
    alone = chosen(doubtful, choice=choice).reference
    assert (alone.kind, alone.trusted, alone.draws) == ("none", False, None)
    assert "chains remember where they began" in alone.short
    beside = chosen(nuts(long(8)), doubtful).reference
    assert (beside.kind, beside.evidence) == ("nuts", "nuts")


def test_the_short_reason_names_two_checks_and_counts_the_rest() -> None:
    """Each with its value and limit; the whole one is the run's own message."""
    fine = {check.id: check.rule.close for check in CHECKS}
    figures = {**fine, "nested_rhat": 1.0424, "ess": math.nan, "memory": 0.5, "stuck": 0.2}
    doubtful = replace(
        ensemble(short(8), reason=Reason.NOT_MIXED),
        diagnostics={f"chains_{name}": value for name, value in figures.items()},
    )
    found = chosen(doubtful).reference
    assert found.short == (
        "short chains doubt themselves: share of chains that never moved: 20.0% (allowed: at most "
        "0.2%); nested R-hat: 1.0424 (allowed: at most 1.0100); and 2 more checks"
    )
    assert "chains remember where they began" in found.why
    one = {**fine, "ess": math.nan}
    assert in_short({f"chains_{n}": v for n, v in one.items()}).startswith("effective draws: unkn")
    assert in_short({f"chains_{n}": v for n, v in fine.items()}) == ""


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("weight_share", 0.00996, "0.996% (allowed: at least 1.000%)"),
        ("nested_rhat", 1.010004, "1.010004 (allowed: at most 1.010000)"),
        ("ess", 1999.6, "1999.6 (allowed: at least 2000.0)"),
    ],
)
def test_a_figure_never_looks_like_the_limit_that_it_breaks(
    name: str, value: float, said: str
) -> None:
    """It gets more digits."""
    figures = {check.id: check.rule.close for check in CHECKS} | {name: value}
    assert said in in_short({f"chains_{n}": v for n, v in figures.items()})


def test_agreement_within_large_errors_is_no_second_witness() -> None:
    """NUTS stays trusted by its own diagnostics, and the evidence is NUTS alone."""
    few = ensemble(short(12)[:8])  # 160 draws: an outer quantile is known to some .17 sd
    found = chosen(nuts(long(12)), few).reference
    assert (found.trusted, found.evidence) == (True, "nuts")
    assert "short chains" not in found.why


def test_nuts_that_was_chosen_and_not_run_is_not_replaced() -> None:
    """The user's choice rules out the ensemble."""
    assert chosen(ensemble(short(13)), choice="nuts").reference.kind == "none"


def test_the_user_may_choose_either() -> None:
    """Whatever the other one says."""
    runs = nuts(long(9)), ensemble(short(9, shift=2.0))
    assert chosen(*runs, choice="nuts").reference.evidence == "nuts"
    assert chosen(*runs, choice="ensemble").reference.evidence == "ensemble"


def test_distances_between_runs_are_in_sds_of_the_wider_one() -> None:
    """A shift of 2 of an N(0, 2) is one sd, within four standard errors."""
    one, two = 2 * long(10), 2 * long(11)
    two[:, :, 1] += 2
    gaps = two_runs.apart(nuts(one), nuts(two), NAMES)
    means = {gap.quantity: gap for gap in gaps if gap.figure == "mean"}
    assert abs(means["x[2]"].gap - 1) < 4 * means["x[2]"].error
    assert means["x[1]"].gap < 4 * means["x[1]"].error
