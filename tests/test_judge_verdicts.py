"""Verdicts: the worst seed counts, nothing missing passes, and reasons are given in words."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from harness import judgement
from harness.metrics import METRICS
from harness.metrics.metric import TAKEN
from harness.records import (
    Cost,
    Draws,
    Level,
    Measure,
    Model,
    Reference,
    RunResult,
    RunSpec,
    Status,
    Verdict,
)

MODEL = Model("m", "m", Path("m.stan"), None)
EXACT = Reference(
    "exact", trusted=True, why="40,000 exact draws", draws=Draws(("x",), np.zeros((1, 40_000, 1)))
)
STUCK = Reference("nuts", trusted=False, why="chains differ", short="R-hat 3.9 for x")
NUTS = Reference("nuts", trusted=True, why="chains agree", short="R-hat at most 1.001")
CLOSE = {"bias": 0.0, "log_width_ratio": 0.0, "w1": 0.0, "tail": 0.0, "missed_mass": 0.0}
CHAINS = {
    "rhat": 1.0,
    "chain_modes": 0.0,
    "ess_bulk": 4000.0,
    "ess_tail": 4000.0,
    "divergences": 0.0,
    "ebfmi": 1.0,
    "treedepth_hits": 0.0,
}
PER_RUN = {"divergences", "ebfmi", "treedepth_hits"}


def _run(
    seed: int = 1,
    status: Status = "ok",
    *,
    method: str = "meanfield",
    message: str = "",
    eta: float = math.nan,
    n: int = 10_000,
) -> RunResult:
    lost = status in {"failed", "timed_out", "killed"}
    draws = None if lost else Draws(("x",), np.zeros((1, n, 1)), iid=method != "nuts")
    return RunResult(
        RunSpec("m", method, {}, seed, n), "", status, message, draws, None,
        {} if math.isnan(eta) else {"eta": eta}, Cost(1.0), {},
    )  # fmt: skip


def _measures(
    seed: int | None = 1,
    figures: Mapping[str, float] = CLOSE,
    *,
    quantity: str = "x",
    method: str = "meanfield",
    mcse: float = 0.001,
) -> list[Measure]:
    joint = {"khat", "corr_error", "worst_direction", "sliced_w1", *PER_RUN}
    return [
        Measure("m", method, seed, None if k in joint else quantity, k, v, mcse, "exact")
        for k, v in figures.items()
    ]


def _summaries(quantity: str = "x", mean: float = 0.34, sd: float = 0.41) -> list[Measure]:
    figures = {"mean": mean, "sd": sd, "q5": mean - 1.645 * sd, "q95": mean + 1.645 * sd}
    return _measures(None, figures, quantity=quantity, method="reference", mcse=0.002)


def _judge(
    runs: Sequence[RunResult],
    measures: Sequence[Measure],
    reference: Reference = EXACT,
    *,
    method: str = "meanfield",
    context: judgement.JudgeContext | None = None,
) -> Verdict:
    return judgement.judge_method(MODEL, method, runs, measures, reference, context)


@pytest.mark.parametrize(
    ("figures", "mcse", "level"),
    [
        ({}, 0.001, "pass"),
        ({"bias": 0.3}, 0.001, "warn"),
        ({"bias": 0.7}, 0.001, "fail"),
        ({"bias": math.nan}, 0.001, "unknown"),
        ({"bias": math.inf}, 0.001, "fail"),
        ({}, 1.0, "unknown"),
        ({}, math.nan, "unknown"),
        ({"bias": 0.3, "tail": math.nan}, 0.001, "warn"),
        ({"khat": 5.0}, 0.001, "pass"),
    ],
)
def test_level_of_one_seed(figures: dict[str, float], mcse: float, level: Level) -> None:
    """Wrong fails, off warns, unsure is unknown, close passes; k-hat alone changes nothing."""
    verdict = _judge([_run()], [*_summaries(), *_measures(figures=CLOSE | figures, mcse=mcse)])
    assert verdict.level == level
    assert verdict.headline


@pytest.mark.parametrize("gone", sorted(CLOSE))
def test_a_missing_metric_never_passes(gone: str) -> None:
    """Each of the five metrics of a quantity must be there."""
    figures = {k: v for k, v in CLOSE.items() if k != gone}
    verdict = _judge([_run()], [*_summaries(), *_measures(figures=figures)])
    assert verdict.level == "unknown"
    assert any(METRICS[gone].subject("x") in note for note in verdict.notes)


def test_a_missing_quantity_never_passes() -> None:
    """A quantity of the reference, or of another seed, that a seed lacks is named."""
    measures = [*_summaries(), *_summaries("y"), *_measures()]
    assert _judge([_run()], measures).level == "unknown"
    assert _judge([_run()], []).level == "unknown"
    other = [*_measures(1), *_measures(2), *_measures(2, quantity="y")]
    verdict = _judge([_run(1), _run(2)], other)
    assert [s.level for s in verdict.by_seed] == ["unknown", "pass"]


def test_a_missing_joint_metric_never_passes() -> None:
    """A joint metric that one seed has must exist for all seeds."""
    measures = [*_measures(1), *_measures(2), *_measures(1, {"corr_error": 0.0})]
    verdict = _judge([_run(1), _run(2)], measures)
    assert [s.level for s in verdict.by_seed] == ["pass", "unknown"]


def test_no_runs_is_unknown() -> None:
    """Nothing to judge is not fine."""
    assert _judge([], []).level == "unknown"


def test_the_worst_seed_counts() -> None:
    """One seed in ten that fails makes the method fail, and the share is given."""
    measures = [m for s in range(1, 10) for m in _measures(s)]
    measures += _measures(10, CLOSE | {"bias": 2.0})
    verdict = _judge([_run(s) for s in range(1, 11)], measures)
    assert (verdict.level, verdict.typical, verdict.seeds_failed) == ("fail", "pass", 1)
    assert judgement.level_text(verdict) == "fail (1 of 10 seeds; typical seed: pass)"
    assert verdict.headline == "mean of x 2.0 sd off"


def test_a_typical_seed_is_the_median() -> None:
    """With an even number of seeds, the worse of the two middle ones is typical."""
    measures = [*_measures(1), *_measures(2, CLOSE | {"bias": 0.3})]
    verdict = _judge([_run(1), _run(2)], measures)
    assert (verdict.level, verdict.typical) == ("warn", "warn")
    assert judgement.level_text(verdict) == "warn (1 of 2 seeds)"


def test_level_text_of_the_rest() -> None:
    """A pass names its seeds, a single seed and an unknown verdict do not."""
    both = _judge([_run(1), _run(2)], [*_measures(1), *_measures(2)])
    assert judgement.level_text(both) == "pass (all 2 seeds)"
    assert judgement.level_text(_judge([_run()], _measures())) == "pass"
    assert judgement.level_text(_judge([_run(1), _run(2)], [], STUCK)) == "unknown"


def test_a_run_that_the_machine_ended_is_not_judged() -> None:
    """It makes a verdict unknown that would pass, is named with its words, and hides no fail."""
    lost = _run(2, "killed", message="No space left on device")
    verdict = _judge([_run(1), lost], _measures(1))
    assert (verdict.level, verdict.seeds_failed) == ("unknown", 0)
    assert verdict.headline == "1 of 2 runs killed: No space left on device"
    assert "No space left on device" in verdict.notes[0]
    assert _judge([lost], []).level == "unknown"
    assert _judge([lost], [], STUCK).level == "unknown"
    assert _judge([_run(1), lost], _measures(1, CLOSE | {"bias": 9.0})).level == "fail"
    assert _judge([_run(1, "failed"), lost], []).level == "fail"


@pytest.mark.parametrize("status", ["failed", "timed_out"])
def test_a_run_without_draws_fails(status: Status) -> None:
    """It is a result like any other, counts against the method and is named with its words."""
    runs = [_run(1), _run(2, status, message="gradient calculation failed")]
    verdict = _judge(runs, _measures(1))
    assert (verdict.level, verdict.seeds_failed) == ("fail", 1)
    assert verdict.headline.startswith(f"1 of 2 runs {status.replace('_', ' ')}")
    assert "gradient calculation failed" in verdict.notes[0]
    assert "seed 2" in verdict.notes[0]


def test_draws_that_should_be_there_and_are_not() -> None:
    """A run that calls itself ok without draws fails all the same."""
    run = RunResult(RunSpec("m", "meanfield", {}, 1, 10), "", "ok", "", None, None, {}, Cost(1), {})
    assert _judge([run], []).level == "fail"


@pytest.mark.parametrize(
    ("status", "words"), [("not_converged", "not have converged"), ("diverged", "be diverging")]
)
def test_doubtful_runs_are_judged_by_their_draws(status: Status, words: str) -> None:
    """CmdStan's doubt is noted, and good draws pass."""
    verdict = _judge([_run(1, status)], _measures())
    assert verdict.level == "pass"
    assert words in verdict.notes[0]


def test_without_a_trusted_reference_all_is_unknown() -> None:
    """Perfect figures do not pass, terrible ones do not fail; the reason is the reference's."""
    for figures in (CLOSE, CLOSE | {"bias": 9.0}):
        verdict = _judge([_run()], [*_summaries(), *_measures(figures=figures)], STUCK)
        assert verdict.level == "unknown"
        assert verdict.headline == "no trustworthy reference: R-hat 3.9 for x"


def test_failed_runs_are_named_whatever_the_reference() -> None:
    """Without a reference the verdict stays unknown and the lost runs stay visible."""
    verdict = _judge([_run(1), _run(2, "failed", message="no")], [], STUCK)
    assert (verdict.level, verdict.seeds_failed) == ("unknown", 1)
    assert [s.level for s in verdict.by_seed] == ["unknown", "fail"]
    assert verdict.notes == ("1 of 2 runs (seed 2) failed: no.",)


def test_nuts_as_the_reference_is_marked_so() -> None:
    """It is not compared with itself: reference if trusted, else unknown."""
    nuts = [_run(method="nuts")]
    assert _judge(nuts, [], NUTS, method="nuts").level == "reference"
    assert _judge(nuts, [], STUCK, method="nuts").level == "unknown"


def test_nuts_is_judged_by_its_chains_too() -> None:
    """Against exact draws a violated diagnostic fails NUTS, whatever the distances say."""

    def verdict(chains: Mapping[str, float]) -> Verdict:
        measures = [*_summaries(), *_measures(method="nuts")]
        measures += _measures(figures=chains, method="nuts", mcse=0.0)
        return _judge([_run(method="nuts")], measures, method="nuts")

    assert verdict(CHAINS).level == "pass"
    stuck = verdict(CHAINS | {"rhat": 3.9, "ess_bulk": 4.0})
    assert (stuck.level, stuck.headline) == ("fail", "chains stuck: R-hat 3.900 for x")
    assert verdict(CHAINS | {"rhat": math.nan}).level == "unknown"
    assert verdict({}).level == "unknown"
    assert verdict({k: v for k, v in CHAINS.items() if k != "divergences"}).level == "unknown"


@pytest.mark.parametrize("metric", sorted(CHAINS))
def test_each_diagnostic_can_cost_the_reference_its_trust(metric: str) -> None:
    """Violated, NaN or missing: each is enough, and is named."""
    good = _measures(figures=CHAINS, method="nuts", mcse=0.0)
    assert judgement.judge_chains(good).trusted
    bad = {"rhat": 1.02, "ess_bulk": 399.0, "ess_tail": 3.0, "ebfmi": 0.2}.get(metric, 1.0)
    for value in (bad, math.nan):
        found = judgement.judge_chains(
            _measures(figures=CHAINS | {metric: value}, method="nuts", mcse=0.0)
        )
        assert not found.trusted
        assert found.sentence("NUTS").startswith("NUTS cannot serve as the reference: ")
        assert [f.measure.metric for f in found.findings] == [metric]
    missing = judgement.judge_chains([m for m in good if m.metric != metric])
    assert not missing.trusted
    assert [m for m, _ in missing.missing] == [metric]
    assert f"not recorded: {METRICS[metric].noun}" in missing.sentence("NUTS")


def test_no_diagnostics_are_no_trust() -> None:
    """An empty list is not a clean bill of health."""
    assert not judgement.judge_chains([]).trusted


def test_a_diagnostic_missing_for_one_quantity() -> None:
    """Every quantity needs its own R-hat."""
    measures = _measures(figures=CHAINS, method="nuts", mcse=0.0)
    measures += _measures(figures={"ess_bulk": 4000.0}, quantity="y", method="nuts", mcse=0.0)
    found = judgement.judge_chains(measures)
    assert not found.trusted
    assert ("rhat", "y") in found.missing


def test_modes_by_chain_are_named() -> None:
    """The sentence gives the shares of the modes where they are known."""
    context = judgement.JudgeContext(mode_shares={"x": (0.06, 0.72)})
    bad = _measures(figures=CHAINS | {"chain_modes": 0.66}, method="nuts", mcse=0.0)
    assert "6% and 72%" in judgement.judge_chains(bad, context=context).short


def test_spread_over_seeds_counts_for_the_method() -> None:
    """It belongs to no seed, and can warn or fail on its own."""
    runs, good = [_run(1), _run(2)], [*_measures(1), *_measures(2)]
    spread = _judge(runs, [*good, *_measures(None, {"seed_spread": 0.3})])
    assert (spread.level, spread.typical) == ("warn", "pass")
    assert judgement.level_text(spread) == "warn (over all 2 seeds; typical seed: pass)"
    assert spread.headline == "mean of x moves by 0.30 sd between seeds"


def test_unsure_says_how_many_draws() -> None:
    """A mean known to 0.1 sd from 1000 draws and 40 000 is needed to t = 0.15 / (z + z₁)."""
    verdict = _judge([_run(n=1000)], [*_measures(figures=CLOSE | {"w1": 0.0}, mcse=0.1)])
    needed = {f.measure.metric: f.draws_needed for f in verdict.findings}
    share, t = 40 / 41, 0.15 / (judgement.critical_z(1) + 1.645)
    expected = 1000 * share / ((t / 0.1) ** 2 - (1 - share))
    assert needed["bias"] == pytest.approx(expected, rel=0.1)
    assert "draws would decide" in verdict.findings[-1].sentence


def test_the_scarcer_sample_is_asked_for_more() -> None:
    """Where the reference limits the precision, its draws are counted."""
    reference = Reference(
        "nuts", trusted=True, why="good", draws=Draws(("x",), np.zeros((4, 1000, 1)), iid=False)
    )
    figures = {"mean": 0.0, "sd": 1.0}
    summaries = _measures(None, figures, method="reference", mcse=0.05)
    own = _measures(figures=CLOSE | {"bias": 0.08}, mcse=0.05)
    verdict = _judge([_run()], [*summaries, *own], reference)
    bias = next(f for f in verdict.findings if f.measure.metric == "bias")
    share, t = 1 / (1 + 400 / 10_000), 0.15 / (judgement.critical_z(1) + 1.645)
    expected = 4000 * share / ((t / 0.05) ** 2 - (1 - share))
    assert bias.draws_needed == pytest.approx(expected, rel=0.1)
    assert bias.beyond is None


def test_no_more_draws_are_asked_for_than_the_harness_takes() -> None:
    """The sample that would have to exceed its limit is a fact, and its limit is said."""
    values = np.zeros((4, 1000, 1))
    nuts = Reference("nuts", trusted=True, why="", draws=Draws(("x",), values, iid=False))
    supplied = Reference("supplied", trusted=True, why="", draws=Draws(("x",), values))
    summaries = _measures(None, {"mean": 0.0, "sd": 1.0}, method="reference", mcse=0.5)
    figures = CLOSE | {"bias": 0.08}
    for reference, n, mcse, beyond, draws in (
        (nuts, 10_000, 0.5, "nuts", 40_000),
        (supplied, 10_000, 0.5, "supplied", None),
        (EXACT, 10_000, 0.0615, "run", 100_000),
        # However many draws one sample has, the other one's part of the error is too large.
        (EXACT, 10_000, 0.5, "exact", 100_000),
        (EXACT, 100_000, 0.5, "run", None),
    ):
        own = _measures(figures=figures, mcse=mcse)
        found = _judge([_run(n=n)], [*summaries, *own], reference)
        bias = next(f for f in found.findings if f.measure.metric == "bias")
        assert (bias.beyond, bias.draws_needed) == (beyond, draws)
        assert bias.beyond is not None
        assert TAKEN[bias.beyond] in bias.sentence
        assert "needs more than the" in found.headline


def test_khat_alarm_depends_on_the_number_of_draws() -> None:
    """With 100 draws 0.6 is too large already; it is shown, and no level changes."""
    few = _judge([_run(n=100)], _measures(figures=CLOSE | {"khat": 0.6}))
    many = _judge([_run()], _measures(figures=CLOSE | {"khat": 0.6}))
    assert [f.measure.metric for f in few.findings] == ["khat"]
    assert (few.level, many.findings) == ("pass", ())


def test_width_is_told_as_in_the_design() -> None:
    """The sd ratio with both sds, and the correlation as its reason."""
    figures = CLOSE | {"log_width_ratio": math.log(0.49), "mean": 0.34, "sd": 0.2}
    measures = [*_summaries("slope"), *_measures(figures=figures, quantity="slope")]
    context = judgement.JudgeContext(correlations={"slope": ("intercept", -0.87)})
    verdict = _judge([_run()], measures, context=context)
    assert verdict.headline == "sd of slope 0.49 of the reference's"
    assert verdict.findings[0].sentence.startswith(
        "`slope`: mean-field's sd is 0.49 of the reference's (0.20 against 0.410 ± 0.002), "
        "because intercept and slope correlate at −0.87."
    )


def test_missed_mode_makes_the_headline() -> None:
    """A missed mode is the headline even where other figures are wrong as often."""
    wrong = {"missed_mass": 0.2, "log_width_ratio": -1.1, "tail": 2.0}
    measures = [m for s in range(1, 8) for m in _measures(s, CLOSE | wrong)]
    measures += [m for s in range(8, 11) for m in _measures(s, CLOSE | {"log_width_ratio": 1.6})]
    runs = [_run(s) for s in range(1, 11)]
    verdict = _judge(runs, measures, context=judgement.JudgeContext(modes={"x": 2}))
    assert verdict.headline == "holds one mode of two: misses 0.20 of x's mass in 7 of 10 seeds"


def test_runaways_are_named_by_seed() -> None:
    """With step size, mean and what the posterior has."""
    figures = CLOSE | {"bias": 2.1, "log_width_ratio": 1.3, "mean": 1.19, "sd": 1.5}
    verdict = _judge([_run(5, eta=100.0)], [*_summaries(), *_measures(5, figures)])
    assert verdict.notes == (
        (
            "Seed 5 ran away (step size 100): the mean of x is 1.19 instead of 0.340, "
            "its sd 1.50 instead of 0.410."
        ),
    )
    assert [s.far for s in verdict.by_seed] == ["ran away"]
    ordinary = _judge([_run(5, eta=0.1)], [*_summaries(), *_measures(5, figures)])
    assert ordinary.notes == ()


@pytest.mark.parametrize("value", [-math.inf, math.inf, -1.0, 700.5])
@pytest.mark.parametrize("metric", ["log_width_ratio", "worst_direction"])
def test_collapsed_and_exploded_widths_fail(metric: str, value: float) -> None:
    """Infinite ratios are wrong and have a sentence without a NaN in it."""
    verdict = _judge([_run()], [*_summaries(), *_measures(figures=CLOSE | {metric: value})])
    assert verdict.level == "fail"
    assert "nan" not in verdict.findings[0].sentence.lower()


@pytest.mark.parametrize(
    "metric", [m.id for m in METRICS.values() if m.rule and not m.about_chains]
)
@pytest.mark.parametrize("value", [0.9, math.inf, math.nan])
def test_every_finding_has_a_figure(metric: str, value: float) -> None:
    """No finding says only that a threshold was crossed."""
    seed = None if metric == "seed_spread" else 1
    base = {k: v for k, v in CLOSE.items() if k != metric}
    measures = [*_summaries(), *_measures(figures=base), *_measures(seed, {metric: value})]
    verdict = _judge([_run()], measures)
    finding = next(f for f in verdict.findings if f.measure.metric == metric)
    assert re.search(r"\d|∞|infinite|not finite|no draws|unknown", finding.sentence)
    assert finding.sentence.endswith(".")


def test_other_methods_are_passed_over() -> None:
    """Runs and measures of other methods do not count."""
    runs = [_run(), _run(2, "failed", method="fullrank")]
    others = _measures(figures=CLOSE | {"bias": 9.0}, method="fullrank")
    assert _judge(runs, [*_measures(), *others]).level == "pass"
