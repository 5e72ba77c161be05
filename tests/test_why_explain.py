"""Explanations end to end on two own programs, and what is said where something is missing."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from harness.methods import METHODS
from harness.methods.bridged import BridgeTarget
from harness.models.folders import user_model
from harness.records import (
    Draws,
    Estimate,
    Explanation,
    Gap,
    Model,
    Program,
    Reference,
    RunContext,
    RunResult,
    RunSpec,
    Verdict,
)
from harness.stan import CmdStan, cache_dir, compile_program
from harness.stan.bridge import library
from harness.stan.engine import open_density
from harness.vi.family_optimum import best_meanfield
from harness.vi.target import Clock
from harness.why.causes import cause_sentence
from harness.why.explain import explain
from harness.why.family_search import Search
from harness.why.scenes import widened
from harness.why.verdicts import with_causes

pytestmark = pytest.mark.stan

K = 5.0
"""Standard errors allowed."""

NATS = 0.01
"""Nats that are about nothing."""

PROGRAM = """
data {
  int<lower=0, upper=1> funnel;
}
parameters {
  real v;
  vector[2] x;
}
model {
  v ~ normal(0, 1);
  if (funnel) {
    x ~ normal(0, exp(0.6 * v));
  } else {
    x[1] ~ normal(0.8 * v, 0.6);
    x[2] ~ normal(1, 2);
  }
}
"""
"""v and x[1] correlate at 0.8, or make Neal's funnel; its integral is one."""

GAP = -0.5 * math.log(1 - 0.8**2)
"""½(Σ ln Λᵢᵢ − ln det Λ) of two normals that correlate at 0.8: 0.511 nats."""

METHODS_RUN = ("meanfield_tuned", "fullrank_tuned", "dadvi")

QUICK: Mapping[str, Mapping[str, object]] = {
    "meanfield_tuned": {"iter": 3000},
    "fullrank_tuned": {"iter": 3000},
    "dadvi": {},
}


class Case(NamedTuple):
    """A model with its runs, its reference and the program behind the bridge."""

    model: Model
    runs: tuple[RunResult, ...]
    reference: Reference
    library: Path

    def explained(self, timeout_s: float = 120.0) -> Explanation:
        """Return the explanation."""
        program = Program(self.model.stan_file, {}, library=self.library)
        return explain(self.model, self.runs, self.reference, program, timeout_s)


@pytest.fixture(scope="module")
def cases(cmdstan: CmdStan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Case]]:
    """Run three methods and NUTS on the correlated normal and the funnel: one program."""
    folder = tmp_path_factory.mktemp("programs")
    file = folder / "pair.stan"
    file.write_text(PROGRAM, encoding="utf-8")
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(cache_dir() / "unoptimised"))
        patch.setenv("CMDSTAN", str(cmdstan.path))
        patch.setenv("O", "0")
        built = library(file, cmdstan)
        program = dataclasses.replace(compile_program(file, cmdstan), library=built)
        for funnel in (0, 1):
            data = folder / f"{funnel}.json"
            data.write_text(json.dumps({"funnel": funnel}), encoding="utf-8")
            runs = {}
            for name in (*METHODS_RUN, "nuts"):
                method = METHODS[name]
                options = {**method.defaults, **QUICK.get(name, {})}
                spec = RunSpec("pair", name, options, 1, method.draws)
                context = RunContext(program, data, 120.0, 77)
                runs[name] = method.run(spec, context, tmp_path_factory.mktemp("scratch"))
                assert runs[name].draws is not None, runs[name].message
            reference = Reference("nuts", True, "R-hat is 1.00", runs["nuts"].draws)
            found.append(Case(user_model(file, data), tuple(runs.values()), reference, built))
        yield found


@pytest.fixture(scope="module")
def correlated(cases: list[Case]) -> Case:
    """Return the correlated normal's."""
    return cases[0]


@pytest.fixture(scope="module")
def funnel(cases: list[Case]) -> Case:
    """Return the funnel's."""
    return cases[1]


@pytest.fixture(scope="module")
def explained(correlated: Case) -> Explanation:
    """Explain the correlated normal."""
    return correlated.explained()


def only(found: Explanation, method: str) -> Gap:
    """Return the gap of a method's one seed."""
    (gap,) = found.of(method)
    return gap


def unknown(estimate: Estimate) -> bool:
    """Say whether neither a figure nor its error is there."""
    return math.isnan(estimate.value) and math.isnan(estimate.mcse)


def family_names(gap: Gap) -> list[str]:
    """Return the names of the causes of the family gap."""
    return [c.name for c in gap.causes if c.gap == "family"]


# --- end to end -----------------------------------------------------------------------------


def test_log_z_of_a_normalised_program_is_zero(explained: Explanation) -> None:
    """With all constants the integral is one: bridged from NUTS's draws, within K errors."""
    assert "bridge" in explained.source
    assert 0 < explained.log_evidence.mcse < NATS
    assert abs(explained.log_evidence.value) < K * explained.log_evidence.mcse


def test_the_correlated_normal_has_the_known_gap(explained: Explanation) -> None:
    """½(Σ ln Λᵢᵢ − ln det Λ) for mean-field, caused by correlation; nothing for full-rank."""
    for method in ("meanfield_tuned", "dadvi"):
        gap = only(explained, method)
        assert gap.family == "meanfield"
        assert abs(gap.family_gap.value - GAP) < K * gap.family_gap.mcse + 1e-3
        assert gap.family_gap.mcse < NATS
        assert family_names(gap) == ["correlation"]
        (cause,) = (c for c in gap.causes if c.gap == "family")
        assert abs(cause.nats - GAP) < NATS
        sentence = cause_sentence(cause)
        assert "full-rank" in sentence
        said = re.search(r"have correlation (0\.\d+)", sentence)
        assert said is not None
        assert abs(float(said[1]) - 0.8) < 0.05
        # The names are the bridge's: x.1 where Stan users write x[1].
        assert re.search(r"\b(v and x.1|x.1. and v|x.1 and v)", sentence)
    full = only(explained, "fullrank_tuned")
    assert full.family == "fullrank"
    assert abs(full.family_gap.value) < K * full.family_gap.mcse + 1e-3
    assert family_names(full) == []


def test_every_gaussian_run_has_its_gap_in_the_order_of_the_runs(
    correlated: Case, explained: Explanation
) -> None:
    """NUTS is no Gaussian and has none; q of the others is exact, and the parts are a KL."""
    assert [(g.method, g.seed) for g in explained.gaps] == [(m, 1) for m in METHODS_RUN]
    for gap in explained.gaps:
        assert gap.exact, gap.words
        assert gap.optimiser_gap.value > -K * gap.optimiser_gap.mcse - 1e-3
        np.testing.assert_allclose(
            gap.kl.value, gap.family_gap.value + gap.optimiser_gap.value, rtol=1e-12
        )
        assert 0 <= gap.optimiser_gap.mcse < NATS
    assert only(explained, "dadvi").optimiser_gap.value < NATS
    turned = correlated._replace(runs=correlated.runs[::-1]).explained()
    assert [g.method for g in turned.gaps] == list(METHODS_RUN)[::-1]


def test_the_same_runs_are_explained_alike(correlated: Case, explained: Explanation) -> None:
    """The random numbers hang on the model's name alone."""
    again = correlated.explained()
    assert again == explained


def test_a_fit_that_is_off_has_an_optimiser_gap(correlated: Case) -> None:
    """A shift of 2 in x[2] of sd 2: half a nat, of the optimiser, and no more of the family."""
    (run,) = (r for r in correlated.runs if r.spec.method == "dadvi")
    assert run.draws is not None
    values = run.draws.values.copy()
    values[..., run.draws.names.index("x[2]")] += 2.0
    moved = dataclasses.replace(run, draws=dataclasses.replace(run.draws, values=values))
    gap = only(correlated._replace(runs=(moved,)).explained(), "dadvi")
    assert abs(gap.family_gap.value - GAP) < K * gap.family_gap.mcse + 1e-3
    assert abs(gap.optimiser_gap.value - 0.5) < K * gap.optimiser_gap.mcse + 0.05
    assert "optimiser" in [c.gap for c in gap.causes]
    assert sorted(gap.causes, key=lambda c: -c.nats) == list(gap.causes)


def test_a_funnel_is_named(funnel: Case) -> None:
    """The family gap of both families is from the funnel, with the parameters in words."""
    found = funnel.explained()
    assert abs(found.log_evidence.value) < K * found.log_evidence.mcse
    for method in ("meanfield_tuned", "fullrank_tuned"):
        gap = only(found, method)
        assert gap.family_gap.value > 0.1
        assert "funnel" in family_names(gap)
        (cause,) = (c for c in gap.causes if c.name == "funnel")
        assert cause.evidence["on"] == "v"
        assert "times as widely spread" in cause_sentence(cause)
    # A funnel is symmetric in x: full-rank can do nothing that mean-field cannot.
    assert "correlation" not in family_names(only(found, "meanfield_tuned"))


WIDE = """
data { int<lower=1> N; real<lower=0, upper=1> r; }
parameters { vector[N] x; }
model {
  x[1] ~ normal(0, 1);
  for (n in 2:N) x[n] ~ normal(r * x[n - 1], sqrt(1 - square(r)));
}
"""
"""An autoregression, each of whose entries is N(0, 1): mean field's sd is √((1 − r²)/(1 + r²))."""


@pytest.mark.parametrize("r", [0.0, 0.9])
def test_many_parameters_without_a_reference_show_their_correlation(
    r: float, tmp_path: Path
) -> None:
    """By linear response, with a Hessian or by conjugate gradients; a note says what is missing.

    3.09 times wider by hand at r = .9. Without correlation there is no cause, and weighted draws of
    q show that.
    """
    file, data = tmp_path / "wide.stan", tmp_path / "wide.json"
    file.write_text(WIDE, encoding="utf-8")
    data.write_text(json.dumps({"N": 60, "r": r}), encoding="utf-8")
    program, method = Program(file, {}, embedded=True), METHODS["dadvi"]
    spec = RunSpec("wide", "dadvi", method.defaults, 1, method.draws)
    run = method.run(spec, RunContext(program, data, 300.0, 7), tmp_path)
    reference = Reference("none", trusted=False, why="there is none")
    found = explain(user_model(file, data), [run], reference, program)
    said = any("only draws of a trusted reference show what" in n for n in found.notes)
    assert said == (r > 0)
    causes = found.gaps[0].causes
    assert [c.name for c in causes] == (["correlation"] if r else [])
    times = math.sqrt((1 + r**2) / (1 - r**2))
    if r:
        assert causes[0].evidence["times"] == pytest.approx(times, rel=0.01)
        assert "linear response's sd of x[" in cause_sentence(causes[0])
    bridged = open_density(program, data, {})
    target, rng = BridgeTarget(bridged), np.random.default_rng(1)
    best = best_meanfield(target, rng, Clock(), seconds=1e-6)
    bare = dataclasses.replace(best.optimum, covariance=None)
    search = Search(target, rng, Clock(), 1e-6)
    wider = widened(search, dataclasses.replace(best, optimum=bare), bridged)
    assert (wider is not None) == (r > 0)
    if wider is not None:
        # The entries at the ends are less wide.
        assert wider[1] == pytest.approx(times, rel=0.01)


def test_a_unit_vector_has_neither_gap_nor_false_cause(tmp_path: Path) -> None:
    """Its radius is in no draw: q is unknown, the note says so, and no cause is made up."""
    file = tmp_path / "direction.stan"
    file.write_text(
        "parameters { unit_vector[3] u; real m; }\n"
        "model { m ~ normal(u[1], 1); target += 2 * u[3]; }\n",
        encoding="utf-8",
    )
    program, method = Program(file, {}, embedded=True), METHODS["dadvi"]
    spec = RunSpec("direction", "dadvi", method.defaults, 1, method.draws)
    run = method.run(spec, RunContext(program, None, 60.0, 7), tmp_path)
    assert run.draws is not None, run.message
    exact = Reference("supplied", trusted=True, why="draws", draws=run.draws)
    found = explain(user_model(file, None), [run], exact, program)
    assert found.gaps == ()
    assert math.isnan(found.log_evidence.value)
    why = "the radius of a unit_vector is in none of them"
    assert [why in note for note in found.notes] == [True]
    assert why in found.unsought
    failed = Verdict("direction", "dadvi", "fail", "fail", 1, 1, "", ())
    (cause,) = with_causes(failed, found, [run]).causes
    assert cause.cause.gap == "none"
    assert why in cause_sentence(cause.cause)


# --- what is missing ------------------------------------------------------------------------


def test_a_reference_that_is_not_trusted_is_not_used(correlated: Case) -> None:
    """Its reason is repeated; log Z is of weighted draws of q*, and the gap is still right."""
    reference = dataclasses.replace(correlated.reference, trusted=False, why="R-hat is 1.73")
    found = correlated._replace(reference=reference).explained()
    assert any("R-hat is 1.73" in n for n in found.notes)
    assert "bridge" not in found.source
    assert "weighted" in found.source
    gap = only(found, "dadvi")
    assert abs(gap.family_gap.value - GAP) < K * gap.family_gap.mcse + 1e-3
    assert family_names(gap) == ["correlation"]


def test_without_trusted_draws_a_funnels_gap_is_not_zero(funnel: Case) -> None:
    """Where q's weights cannot tell log Z the family gap is NaN with a note; the other is known.

    The funnel is named all the same, from draws that the fits and the density give.
    """
    for reference in (
        dataclasses.replace(funnel.reference, trusted=False, why="it has 400 divergences"),
        Reference("none", trusted=False, why="there is no reference"),
    ):
        found = funnel._replace(reference=reference).explained()
        assert any(reference.why in n for n in found.notes)
        for gap in found.gaps:
            assert "funnel" in family_names(gap)
            assert math.isfinite(gap.optimiser_gap.value)
            assert gap.family_gap.value != 0
            if math.isnan(found.log_evidence.value):
                assert math.isnan(gap.family_gap.value)
                assert math.isnan(gap.kl.value)
                assert any("log Z" in n for n in found.notes)


def test_a_reference_that_lacks_a_parameter_says_which(correlated: Case) -> None:
    """The posterior's shape is not looked at; the gaps are there all the same."""
    draws = correlated.reference.draws
    assert draws is not None
    keep = [i for i, n in enumerate(draws.names) if n != "x[2]"]
    lacking = Draws(tuple(draws.names[i] for i in keep), draws.values[..., keep], iid=False)
    reference = dataclasses.replace(correlated.reference, draws=lacking)
    found = correlated._replace(reference=reference).explained()
    assert any("x[2]" in n for n in found.notes)
    assert abs(only(found, "dadvi").family_gap.value - GAP) < 0.05


def test_a_short_reference_is_not_looked_at(correlated: Case) -> None:
    """With 60 draws, a note gives their number, and there is neither shape nor bridge."""
    draws = correlated.reference.draws
    assert draws is not None
    short = Draws(draws.names, draws.values[:, :15], iid=False)
    found = correlated._replace(
        reference=dataclasses.replace(correlated.reference, draws=short)
    ).explained()
    assert any("too few" in n for n in found.notes)
    assert "bridge" not in found.source


def test_without_gaussian_runs_there_is_nothing_to_explain(correlated: Case) -> None:
    """NUTS alone, no runs, runs without draws: no gaps, an unknown log Z and a sentence."""
    without = tuple(dataclasses.replace(r, draws=None) for r in correlated.runs)
    for runs in ((correlated.runs[-1],), (), without):
        found = correlated._replace(runs=runs).explained()
        assert found.gaps == ()
        assert unknown(found.log_evidence)
        assert found.source == "none"
        assert any("Gaussian" in n for n in found.notes)


@pytest.mark.parametrize("content", [None, "not a library"])
def test_a_library_that_is_none_is_said(
    correlated: Case, tmp_path: Path, content: str | None
) -> None:
    """A file that is not there, or is something else: a note, no gaps, and nothing raises."""
    path = tmp_path / "none.so"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    found = correlated._replace(library=path).explained()
    assert found.gaps == ()
    assert unknown(found.log_evidence)
    assert found.source == "none"
    (note,) = found.notes
    assert "cannot be evaluated" in note


def test_data_that_do_not_fit_are_said(correlated: Case, tmp_path: Path) -> None:
    """Data the program refuses, data that are no JSON, and none: a note each."""
    refused, broken = tmp_path / "two.json", tmp_path / "broken.json"
    refused.write_text('{"funnel": 2}', encoding="utf-8")
    broken.write_text("{", encoding="utf-8")
    for path in (refused, broken, tmp_path / "nowhere.json", None):
        model = dataclasses.replace(correlated.model, data_file=path)
        found = correlated._replace(model=model).explained()
        assert found.gaps == ()
        assert unknown(found.log_evidence)
        assert found.notes


def test_draws_that_are_no_q_have_unknown_gaps(correlated: Case) -> None:
    """A run whose draws are all NaN: its optimiser gap is NaN in words, the others' are known."""
    (run,) = (r for r in correlated.runs if r.spec.method == "dadvi")
    assert run.draws is not None
    nothing = np.full_like(run.draws.values, math.nan)
    lost = dataclasses.replace(run, draws=dataclasses.replace(run.draws, values=nothing))
    runs = tuple(lost if r is run else r for r in correlated.runs)
    found = correlated._replace(runs=runs).explained()
    gap = only(found, "dadvi")
    assert unknown(gap.optimiser_gap)
    assert math.isnan(gap.kl.value)
    assert not gap.exact
    assert gap.words
    assert abs(gap.family_gap.value - GAP) < K * gap.family_gap.mcse + 1e-3
    assert only(found, "meanfield_tuned").exact


def test_no_time_is_said(correlated: Case) -> None:
    """With a limit of nothing every run has a gap of NaN, and a note names the limit."""
    found = correlated.explained(0.0)
    assert [g.method for g in found.gaps] == list(METHODS_RUN)
    for gap in found.gaps:
        assert unknown(gap.family_gap)
        assert unknown(gap.optimiser_gap)
        assert gap.words
    assert unknown(found.log_evidence)
    assert any(" s" in n and "over" in n for n in found.notes)
