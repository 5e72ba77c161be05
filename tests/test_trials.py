"""Trials of remedies: which make sense, which runs they need, and how their effect is reported."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import numpy as np
import pytest
from trial_records import MODEL, Compared, chains, compare, judged, run, spec, verdict

from harness.methods import METHODS
from harness.methods.settings import OptionError
from harness.metrics import sample_of
from harness.metrics.measure import select
from harness.records import (
    NO_ESTIMATE,
    Better,
    Cause,
    Draws,
    Estimate,
    Gap,
    Reference,
    Trial,
    Verdict,
)
from harness.why.remedies import REMEDIES
from harness.why.remedies.judge import luck
from harness.why.remedies.reweighted import reweighted
from harness.why.remedies.row import Judging, Proposal
from harness.why.trials import propose, trial_seeds, tried
from harness.why.verdicts import better, remedies_of
from harness.why.words import remedy_in_short, remedy_sentences, trial_words

CHANGES = {row.id: row.change for row in REMEDIES.values() if row.change is not None}

START = {"inits": [{"x": float(i)} for i in range(4)], "inv_metric": [1.0]}


def gap(method: str, *causes: tuple[Any, str]) -> Gap:
    """Return a gap with named causes."""
    funnel = {"of": "b", "on": "a", "ratio": (3.0, 0.1), "wide": "upper"}
    named = tuple(Cause(kind, name, 0.5, funnel) for kind, name in causes)
    return Gap(method, 1, "meanfield", Estimate(0.5, 0.01), Estimate(0.5, 0.01), named)


def by_remedy(found: tuple[Proposal, ...]) -> dict[str, Proposal]:
    """Return proposals by key; each key stands once."""
    assert len({p.remedy for p in found}) == len(found)
    return {p.remedy: p for p in found}


def test_every_repairable_method_is_one_and_its_changes_are_its_options() -> None:
    """A changed option has the name and the type of a default, so that the run is a valid one."""
    for method in (m for m, row in METHODS.items() if row.repairable):
        for remedy, change in CHANGES.items():
            found = change(method, METHODS[method].defaults)
            if found is None:
                continue
            defaults = METHODS[found.method].defaults
            for name, value in found.options.items():
                assert type(value) is type(defaults[name]), (method, remedy, name)
            if found.same:
                assert set(METHODS[method].defaults) <= set(defaults), (method, remedy)
            assert (found.method, found.options) != (method, {})


def test_nothing_is_proposed_for_what_passes_or_is_unknown() -> None:
    """Nor is anything proposed for methods without a q to improve."""
    runs = [run(spec("meanfield"))]
    for level in ("pass", "unknown", "reference"):
        assert propose(MODEL, verdict("meanfield", (level,), level), runs) == ()
    assert propose(MODEL, verdict("nuts"), [chains(spec("nuts"))]) == ()
    assert propose(MODEL, verdict("meanfield"), []) == ()


@pytest.mark.parametrize(
    ("causes", "expected"),
    [
        ([("family", "correlation")], {"full-rank"}),
        (
            [("optimiser", "runaway")],
            {"smaller step", "more gradient samples", "tuned settings", "best of the family"},
        ),
        (
            [("optimiser", "stopped early")],
            {"tighter tolerance", "tuned settings", "best of the family"},
        ),
        ([("optimiser", "other basin")], {"best of the family"}),
        ([("family", "funnel")], {"reparameterise"}),
        ([("family", "skew")], set()),
        ([("optimiser", "something new")], set(CHANGES)),
        ([], set(CHANGES)),
    ],
)
def test_the_causes_decide_which_remedies_are_worth_a_trial(
    causes: list[tuple[Any, str]], expected: set[str]
) -> None:
    """Beside those that are worth one whatever the cause is."""
    always = {"dadvi_lr", "dadvi_psis", "reweighted", "nuts from q"}
    other = gap("fullrank", ("family", "funnel"))
    found = propose(
        MODEL, verdict("meanfield"), [run(spec("meanfield"))], [gap("meanfield", *causes), other]
    )
    assert {p.remedy for p in found} == expected | always
    assert [p.remedy for p in found] == [r for r in REMEDIES if r in expected | always]


def test_a_funnel_is_a_hint_with_its_evidence() -> None:
    """It changes the program, so it cannot be tried, and the parameters are named."""
    runs = [run(spec("meanfield"))]
    found = propose(MODEL, verdict("meanfield"), runs, [gap("meanfield", ("family", "funnel"))])
    hint = by_remedy(found)["reparameterise"]
    assert hint.spec is None
    compared = compare([run(spec("meanfield"), sd=3.0)])
    trial = attempt(compared, hint, [])
    assert (trial.level_after, trial.helps) == (None, False)
    words = trial_words(trial)
    assert words.startswith("A non-centred parameterisation: not tried, because it changes the")
    assert "b is 3.00 ± 0.10 times as widely spread where a is large" in words


def test_the_seeds_that_failed_come_first() -> None:
    """Topped up by those that warn, then any; at most three."""
    levels = ("pass", "pass", "warn", "fail", "pass", "fail")
    assert trial_seeds(verdict("meanfield", levels), 3) == (3, 4, 6)
    assert trial_seeds(verdict("meanfield", ("fail",) * 5), 3) == (1, 2, 3)
    runs = [run(spec("meanfield", s)) for s in range(1, 7)]
    found = by_remedy(propose(MODEL, verdict("meanfield", levels), runs))["smaller step"]
    assert found.seeds == (3, 4, 6)
    assert found.spec == tuple(
        spec("meanfield", s, eta=0.1, adapt_engaged=False) for s in (3, 4, 6)
    )


def test_specs_keep_the_present_runs_other_options_and_draws() -> None:
    """Only what the remedy is about changes; the sibling row gets the same options."""
    runs = [run(spec("meanfield", draws=1000, adapt_iter=20))]
    found = by_remedy(propose(MODEL, verdict("meanfield"), runs))
    assert found["more gradient samples"].spec == (
        spec("meanfield", draws=1000, adapt_iter=20, grad_samples=20),
    )
    assert found["tighter tolerance"].spec == (
        spec("meanfield", draws=1000, adapt_iter=20, tol_rel_obj=1e-4, iter=30_000),
    )
    assert found["full-rank"].spec == (spec("fullrank", draws=1000, adapt_iter=20),)


def test_runs_that_are_there_are_taken_all_of_them() -> None:
    """The comparison's tuned, DADVI and full-rank rows are not run again, at any length."""
    rows = ("meanfield_tuned", "fullrank", "dadvi", "dadvi_lr", "dadvi_psis")
    there = [run(spec(m, s, draws=5000), seconds=900.0) for m in rows for s in range(1, 6)]
    runs = [run(spec("meanfield", s)) for s in range(1, 11)]
    found = by_remedy(propose(MODEL, verdict("meanfield", ("fail",) * 10), [*runs, *there]))
    pairs = zip(
        ("tuned settings", "full-rank", "best of the family", "dadvi_lr", "dadvi_psis"),
        rows,
        strict=True,
    )
    for remedy, row in pairs:
        assert found[remedy].spec == tuple(spec(row, s, draws=5000) for s in range(1, 6))
        assert found[remedy].seconds == 0


def test_rows_that_are_not_there_are_planned_as_the_comparison_would() -> None:
    """With the model's own settings, and the options that a user set."""
    model = dataclasses.replace(MODEL, settings={"dadvi": {"seeds": 2, "draws": 4000, "starts": 3}})
    options = {"dadvi": {"error": 0.1}}
    runs = [run(spec("fullrank"))]
    found = by_remedy(propose(model, verdict("fullrank"), runs, options=options))
    assert found["best of the family"].spec == (
        spec("dadvi", draws=4000, starts=3, error=0.1, family="fullrank"),
    )


def test_the_models_own_settings_are_read_by_the_options_types() -> None:
    """The word "false" in model.toml switches off, and a misspelt option is an error."""
    settings = {"meanfield_tuned": {"adapt_engaged": "false", "iter": "2e4"}}
    model = dataclasses.replace(MODEL, settings=settings)
    runs = [run(spec("meanfield"))]
    wanted = by_remedy(propose(model, verdict("meanfield"), runs))["tuned settings"].spec
    assert wanted is not None
    assert wanted[0].options["adapt_engaged"] is False
    assert wanted[0].options["iter"] == 20_000
    misspelt = dataclasses.replace(MODEL, settings={"meanfield_tuned": {"iters": 3}})
    with pytest.raises(OptionError, match="did you mean iter"):
        propose(misspelt, verdict("meanfield"), runs)


def test_what_the_model_skips_is_not_tried_and_says_why() -> None:
    """A skipped method that was run anyway is tried."""
    model = dataclasses.replace(MODEL, settings={"dadvi_psis": {"skip": "weights take hours"}})
    runs = [run(spec("meanfield"))]
    found = by_remedy(propose(model, verdict("meanfield"), runs))["dadvi_psis"]
    assert found.spec is None
    assert (found.reason, found.facts) == ("left out", {"why": "weights take hours"})
    runs.append(run(spec("dadvi_psis")))
    assert by_remedy(propose(model, verdict("meanfield"), runs))["dadvi_psis"].spec is not None


def test_what_would_take_over_a_minute_is_not_tried_and_says_how_long() -> None:
    """By the seconds that a gradient is expected to take, whatever the present runs took."""
    runs = [run(spec("meanfield"), seconds=1e4, gradients=1000)]
    found = by_remedy(propose(MODEL, verdict("meanfield"), runs, gradient_s=0.01))
    # 20 samples in up to 1500 iterations, three times the present 500, at 0.01 s.
    slow = found["more gradient samples"]
    assert (slow.spec, slow.reason) == (None, "too slow")
    assert slow.facts == {"seconds": pytest.approx(300), "limit": 60}
    trial = attempt(compare(runs), slow, [])
    assert trial_words(trial).endswith(
        "not tried: one run would take about 5.0 min, and trials are limited to 60 s."
    )
    assert found["more gradient samples"].seconds == pytest.approx(300)
    assert found["tighter tolerance"].seconds == pytest.approx(300)
    assert found["smaller step"].spec is not None
    assert found["smaller step"].seconds == pytest.approx(15)
    generous = propose(MODEL, verdict("meanfield"), runs, limit_s=400.0, gradient_s=0.01)
    assert by_remedy(generous)["more gradient samples"].spec is not None


def test_nuts_starts_from_q_only_where_there_is_both() -> None:
    """Its spec is the comparison's with a short warm-up, the start and the metric."""
    nuts = chains(spec("nuts", draws=4000), seconds=12.0)
    runs = [run(spec("meanfield")), nuts]
    found = by_remedy(propose(MODEL, verdict("meanfield"), runs, start=START))["nuts from q"]
    assert found.spec == (
        spec(
            "nuts",
            draws=4000,
            warmup=150,
            inits=[{"x": 0.0}, {"x": 1.0}, {"x": 2.0}, {"x": 3.0}],
            inv_metric=[1.0],
        ),
        spec("nuts", draws=4000, warmup=150),
    )
    for given, start, each, reason, why in (
        (runs, "q has collapsed", 1e-6, "no start", "q has collapsed"),
        (runs, None, 1e-6, "no start", "no start was given"),
        (runs[:1], START, 1e-6, "left out", "NUTS was not run here"),
        (runs, START, 0.1, "too slow", None),
    ):
        planned = propose(MODEL, verdict("meanfield"), given, start=start, gradient_s=each)
        other = by_remedy(planned)["nuts from q"]
        assert other.spec is None
        assert (other.reason, other.facts.get("why")) == (reason, why)


@pytest.mark.parametrize("seed", range(5))
def test_reweighting_a_wide_normal_gives_the_narrow_one(seed: int) -> None:
    """Against closed form: mean 0.3 and sd 1 from draws of sd 1.5 about 0."""
    rng = np.random.default_rng(seed)
    eps = rng.standard_normal((1, 10_000))
    x = 1.5 * eps
    draws = Draws(("x",), x[..., None], -0.5 * (x - 0.3) ** 2 + 7, -0.5 * eps**2)
    found = reweighted(draws, rng)
    assert isinstance(found, tuple)
    got, khat, _ = found
    assert khat < 0.5
    assert got.values.shape[1] == 10_000
    n = sample_of(got, "x").ess_mean
    assert 4000 < n < 10_000
    assert (got.log_p, got.log_q, got.iid) == (None, None, True)
    # Five standard errors.
    assert abs(got.values.mean() - 0.3) < 5 / math.sqrt(n)
    assert abs(got.values.std() - 1) < 5 / math.sqrt(2 * n)


def test_draws_that_no_weights_can_correct_say_why() -> None:
    """A q eight sds away has no draws where p is; without densities there is nothing to weigh."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((1, 10_000))
    away = Draws(("x",), x[..., None], -0.5 * (x - 8) ** 2, -0.5 * x**2)
    refused = reweighted(away, rng)
    assert not isinstance(refused, tuple)
    assert refused["why"] == "weights"
    assert refused["share"] < 0.05
    for bare in (
        dataclasses.replace(away, log_q=None),
        dataclasses.replace(away, log_p=np.full((1, 10_000), np.nan)),
        dataclasses.replace(away, iid=False),
    ):
        assert not isinstance(reweighted(bare, rng), tuple)


def attempt(
    compared: Compared, proposal: Proposal, results: Any, method: str = "meanfield"
) -> Trial:
    """Judge a trial."""
    judging = Judging(
        compared.comparison, compared.verdicts[method], proposal, results, compared.yardstick,
        compared.context,
    )  # fmt: skip
    return tried(judging)


SMALLER = Proposal(
    "meanfield", "smaller step", "meanfield", {"eta": 0.1, "adapt_engaged": False}, (),
    seeds=(1, 2, 3),
)  # fmt: skip


@pytest.fixture(scope="module")
def wide() -> Compared:
    """Return a comparison in which mean-field is 6.5 times too wide, in 2 s, and NUTS is right."""
    runs = [run(spec("meanfield", s), sd=6.5, seconds=2.0) for s in (1, 2, 3)]
    return compare([*runs, run(spec("dadvi"), salt=5), chains(spec("nuts"), seconds=3.0)])


def test_a_remedy_that_helps_is_reported_with_its_figures(wide: Compared) -> None:
    """Level, the telling figure and the seconds, each before and after."""
    results = [run(spec("meanfield", s, eta=0.1), seconds=0.7, salt=1) for s in (1, 2, 3)]
    trial = attempt(wide, SMALLER, results)
    assert (trial.level_before, trial.level_after, trial.helps) == ("fail", "pass", True)
    assert (trial.metric, trial.quantity) == ("log_width_ratio", "x")
    # Five of their own errors.
    assert abs(trial.before.value - math.log(6.5)) < 5 * trial.before.mcse
    assert abs(trial.after.value) < 5 * trial.after.mcse
    assert (trial.seconds, trial.seconds_before) == (0.7, 2.0)
    # Five errors of an sd of 10 000 draws, and one of 40 000, either way.
    told = r"sd of x (0\.9\d|1\.0\d?) of the reference's instead of 6\.[2-8]"
    assert re.fullmatch(
        rf"A fixed step size of 0\.1: {told}; passes in all 3 seeds, 0\.70 s\.", trial_words(trial)
    )


def test_what_does_not_help_says_how_far_it_got(wide: Compared) -> None:
    """A level that is no better, or undecided, is no help."""
    results = [run(spec("meanfield", s, eta=0.1), sd=2.0, salt=1) for s in (1, 2, 3)]
    trial = attempt(wide, SMALLER, results)
    assert (trial.level_after, trial.helps) == ("fail", False)
    told = r"sd of x (1\.9|2\.0|2\.1) of the reference's instead of 6\.[2-8]"
    assert re.search(rf"{told}; still fails in all 3 seeds, 1\.0 s\.$", trial_words(trial))
    few = [run(spec("meanfield", s, 60, eta=0.1), salt=1) for s in (1, 2, 3)]
    unsure = attempt(wide, SMALLER, few)
    assert (unsure.level_after, unsure.helps) == ("unknown", False)
    assert "is undecided" in trial_words(unsure)


def test_a_fault_of_one_seed_is_shown_of_the_worst() -> None:
    """The median of three would show nothing of it, neither before nor after."""
    sds = {1: 1.0, 2: 1.0, 3: 6.5}
    compared = compare([run(spec("meanfield", s), sd=sd) for s, sd in sds.items()])
    results = [run(spec("meanfield", s, eta=0.1), salt=1) for s in sds]
    trial = attempt(compared, SMALLER, results)
    assert abs(trial.before.value - math.log(6.5)) < 5 * trial.before.mcse
    assert re.search(r"instead of 6\.[2-8] in the worst seed; passes", trial_words(trial))
    assert trial.helps


def test_what_may_be_luck_is_said() -> None:
    """Three seeds miss a fault of one seed in ten in 73% of cases, with or without the remedy."""
    compared = compare([
        run(spec("meanfield", s), sd=6.5 if s == 1 else 1.0) for s in range(1, 11)
    ])  # fmt: skip
    results = [run(spec("meanfield", s, eta=0.1), salt=1) for s in (1, 2, 3)]
    trial = attempt(compared, SMALLER, results)
    assert trial.helps
    assert trial_words(trial).endswith("of the time, so try more seeds.")
    assert luck(verdict("meanfield", ("fail",) * 10), "pass", 3) == 0
    assert luck(verdict("meanfield", ("fail", "warn")), "warn", 3) == 0.125
    assert luck(verdict("meanfield", ("fail", "warn")), "unknown", 3) == 0


def test_runs_that_failed_are_a_trial_too(wide: Compared) -> None:
    """All of them, or some, with CmdStan's words."""
    lost = [
        run(spec("meanfield", s, eta=0.1), status="failed", message="all step sizes failed")
        for s in (1, 2, 3)
    ]
    trial = attempt(wide, SMALLER, lost)
    assert (trial.level_after, trial.helps) == ("fail", False)
    assert (
        trial_words(trial) == "A fixed step size of 0.1: 3 of 3 runs failed: all step sizes failed."
    )
    assert math.isnan(trial.after.value)
    good = run(spec("meanfield", 3, eta=0.1), salt=1)
    part = attempt(wide, SMALLER, [*lost[:2], good])
    assert (part.level_after, part.helps) == ("fail", False)
    assert "2 of 3 runs failed (all step sizes failed)" in trial_words(part)


def test_a_trial_with_runs_missing_is_none(wide: Compared) -> None:
    """Two that pass say nothing of the third."""
    results = [run(spec("meanfield", s, eta=0.1), salt=1) for s in (1, 2)]
    asked = dataclasses.replace(
        SMALLER, spec=tuple(spec("meanfield", s, eta=0.1) for s in (1, 2, 3))
    )
    trial = attempt(wide, asked, results)
    assert (trial.level_after, trial.helps) == (None, False)
    assert "not tried: 2 of its 3 runs exist" in trial_words(trial)
    assert not attempt(wide, SMALLER, []).helps


def test_what_gave_no_draws_before_has_no_figure() -> None:
    """Runs that pass help a method whose runs all failed."""
    compared = compare([run(spec("meanfield", s), status="failed") for s in (1, 2, 3)])
    results = [run(spec("meanfield", s, eta=0.1), seconds=0.7, salt=1) for s in (1, 2, 3)]
    trial = attempt(compared, SMALLER, results)
    assert (trial.level_before, trial.level_after, trial.helps) == ("fail", "pass", True)
    assert trial.metric == ""
    assert trial_words(trial) == "A fixed step size of 0.1: passes in all 3 seeds, 0.70 s."


def test_runs_of_the_same_name_are_not_taken_for_the_comparisons(wide: Compared) -> None:
    """A run with other options differs from the comparison's, even with equal method and seed."""
    present = [r for r in wide.comparison.runs if r.spec.method == "meanfield"]
    again = attempt(wide, SMALLER, present)
    assert again.before == again.after
    other = attempt(wide, SMALLER, [run(r.spec, salt=3) for r in present])
    assert other.helps


def test_what_is_not_tried_is_a_trial_with_the_reason(wide: Compared) -> None:
    """It is a row of the table of remedies too."""
    skipped = dataclasses.replace(
        SMALLER, spec=None, reason="left out", facts={"why": "it takes an hour"}
    )
    trial = attempt(wide, skipped, [])
    assert trial_words(trial) == "A fixed step size of 0.1: not tried: it takes an hour."
    assert (trial.level_after, trial.helps, trial.after) == (None, False, NO_ESTIMATE)


def test_reweighting_corrects_a_q_that_is_a_little_too_wide() -> None:
    """Reweighting helps it, and refuses a q in the wrong place in any seed."""
    weigh = Proposal("meanfield", "reweighted", "meanfield", {}, None, seeds=(1, 2, 3))
    runs = [run(spec("meanfield", s, 40_000), sd=1.6) for s in (1, 2, 3)]
    trial = attempt(compare(runs), weigh, runs)
    assert (trial.level_before, trial.level_after, trial.helps) == ("fail", "pass", True)
    away = [run(spec("meanfield", s), mean=8.0) for s in (2, 3)]
    trial = attempt(compare([*runs[:1], *away]), weigh, [*runs[:1], *away])
    assert (trial.level_after, trial.helps) == ("unknown", False)
    assert "impossible in 2 of 3 seeds (seed 2: the weights are worth" in trial_words(trial)


FROM_Q = Proposal("meanfield", "nuts from q", "nuts", {"warmup": 150}, (), seeds=(1,))


def test_nuts_from_q_helps_by_less_work_for_the_same_trust(wide: Compared) -> None:
    """Seconds and leapfrog steps, those of the warm-up estimated, beside the comparison's."""
    from_q = chains(spec("nuts", warmup=150, inits=[]), seconds=1.5)
    stuck = chains(spec("nuts", warmup=150), seconds=1.0, stuck=3.0)
    trial = attempt(wide, FROM_Q, [from_q, stuck])
    assert (trial.level_before, trial.level_after, trial.helps) == ("reference", "reference", True)
    assert (trial.metric, trial.quantity) == ("rhat", "x")
    assert (
        "1.5 s instead of 3.0 s, about 32\u202f200 leapfrog steps with the warm-up's instead of "
        "56\u202f000"
    ) in trial_words(trial)
    assert trial_words(trial).endswith("as short a warm-up from random starts cannot be trusted.")
    slow = attempt(wide, FROM_Q, [chains(spec("nuts"), seconds=9.0), stuck])
    assert not slow.helps
    assert "no gain" in trial_words(slow)


def test_a_short_warm_up_alone_is_no_merit_of_q(wide: Compared) -> None:
    """The same from random starts that does as well, or was never run, leaves q without credit."""
    from_q = chains(spec("nuts", warmup=150, inits=[]), seconds=1.5)
    control = chains(spec("nuts", warmup=150), seconds=1.5)
    trial = attempt(wide, FROM_Q, [from_q, control])
    assert not trial.helps
    assert "no gain over as short a warm-up from random starts" in trial_words(trial)
    alone = attempt(wide, FROM_Q, [from_q])
    assert not alone.helps
    assert "was not run" in trial_words(alone)


def test_nuts_from_q_is_not_trusted_for_its_diagnostics_alone(wide: Compared) -> None:
    """Chains that agree where the reference is not have not left q; parted ones fail R-hat."""
    away = attempt(wide, FROM_Q, [chains(spec("nuts", warmup=150), seconds=1.0, shift=2.0)])
    assert (away.level_after, away.helps) == ("fail", False)
    assert "its diagnostics pass, but its draws of x differ from the reference's" in trial_words(
        away
    )
    parted = attempt(wide, FROM_Q, [chains(spec("nuts", warmup=150), seconds=1.0, stuck=3.0)])
    assert (parted.level_after, parted.helps) == ("unknown", False)
    assert "cannot be trusted (" in trial_words(parted)
    nothing = attempt(wide, FROM_Q, [])
    assert not nothing.helps


@pytest.mark.parametrize(("generated", "level"), [(("y",), "fail"), ((), "reference")])
def test_nuts_from_q_judges_generated_quantities_apart(
    generated: tuple[str, ...], level: str
) -> None:
    """A mean off by 3.6 errors more than allowed: over one quantity's limit, not over 201's."""
    rng = np.random.default_rng(1)
    names = ("x", *(f"y[{i}]" for i in range(200)))

    def beside(draws: Draws) -> Draws:
        more = rng.standard_normal((*draws.values.shape[:2], 200))
        values = np.concatenate([draws.values, more], axis=2)
        return dataclasses.replace(draws, names=names, values=values)

    exact = beside(Draws(("x",), rng.standard_normal((1, 40_000, 1))))
    reference = Reference("exact", trusted=True, why="exact", draws=exact)
    runs = [run(spec("meanfield"), sd=6.5), chains(spec("nuts"), seconds=3.0)]
    runs = [dataclasses.replace(r, draws=beside(r.draws)) for r in runs]
    compared = judged(MODEL, runs, reference, select(MODEL, exact, generated))
    moved = chains(spec("nuts", warmup=150), shift=0.16)
    values = beside(moved.draws)
    values.values[:, :, 0] += (
        0.1 + 3.6 * math.sqrt(1 / 4000 + 1 / 40_000) - values.quantity("x").mean()
    )
    trial = attempt(compared, FROM_Q, [dataclasses.replace(moved, draws=values)])
    assert trial.level_after == level


def a_trial(remedy: str, after: Any, seconds: float, *, helps: bool) -> Trial:
    """Return a trial of mean-field."""
    return Trial(
        "meanfield", remedy, "meanfield", {}, "fail", after, "bias", "x", NO_ESTIMATE,
        NO_ESTIMATE, seconds, 1.0, "helps" if helps else "no help",
        facts={"words": f"{remedy}: words."},
    )  # fmt: skip


def helped(tries: list[Trial]) -> Verdict:
    """Return mean-field's verdict with these trials."""
    failed = verdict("meanfield")
    return dataclasses.replace(failed, remedies=remedies_of(failed, [], tries, {}))


def test_the_best_remedy_is_of_the_best_level_then_the_fastest() -> None:
    """Sentences follow the same order, what does not help last."""
    tries = [
        a_trial("smaller step", "fail", 0.001, helps=False),
        a_trial("full-rank", "warn", 0.01, helps=True),
        a_trial("nuts from q", "reference", 0.02, helps=True),
        a_trial("dadvi_psis", "pass", 0.6, helps=True),
        a_trial("dadvi_lr", "pass", 0.05, helps=True),
    ]
    found = helped(tries)
    assert remedy_in_short(found) == "DADVI + LR passes (0.050 s)"
    assert [r.remedy for r in found.remedies if isinstance(r, Trial)] == [
        "dadvi_lr", "dadvi_psis", "nuts from q", "full-rank", "smaller step",
    ]  # fmt: skip
    assert remedy_sentences(found) == (
        "dadvi_lr: words.", "dadvi_psis: words.", "nuts from q: words.", "Full-rank also helps.",
        "Tried without effect on the verdict: smaller step.",
    )  # fmt: skip
    assert remedy_in_short(helped(tries[:1])) == "nothing tried helps"
    assert remedy_in_short(helped(tries[:2])) == "full-rank warns (0.010 s)"
    assert (remedy_in_short(helped([])), remedy_sentences(helped([]))) == ("", ())


def test_without_trials_the_comparisons_own_better_rows_are_named() -> None:
    """A row that passes before one that warns, the fastest first; NUTS where there is no other."""

    def row(method: str, level: Any) -> Verdict:
        return dataclasses.replace(verdict(method, (level,) * 5, level), seeds=5)

    rows = [
        row("meanfield", "fail"), row("fullrank", "warn"), row("dadvi_psis", "pass"),
        row("dadvi_lr", "pass"), row("dadvi", "unknown"), row("nuts", "reference"),
    ]  # fmt: skip
    seconds = {"dadvi_lr": 0.05, "dadvi_psis": 1.0, "fullrank": 0.01, "nuts": 40.0}

    def short(failed: Verdict, found: tuple[Better, ...]) -> str:
        return remedy_in_short(dataclasses.replace(failed, remedies=found))

    known = dataclasses.replace(rows[0], remedies=better(rows[0], rows, seconds))
    assert remedy_in_short(known) == "DADVI + LR passes (0.050 s)"
    assert remedy_sentences(known) == (
        "DADVI + LR passes in all 5 seeds here, 0.050 s a run.",
        "DADVI + PSIS passes in all 5 seeds here, 1.0 s a run.",
        "Full-rank warns here, 0.010 s a run.",
    )
    assert short(rows[1], better(rows[1], rows, {})) == "DADVI + PSIS passes"
    alone = better(rows[0], [rows[0], rows[-1]], seconds)
    assert short(rows[0], alone) == "NUTS is trusted (40 s)"
    assert better(rows[0], rows[:1], seconds) == ()
    assert better(rows[2], rows, seconds) == ()
