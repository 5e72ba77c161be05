"""Family gap and optimiser gap on the lecture's models, with real CmdStan."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest

from harness.models import exact, folders
from harness.models.data import load_data
from harness.records import Gap, ModelComparison
from harness.study import comparing
from harness.study.plan import Plan
from harness.why.verdicts import NEEDS_CAUSE
from harness.why.words import cause_in_short, cause_sentences

pytestmark = pytest.mark.stan

K = 4.5
"""Standard errors allowed, as in the other tests of the lecture."""

NEAR = 0.01
"""Nats that are negligible."""

BIAS = 1e-3
"""Nats by which q*, found with finitely many base draws, may miss its family's best."""


def gaps(model: ModelComparison, method: str) -> tuple[Gap, ...]:
    """Return a method's gaps, one for each seed; there is at least one."""
    assert model.explanation is not None
    found = model.explanation.of(method)
    assert found
    return found


def causes(gap: Gap, kind: str) -> list[str]:
    """Return the names of a gap's causes of one kind, the largest first."""
    return [c.name for c in gap.causes if c.gap == kind]


def family_gap(model: ModelComparison, method: str, expected: float) -> None:
    """Check that every seed has the known family gap."""
    for gap in gaps(model, method):
        assert abs(gap.family_gap.value - expected) < K * gap.family_gap.mcse + BIAS
        assert gap.family_gap.mcse < NEAR


def bias_of(model: ModelComparison, method: str, quantity: str) -> dict[int | None, float]:
    """Return a method's error of one mean by seed."""
    return {
        m.seed: m.value
        for m in model.measures
        if (m.method, m.quantity, m.metric) == (method, quantity, "bias")
    }


def test_mixture_good_seeds_lack_only_the_other_mode(
    lecture: Mapping[str, ModelComparison],
) -> None:
    """The family gap is −ln 0.8 = 0.223 nats, caused by several modes; the optimiser gap is nil."""
    model = lecture["mixture"]
    for method in ("meanfield_tuned", "fullrank_tuned"):
        family_gap(model, method, -np.log(0.8))
        biases = bias_of(model, method, "x")
        good = [g for g in gaps(model, method) if biases[g.seed] > 0]
        assert good
        for gap in good:
            assert abs(gap.optimiser_gap.value) < NEAR
            assert causes(gap, "family") == ["several modes"]
            assert causes(gap, "optimiser") == []
            assert gap.exact


def test_mixture_seeds_on_the_left_are_in_another_basin(
    lecture: Mapping[str, ModelComparison],
) -> None:
    """They lose ln 4 nats, the log ratio of the modes' masses, to another basin."""
    model = lecture["mixture"]
    found = 0
    for method in ("meanfield_tuned", "fullrank_tuned"):
        biases = bias_of(model, method, "x")
        for gap in gaps(model, method):
            if biases[gap.seed] < 0:
                assert gap.optimiser_gap.value == pytest.approx(np.log(4), abs=NEAR)
                assert causes(gap, "optimiser") == ["other basin"]
                found += 1
    assert found > 0


def test_mixture_runaways_are_the_optimisers(lecture: Mapping[str, ModelComparison]) -> None:
    """With the largest step size a runaway's gap dominates; a collapsed q's is infinite."""
    model = lecture["mixture"]
    eta = {(r.spec.method, r.spec.seed): r.diagnostics.get("eta", 0.0) for r in model.runs}
    away = [g for m in ("meanfield", "fullrank") for g in gaps(model, m) if eta[m, g.seed] >= 100]
    assert away
    assert all(g.optimiser_gap.value > 3 * g.family_gap.value for g in away)
    assert all("runaway" in causes(g, "optimiser") for g in away)
    for gap in away:
        collapsed = "collapsed to a point" in gap.words
        assert math.isinf(gap.optimiser_gap.value) == collapsed


def test_linear_regression_lacks_correlation(lecture: Mapping[str, ModelComparison]) -> None:
    """Correlation causes most of mean-field's gap; full-rank's gap is under a tenth of it."""
    model = lecture["linear_regression"]
    (full, *_) = gaps(model, "fullrank_tuned")
    for gap in gaps(model, "meanfield_tuned"):
        assert causes(gap, "family")[0] == "correlation"
        cause = next(c for c in gap.causes if c.name == "correlation")
        assert cause.nats > 0.8 * gap.family_gap.value
        assert full.family_gap.value < 0.1 * gap.family_gap.value
        assert "predicted" in cause.evidence


def test_conjugate_regression_has_the_closed_form(
    lecture: Mapping[str, ModelComparison],
) -> None:
    """Mean-field's gap is ½ (Σ ln Λᵢᵢ − ln det Λ) nats, full-rank's is 0."""
    model = lecture["conjugate_regression"]
    precision = exact.conjugate_posterior(load_data(model.model)).precision
    expected = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])
    for method in ("meanfield", "meanfield_tuned"):
        family_gap(model, method, float(expected))
        assert all(causes(g, "family") == ["correlation"] for g in gaps(model, method))
    family_gap(model, "fullrank_tuned", 0.0)


def test_normal_mean_has_no_family_gap(lecture: Mapping[str, ModelComparison]) -> None:
    """Tuned fits have no gap; default fits have an optimiser gap only."""
    model = lecture["normal_mean"]
    for method in ("meanfield_tuned", "fullrank_tuned"):
        family_gap(model, method, 0.0)
        for gap in gaps(model, method):
            assert abs(gap.optimiser_gap.value) < NEAR
            assert gap.causes == ()
    eta = {(r.spec.method, r.spec.seed): r.diagnostics.get("eta", 0.0) for r in model.runs}
    away = 0
    for method in ("meanfield", "fullrank"):
        family_gap(model, method, 0.0)
        for gap in gaps(model, method):
            assert causes(gap, "family") == []
            if eta[method, gap.seed] >= 100 and gap.optimiser_gap.value > 0.2:
                assert causes(gap, "optimiser") == ["runaway"]
                away += 1
        assert any(causes(g, "optimiser") for g in gaps(model, method))
    assert away > 0


def test_student_t_lacks_tails(lecture: Mapping[str, ModelComparison]) -> None:
    """The gap is 0.0407 nats, because a Gaussian's tails are too light."""
    family_gap(lecture["student_t"], "meanfield_tuned", 0.04070)
    for gap in gaps(lecture["student_t"], "meanfield_tuned"):
        assert causes(gap, "family") == ["light tails"]
        assert abs(gap.optimiser_gap.value) < NEAR


def test_beta_unit_lacks_skew(lecture: Mapping[str, ModelComparison]) -> None:
    """The gap is 0.0410 nats, because the logit of theta is skewed."""
    family_gap(lecture["beta_unit"], "meanfield_tuned", 0.041045)
    for gap in gaps(lecture["beta_unit"], "meanfield_tuned"):
        assert causes(gap, "family") == ["skew"]
        assert abs(gap.optimiser_gap.value) < NEAR


def test_every_fail_and_warn_says_why_and_what_helps(
    lecture: Mapping[str, ModelComparison],
) -> None:
    """Each has causes with figures, and a short one for tables; what passes has none."""
    seen = 0
    for model in lecture.values():
        for verdict in model.verdicts:
            if verdict.level in NEEDS_CAUSE:
                assert verdict.causes, (model.model.name, verdict.method)
                assert all(c.cause.name != "not found" for c in verdict.causes)
                assert cause_in_short(verdict).words
                assert any(ch.isdigit() for ch in " ".join(cause_sentences(verdict)))
                seen += 1
            else:
                assert verdict.causes == ()
                assert str(cause_in_short(verdict)) == ""
    assert seen > 10


def test_wide_normal_was_stopped_early(fresh_results: object) -> None:
    """CmdStan's relative stopping rule overlooks a gap of hundreds of nats."""
    assert fresh_results
    plan = Plan((folders.load("wide_normal"),), methods=("meanfield",), seeds=2)
    (model,) = comparing.compare(plan)[0].models
    assert model.error is None
    for gap in gaps(model, "meanfield"):
        assert gap.optimiser_gap.value > 100
        assert gap.family_gap.value < NEAR
        assert causes(gap, "optimiser") == ["stopped early"]
        (cause,) = [c for c in gap.causes if c.gap == "optimiser"]
        assert cause.evidence["blind"] > 100
