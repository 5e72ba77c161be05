"""References that are proved wrong: by a mode without their draws, or by an ELBO."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import optimize, stats
from targets import Mixture, any_normal, banana, ill_conditioned

import harness
from harness import judgement
from harness.records import Draws, Reference, Refuted
from harness.report.files.netcdf import write_draws
from harness.report.terminal import print_verdicts
from harness.stan import CmdStan
from harness.stan.bridge import BridgeModel, library
from harness.vi import deterministic
from harness.vi.deterministic import Objective
from harness.vi.target import Clock, Target
from harness.why.posterior import Posterior
from harness.why.refute import missing_mode_of, visited

HIDDEN = Mixture([0.4, 0.6], [[0.0] * 3, [20.0] * 3], [[1.0] * 3, [1.0] * 3])
"""All of Stan's starting points lead to the smaller mode."""

SILENT = Mixture([0.4, 0.6], [[0.0], [3.5]], [[0.3], [0.3]])

PROGRAM = """
data { real at; real edge; }
parameters { real x; }
model {
  if (x < edge) reject("below the edge");
  target += log_mix(0.4, normal_lpdf(x | 0, 0.3), normal_lpdf(x | at, 0.3));
}
"""
"""Two modes if the second part is at 3.5; log p hardly has a valley if it is at 0.9."""

DATA = {"at": 3.5, "edge": -1e9}

N = 20_000


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
    found = judgement.disproved(reference, mode)
    assert not found.trusted
    assert found.refuted == mode
    for words in ("x = 3.5 and y = −2", "60% of the mass", "ELBO −0.51"):
        assert words in found.why
    found = judgement.disproved(reference, Refuted("elbo", -0.2, log_evidence=-0.92))
    assert not found.trusted
    for words in ("−0.92", "−0.20", "impossible"):
        assert words in found.why


@pytest.fixture
def program(own_results: Path, tmp_path: Path) -> Path:
    """Return the program, with a cache for results that no other test shares."""
    assert own_results.is_dir()
    file = tmp_path / "silent.stan"
    file.write_text(PROGRAM, encoding="utf-8")
    return file


def supplied(folder: Path, at: float) -> dict[str, Path]:
    """Write independent draws of the first part, and of both."""
    rng = np.random.default_rng(1)
    small, large = rng.normal(0, 0.3, N), rng.normal(at, 0.3, N)
    both = np.where(rng.random(N) < 0.4, small, large)
    for name, x in {"one": small, "both": both}.items():
        write_draws(folder, name, name, Draws(("x",), x[None, :, None]), None)
    return {name: folder / f"{name}.nc" for name in ("one", "both")}


@pytest.mark.stan
def test_chains_in_one_mode_are_no_reference(program: Path, tmp_path: Path) -> None:
    """Draws of one mode are refused with `why` and without it; with both, one mode costs −ln .6.

    The nats come from 20 000 reference draws: five standard errors of a share of .4.
    """
    files = supplied(tmp_path, 3.5)
    wanted: dict[str, Any] = {"methods": ["dadvi", "dadvi_basins"], "seeds": 1}
    for why in (True, False):
        found = harness.compare(program, DATA, reference=files["one"], why=why, **wanted)
        assert {v.level for v in found.verdicts.values()} == {"unknown"}
        assert all("x = 3.5" in v.headline for v in found.verdicts.values())
    found = harness.compare(program, DATA, reference=files["both"], **wanted)
    levels = found.verdicts
    assert levels["dadvi_basins"].level == "pass"
    assert levels["dadvi"].level == "fail"
    (cause,) = levels["dadvi"].causes
    assert cause.cause.name == "several modes"
    error = math.sqrt(0.4 * 0.6 / N) / 0.6
    assert abs(cause.cause.nats + math.log(0.6)) < 5 * error + 0.01


def evidence_of_one_part(at: float) -> float:
    """Return the log Z to which bridge sampling from draws of the first part alone comes.

    With as many draws of the Gaussian f that fits them it solves E_f[(p − r f) / (p + r f)] = 0.
    """
    x = np.linspace(-3, 3 + at, 20_001)
    f, other = stats.norm.pdf(x, 0, 0.3), stats.norm.pdf(x, at, 0.3)
    p = 0.4 * f + 0.6 * other

    def moment(r: float) -> float:
        return float(np.sum(f * (p - r * f) / (p + r * f)))

    return math.log(optimize.brentq(moment, 0.1, 2.0))


@pytest.mark.stan
def test_an_elbo_above_the_log_evidence_of_the_draws_refutes_them(
    program: Path, tmp_path: Path
) -> None:
    """Draws of one of two parts without a valley give too small a log Z; draws of both are kept.

    The true log Z is 0, and the best Gaussian lies .2 nats below it at most. log Z is within .05
    nats of what quadrature says that bridge sampling comes to: over ten standard errors.
    """
    files, data = supplied(tmp_path, 0.9), {**DATA, "at": 0.9}
    wanted: dict[str, Any] = {"methods": ["dadvi"], "seeds": 1}
    (model,) = harness.compare(program, data, reference=files["one"], **wanted).comparison.models
    refuted = model.reference.refuted
    assert refuted is not None
    assert not model.reference.trusted
    assert refuted.reason == "elbo"
    assert abs(refuted.log_evidence - evidence_of_one_part(0.9)) < 0.05
    assert -0.2 < refuted.elbo < 0
    assert model.verdicts[0].level == "unknown"
    assert "log evidence is below an ELBO" in model.verdicts[0].headline
    (model,) = harness.compare(program, data, reference=files["both"], **wanted).comparison.models
    assert model.reference.refuted is None
    assert model.reference.trusted
    assert model.explanation is not None
    log_z = model.explanation.log_evidence
    assert abs(log_z.value) < 5 * log_z.mcse


@pytest.mark.stan
@pytest.mark.parametrize("why", [True, False])
def test_a_search_that_runs_out_of_time_is_said(
    program: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, why: bool
) -> None:
    """The reference stays trusted; a printed note says that missing modes were not looked for."""
    wanted: dict[str, Any] = {"methods": ["dadvi", "dadvi_basins"], "seeds": 1}
    wanted["reference"] = supplied(tmp_path, 3.5)["both"]
    # The first makes the runs, and the last looks again: what ran out of time is not kept.
    for asked, limit, unsought in (
        (False, 600.0, ""),
        (why, 0.001, "0.0010 s"),
        (why, 600.0, ""),
    ):
        found = harness.compare(program, DATA, timeout_s=limit, why=asked, **wanted).comparison
        (model,) = found.models
        assert model.reference.trusted
        # The search has no time, or the program has none to start in.
        assert bool(model.reference.unsought) == bool(unsought)
        assert unsought in model.reference.unsought
        print_verdicts(found)
        said = "whether the reference misses a mode is not known: "
        assert (said in capsys.readouterr().out) == bool(unsought)
        assert ("whether it misses a mode is not known" in model.reference.why) == bool(unsought)


@pytest.mark.stan
def test_a_search_without_a_start_is_said(program: Path, cmdstan: CmdStan) -> None:
    """The density begins at x = 50, where none of Stan's starting points is."""
    x = np.random.default_rng(1).normal(60, 1, (1, 1000, 1))
    reference = Reference("supplied", trusted=True, why="", draws=Draws(("x",), x))
    bridged = BridgeModel(library(program, cmdstan), {**DATA, "edge": 50.0})
    refuted, why = missing_mode_of(reference, bridged, 60.0)
    assert refuted is None
    assert why.startswith("the search found no start: none of ")
