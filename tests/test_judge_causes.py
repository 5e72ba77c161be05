"""From causes to sentences: who gets them, how seeds are counted, and what is said of nothing."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from harness.judgement.notes import how_it_ended
from harness.methods import METHODS
from harness.records import (
    WITHOUT_DRAWS,
    Cause,
    Cost,
    Draws,
    Estimate,
    Explanation,
    Finding,
    Gap,
    Level,
    Measure,
    Reason,
    Rule,
    RunResult,
    RunSpec,
    Status,
    Verdict,
)
from harness.why.verdicts import with_causes
from harness.why.words import cause_in_short, cause_sentences

LOG_Z = Estimate(-3.0, 0.0)


def said(sentence: str) -> dict[str, str]:
    """Return evidence that is a sentence already, as older results have it."""
    return {"said": sentence}


CORRELATION = Cause("family", "correlation", 0.6, said("intercept and slope correlate at −0.85"))
SKEW = Cause("family", "skew", 0.08, said("sigma has skewness 1.10 ± 0.05"))
MODES = Cause("family", "several modes", 0.223, said("x has modes that hold 0.20 of the mass"))


def optimiser(name: str, nats: float, evidence: str = "the figures of it: 7") -> Cause:
    """Return a cause of an optimiser gap."""
    return Cause("optimiser", name, nats, said(evidence))


def gap(
    seed: int,
    *causes: Cause,
    method: str = "meanfield",
    family: float = 0.0,
    own: float = 0.0,
    words: str = "",
) -> Gap:
    """Return a gap whose errors are a thousandth."""
    one, two = Estimate(family, 0.001), Estimate(own, 0.001)
    of = METHODS[method].family_of(METHODS[method].defaults)
    assert of is not None
    return Gap(method, seed, of, one, two, causes, words=words)


def run(
    seed: int = 1,
    method: str = "meanfield",
    status: Status = "ok",
    message: str = "",
    diagnostics: Mapping[str, float] | None = None,
    reason: Reason | None = None,
) -> RunResult:
    """Return a run; it has draws if its status lets it."""
    row = METHODS[method]
    spec = RunSpec("m", method, row.defaults, seed, 8)
    draws = None
    if status not in WITHOUT_DRAWS:
        draws = Draws(("x",), np.zeros((2, 4, 1)), iid=row.approximate)
    return RunResult(
        spec, f"{method}-{seed}", status, message, draws, None, diagnostics or {}, Cost(1.0), {},
        reason=reason,
    )  # fmt: skip


def verdict(
    level: Level = "fail", method: str = "meanfield", findings: Sequence[Finding] = ()
) -> Verdict:
    """Return a verdict without causes."""
    return Verdict("m", method, level, level, 1, 0, "headline", tuple(findings))


def finding(metric: str, sentence: str, level: Any = "wrong") -> Finding:
    """Return a rule's finding."""
    measure = Measure("m", "nuts", 1, "x", metric, 1.7, math.nan, "nuts")
    return Finding(Rule(1.0, 1.0, "above", "why"), measure, level, sentence)


@dataclasses.dataclass(frozen=True)
class Caused:
    """A verdict with its causes in words."""

    verdict: Verdict

    @property
    def cause(self) -> str:
        """In a few words."""
        return str(cause_in_short(self.verdict))

    @property
    def causes(self) -> tuple[str, ...]:
        """In sentences."""
        return cause_sentences(self.verdict)

    @property
    def names(self) -> list[str]:
        """Their ids."""
        return [c.cause.name for c in self.verdict.causes]


def caused(
    gaps: Sequence[Gap],
    runs: Sequence[RunResult] | None = None,
    level: Level = "fail",
    method: str = "meanfield",
    findings: Sequence[Finding] = (),
    notes: tuple[str, ...] = (),
) -> Caused:
    """Return a verdict with its causes."""
    explanation = Explanation(LOG_Z, "known", tuple(gaps), notes)
    its = [run(g.seed, g.method) for g in gaps] if runs is None else runs
    return Caused(with_causes(verdict(level, method, findings), explanation, its))


# --- who gets them ---------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["pass", "unknown", "reference"])
def test_only_what_fails_or_warns_has_causes(level: Level) -> None:
    """Other verdicts are returned as they are, whatever the gaps."""
    gaps = [gap(1, CORRELATION, family=0.6)]
    assert caused(gaps, level=level).verdict == verdict(level)


@pytest.mark.parametrize("level", ["fail", "warn"])
def test_what_fails_or_warns_has_them(level: Level) -> None:
    """Only verdicts that fail or warn get causes, and nothing else in them changes."""
    found = caused([gap(1, CORRELATION, family=0.6)], level=level)
    assert found.causes
    assert found.cause
    assert dataclasses.replace(found.verdict, causes=()) == verdict(level)


def test_where_nobody_asked_why_nothing_is_said() -> None:
    """Without an explanation a failing verdict stays as it is."""
    assert with_causes(verdict(), None, [run()]) == verdict()


def test_gaps_of_other_methods_are_passed_over() -> None:
    """Full-rank's runaway is not mean-field's."""
    other = gap(1, optimiser("runaway", 9.0), method="fullrank", own=9.0)
    found = caused([gap(1, CORRELATION, family=0.6), other])
    assert "runaway" not in found.cause + " ".join(found.causes)


# --- the family's ----------------------------------------------------------------------------


def test_family_causes_are_said_once_whatever_the_number_of_seeds() -> None:
    """The gap, and each cause with its nats and its evidence; the short form has them too."""
    found = caused([gap(s, CORRELATION, SKEW, family=0.68) for s in range(1, 11)])
    assert len(found.causes) == 3
    assert "best mean-field Gaussian is 0.680" in found.causes[0]
    assert found.causes[1].startswith("Correlation, 0.60 nats: intercept and slope correlate")
    assert found.causes[2].startswith("Skew, 0.080 nats: sigma has skewness")
    assert found.cause == "family: correlation 0.60 nats, skew 0.080 nats"


def test_one_family_cause_is_short() -> None:
    """``family: correlation, 0.600 nats``."""
    found = caused([gap(1, CORRELATION, family=0.6, method="fullrank")], method="fullrank")
    assert found.cause == "family: correlation, 0.600 nats"
    assert "full-rank" in found.causes[0]


# --- the optimiser's -------------------------------------------------------------------------


def test_seeds_of_each_cause_are_counted() -> None:
    """Three of ten seeds ran away and five stopped early, one of them in another basin."""
    gaps = [gap(s, optimiser("runaway", 10.0 * s), own=10.0 * s) for s in (2, 5, 9)]
    gaps += [gap(s, optimiser("stopped early", 0.1 * s), own=0.1 * s) for s in (1, 3, 4, 6)]
    both = (optimiser("other basin", 1.4), optimiser("stopped early", 0.7))
    gaps += [gap(7, *both, own=2.1), gap(8), gap(10)]
    found = caused(gaps)
    assert found.cause == (
        "optimiser: stopped early (5 of 10), runaway (3 of 10), other basin (1 of 10)"
    )
    early, away, basin = found.causes
    for sentence, words in (
        (early, ("stopped early", "5 of 10", "0.10 to 0.70 nats")),
        (away, ("runaway", "3 of 10", "20 to 90 nats")),
        (basin, ("other basin", "seed 7", "1.4 nats")),
    ):
        for word in words:
            assert word in sentence


def test_the_evidence_is_that_of_the_middle_seed() -> None:
    """The evidence is that of the seed with the middle loss, with its number."""
    gaps = [
        gap(s, optimiser("runaway", nats, f"evidence of seed {s}"), own=nats)
        for s, nats in ((1, 50.0), (2, 1.0), (3, 9.0))
    ]
    (sentence,) = caused(gaps).causes
    assert "Seed 3: evidence of seed 3" in sentence
    assert "evidence of seed 1" not in sentence


def test_a_cause_of_all_seeds_has_its_typical_cost_in_short() -> None:
    """The median of the nats, not how many there are."""
    gaps = [gap(s, optimiser("iteration limit", n), own=n) for s, n in ((1, 1.0), (2, 2.0), (3, 9))]
    assert caused(gaps).cause == "optimiser: iteration limit, 2.0 nats"


def test_one_run_has_no_seeds_to_be_counted() -> None:
    """With a single seed the sentence mentions no seed."""
    found = caused([gap(1, optimiser("runaway", 3.0), own=3.0)])
    (sentence,) = found.causes
    assert "seed" not in sentence.lower()
    assert "3.0 nats" in sentence
    assert "runaway" in sentence
    assert found.cause == "optimiser: runaway, 3.0 nats"


def test_both_kinds_are_said_side_by_side() -> None:
    """Family first, then the optimiser's."""
    found = caused([gap(1, CORRELATION, optimiser("runaway", 3.0), family=0.6, own=3.0)])
    assert found.cause == "family: correlation, 0.600 nats; optimiser: runaway, 3.0 nats"
    assert found.names == ["correlation", "runaway"]
    for sentence, first in zip(found.causes, ("Family", "Correlation", "Optimiser"), strict=True):
        assert sentence.startswith(first)


def test_every_sentence_is_one() -> None:
    """It begins with a capital, ends with one full stop, and has no NaN in it."""
    gaps = [
        gap(1, CORRELATION, optimiser("runaway", 3.0), family=0.6, own=3.0),
        gap(2, CORRELATION, family=0.6, own=math.nan, words="its draws lie on the bounds"),
    ]
    found = caused(gaps, [run(1), run(2)])
    assert len(found.causes) == 4
    for sentence in found.causes:
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        assert not sentence.endswith("..")
        assert "nan" not in sentence.lower()


# --- what is not known -----------------------------------------------------------------------


def test_an_unknown_gap_of_a_seed_is_said_with_the_reason() -> None:
    """It is neither left out nor counted among those that are fine."""
    words = "q cannot be recovered from its draws: q has collapsed to a point"
    gaps = [gap(1, optimiser("runaway", 9.0), own=9.0)]
    gaps += [gap(s, own=math.nan, words=words) for s in (2, 4)]
    found = caused(gaps)
    assert f"Gap not known: seeds 2 and 4: {words}." in found.causes
    assert "runaway (1 of 3)" in found.cause


def test_a_fail_of_which_nothing_is_known_says_that_and_why() -> None:
    """No gap at all: the reason stands in the cause's place, and no figure is called small."""
    words = "the best of its family is not known"
    found = caused([gap(1, family=math.nan, own=math.nan, words=words)])
    assert words in " ".join(found.causes)
    assert "No gap counts" not in " ".join(found.causes)


def test_a_fail_without_a_gap_that_counts_says_so_with_the_figures() -> None:
    """Where KL(q ‖ p) does not show the fault, both gaps are given."""
    found = caused([gap(1, family=0.002, own=0.001), gap(2, family=0.002, own=0.003)])
    (sentence,) = found.causes
    assert found.names == ["no gap counts"]
    assert "0.0020" in sentence
    assert "0.003" in sentence
    assert found.cause == "no gap counts"


def test_an_infinite_loss_is_called_infinite() -> None:
    """Draws without density cost infinitely many nats, and that is written."""
    lost = optimiser("dropped evaluations", math.inf, "2.5% of its draws have no density")
    found = caused([gap(1, lost, own=math.inf)])
    assert "∞ nats" in found.causes[0]
    assert "∞ nats" in found.cause


# --- failed runs -----------------------------------------------------------------------------


@pytest.mark.parametrize("status", sorted(WITHOUT_DRAWS))
def test_failed_runs_are_named_and_counted(status: Status) -> None:
    """Beside the causes of those that did not fail."""
    gaps = [gap(s, CORRELATION, family=0.6) for s in (1, 2, 4)]
    runs = [run(1), run(2), run(3, status=status), run(4), run(5, status=status)]
    found = caused(gaps, runs)
    assert found.cause == "family: correlation, 0.600 nats; failed runs (2 of 5)"


def test_a_method_of_which_every_run_failed_says_so() -> None:
    """There is no gap to be named, and the short form is not empty."""
    runs = [run(1, status="failed"), run(2, status="timed_out")]
    assert caused([], runs).cause == "failed runs"
    assert caused([], runs).causes == ("Failed runs: 2 of 2 runs: failed.",)
    assert caused([], runs[:1]).cause == "failed runs"


def test_generated_quantities_that_throw_are_no_failed_runs() -> None:
    """Beside one that did fail: each is counted by itself, and the fit is not to blame."""
    thrown = [run(s, status="failed", message="y", reason=Reason.GENERATED) for s in (1, 2)]
    found = caused([], [*thrown, run(3, status="failed", message="boom")])
    assert found.cause == "generated quantities throw (2 of 3); failed runs (1 of 3)"
    assert found.causes[0].startswith("Generated quantities throw: 2 of 3 runs: y; CmdStan writes")
    assert how_it_ended(thrown[0]) == "left no draws"


def test_failed_runs_of_other_methods_do_not_count() -> None:
    """They are those methods' business."""
    found = caused([gap(1, CORRELATION, family=0.6)], [run(1), run(1, "fullrank", "failed")])
    assert "failed" not in found.cause


# --- methods without a Gaussian q ------------------------------------------------------------


def test_stuck_chains_are_the_cause_of_nuts() -> None:
    """R-hat, modes and effective draws each have a cause of their own, with its sentence."""
    findings = [
        finding("rhat", "R-hat 1.73 for x."),
        finding("chain_modes", "The chains give its left mode 0% and 100%."),
        finding("ess_bulk", "Bulk ESS 6.", "off"),
        finding("ess_tail", "Tail ESS 9."),
    ]
    found = caused([], [run(1, "nuts")], method="nuts", findings=findings)
    assert found.cause == "chains do not mix; chains stay in one mode; slow mixing"
    assert found.causes[0] == "Chains do not mix: R-hat 1.73 for x."
    assert len(found.causes) == 3


def test_what_is_fine_with_chains_is_no_cause() -> None:
    """Findings that are close or undecided name nothing."""
    findings = [finding("rhat", "R-hat 1.00.", "close"), finding("ebfmi", "E-BFMI.", "unsure")]
    found = caused([], [run(1, "nuts")], method="nuts", findings=findings)
    assert found.cause == "not found"
    assert found.names == ["not found"]
    assert found.causes[0]


@pytest.mark.parametrize("method", ["svgd", "dadvi_psis"])
def test_particles_and_weights_have_the_modes_that_others_miss(method: str) -> None:
    """The posterior's modes are known from the Gaussian fits beside them."""
    findings = [finding("missed_mass", "It misses 0.20 of the mass.")]
    gaps = [gap(1, MODES, family=0.223, method="dadvi")]
    found = caused(gaps, [run(1, method)], method=method, findings=findings)
    assert found.cause == "several modes"
    (sentence,) = found.causes
    assert "x has modes that hold 0.20 of the mass" in sentence


def test_modes_are_no_cause_of_what_they_cannot_do() -> None:
    """A width that is off is not put down to modes that some other method misses."""
    gaps = [gap(1, MODES, family=0.223, method="dadvi")]
    findings = [finding("log_width_ratio", "Its sd is 0.5 of the reference's.")]
    found = caused(gaps, [run(1, "svgd")], method="svgd", findings=findings)
    assert "several modes" not in found.cause


def test_uncertain_gaps_are_not_called_none() -> None:
    """A gap of 0.01 ± 0.02 nats is reported as uncertain."""
    unsure = gap(1, own=0.01)
    unsure = dataclasses.replace(unsure, optimiser_gap=Estimate(0.01, 0.02))
    found = caused([unsure])
    assert found.names == ["gaps not known"]
    assert "0.01 ± 0.02" in found.causes[0]


def test_unknown_gaps_with_other_reasons_are_kept_apart() -> None:
    """Each reason with its own seeds, and an unknown one is not an empty sentence."""
    gaps = [gap(s, own=math.nan, words=w) for s, w in ((1, "one"), (2, "two"), (3, "one"), (4, ""))]
    found = caused(gaps)
    (sentence,) = found.causes
    assert "seeds 1 and 3: one; seed 2: two; seed 4: " in sentence
    assert not sentence.endswith(": .")
    assert found.cause


def test_weights_that_are_worth_few_draws_are_the_cause() -> None:
    """The cause gives the worst seed's share and its own doubt."""
    runs = [doubted(1, 0.04, "some weights"), doubted(2, 0.013, "the weights cannot be trusted")]
    found = caused([], runs, method="dadvi_psis")
    assert found.cause == "weights"
    assert "1% of the proposals" in found.causes[0]
    assert "cannot be trusted" in found.causes[0]


def doubted(seed: int, share: float, message: str) -> RunResult:
    """Return a run that doubts its weights."""
    known = {"weight_ess": share * 40_000, "proposals": 40_000.0, "khat": 0.93}
    bad = run(seed, "dadvi_psis", "not_converged", message, known)
    return dataclasses.replace(bad, reason=Reason.WEIGHTS)


def test_a_truncated_basis_has_its_own_family() -> None:
    """Its divergence is known, and stands in the sentence and in the short form."""
    result = run(1, "quadrature_truncated", diagnostics={"kl": 0.0501, "criterion": 0.1})
    found = caused([], [result], method="quadrature_truncated")
    assert "family" in found.cause
    assert "0.0501 nats" in found.cause
    (sentence,) = found.causes
    assert "0.0501 nats" in sentence


def test_what_costs_all_seeds_the_same_is_no_range() -> None:
    """One figure where the smallest and the largest are written alike."""
    gaps = [
        gap(s, optimiser("other basin", n), own=n) for s, n in ((1, 1.386), (2, 1.387), (3, 1.39))
    ]
    (sentence,) = caused(gaps).causes
    assert "1.4 nats" in sentence
    assert "1.4 to 1.4" not in sentence


def test_a_method_of_its_own_kind_says_what_it_doubted() -> None:
    """Where no cause is found, the run's own message is the cause."""
    found = caused([], [run(1, "svgd", "not_converged", "the particles still move")], method="svgd")
    assert "the particles still move" in found.causes[0]


@pytest.mark.parametrize("method", ["svgd", "dadvi_psis", "nuts", "quadrature_truncated"])
@pytest.mark.parametrize("level", ["fail", "warn"])
def test_a_method_without_any_sign_says_that_none_was_found(method: str, level: Level) -> None:
    """A fail is never left without a word."""
    found = caused([], [run(1, method)], level=level, method=method)
    assert found.cause == "not found"
    assert found.names == ["not found"]
    assert found.causes[0]


def test_an_infinite_gap_is_not_uncertain() -> None:
    """It is reported as infinite."""
    words = "2.5% of its draws have no density"
    (sentence,) = caused([gap(1, family=0.001, own=math.inf, words=words)]).causes
    assert "uncertain" not in sentence
    assert "no density" in sentence


def test_all_runs_failed_is_a_sentence() -> None:
    """A verdict that rests on failed runs has their words."""
    assert caused([], [run(1, status="failed", message="boom")]).causes


def test_nothing_found_beside_a_failed_run_is_said() -> None:
    """Beside a failed run, the verdict reports that no gap counts."""
    assert caused([gap(1, family=0.001, own=0.001)], [run(1), run(2, status="failed")]).causes


def test_without_a_library_the_reason_is_said() -> None:
    """A compiler that is missing is no lack of a Gaussian."""
    (sentence,) = caused([], [run()], notes=("the gaps are unknown: no compiler",)).causes
    assert "not Gaussian" not in sentence
    assert "no compiler" in sentence


def test_an_unknown_family_gap_is_said_beside_an_optimisers_cause() -> None:
    """An unknown family gap is reported too."""
    found = caused([gap(1, optimiser("noisy steps", 0.04), family=math.nan, own=0.04)])
    assert found.names == ["noisy steps", "family gap not known"]
    assert "Family gap not known" in " ".join(found.causes)


def test_a_large_k_hat_is_no_cause() -> None:
    """Only weights that are worth too few draws are."""
    good = run(1, "dadvi_psis", diagnostics={"khat": 1.2})
    assert caused([], [good], method="dadvi_psis").names != ["weights"]
