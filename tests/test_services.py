"""Stan's services in the embedded engine: their options, their answers, and how they are stopped.

Means and variances of n draws may differ from the truth by 4.5 standard errors. Seeds are fixed.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.models import folders
from harness.stan import console
from harness.stan.density import EngineError
from harness.stan.embedded import calls, services
from harness.stan.embedded.calls import ServiceError, ServiceTimeoutError
from harness.stan.embedded.library import MetricOptions, SampleOptions
from harness.stan.embedded.model import EmbeddedModel

STANDARD_ERRORS = 4.5

CORRELATED = """
parameters { vector[2] z; real<lower=0> s; }
transformed parameters { real w = z[1] + s; }
model {
  target += -0.5 * (square(z[1] - 1) - 1.2 * (z[1] - 1) * z[2] + square(z[2])) / 0.64;
  s ~ lognormal(0, 0.5);
}
generated quantities { real noise = normal_rng(z[1], 1); }
"""
"""z is normal with mean (1, 0), unit sds and correlation .6; log s is normal with sd .5."""

MOMENTS = {"z[1]": (1.0, 1.0), "z[2]": (0.0, 1.0), "noise": (1.0, 2**0.5)}
"""Mean and sd."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> EmbeddedModel:
    """Return the correlated program."""
    return opened(CORRELATED, tmp_path_factory.mktemp("program"))


def opened(code: str, folder: Path, data: bytes | None = None) -> EmbeddedModel:
    """Write a program and open it."""
    (folder / "program.stan").write_text(code, encoding="utf-8")
    return EmbeddedModel(folder / "program.stan", data)


def compare(found: services.Served, worth: float = 1.0) -> None:
    """Compare a service's moments with the truth; ``worth``, effective draws per draw."""
    n = found.values[..., 0].size * worth
    columns = {name: found.values[..., i].ravel() for i, name in enumerate(found.names)}
    columns["log s"] = np.log(columns["s"])
    for name, (mean, sd) in {**MOMENTS, "log s": (0.0, 0.5)}.items():
        assert abs(columns[name].mean() - mean) < STANDARD_ERRORS * sd / np.sqrt(n), name
        assert abs(columns[name].std() - sd) < STANDARD_ERRORS * sd / np.sqrt(2 * n), name
    correlation = np.corrcoef(columns["z[1]"], columns["z[2]"])[0, 1]
    assert abs(correlation - 0.6) < STANDARD_ERRORS * 0.64 / np.sqrt(n)
    np.testing.assert_allclose(columns["w"], columns["z[1]"] + columns["s"], rtol=1e-12)


@pytest.mark.parametrize(
    ("kind", "service", "defaults"),
    [
        (
            calls.VariationalOptions,
            "stanli_variational",
            {"iter": 10_000, "grad_samples": 1, "elbo_samples": 100, "eta": 1.0, "adapt_iter": 50}
            | {"adapt_engaged": 1, "tol_rel_obj": 0.01, "eval_elbo": 100, "output_samples": 1000}
            | {"init_radius": 2.0, "init": None, "algorithm": 0, "chain_id": 1},
        ),
        (
            calls.PathfinderOptions,
            "stanli_pathfinder",
            {"num_paths": 1, "num_draws": 1000, "num_psis_draws": 1000, "num_elbo_draws": 25}
            | {"max_lbfgs_iters": 1000, "history_size": 5, "init_alpha": 0.001, "tol_obj": 1e-12}
            | {"tol_rel_obj": 1e4, "tol_grad": 1e-8, "tol_rel_grad": 1e7, "tol_param": 1e-8}
            | {"init_radius": 2.0, "inits": None, "psis_resample": 1, "calculate_lp": 1}
            | {"refresh": 0, "chain_id": 1},
        ),
        (
            calls.LaplaceOptions,
            "stanli_laplace",
            {"draws": 1000, "jacobian": 1, "calculate_lp": 1, "refresh": 0},
        ),
        (
            calls.OptimizeOptions,
            "stanli_optimize",
            {"chain_id": 1, "iter": 2000, "jacobian": 1, "init_alpha": 0.001, "tol_obj": 1e-12}
            | {"tol_rel_obj": 1e4, "tol_grad": 1e-8, "tol_rel_grad": 1e7, "tol_param": 1e-8}
            | {"history_size": 5, "init_radius": 2.0, "init": None},
        ),
        (
            SampleOptions,
            "stanli_sample",
            {"chains": 4, "chain_id": 1, "warmup": 1000, "samples": 1000, "thin": 1, "delta": 0.8}
            | {"max_depth": 10, "save_warmup": 0, "init_radius": 2.0, "inits": None}
            | {"num_threads": 1},
        ),
        (
            MetricOptions,
            "stanli_metric",
            {"metric": 1, "inv_metric": None, "step_size": 1.0, "adapt_engaged": 1}
            | {"adapted_step_size": None, "adapted_inv_metric": None},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_field_is_where_the_engine_has_it(
    model: EmbeddedModel, kind: type, service: str, defaults: dict[str, object]
) -> None:
    """Filled by the engine, each option has Stan's default."""
    options = calls.filled(model, kind, service)
    found = {name: getattr(options, name) for name, _ in kind._fields_}  # type: ignore[attr-defined]
    if service != "stanli_metric":
        assert found.pop("seed") == 1
    assert found == defaults


@pytest.mark.parametrize(
    "run",
    [
        lambda m: services.pathfinder(m, 31, 1, 20_000, 60.0),
        lambda m: services.laplace(m, services.optimize(m, 31, 60.0).z, 31, 20_000, 60.0),
    ],
    ids=["pathfinder", "laplace"],
)
def test_a_gaussian_is_found(
    model: EmbeddedModel, run: Callable[[EmbeddedModel], services.Served]
) -> None:
    """Where the posterior is Gaussian on the unconstrained scale, Laplace has its moments.

    Pathfinder's covariance is L-BFGS's, within a tenth of a sd here: its means are compared.
    """
    found = run(model)
    assert found.log_q is not None
    ratio = found.log_p - found.log_q
    if ratio.std() < 1e-3:
        compare(found)
        return
    weight = np.exp(ratio - ratio.max())[0]
    n = weight.sum() ** 2 / np.square(weight).sum()
    assert n > 0.3 * weight.size
    z = found.values[0, :, found.names.index("z[1]")]
    assert abs(np.average(z, weights=weight) - 1) < STANDARD_ERRORS / np.sqrt(n)


def test_nuts_samples_the_posterior(model: EmbeddedModel) -> None:
    """Its draws have the moments, at half the effective size, and its statistics are sampler's."""
    found = services.sample(
        model, 12, 60.0, chains=4, samples=2000, warmup=1000, delta=0.9, max_depth=8
    )
    assert found.values.shape == (4, 2000, 5)
    compare(found, worth=0.25)
    assert not found.stats["divergent"].any()
    assert (found.stats["treedepth"] <= 8).all()
    # Energy is at least the potential's, and lp is the program's density at the draw.
    assert (found.stats["energy"] >= -found.stats["lp"]).all()
    assert found.unconstrained is not None
    at = model.log_density(found.unconstrained[2, :5]).value
    np.testing.assert_allclose(np.diff(at), np.diff(found.stats["lp"][2, :5]), atol=1e-9)


TWO_MODES = """
parameters { real x; }
model { target += log_sum_exp(normal_lpdf(x | -50, 1), normal_lpdf(x | 50, 1)); }
"""


def test_chains_start_where_they_are_told(tmp_path: Path) -> None:
    """In modes 100 sds apart, which they do not leave."""
    model = opened(TWO_MODES, tmp_path)
    starts = np.array([[50.0], [-50.0], [-49.0]])
    found = services.sample(model, 1, 60.0, chains=3, samples=50, warmup=50, inits=starts)
    np.testing.assert_array_equal(np.sign(found.values[:, :, 0]), np.sign(starts) * np.ones(50))


def test_a_dense_metric_is_taken(model: EmbeddedModel) -> None:
    """A covariance that is none is refused in Stan's words."""
    dense = np.array([[1.0, 0.6, 0.0], [0.6, 1.0, 0.0], [0.0, 0.0, 0.25]])
    compare(
        services.sample(model, 4, 60.0, chains=4, samples=2000, warmup=1000, inv_metric=dense),
        worth=0.25,
    )
    with pytest.raises(ServiceError, match="positive definite"):
        services.sample(model, 4, 60.0, chains=1, samples=5, warmup=0, inv_metric=-dense)


def test_a_seed_is_the_whole_run(model: EmbeddedModel) -> None:
    """The same seed gives the same draws, another seed others."""
    runs: tuple[Callable[[int], services.Served], ...] = (
        lambda seed: services.variational(model, "meanfield", seed, 50, 60.0, iter=200),
        lambda seed: services.pathfinder(model, seed, 2, 50, 60.0),
        lambda seed: services.sample(model, seed, 60.0, chains=1, samples=20, warmup=50),
    )
    for run in runs:
        first, again, other = run(5), run(5), run(6)
        np.testing.assert_array_equal(first.values, again.values)
        assert not np.array_equal(first.values, other.values)


def test_the_mode_and_its_price_are_found(model: EmbeddedModel) -> None:
    """The optimiser's path, as Pathfinder tells it, ends where the optimiser does."""
    mode = services.optimize(model, 77, 60.0)
    # The Jacobian moves the mode of log s nowhere: s is lognormal.
    np.testing.assert_allclose(mode.z, [1, 0, 0], atol=1e-4)
    assert mode.iterations is not None
    assert mode.gradients is not None
    assert mode.iterations < mode.gradients < 100
    steps = [line.text for line in mode.lines if "Iter" in line.text]
    assert float(steps[-2].splitlines()[1].split()[1]) == pytest.approx(mode.log_p, abs=1e-3)
    short = services.optimize(model, 77, 60.0, iter=2)
    assert short.iterations == 2
    assert short.log_p < mode.log_p


PRINTING = """
parameters { vector[5] z; }
model { z ~ normal(0, 1); print("|"); }
"""


def test_gradients_are_counted(tmp_path: Path) -> None:
    """A program that prints at every evaluation agrees with what the console's table says."""
    model = opened(PRINTING, tmp_path)
    found = services.pathfinder(model, 3, 1, 30, 60.0, num_elbo_draws=10)
    climb = console.read_pathfinder(found.text, 10)[1]
    printed = found.printed.count("|")
    # Beside the table's: at the start a gradient and two values, and draws that no ELBO had.
    assert printed == climb.gradients + climb.log_densities + 3 + (30 - 10)
    mode = services.optimize(model, 3, 60.0)
    drawn = services.laplace(model, mode.z, 1, 7, 60.0, calculate_lp=False)
    assert drawn.printed.count("|") == 2 * 5 + 1


LONG = [
    lambda m, s: services.variational(m, "meanfield", 1, 10, s, iter=10**9, tol_rel_obj=1e-300),
    lambda m, s: services.pathfinder(m, 1, 1, 10, s, num_elbo_draws=2_000_000),
    lambda m, s: services.sample(m, 1, s, chains=1, samples=10, warmup=10**9),
    lambda m, s: services.laplace(m, np.zeros(3), 1, 2_000_000, s),
]


@pytest.mark.parametrize("run", LONG, ids=["advi", "pathfinder", "nuts", "laplace"])
def test_a_time_limit_stops_a_service(
    model: EmbeddedModel, run: Callable[[EmbeddedModel, float], object]
) -> None:
    """It ends soon after its limit, and the model can be used again."""
    begin = time.perf_counter()
    with pytest.raises(ServiceTimeoutError, match=r"0\.3 s"):
        run(model, 0.3)
    assert time.perf_counter() - begin < 5
    assert services.optimize(model, 1, 60.0).log_p > -10


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="sends itself a signal")
@pytest.mark.parametrize("run", LONG, ids=["advi", "pathfinder", "nuts", "laplace"])
def test_ctrl_c_stops_a_service(
    model: EmbeddedModel, run: Callable[[EmbeddedModel, float], object]
) -> None:
    """KeyboardInterrupt comes out of the call, and the handler is Python's again."""
    before = signal.getsignal(signal.SIGINT)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run(model, 60.0)
    finally:
        timer.join()
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (lambda m: services.pathfinder(m, 1, 1, 0, 9.0), "num_draws must be positive"),
        (lambda m: services.pathfinder(m, 1, 1, 9, 9.0, history_size=0), "history_size must be"),
        (lambda m: services.variational(m, "meanfield", 1, 9, 9.0, iter=0), "iter"),
        (lambda m: services.laplace(m, np.full(3, np.nan), 1, 9, 9.0), "nan"),
    ],
)
def test_wrong_options_are_errors_in_stans_words(
    model: EmbeddedModel, run: Callable[[EmbeddedModel], object], words: str
) -> None:
    """Nothing is run."""
    with pytest.raises(ServiceError, match=words):
        run(model)


def test_options_that_do_not_fit_are_refused(model: EmbeddedModel) -> None:
    """A name that the engine lacks, and a number that its field cannot hold."""
    with pytest.raises(AttributeError, match="paths"):
        services.pathfinder(model, 1, 1, 10, 9.0, paths=3)
    with pytest.raises(EngineError, match="iter is 10000000000: too large"):
        services.variational(model, "meanfield", 1, 10, 9.0, iter=10**10)


def test_a_layout_of_another_size_is_refused(model: EmbeddedModel) -> None:
    """A structure that the engine fills beyond its end is not this interface's."""
    with pytest.raises(EngineError, match="options of another layout"):
        calls.filled(model, calls.LaplaceOptions, "stanli_sample")


def test_another_thread_is_refused(model: EmbeddedModel) -> None:
    """Stan's autodiff would crash there; the words say where it can run."""
    said = []

    def run() -> None:
        with pytest.raises(EngineError, match="only in the thread that loaded it"):
            services.pathfinder(model, 1, 1, 10, 9.0)
        said.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert said == [True]


NOWHERE = "parameters { real m; } model { target += negative_infinity(); }"


def test_a_density_that_is_zero_everywhere_is_an_error(tmp_path: Path) -> None:
    """Each service says so in Stan's words."""
    model = opened(NOWHERE, tmp_path)
    for run in (
        lambda: services.variational(model, "fullrank", 1, 10, 9.0),
        lambda: services.pathfinder(model, 1, 1, 10, 9.0),
        lambda: services.optimize(model, 1, 9.0),
        lambda: services.sample(model, 1, 9.0, chains=1, samples=5),
    ):
        with pytest.raises(ServiceError, match=r"[Ii]nitialization"):
            run()


def test_what_a_service_says_again_and_again_is_said_once(tmp_path: Path) -> None:
    """L-BFGS repeats its message for each step that it tried where log p grows without end."""
    model = opened("parameters { real<lower=0> s; } model { }", tmp_path)
    with pytest.raises(ServiceError) as caught:
        services.optimize(model, 1, 9.0)
    said = str(caught.value)
    assert said.count("Non-finite gradient") == 1
    assert len(said.splitlines()) <= calls.SAID_LINES + 1


THROWING = """
parameters { real m; }
model { m ~ normal(0, 1); }
generated quantities { int n = poisson_rng(m); }
"""


def test_draws_without_generated_quantities_keep_their_point(tmp_path: Path) -> None:
    """NUTS goes on where they throw; the other services end with the message."""
    model = opened(THROWING, tmp_path)
    found = services.sample(model, 1, 60.0, chains=1, samples=200, warmup=200)
    lost = np.isnan(found.values).all(axis=2)
    assert found.unconstrained is not None
    assert (lost == (found.unconstrained[..., 0] < 0)).all()
    assert 0 < lost.sum() < 200
    with pytest.raises(ServiceError, match="Rate parameter"):
        services.variational(model, "meanfield", 1, 100, 9.0)


def test_a_lecture_model_is_read_with_its_data() -> None:
    """The exact posterior of normal_mean has mean Σx / (N + 1) and sd 1 / √(N + 1)."""
    lecture = folders.load("normal_mean")
    assert lecture.data_file is not None
    model = EmbeddedModel(lecture.stan_file, lecture.data_file)
    found = services.laplace(model, services.optimize(model, 1, 9.0).z, 1, 20_000, 9.0)
    x = np.array(json.loads(lecture.data_file.read_text(encoding="utf-8"))["x"])
    mean, sd = x.sum() / (x.size + 1), (x.size + 1) ** -0.5
    m = found.values[0, :, 0]
    assert abs(m.mean() - mean) < STANDARD_ERRORS * sd / np.sqrt(m.size)
    assert abs(m.std() - sd) < STANDARD_ERRORS * sd / np.sqrt(2 * m.size)
