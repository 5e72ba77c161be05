"""Short chains on Stan programs with known posteriors, on the embedded engine."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.methods import METHODS
from harness.methods.short_chains import ChainsOptions
from harness.methods.short_chains_fit import sizes_for
from harness.records import Program, Reason, RunContext, RunResult, RunSpec

K = 4.5
"""Standard errors allowed."""

GAMMA = "parameters { real<lower=0> g; } model { g ~ gamma(0.3, 1); }"

BOUNDARY = """
data { int<lower=1> N; vector[N] y; }
parameters { real<lower=0> mu; }
model { mu ~ normal(0, 10); y ~ normal(mu, 1); }
"""

HALF_CAUCHY = """
parameters { real<lower=0> tau; }
model { tau ~ cauchy(0, 5); }
"""

MODES = """
parameters { vector[D] x; }
model { target += log_mix(0.4, normal_lpdf(x | 0, 0.3), normal_lpdf(x | c, 0.3)); }
"""

FUNNEL = """
parameters { real v; vector[9] x; }
model { v ~ normal(0, 3); x ~ normal(0, exp(v / 2)); }
"""


def ran(folder: Path, code: str, data: dict[str, Any] | None = None, **options: Any) -> RunResult:
    """Run the method on a program."""
    row = METHODS["short_chains"]
    (folder / "m.stan").write_text(code, encoding="utf-8")
    (folder / "m.json").write_text(json.dumps(data or {}), encoding="utf-8")
    program = Program(folder / "m.stan", {}, embedded=True)
    draws = options.pop("draws", row.draws)
    spec = RunSpec("m", row.name, {**row.defaults, **options}, 1, draws)
    return row.run(spec, RunContext(program, folder / "m.json", 300.0, 1234), folder)


def worth(x: np.ndarray) -> float:
    """Return the effective number of draws of chains, by the spread of their means."""
    return float(len(x) * x.var() / x.mean(axis=1).var(ddof=1))


def test_a_density_that_is_infinite_at_its_bound_is_sampled(tmp_path: Path) -> None:
    """gamma(.3): mean and variance are .3; linear response is 14 sds off."""
    result = ran(tmp_path, GAMMA)
    assert result.status == "ok", result.message
    assert result.draws is not None
    g = result.draws.quantity("g")
    assert len(g) in {256, 512}
    assert abs(g.mean() - 0.3) < K * math.sqrt(0.3 / worth(g))


def test_a_posterior_at_its_bound_is_sampled(tmp_path: Path) -> None:
    """A positive mean of ten points around −.2: a normal cut at 0, whose mean is known."""
    from scipy.stats import truncnorm

    y = (np.linspace(-1.5, 1.5, 10) - 0.2).tolist()
    result = ran(tmp_path, BOUNDARY, {"N": 10, "y": y})
    assert result.status == "ok", result.message
    assert result.draws is not None
    precision = 10 + 0.01
    mean, sd = -2.0 / precision, 1 / math.sqrt(precision)
    exact = truncnorm(-mean / sd, math.inf, mean, sd)
    mu = result.draws.quantity("mu")
    assert abs(mu.mean() - exact.mean()) < K * exact.std() / math.sqrt(worth(mu))


def test_heavy_tails_are_sampled(tmp_path: Path) -> None:
    """Quartiles of a half-Cauchy(5), which has no mean: shares of draws below them."""
    result = ran(tmp_path, HALF_CAUCHY)
    assert result.status == "ok", result.message
    assert result.draws is not None
    tau = result.draws.quantity("tau")
    for p in (0.25, 0.5, 0.75):
        below = (tau < 5 * math.tan(p * math.pi / 2)).astype(np.float64)
        assert abs(below.mean() - p) < K * math.sqrt(p * (1 - p) / worth(below))


@pytest.mark.parametrize(("dimension", "place"), [(1, 3.5), (3, 20.0)])
def test_both_modes_have_chains(tmp_path: Path, dimension: int, place: float) -> None:
    """.4 at 0 and .6 elsewhere, even where no start of Stan's leads; more draws are more chains."""
    code = MODES.replace("D", str(dimension)).replace("c,", f"{place},")
    result = ran(tmp_path, code, draws=20_000)
    assert result.status == "ok", result.message
    assert result.draws is not None
    left = result.draws.quantity("x[1]") < place / 2
    assert left.shape[0] == 1000
    assert left.shape[1] >= 20
    error = result.diagnostics["chains_share_error"]
    assert abs(left.mean() - 0.4) < K * error + 2 / 1000
    assert "40% of chains around" in result.console


def test_what_cannot_mix_is_refused_with_the_figure(tmp_path: Path) -> None:
    """Neal's funnel: not converged, with the limit that is broken and why there is one."""
    result = ran(tmp_path, FUNNEL)
    assert result.status == "not_converged"
    assert result.reason in {Reason.NOT_MIXED, Reason.WEIGHTS, Reason.OTHER_BASINS}
    assert "(allowed: at " in result.message
    assert "because" in result.message
    # What the cause "weights" reads.
    assert result.diagnostics["weight_ess"] < result.diagnostics["proposals"] == 256 * 80
    assert result.draws is not None


def test_draws_are_chains_with_their_statistics(tmp_path: Path) -> None:
    """128 chains, which go on until they are worth enough, with log p and their statistics."""
    draws = ran(tmp_path, GAMMA, chains=128, far=128, draws=2560).draws
    assert draws is not None
    assert not draws.iid
    assert draws.log_p is not None
    assert len(draws.log_p) == 128
    assert draws.log_p.shape[1] > 20
    assert set(draws.stats) == {"acceptance_rate", "energy", "n_steps", "step_size"}
    assert all(value.shape == draws.log_p.shape for value in draws.stats.values())
    assert ((draws.stats["acceptance_rate"] >= 0) & (draws.stats["acceptance_rate"] <= 1)).all()


def test_short_chains_are_not_judged_as_long_ones(tmp_path: Path) -> None:
    """They are written without a warning, and R-hat of long chains is not asked of them."""
    from harness.report.files.netcdf import to_datatree

    draws = ran(tmp_path, GAMMA, chains=128, far=128, draws=2560).draws
    assert draws is not None
    assert not draws.long_chains
    tree = to_datatree(draws)
    assert dict(tree["posterior"].sizes) == dict(
        zip(("chain", "draw"), draws.values.shape, strict=False)
    )


@pytest.mark.parametrize(
    ("draws", "dimension", "seconds", "chains", "far"),
    [
        (10_240, 3, 1e-6, 512, 256),
        (100_000, 3, 1e-6, 5000, 256),  # more draws are more chains
        (100_000, 1000, 1e-6, 500, 256),  # unless their numbers take too much memory
        (100_000, 3, 1e-3, 312, 128),  # slow gradients: first as few as usual, then fewer far ones
        (10_240, 3, 1e-2, 256, 128),  # never so few that the checks must fail
    ],
)
def test_sizes_follow_what_draws_and_gradients_cost(
    draws: int, dimension: int, seconds: float, chains: int, far: int
) -> None:
    """By expected seconds, so that a busy machine changes nothing."""
    found = sizes_for(ChainsOptions(), draws, dimension, seconds)
    assert (found.chains, found.draws, found.far) == (chains, 20, far)
