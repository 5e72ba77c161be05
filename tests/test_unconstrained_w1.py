"""The distance of all parameters on the unconstrained scale, in Pathfinder's form."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

import harness
from harness.metrics import METRICS
from harness.metrics.unconstrained import BATCHES, UNCONSTRAINED_W1, by_chance, chosen
from harness.records import FloatArray
from harness.report.files import read, write

PROGRAM = """
parameters { real m; real<lower=0> s; }
model { m ~ normal(0, 1); s ~ lognormal(0, 0.5); }
"""


def normal(seed: int, shift: float = 0.0, d: int = 3) -> FloatArray:
    """Return 1000 draws of a standard normal that is shifted in its first parameter."""
    z = np.random.default_rng(seed).normal(size=(1000, d))
    z[:, 0] += shift
    return z


def test_of_one_parameter_it_is_the_distance_of_the_batches() -> None:
    """Where points lie on a line, sorting is the optimal assignment."""
    own, theirs = normal(1, d=1), normal(2, 0.3, d=1)
    found = UNCONSTRAINED_W1.measure(own, theirs)
    assert found is not None
    each = [wasserstein_distance(own[i::BATCHES, 0], theirs[i::BATCHES, 0]) for i in range(BATCHES)]
    assert found.value == pytest.approx(np.mean(each), rel=1e-12)
    assert found.mcse == pytest.approx(np.std(each, ddof=1) / math.sqrt(BATCHES), rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_a_shift_is_a_distance(seed: int) -> None:
    """Five sds apart, the distance is at least the shift, and at most the shift and chance."""
    found = UNCONSTRAINED_W1.measure(normal(10 + seed, 5.0), normal(30 + seed))
    chance = by_chance(normal(50 + seed))
    assert found is not None
    assert 5 - 4 * found.mcse < found.value < 5 + chance.value + 4 * found.mcse


@pytest.mark.parametrize("seed", range(5))
def test_equal_posteriors_are_as_far_apart_as_by_chance(seed: int) -> None:
    """A fit without error has the reference's own distance, within four standard errors."""
    found, chance = UNCONSTRAINED_W1.measure(normal(seed), normal(99)), by_chance(normal(70 + seed))
    assert found is not None
    assert chance.value > 0
    assert abs(found.value - chance.value) < 4 * math.hypot(found.mcse, chance.mcse)


def test_draws_that_are_not_finite_are_infinitely_far() -> None:
    """Of the method; a reference that has too few finite ones tells nothing."""
    broken = normal(1)
    broken[7, 0] = math.inf
    found = UNCONSTRAINED_W1.measure(broken, normal(2))
    assert found is not None
    assert found.value == math.inf
    lost = normal(3)
    lost[150:] = math.nan
    found = UNCONSTRAINED_W1.measure(normal(4), lost)
    assert found is not None
    assert math.isnan(found.value)
    assert UNCONSTRAINED_W1.measure(normal(5)[:150], normal(6)) is None


def test_chosen_draws_are_evenly_spaced() -> None:
    """A thousand of all, or all of fewer."""
    assert chosen(3) == [0, 1, 2]
    assert len(chosen(40_000)) == len(set(chosen(40_000))) == 1000
    assert chosen(40_000)[-1] == 39_999


def test_a_comparison_has_it_on_the_unconstrained_scale(tmp_path: Path) -> None:
    """Scales are compared by their logs; it has no limit and makes no verdict."""
    rng = np.random.default_rng(8)
    exact = {"m": rng.normal(size=4000), "s": rng.lognormal(0, 0.5, 4000)}
    program = tmp_path / "my.stan"
    program.write_text(PROGRAM, encoding="utf-8")
    result = harness.compare(
        program, methods=("dadvi_lr",), reference=exact, engine="embedded", seeds=1
    )
    (model,) = result.comparison.models
    found = {m.method: m for m in model.measures if m.metric == "unconstrained_w1"}
    assert set(found) == {"reference", "dadvi_lr"}
    # The posterior is normal on that scale, and the fit exact.
    z = np.column_stack([exact["m"], np.log(exact["s"])])
    at = chosen(4000)
    assert found["reference"].value == pytest.approx(by_chance(z[at]).value, rel=1e-9)
    gap = found["dadvi_lr"].value - found["reference"].value
    assert abs(gap) < 4 * math.hypot(found["dadvi_lr"].mcse, found["reference"].mcse)
    assert METRICS["unconstrained_w1"].rule is None
    # The files have it, and read back.
    write(result.comparison, tmp_path / "report")
    (again,) = read(tmp_path / "report").models
    (same,) = [m for m in again.measures if m.metric == "unconstrained_w1" and m.seed == 1]
    assert same.value == pytest.approx(found["dadvi_lr"].value, rel=1e-6)
