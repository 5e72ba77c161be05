"""References that are proved wrong: by a mode without their draws, or by an ELBO."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from targets import Mixture, any_normal, banana, ill_conditioned

import harness
from harness import judge
from harness.records import Draws, Reference, Refuted
from harness.report.files.netcdf import write_draws
from harness.vi import deterministic
from harness.vi.deterministic import Objective
from harness.vi.target import Clock, Target
from harness.why.posterior import Posterior
from harness.why.refute import visited

HIDDEN = Mixture([0.4, 0.6], [[0.0] * 3, [20.0] * 3], [[1.0] * 3, [1.0] * 3])
"""All of Stan's starting points lead to the smaller mode."""

SILENT = Mixture([0.4, 0.6], [[0.0], [3.5]], [[0.3], [0.3]])

PROGRAM = """
parameters { real x; }
model { target += log_mix(0.4, normal_lpdf(x | 0, 0.3), normal_lpdf(x | 3.5, 0.3)); }
"""


def fit(target: Target, seed: int = 1) -> deterministic.Optimum:
    """Return the best mean-field Gaussian, with its basins."""
    settings = deterministic.Settings(seconds=1e-6)
    return deterministic.fit(target, np.random.default_rng(seed), Clock(), settings, "meanfield")


def unseen(target: Target, z: np.ndarray) -> list[float]:
    """Return the masses of the separate basins without a draw."""
    found = fit(target)
    few = Objective(target, found.objective.eps[:1], Clock())
    posterior = Posterior(z, float(len(z)), ())
    return [b.mass for b in found.basins if b.separate and not visited(few, b, posterior)]


@pytest.mark.parametrize("seed", range(20))
def test_starts_far_away_find_a_mode_that_no_usual_start_leads_to(seed: int) -> None:
    """Both modes of a mixture 20 sds apart in three coordinates, with their masses."""
    modes = [b for b in fit(HIDDEN, seed).basins if b.separate]
    np.testing.assert_allclose([b.mass for b in modes], [0.6, 0.4], atol=1e-3)


@pytest.mark.parametrize(("target", "mass"), [(HIDDEN, 0.6), (SILENT, 0.6)])
def test_draws_of_one_mode_do_not_visit_the_other(target: Mixture, mass: float) -> None:
    """The mode that holds the rest of the mass is unseen; with draws of both none is."""
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((2000, target.dimension))
    one = target.means[0] + target.sds[0] * noise
    two = target.means[1] + target.sds[1] * noise
    assert unseen(target, one) == pytest.approx([mass], abs=1e-3)
    assert unseen(target, two) == pytest.approx([1 - mass], abs=1e-3)
    assert unseen(target, np.concatenate([one, two])) == []


@pytest.mark.parametrize("target", [ill_conditioned(100), any_normal(30, 1)])
def test_a_correlated_normal_is_not_a_mode_without_draws(target: Target) -> None:
    """Hardly a draw lies within four mean-field sds in every coordinate, but all climb there."""
    z = target.draw(2000, np.random.default_rng(1))  # type: ignore[attr-defined]
    assert unseen(target, z) == []


def test_a_banana_is_not_several_modes() -> None:
    """Draws from its arms climb to the one optimum, or to one without a valley to it."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal(2000)
    z = np.column_stack([x, 0.3 * x**2 + rng.standard_normal(2000)])
    assert unseen(banana(), z) == []


def test_a_reference_that_is_proved_wrong_says_how() -> None:
    """The missing mode with its place, mass and ELBO; or the log evidence below an ELBO."""
    reference = Reference("nuts", trusted=True, why="R-hat at most 1.00")
    mode = Refuted("mode", -0.511, 0.6, (("x", 3.5), ("y", -2.0)))
    found = judge.disproved(reference, mode)
    assert not found.trusted
    assert found.refuted == mode
    for words in ("x = 3.5 and y = −2", "60% of the mass", "ELBO −0.51"):
        assert words in found.why
    found = judge.disproved(reference, Refuted("elbo", -0.2, log_evidence=-0.92))
    assert not found.trusted
    for words in ("−0.92", "−0.20", "impossible"):
        assert words in found.why


@pytest.mark.stan
def test_chains_in_one_mode_are_no_reference(
    fresh_results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Draws of one mode are refused with `why` and without it; with both, one mode costs −ln .6.

    The nats come from 20 000 reference draws: five standard errors of a share of .4.
    """
    monkeypatch.setenv("HARNESS_CACHE", str(fresh_results))
    file = tmp_path / "silent.stan"
    file.write_text(PROGRAM, encoding="utf-8")
    rng = np.random.default_rng(1)
    small, large = rng.normal(0, 0.3, 20_000), rng.normal(3.5, 0.3, 20_000)
    both = np.where(rng.random(20_000) < 0.4, small, large)
    for name, x in {"one": small, "both": both}.items():
        write_draws(tmp_path, name, name, Draws(("x",), x[None, :, None]), None)
    wanted: dict[str, Any] = {"methods": ["dadvi", "dadvi_basins"], "seeds": 1}
    for why in (True, False):
        found = harness.compare(file, reference=tmp_path / "one.nc", why=why, **wanted)
        assert {v.level for v in found.verdicts.values()} == {"unknown"}
        assert all("x = 3.5" in v.headline for v in found.verdicts.values())
    found = harness.compare(file, reference=tmp_path / "both.nc", **wanted)
    levels = found.verdicts
    assert levels["dadvi_basins"].level == "pass"
    assert levels["dadvi"].level == "fail"
    (cause,) = levels["dadvi"].causes
    assert cause.cause.name == "several modes"
    error = math.sqrt(0.4 * 0.6 / 20_000) / 0.6
    assert abs(cause.cause.nats + math.log(0.6)) < 5 * error + 0.01
