"""CAVI and SVI against the closed forms of the conjugate normal model, and quadrature.

Draws may be 4.5 standard errors off, which a right sampler is in fewer than one of 100 000.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from harness.methods.cavi import CAVI, SVI
from harness.methods.method import Method
from harness.models import folders
from harness.models.data import load_data
from harness.models.exact import SAMPLERS, inverse_gamma_posterior
from harness.records import FloatArray, Program, RunContext, RunSpec
from harness.stan import CmdStan
from harness.stan.bridge import BridgeModel
from harness.stan.bridge.build import library
from harness.vi import cavi, svi
from harness.vi.target import Clock

MODEL = folders.load("inverse_gamma_normal")


def simulated(rows: int, rng: np.random.Generator) -> FloatArray:
    """Return data of the model with m = 1 and s = 3, shape ``(row,)``."""
    return 1.0 + math.sqrt(3.0) * rng.standard_normal(rows)


@pytest.fixture(scope="module")
def x() -> FloatArray:
    """Return the lecture's 20 points."""
    return np.asarray(load_data(MODEL)["x"], dtype=np.float64)


def off(q: cavi.Factors, best: cavi.Factors) -> list[float]:
    """Return the distances of q's factors from the best ones, in sds of the factors."""
    return [
        abs(q.mean - best.mean) / math.sqrt(best.variance),
        abs(math.log(q.variance / best.variance)) / 2,
        abs(math.log(q.scale / best.scale)) * math.sqrt(best.shape),
        abs(q.shape / best.shape - 1),
    ]


def test_the_elbo_is_the_integral_of_its_definition(
    x: FloatArray,
) -> None:
    """It agrees with quadrature over s and m with SciPy's densities, constants included."""
    q = cavi.Factors(0.4, 0.2, 9.0, 20.0)
    # Trapezoidal sums of smooth functions that vanish at both ends converge geometrically.
    m = np.linspace(q.mean - 4, q.mean + 4, 81)
    log_s = np.linspace(-1.5, 4.0, 81)[:, None]
    s, sd = np.exp(log_s), np.exp(log_s / 2)
    joint = stats.invgamma.logpdf(s, 2, scale=3) + stats.norm.logpdf(m, 0, sd)
    joint = joint + stats.norm.logpdf(x, m[:, None], sd[..., None]).sum(axis=-1)
    log_q = stats.invgamma.logpdf(s, q.shape, scale=q.scale)
    log_q = log_q + stats.norm.logpdf(m, q.mean, math.sqrt(q.variance))
    rows = np.exp(log_q) * s * (joint - log_q)
    value = integrate.trapezoid(integrate.trapezoid(rows, m, axis=1), log_s[:, 0])
    assert value == pytest.approx(cavi.elbo(q, cavi.summarise(x)), abs=1e-6)


def test_the_elbo_at_the_posterior_would_be_the_evidence(
    x: FloatArray,
) -> None:
    """At any point, the joint density minus the posterior's is the log evidence."""
    data = cavi.summarise(x)
    exact = inverse_gamma_posterior({"x": x})
    s, m = np.array([0.5, 2.0, 7.0]), np.array([1.0, 0.3, -2.0])
    posterior = stats.invgamma.logpdf(s, exact.shape, scale=exact.scale)
    posterior += stats.norm.logpdf(m, exact.mean, np.sqrt(s / exact.weight)) + np.log(s)
    difference = cavi.log_density(data, s, m) - posterior
    np.testing.assert_allclose(difference, cavi.log_evidence(data), rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rows", [1, 2, 20, 10_000])
def test_the_elbo_never_decreases(rows: int, seed: int) -> None:
    """The ELBO rises at every update, up to its last digits."""
    found = cavi.cavi(cavi.summarise(simulated(rows, np.random.default_rng(seed))), Clock())
    elbo = found.trace.elbo
    assert np.diff(elbo).min() >= -1e-14 * np.abs(elbo).max() * 4
    assert elbo[-1] > elbo[0]
    assert found.converged


@pytest.mark.parametrize("rows", [1, 20, 200_000])
def test_cavi_ends_at_the_fixed_point(rows: int) -> None:
    """Its factors are those of the closed form, to 11 digits."""
    data = cavi.summarise(simulated(rows, np.random.default_rng(3)))
    found = cavi.cavi(data, Clock())
    assert max(off(found.q, cavi.optimum(data))) < 1e-11


def test_the_optimum_is_the_best_of_its_family(x: FloatArray) -> None:
    """Changing any parameter by 1% lowers the ELBO, which stays below the evidence."""
    data = cavi.summarise(x)
    best = cavi.optimum(data)
    top = cavi.elbo(best, data)
    assert top < cavi.log_evidence(data)
    for name in ("mean", "variance", "shape", "scale"):
        for factor in (0.99, 1.01):
            other = dataclasses.replace(best, **{name: factor * getattr(best, name)})
            assert cavi.elbo(other, data) < top


def test_mean_field_is_too_narrow_by_the_known_factor(
    x: FloatArray,
) -> None:
    """E[1/s] is exact, and var(m) is (a − 3/2)/(a − ½) of the posterior's: 11/12 of it here."""
    exact = inverse_gamma_posterior({"x": x})
    best = cavi.optimum(cavi.summarise(x))
    assert best.precision == pytest.approx(exact.shape / exact.scale, rel=1e-12)
    assert best.mean == pytest.approx(exact.mean, rel=1e-12)
    variance = exact.scale / (exact.shape - 1) / exact.weight
    assert best.variance / variance == pytest.approx(11 / 12, rel=1e-12)


def test_the_posterior_is_uncorrelated_but_not_independent(
    x: FloatArray,
) -> None:
    """The variance depends on the distance of m from its mean, which q cannot represent."""
    n = 40_000
    draws = SAMPLERS["inverse_gamma_normal"]({"x": x}, n, np.random.default_rng(1))
    away = np.abs(draws["m"] - draws["m"].mean())
    assert abs(np.corrcoef(draws["s"], draws["m"])[0, 1]) < 4.5 / math.sqrt(n)
    assert stats.spearmanr(draws["s"], away).statistic > 4.5 / math.sqrt(n)


@pytest.mark.parametrize("seed", range(1, 6))
def test_svi_lands_at_cavis_optimum_on_the_lectures_points(x: FloatArray, seed: int) -> None:
    """2000 minibatches of 10 end within 0.02 sd; the influence of the start falls as 1/t."""
    best = cavi.optimum(cavi.summarise(x))
    found = svi.svi(x, svi.Schedule(), np.random.default_rng(seed), Clock())
    assert found.converged
    assert max(off(found.q, best)) < 0.02


def test_svi_lands_at_cavis_optimum_on_large_data() -> None:
    """200 000 rows, 2000 minibatches of 1000, ten passes: within 0.1 posterior sd."""
    x = simulated(200_000, np.random.default_rng(1))
    best = cavi.optimum(cavi.summarise(x))
    schedule = svi.Schedule(batch=1000, iterations=2000)
    found = svi.svi(x, schedule, np.random.default_rng(2), Clock())
    assert max(off(found.q, best)) < 0.1


def test_svi_that_has_not_arrived_says_so() -> None:
    """Three minibatches of 100 rows leave q many sds away, and the natural gradient shows it."""
    x = simulated(200_000, np.random.default_rng(1))
    data = cavi.summarise(x)
    schedule = svi.Schedule(batch=100, iterations=3)
    found = svi.svi(x, schedule, np.random.default_rng(2), Clock())
    assert not found.converged
    assert cavi.unrest(found.q, data) > 1
    assert cavi.unrest(cavi.optimum(data), data) < 1e-9


def test_one_batch_of_all_rows_is_a_coordinate_update(
    x: FloatArray,
) -> None:
    """With step 1 and all rows, SVI's first iteration is CAVI's."""
    schedule = svi.Schedule(batch=20, iterations=1)
    stochastic = svi.svi(x, schedule, np.random.default_rng(1), Clock()).q
    full = cavi.cavi(cavi.summarise(x), Clock(), iterations=1).q
    assert dataclasses.astuple(stochastic) == pytest.approx(dataclasses.astuple(full), rel=1e-12)


def test_data_far_from_zero_lose_no_digits() -> None:
    """A mean of 10⁸ does not change a variance of 3."""
    x = simulated(1000, np.random.default_rng(4))
    near, far = cavi.summarise(x), cavi.summarise(x + 1e8)
    # x + 1e8 is itself rounded, to 1.5e-8.
    assert far.squares == pytest.approx(near.squares, rel=1e-7)


@pytest.mark.parametrize("bad", [[], [[1.0]], [1.0, math.nan]])
def test_data_that_cannot_be_used_are_refused(bad: list[Any]) -> None:
    """No rows, two dimensions and values that are not finite raise."""
    with pytest.raises(ValueError, match="allowed: one row or more of finite numbers"):
        cavi.summarise(np.array(bad, dtype=np.float64))


# --- the rows of METHODS ----------------------------------------------------------------------


def context(tmp_path: Path, data_file: Path | None = MODEL.data_file) -> RunContext:
    """Return a context without a compiled program, which these rows do not need."""
    return RunContext(Program(MODEL.stan_file, {}, tmp_path, tmp_path), data_file, 60.0, 12345)


@pytest.mark.parametrize("method", [CAVI, SVI], ids=lambda m: m.name)
def test_the_rows_draw_from_q(method: Method, x: FloatArray, tmp_path: Path) -> None:
    """Draws have q's moments, and their mean weight agrees with the KL."""
    spec = RunSpec(MODEL.name, method.name, method.defaults, 1, 20_000)
    run = method.run(spec, context(tmp_path), tmp_path)
    assert (run.status, run.message) == ("ok", "")
    assert run.draws is not None
    assert run.draws.names == ("s", "m")
    best = cavi.optimum(cavi.summarise(x))
    s, m = run.draws.quantity("s")[0], run.draws.quantity("m")[0]
    assert abs(m.mean() - best.mean) < (4.5 / math.sqrt(20_000) + 0.02) * math.sqrt(best.variance)
    rate = stats.gamma(best.shape, scale=1 / best.scale)
    assert abs((1 / s).mean() - rate.mean()) < (4.5 / math.sqrt(20_000) + 0.02) * rate.std()
    assert run.draws.log_p is not None
    assert run.draws.log_q is not None
    difference = run.draws.log_q - run.draws.log_p
    # E_q[log q − log p] is the negative ELBO.
    assert abs(difference.mean() + run.diagnostics["elbo"]) < 4.5 * difference.std() / 141
    assert run.diagnostics["kl"] == pytest.approx(0.0207, abs=0.001)
    assert run.trace is not None
    assert run.trace.elbo[-1] == run.diagnostics["elbo"]


def test_a_seed_is_repeated(tmp_path: Path) -> None:
    """The same seed gives the same draws, more draws the same q."""
    runs = [
        SVI.run(RunSpec(MODEL.name, "svi", SVI.defaults, 1, n), context(tmp_path), tmp_path)
        for n in (100, 100, 200)
    ]
    first, second, third = runs
    assert first.draws is not None
    assert second.draws is not None
    np.testing.assert_array_equal(first.draws.values, second.draws.values)
    assert third.diagnostics == first.diagnostics


def test_other_models_are_refused_with_a_sentence() -> None:
    """The rows report the models on which they cannot be used."""
    mixture = folders.load("mixture")
    assert CAVI.unfit(MODEL) is None
    assert SVI.unfit(MODEL) is None
    assert "derived by hand for inverse_gamma_normal" in str(CAVI.unfit(mixture))
    assert "derived by hand for inverse_gamma_normal" in str(SVI.unfit(mixture))


@pytest.mark.parametrize("given", [{}, {"N": 2, "y": [1, 2]}, {"N": 2, "x": [[1], [2]]}])
def test_bad_data_are_a_failed_run(given: dict[str, Any], tmp_path: Path) -> None:
    """The run fails with a message, without an exception."""
    file = tmp_path / "data.json"
    file.write_text(json.dumps(given), encoding="utf-8")
    spec = RunSpec(MODEL.name, "cavi", CAVI.defaults, 1, 100)
    run = CAVI.run(spec, context(tmp_path, file), tmp_path)
    assert run.status == "failed"
    assert run.message.startswith("cavi cannot be run: ")


def test_options_that_cannot_be_used_are_a_failed_run(tmp_path: Path) -> None:
    """An option out of range ends the run with a message."""
    spec = RunSpec(MODEL.name, "svi", {**SVI.defaults, "kappa": 0.2}, 1, 100)
    run = SVI.run(spec, context(tmp_path), tmp_path)
    assert run.status == "failed"
    assert "kappa is 0.2" in run.message


def test_too_few_iterations_are_said(tmp_path: Path) -> None:
    """CAVI that is stopped early is not converged but keeps its draws."""
    spec = RunSpec(MODEL.name, "cavi", {**CAVI.defaults, "iterations": 2}, 1, 100)
    run = CAVI.run(spec, context(tmp_path), tmp_path)
    assert (run.status, run.message) == ("not_converged", "not at rest after 2 iterations")
    assert run.draws is not None


@pytest.mark.stan
def test_the_joint_is_the_programs_own(cmdstan: CmdStan, x: FloatArray) -> None:
    """The density equals the Stan program's at (ln s, m), constants and Jacobian included."""
    model = BridgeModel(library(MODEL.stan_file, cmdstan), load_data(MODEL))
    rng = np.random.default_rng(6)
    s, m = np.exp(rng.normal(1, 0.5, 50)), rng.normal(0.6, 0.5, 50)
    theirs = model.log_density(np.column_stack([np.log(s), m])).value
    np.testing.assert_allclose(cavi.log_density(cavi.summarise(x), s, m), theirs, rtol=1e-12)
