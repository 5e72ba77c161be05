"""Pathfinder and Laplace as methods: what they find, say, cost and refuse, on the real engine.

Moments of n draws may differ from the truth by 4.5 standard errors. Seeds are fixed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scripts import Compiled

from harness.methods import METHODS
from harness.methods import laplace as laplace_method
from harness.methods import pathfinder as pathfinder_method
from harness.methods.laplace import LAPLACE, LaplaceOptions
from harness.methods.options import from_words
from harness.methods.pathfinder import PATHFINDER, PathfinderOptions
from harness.methods.settings import OptionError
from harness.models import folders
from harness.records import Draws, Program, Reason, Reference, RunContext, RunResult, RunSpec
from harness.stan import CmdStan, compile_program, console, engine
from harness.stan.embedded.model import EmbeddedModel
from harness.why.causes import cause_sentence
from harness.why.explain import explain
from harness.why.fits import fit_of

STANDARD_ERRORS = 4.5

Run = Callable[..., RunResult]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a function that runs a method in the embedded engine."""

    def once(
        method: str,
        model: str | Path = "normal_mean",
        *,
        seed: int = 20_261_129,
        draws: int = 0,
        limit_s: float = 60.0,
        program: Program | None = None,
        **options: Any,
    ) -> RunResult:
        row = METHODS[method]
        if isinstance(model, Path):
            stan_file, data_file = model, None
        else:
            lecture = folders.load(model)
            stan_file, data_file = lecture.stan_file, lecture.data_file
        spec = RunSpec("m", method, {**row.defaults, **options}, 1, draws or row.draws)
        program = program or Program(stan_file, {"numpy": "2"}, embedded=True)
        scratch = tmp_path / f"{method}-{len(list(tmp_path.iterdir()))}"
        scratch.mkdir()
        return row.run(spec, RunContext(program, data_file, limit_s, seed), scratch)

    return once


def written(folder: Path, code: str) -> Path:
    """Write a program."""
    path = folder / "program.stan"
    path.write_text(code, encoding="utf-8")
    return path


def exact() -> tuple[float, float]:
    """Return normal_mean's posterior mean and sd: Σx / (N + 1) and 1 / √(N + 1)."""
    file = folders.load("normal_mean").data_file
    assert file is not None
    x = np.array(json.loads(file.read_text(encoding="utf-8"))["x"])
    return float(x.sum() / (x.size + 1)), float((x.size + 1) ** -0.5)


@pytest.mark.parametrize("method", ["pathfinder", "laplace"])
def test_an_exactly_normal_posterior_is_found(run: Run, method: str) -> None:
    """Mean and sd are the exact ones, and the record says which Stan made them."""
    result = run(method)
    assert (result.status, result.message, result.reason) == ("ok", "", None)
    assert result.draws is not None
    m, (mean, sd) = result.draws.quantity("m"), exact()
    assert m.shape == (1, METHODS[method].draws)
    assert abs(m.mean() - mean) < STANDARD_ERRORS * sd / np.sqrt(m.size)
    assert abs(m.std() - sd) < STANDARD_ERRORS * sd / np.sqrt(2 * m.size)
    assert result.engine == "embedded"
    assert result.versions == {"numpy": "2", "stan": "Stan 2.40 (embedded)"}
    assert result.cost.gradient_evaluations is not None
    assert 0 < result.cost.gradient_evaluations < 100


def test_paths_are_weighted_together(run: Run) -> None:
    """Each path's ELBO, the weights' k-hat and worth are told; copies are counted."""
    result = run("pathfinder", "linear_regression")
    known = result.diagnostics
    assert result.draws is not None
    assert {f"elbo.path_{i}" for i in (1, 2, 3, 4)} < set(known)
    assert known["proposals"] == 4 * 4000
    assert 0 < known["weight_ess"] < known["proposals"]
    assert known["khat"] < 0.7
    assert result.console.count("ELBO") == 4
    assert result.draws.log_q is None  # of resampled draws it would give another k-hat
    copies = result.draws.copies
    assert copies is not None
    # A draw is there as often as it says: draws are told apart by their densities.
    assert result.draws.log_p is not None
    _, times = np.unique(result.draws.log_p, return_counts=True)
    assert sorted(np.repeat(times, times)) == sorted(copies[0])
    densities = result.cost.log_density_evaluations
    assert densities is not None
    assert densities >= known["proposals"]


def test_a_run_is_its_seed(run: Run) -> None:
    """The same seed gives the same draws; paths of one run differ."""
    first, again, other = (
        run("pathfinder", "linear_regression", seed=s, draws=500) for s in (7, 7, 8)
    )
    assert first.draws is not None
    assert again.draws is not None
    assert other.draws is not None
    np.testing.assert_array_equal(first.draws.values, again.draws.values)
    assert not np.array_equal(first.draws.values, other.draws.values)
    elbo = [first.diagnostics[f"elbo.path_{i}"] for i in (1, 2, 3, 4)]
    assert len(set(elbo)) == 4


def test_modes_that_no_gaussian_holds_are_doubted(run: Run) -> None:
    """On the lecture's mixture the weights are worth too little, which is said with figures."""
    result = run("pathfinder", "mixture", seed=12_345_678)
    assert result.status == "not_converged"
    assert result.reason is Reason.WEIGHTS
    assert "weighting cannot correct these Gaussians" in result.message
    assert result.diagnostics["weight_ess"] < 0.05 * result.diagnostics["proposals"]


@pytest.mark.parametrize(
    ("options", "draws", "log_q"),
    [
        ({"num_paths": 1}, 400, True),
        ({"psis_resample": False}, 400, True),
        ({"psis_resample": False, "num_draws": 30}, 120, True),
        ({"psis_resample": False, "num_paths": 3}, 400, True),
        ({"calculate_lp": False}, 400, False),
    ],
)
def test_without_weights_draws_are_those_of_the_paths(
    run: Run, options: dict[str, Any], draws: int, log_q: bool
) -> None:
    """As in Stan, a single path is not weighted, nor are draws without log densities."""
    result = run("pathfinder", draws=400, **options)
    assert result.status == "ok"
    assert result.draws is not None
    assert result.draws.values.shape == (1, draws, 1)
    assert (result.draws.log_q is not None) is log_q
    assert (result.draws.log_p is not None) is log_q
    assert result.draws.copies is None
    assert "khat" not in result.diagnostics


def test_more_draws_are_of_more_proposals() -> None:
    """Each path delivers as many as are wanted of all; very wide programs, fewer."""
    assert PathfinderOptions().draws_a_path(1000) == 1000  # type: ignore[call-arg]
    assert PathfinderOptions().draws_a_path(9000) == 9000  # type: ignore[call-arg]
    assert PathfinderOptions().draws_a_path(10_000, 100_000) == 125  # type: ignore[call-arg]
    assert PathfinderOptions(num_draws=50).draws_a_path(9000) == 50
    assert PathfinderOptions(psis_resample=False).draws_a_path(9000) == 2250
    # Slow densities: 10 seconds of them for four paths, but never fewer than usual.
    assert PathfinderOptions().draws_a_path(90_000, 5, 1e-4) == 25_000  # type: ignore[call-arg]
    assert PathfinderOptions().draws_a_path(90_000, 5, 1.0) == 4000  # type: ignore[call-arg]


LOOP = """
parameters { real x; }
model {
  real sum = 0;
  for (n in 1:100000) sum += lgamma(n + exp(x));
  x ~ normal(0, 1);
  target += 0 * sum;
}
"""


def test_loops_count_among_the_seconds_of_many_draws(tmp_path: Path) -> None:
    """A program without data of 100 000 steps a density is slow: it gets the usual draws only."""
    file = written(tmp_path, LOOP)
    context = RunContext(Program(file, {}, embedded=True), None, 60.0, 1)
    spec = RunSpec("m", "pathfinder", {}, 1, 50_000)
    expected = pathfinder_method._density_s(spec, context, EmbeddedModel(file, None))
    assert PathfinderOptions().draws_a_path(50_000, 1, expected) == 4000  # type: ignore[call-arg]


NO_PATH = "parameters { real x; } model { target += 0 * x; }"


def test_a_density_without_a_path_fails(run: Run, tmp_path: Path) -> None:
    """A flat density has no path: the run fails in Stan's words."""
    result = run("pathfinder", written(tmp_path, NO_PATH))
    assert result.status == "failed"
    assert result.draws is None
    assert result.message
    assert result.reason is Reason.PROGRAM_ERROR


def test_laplaces_gaussian_is_known_exactly(run: Run) -> None:
    """Its mean and covariance come back from its draws, as the family gap needs them."""
    result = run("laplace", "linear_regression")
    lecture = folders.load("linear_regression")
    found = fit_of(result, EmbeddedModel(lecture.stan_file, lecture.data_file))
    assert LAPLACE.family_of(LAPLACE.defaults) == "fullrank"
    assert found.exact
    assert found.q is not None
    assert result.diagnostics["iterations"] > 1
    model = EmbeddedModel(lecture.stan_file, lecture.data_file)
    gradient = model.log_density_gradient(found.q.mean[None]).gradient
    assert gradient is not None
    # Stan's optimiser stops where log p changes by 1e-8 of itself.
    assert np.abs(gradient @ found.q.factor).max() < 0.01
    step = 1e-4 * np.eye(3)
    ends = [model.log_density_gradient(found.q.mean + s * step).gradient for s in (1, -1)]
    hessian = (np.asarray(ends[0]) - np.asarray(ends[1])) / 2e-4
    covariance = found.q.factor @ found.q.factor.T
    np.testing.assert_allclose(covariance @ -hessian, np.eye(3), atol=1e-4)


def test_laplaces_gap_is_explained(run: Run) -> None:
    """A Student-t's best Gaussian is 0.0407 nats away; the rest is that of the mode's curvature.

    At the mode of a t with 3 degrees of freedom, log p has the curvature −4/3: q is N(0, 3/4).
    """
    lecture = folders.load("student_t")
    result = dataclasses.replace(run("laplace", "student_t"), key="k")
    program = engine.embed(Program(lecture.stan_file, {}), None)
    (gap,) = explain(lecture, [result], Reference("none", False, ""), program).gaps
    assert gap.exact
    x = np.sqrt(0.75) * np.random.default_rng(5).standard_normal(400_000)
    ratio = stats.norm.logpdf(x, scale=np.sqrt(0.75)) - stats.t.logpdf(x, 3)
    error = STANDARD_ERRORS * np.hypot(gap.kl.mcse, ratio.std() / np.sqrt(ratio.size))
    assert abs(gap.kl.value - ratio.mean()) < error
    assert abs(gap.family_gap.value - 0.04070) < STANDARD_ERRORS * gap.family_gap.mcse
    assert [c.name for c in gap.causes if c.gap == "optimiser"] == ["curvature at the mode"]
    assert "its mean is the mode" in cause_sentence(gap.causes[0])


@pytest.mark.parametrize(
    "code",
    [
        "parameters { vector[2] x; } model { target += -square(x[1] - x[2]); }",
        "parameters { real a; real b; } model { b ~ normal(0, 1); }",
    ],
)
def test_an_improper_posterior_has_no_laplace(run: Run, tmp_path: Path, code: str) -> None:
    """A ridge's curvature is a rounding error, by which Stan divides."""
    result = run("laplace", written(tmp_path, code))
    assert result.status == "failed"
    assert result.message.endswith("the posterior is improper")


@pytest.mark.parametrize("name", [n for n in folders.lecture_models() if n != "wide_normal"])
def test_the_lectures_posteriors_have_a_laplace(run: Run, name: str) -> None:
    """They are proper, with one peak or more: far tails are no flat directions."""
    assert run("laplace", name, draws=1000).status == "ok"


SLOPE = "parameters { vector[2] x; } model { target += x[1] - square(x[2]); }"

FUNNEL = """
parameters { real<lower=0> s; vector[9] x; }
model { x ~ normal(0, s); s ~ normal(0, 1); }
"""


@pytest.mark.parametrize("code", [SLOPE, FUNNEL], ids=["slope", "funnel"])
def test_a_mode_without_curvature_is_no_gaussian(run: Run, tmp_path: Path, code: str) -> None:
    """A density that rises for ever, in a line or into a funnel, has no Laplace approximation."""
    result = run("laplace", written(tmp_path, code))
    assert result.status in {"failed", "not_converged"}
    assert result.message


@pytest.mark.parametrize(
    ("half", "gaussian"),
    [
        (lambda rng: rng.chisquare(3, 5000) / 2, True),
        (lambda rng: rng.chisquare(3, 5000), False),
        (lambda rng: rng.chisquare(3, 5000) / 2 - rng.chisquare(1, 5000) / 2, False),
        (lambda rng: -rng.chisquare(3, 5000) / 2, False),
        (lambda rng: np.where(np.arange(5000) == 7, np.nan, rng.chisquare(3, 5000) / 2), False),
        (lambda _: np.zeros(5000), False),
    ],
    ids=["gaussian", "wrong scale", "saddle", "minimum", "nan", "constant"],
)
def test_a_draw_of_no_gaussian_is_told(
    half: Callable[[np.random.Generator], Sequence[float]], gaussian: bool
) -> None:
    """Stan draws from a saddle's curvature without a word; its log q is no half chi-square."""
    log_q = -np.asarray(half(np.random.default_rng(3)))[None]
    draws = Draws(("x",), np.ones((1, 5000, 1)), log_q, log_q)
    assert laplace_method.gaussian(draws) is gaussian


def test_a_short_climb_is_not_at_the_mode(run: Run) -> None:
    """The iteration limit is a doubt, with the option's figure."""
    result = run("laplace", "linear_regression", iter=3)
    assert result.status == "not_converged"
    assert result.reason is Reason.ITERATION_LIMIT
    assert "limit of 3 iterations" in result.message
    assert result.draws is not None


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("laplace", {"jacobian": False}, "laplace.jacobian=false needs CmdStan 2.32"),
        ("laplace", {"algorithm": "newton"}, "laplace.algorithm=newton needs CmdStan 2.32"),
        ("pathfinder", {"history_size": 2**40}, "allowed: a whole number from 1 up to"),
        ("pathfinder", {"num_paths": 0}, "num_paths is 0; allowed: a whole number from 1"),
    ],
)
def test_options_that_cannot_be_followed_are_refused(
    run: Run, method: str, options: dict[str, Any], words: str
) -> None:
    """What the engine lacks needs CmdStan, and says so."""
    result = run(method, **options)
    assert result.status == "failed"
    assert words in result.message


@pytest.mark.parametrize(
    ("word", "allowed"),
    [
        ("pathfinder.num_paths=0", "a whole number from 1"),
        ("pathfinder.psis_resample=2", "true or false"),
        ("pathfinder.tol_grad=0", "a number above 0"),
        ("pathfinder.init_radius=-1", "a number from 0"),
        ("laplace.algorithm=adam", "lbfgs, bfgs or newton"),
        ("laplace.iter=0.5", "a whole number from 1"),
        ("nuts.start=laplace", "random or pathfinder"),
    ],
)
def test_options_are_checked_when_they_are_read(word: str, allowed: str) -> None:
    """With what is allowed."""
    with pytest.raises(OptionError, match=f"allowed: {allowed}"):
        from_words([word])


def test_a_time_limit_ends_a_run(run: Run) -> None:
    """The result says so, and names the option."""
    result = run("pathfinder", limit_s=0.2, num_elbo_draws=1_000_000)
    assert result.status == "timed_out"
    assert "--timeout" in result.message
    assert run("laplace", draws=1_000_000, limit_s=0.2).status == "timed_out"


def test_without_an_engine_words_say_what_is_needed(run: Run) -> None:
    """And why the embedded engine does not make the density."""
    lecture = folders.load("normal_mean")
    bare = Program(lecture.stan_file, {"cmdstan": "2.27.0"})
    why = dataclasses.replace(bare, embedded_error="complex numbers")
    for method, version in (("pathfinder", "2.33"), ("laplace", "2.32"), ("nuts", "2.27")):
        needs = f"{method} needs CmdStan {version} or the embedded engine"
        assert run(method, program=bare).message == needs
        assert run(method, program=why).message == f"{needs}: complex numbers"
        assert run(method, program=why).status == "failed"


TRUNCATED = """
parameters { real<lower=0> m; }
model { m ~ normal(0, 1) T[0, ]; }
"""


def test_advi_needs_all_constants(run: Run, tmp_path: Path) -> None:
    """Its stopping rule is relative to the ELBO: without constants it would be another one."""
    program = engine.embed(Program(written(tmp_path, TRUNCATED), {}, embedded=True), None)
    assert program.embedded
    assert not program.constants
    for method in ("meanfield", "fullrank_tuned"):
        result = run(method, program.stan_file, program=program)
        assert result.status == "failed"
        assert "lacks constants that ~ drops" in result.message
    assert run("laplace", program.stan_file, program=program).status == "ok"


@pytest.mark.stan
@pytest.mark.parametrize("family", ["meanfield", "fullrank"])
def test_advi_finds_what_cmdstans_finds(run: Run, cmdstan: CmdStan, family: str) -> None:
    """With tuned settings, means and sds of both differ by less than seeds of CmdStan's do.

    The allowance is 4.5 standard errors of a difference between two means of six seeds.
    """
    lecture = folders.load("linear_regression")
    method = f"{family}_tuned"
    programs = (
        compile_program(lecture.stan_file, cmdstan),
        engine.embed(Program(lecture.stan_file, {}), lecture.data_file),
    )
    found = []
    for program in programs:
        results = [
            run(method, "linear_regression", program=program, seed=s * 7919, draws=1000)
            for s in range(1, 7)
        ]
        assert {r.engine for r in results} == {"embedded" if program.embedded else "cmdstan"}
        draws = [r.draws.values[0] for r in results if r.draws is not None]
        assert len(draws) == 6, [r.message for r in results]
        moments = [np.concatenate([d.mean(axis=0), np.log(d.std(axis=0))]) for d in draws]
        elbo = [r.diagnostics["elbo"] for r in results]
        found.append(np.column_stack([moments, elbo]))
        for result in results:
            assert result.trace is not None
            assert result.trace.iteration[-1] == result.diagnostics["iterations"]
            assert (np.diff(result.trace.elapsed_s) >= 0).all()
            assert result.cost.gradient_evaluations == 20 * result.diagnostics["iterations"]
    theirs, ours = found
    error = np.sqrt((theirs.var(axis=0, ddof=1) + ours.var(axis=0, ddof=1)) / 6)
    assert (np.abs(theirs.mean(axis=0) - ours.mean(axis=0)) < STANDARD_ERRORS * error).all()


def test_advis_path_and_words_are_the_consoles(run: Run) -> None:
    """Step size, ELBO by iteration and what is said of convergence, as of CmdStan's."""
    lecture = folders.load("normal_mean")
    program = engine.embed(Program(lecture.stan_file, {}), lecture.data_file)
    result = run("meanfield", program=program, iter=300)
    assert result.status == "not_converged"
    assert result.reason is Reason.ITERATION_LIMIT
    assert result.trace is not None
    assert result.trace.iteration.tolist() == [100, 200, 300]
    assert result.diagnostics["eta"] in {100, 10, 1, 0.1, 0.01}
    assert result.diagnostics["elbo"] == result.trace.elbo[-1]
    assert result.draws is not None
    assert result.draws.log_q is not None
    assert "The maximum number of iterations is reached" in result.console


THROWING = """
parameters { real m; }
transformed parameters { real twice = 2 * m; }
model { m ~ normal(0, 1); }
generated quantities { int n = poisson_rng(twice); real after = m + 1; }
"""


@pytest.mark.parametrize("method", ["pathfinder", "laplace", "meanfield", "nuts"])
def test_generated_quantities_that_throw_are_nan(run: Run, tmp_path: Path, method: str) -> None:
    """They count against themselves, and the fit is what it would be without them."""
    program = engine.embed(Program(written(tmp_path, THROWING), {}), None)
    result = run(method, program.stan_file, program=program, draws=1000)
    assert result.draws is not None, result.message
    assert result.draws.names == ("m", "twice", "n", "after")
    m, twice, n, after = np.moveaxis(result.draws.values, 2, 0)
    assert np.isfinite(m).all()
    np.testing.assert_array_equal(twice, 2 * m)
    assert (np.isnan(n) == (m < 0)).all()
    assert (np.isnan(after) == (m < 0)).all()
    np.testing.assert_allclose(after[m > 0], m[m > 0] + 1, atol=1e-12)
    lost = int((m < 0).sum())
    assert 300 < lost < 4000
    assert f"{lost} " in result.message.replace("\N{NO-BREAK SPACE}", "")
    assert "without generated" in result.message or "no generated quantities" in result.message


def test_nuts_starts_from_pathfinder(run: Run) -> None:
    """Its chains begin at draws of Pathfinder: with the same seed they are others, and as right."""
    plain, started = run("nuts"), run("nuts", start="pathfinder")
    mean, sd = exact()
    for result in (plain, started):
        assert result.draws is not None, result.message
        assert set(result.draws.stats) >= {"diverging", "energy", "tree_depth"}
        m = result.draws.quantity("m")
        assert m.shape == (4, 1000)
        # Antithetic steps: at least a quarter of the draws' worth.
        assert abs(m.mean() - mean) < STANDARD_ERRORS * sd / np.sqrt(m.size / 4)
        assert not result.draws.iid
    assert plain.draws is not None
    assert started.draws is not None
    assert not np.array_equal(plain.draws.values, started.draws.values)


def test_nuts_without_starts_fails_in_pathfinders_words(run: Run, tmp_path: Path) -> None:
    """Chains that silently started elsewhere would not be what was asked for."""
    result = run("nuts", written(tmp_path, NO_PATH), start="pathfinder")
    assert result.status == "failed"
    assert result.message.startswith("no starts for NUTS: Pathfinder ended without draws: ")


@pytest.mark.stan
def test_cmdstan_starts_from_pathfinder(run: Run, cmdstan: CmdStan) -> None:
    """Where CmdStan is too old for Pathfinder, the embedded engine's draws start its chains."""
    lecture = folders.load("mixture")
    program = dataclasses.replace(compile_program(lecture.stan_file, cmdstan), embedded=True)
    result = run("nuts", "mixture", program=program, start="pathfinder", warmup=100)
    assert result.draws is not None, result.message
    assert result.engine == "cmdstan"
    assert "stan" not in result.versions


@pytest.mark.stan
def test_cmdstanpy_takes_our_arguments(run: Run, cmdstan: CmdStan) -> None:
    """CmdStan 2.27 has neither: CmdStanPy says which it needs, after it has read its arguments."""
    lecture = folders.load("normal_mean")
    program = compile_program(lecture.stan_file, cmdstan)
    if cmdstan.version >= (2, 33, 0):
        for method in ("pathfinder", "laplace"):
            assert run(method, program=program).status == "ok"
        return
    new = dataclasses.replace(program, versions={"cmdstan": "2.36.0"})
    assert "versions before 2.33" in run("pathfinder", program=new).message
    assert "versions before 2.32" in run("laplace", program=new).message
    old = run("pathfinder", program=program)
    assert old.message == "pathfinder needs CmdStan 2.33 or the embedded engine"


@pytest.mark.stan
def test_cmdstans_optimiser_takes_the_same_path(compiled: Compiled, tmp_path: Path) -> None:
    """Its own table of the climb from zero, and the embedded engine's, agree."""
    from harness.stan.embedded import services

    lecture = folders.load("normal_mean")
    assert lecture.data_file is not None
    compiled(lecture.stan_file).optimize(
        data=str(lecture.data_file), inits=0, output_dir=tmp_path, refresh=1, seed=1
    )
    text = "\n".join(p.read_text(encoding="utf-8") for p in tmp_path.glob("*.txt"))
    climb = console.read_climb(text)
    model = EmbeddedModel(lecture.stan_file, lecture.data_file)
    mode = services.optimize(model, 1, 60.0, init_radius=0.0)
    assert climb is not None
    assert (climb.iterations, climb.gradients) == (mode.iterations, mode.gradients)


def test_both_are_what_any_program_gets() -> None:
    """They run by default, and Pathfinder's draws are no chains."""
    for row in (PATHFINDER, LAPLACE):
        assert row.usual
        assert row.approximate
    assert pathfinder_method.SINCE == (2, 33)
    assert LaplaceOptions().only_by_cmdstan == ""  # type: ignore[call-arg]
