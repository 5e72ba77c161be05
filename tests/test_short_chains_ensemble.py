"""Ensembles of short chains: what they get right, refuse, and cost."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import targets

from harness.methods.bridged import BridgeTarget
from harness.records import FloatArray
from harness.stan.embedded import EmbeddedModel
from harness.vi import deterministic, short_chains
from harness.vi.deterministic import Optimum, Settings
from harness.vi.short_chains import Ensemble, Sizes, coordinates, hmc, home, nested
from harness.vi.short_chains.coordinates import (
    ratio_of_stretches,
)
from harness.vi.short_chains.kept import kept
from harness.vi.target import Clock, Counted, Target, TimeLimitError

K = 4.5
"""Standard errors allowed."""


def optimum_of(target: Target, seed: int = 1, **settings: int) -> Optimum:
    """Return the fit that an ensemble starts from."""
    rng = np.random.default_rng(seed)
    return deterministic.fit(target, rng, Clock(60), Settings(seconds=2e-6, **settings))


def ensemble_of(
    target: Target, seed: int = 1, sizes: Sizes | None = None, optimum: Optimum | None = None
) -> Ensemble:
    """Fit and run."""
    optimum = optimum_of(target, seed, starts=24) if optimum is None else optimum
    return short_chains.run(target, optimum, np.random.default_rng(seed), Clock(60), sizes)


NECK = """
data { int N; array[N] real x; vector[N] y; }
parameters { real<lower=0> l; real<lower=0> a; real<lower=0> s; }
model {
  l ~ inv_gamma(1, 1); a ~ normal(0, 1); s ~ normal(0, 1);
  y ~ multi_normal(rep_vector(0, N), add_diag(gp_exp_quad_cov(x, a, l), square(s) + 1e-8));
}
"""


NOISY = [
    -0.148, -0.067, 0.030, 0.136, -0.871, -0.377, -0.341, 0.470,
    1.048, -0.472, -1.119, 0.363, 0.669, 1.052, 1.125,
]  # fmt: skip


def test_a_neck_that_holds_a_tail_is_not_left_out_unseen(tmp_path: Path) -> None:
    """A Gaussian process with 5% of its mass where its noise is small: never trusted without."""
    file, data = tmp_path / "neck.stan", tmp_path / "neck.json"
    file.write_text(NECK)
    data.write_text(json.dumps({"N": 15, "x": [i * 5 / 14 for i in range(15)], "y": NOISY}))
    model = EmbeddedModel(file, data)
    target = BridgeTarget(model)
    for seed in (1, 2):
        found = ensemble_of(target, seed, optimum=optimum_of(target, seed, starts=24))
        missed = np.mean(found.z[:, :, 2] < -2) < 0.03
        assert not (missed and not short_chains.doubts(found.figures))


def log_gamma(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the logarithm of a gamma(.3) variable: linear response is 14 sds off its mean."""
    return (0.3 * z - np.exp(z))[:, 0], 0.3 - np.exp(z)


def above(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return a mean above 0 of ten points around 0, on the log scale."""
    mu = np.exp(z)
    return (-5 * mu**2 + z)[:, 0], 1 - 10 * mu**2


def near(found: FloatArray, mean: float, sd: float, worth: float) -> bool:
    """Return whether draws of this effective number have this mean."""
    return bool(abs(found.mean() - mean) < K * sd / math.sqrt(worth))


@pytest.mark.parametrize(
    ("function", "mean", "variance"),
    [
        (log_gamma, -2.1121, 12.245),  # digamma and trigamma of .3
        (above, 0.25231, 0.036338),  # of exp(z): half-normal of sd √.1
    ],
)
def test_skewed_posteriors_are_sampled_right(
    function: Callable[[FloatArray], tuple[FloatArray, FloatArray]], mean: float, variance: float
) -> None:
    """No check refuses, and the mean is right within its error."""
    from scipy.special import digamma, polygamma

    target = targets.Density(1, function)
    found = ensemble_of(target)
    assert short_chains.doubts(found.figures) == ()
    draws = found.z[..., 0]
    if function is log_gamma:
        mean, variance = float(digamma(0.3)), float(polygamma(1, 0.3))
    else:
        draws = np.exp(draws)
        mean, variance = math.sqrt(0.2 / math.pi), 0.1 * (1 - 2 / math.pi)
    worth = min(float(nested.effective(draws[..., None])[0]), found.figures["ess"])
    assert near(draws, mean, math.sqrt(variance), worth)


@pytest.mark.parametrize(
    "target",
    [
        targets.lecture_mixture(),
        targets.Mixture([0.4, 0.6], [[0.0], [3.5]], [[0.3], [0.3]]),
        targets.Mixture([0.4, 0.6], np.array([[0.0] * 3, [20.0] * 3]), np.ones((2, 3))),
        targets.Mixture(
            [0.2, 0.5, 0.3], [[-6, 0], [0, 5], [6, -5]], [[0.2, 1.0], [1.0, 0.3], [2.0, 2.0]]
        ),
    ],
    ids=["lecture", "silent", "hidden", "widths"],
)
def test_all_modes_are_sampled_with_their_masses(target: targets.Mixture) -> None:
    """Each mode has its share within its error, which is the weights', and no check refuses."""
    found = ensemble_of(target)
    assert short_chains.doubts(found.figures) == ()
    z = found.z.reshape(-1, target.dimension)
    nearest = np.argmin(((z[:, None] - target.means) ** 2).sum(axis=2), axis=1)
    for k, share in enumerate(target.shares):
        # Counts of 512 chains are whole numbers.
        assert abs(np.mean(nearest == k) - share) < K * found.figures["share_error"] + 2 / 512


def test_chains_between_modes_keep_masses_and_are_trusted() -> None:
    """A low pass that few chains cross: longer chains, or all kernels at random, serve."""
    target = targets.two_normals(4.5, 0.3)
    found = ensemble_of(target)
    assert short_chains.doubts(found.figures) == ()
    # Within the error of the shares and that of 512 chains.
    assert abs(found.z.mean() - 0.7 * 4.5) < K * 4.5 * math.hypot(0.01, math.sqrt(0.21 / 512))


@pytest.mark.parametrize("seed", range(3))
def test_what_cannot_mix_is_refused(seed: int) -> None:
    """Neal's funnel in ten dimensions, by checks of mixing."""
    doubts = short_chains.doubts(ensemble_of(targets.funnel(10), seed).figures)
    assert {c.id for c in doubts} & {"nested_rhat", "memory", "ess", "stuck"}


def test_far_starts_find_what_the_fit_does_not() -> None:
    """A fit with few starts misses the other mode; far chains find it, and it gets its share."""
    target = targets.Mixture([0.5, 0.5], [[0.0] * 8, [6.0] * 8], np.ones((2, 8)))
    alone = deterministic.fit(
        targets.standard(8), np.random.default_rng(1), Clock(60), Settings(seconds=2e-6)
    )
    objective = deterministic.Objective(target, alone.objective.eps, Clock(60))
    blind = _with(alone, objective=objective)
    without = ensemble_of(target, sizes=Sizes(far=0), optimum=blind)
    assert len(without.shares) == 1
    assert short_chains.doubts(without.figures) == ()
    found = ensemble_of(target, optimum=blind)
    assert short_chains.doubts(found.figures) == ()
    assert abs(np.mean(found.z.mean(axis=2) > 3) - 0.5) < K * found.figures["share_error"] + 2 / 512


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_mode_narrow_in_many_directions_is_found_on_a_line(seed: int) -> None:
    """A fit of the wide mode alone finds the narrow one, 8 sds off in one of 20 parameters."""
    place = np.outer([4.0, -4.0], np.eye(20)[0])
    target = targets.Mixture([0.7, 0.3], place, np.array([[1.0] * 20, [0.5] * 20]))
    rng = np.random.default_rng(seed)
    found = short_chains.run(target, optimum_of(target, seed, starts=1), rng, Clock(60))
    assert short_chains.doubts(found.figures) == ()
    share = np.mean(found.z[..., 0] < 0)
    assert abs(share - 0.3) < K * found.figures["share_error"] + 2 / 512


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_spike_in_the_midst_of_a_wide_mode_is_found(seed: int) -> None:
    """A fit of the wide mode alone finds one of a twentieth of its width, inside it."""
    target = targets.Mixture([0.9, 0.1], [[0.0] * 2, [2.0] * 2], np.array([[1.0] * 2, [0.05] * 2]))
    optimum = optimum_of(target, seed, starts=1)
    wide = dataclasses.replace(optimum.basins[0], mass=1.0)
    found = ensemble_of(target, seed, optimum=dataclasses.replace(optimum, basins=(wide,)))
    assert short_chains.doubts(found.figures) == ()
    share = np.mean(np.abs(found.z - 2).max(axis=2) < 0.25)
    # The wide mode has a thousandth of its mass there.
    assert abs(share - 0.1) < K * found.figures["share_error"] + 2 / 256 + 0.002


def test_what_is_certain_costs_less() -> None:
    """An eighth of the proposals and half of the far starts, unless weights are worth little."""
    sure = ensemble_of(targets.standard(2))
    assert (sure.proposals, sure.far, len(sure.z)) == (256 * 10, 256, 256)
    unsure = ensemble_of(targets.funnel(10))
    assert (unsure.proposals, unsure.far) == (256 * 80, 512)


@pytest.mark.slow
def test_a_normal_of_a_thousand_parameters_is_trusted() -> None:
    """Far starts near its mode, hundreds of nats above all draws, get away with their own steps."""
    target, rng = targets.standard(1000), np.random.default_rng(1)
    optimum = deterministic.fit(target, rng, Clock(600), Settings(seconds=2e-6))
    found = short_chains.run(target, optimum, rng, Clock(600))
    assert short_chains.doubts(found.figures) == ()


def _with(optimum: Optimum, **changed: object) -> Optimum:
    return dataclasses.replace(optimum, **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [1, 2])
def test_chains_in_bad_coordinates_start_again_in_their_own(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sds off by factors of 3 and 2, whose weights are worth too little to tell: chains do."""
    target = targets.standard(20)
    variance = np.concatenate([np.full(4, 1 / 9), np.full(4, 4.0), np.ones(12)])
    optimum = _with(optimum_of(target, seed), covariance=np.diag(variance))
    found = ensemble_of(target, seed, optimum=optimum)
    assert short_chains.doubts(found.figures) == ()
    monkeypatch.setattr(home, "MISSHAPEN", math.inf)
    as_before = ensemble_of(target, seed, optimum=optimum)
    assert as_before.figures["weight_share"] < 0.1 < found.figures["weight_share"]
    # The share is that of the draws which chains went on from; the weights are the same.
    assert found.weight_ess == as_before.weight_ess
    assert as_before.leapfrogs.mean() > 1.2 * found.leapfrogs.mean()


@pytest.mark.parametrize(("d", "draws"), [(20, 6), (100, 8)])
def test_bad_coordinates_are_seen_early(
    d: int, draws: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six draws of each chain tell of 20 directions, and eight of 100."""
    target, found = targets.standard(d), []
    variance = np.concatenate([np.full(4, 1 / 16), np.full(4, 4.0), np.ones(d - 8)])
    optimum = _with(optimum_of(target), covariance=np.diag(variance))
    reshaped = home.Home.reshaped

    def look(own: home.Home, target: Any, drawn: FloatArray, *given: Any) -> home.Home | None:
        again = reshaped(own, target, drawn, *given)
        found.append((drawn.shape[1], again is not None))
        return again

    monkeypatch.setattr(home.Home, "reshaped", look)
    assert short_chains.doubts(ensemble_of(target, optimum=optimum).figures) == ()
    assert found[0] == (draws, True)


@pytest.mark.parametrize("limit", [0, home.WORTH])
def test_chains_draw_more_where_paths_are_short(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a normal a path takes two gradients; without a budget there are the fewest draws."""
    monkeypatch.setattr(home, "WORTH", limit)
    found = ensemble_of(targets.standard(3))
    assert found.z.shape[1] == (home.MOST if limit else Sizes().draws)


@pytest.mark.parametrize(("d", "factor"), [(3, 1.0), (600, home.SAFER)])
def test_paths_of_several_steps_get_safer_ones(
    d: int, factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a step is a path, it is as long as it was adapted; a shorter one is accepted more."""
    found = ensemble_of(targets.standard(d))
    monkeypatch.setattr(home, "SAFER", 1.0)
    adapted = ensemble_of(targets.standard(d))
    assert found.step == pytest.approx(factor * adapted.step)
    assert (found.chance.mean() > adapted.chance.mean() + 0.02) == (factor < 1)


def test_a_neck_that_pilots_do_not_meet_is_seen_by_all_chains(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a funnel over 1% of paths are hopeless whatever pilots say, on a normal none."""
    adapted = hmc.adapted_step
    monkeypatch.setattr(home, "adapted_step", lambda *given: adapted(*given)._replace(necks=False))
    assert ensemble_of(targets.funnel(10)).necks
    assert not ensemble_of(targets.standard(10)).necks


def test_transitions_take_the_gradients_that_are_expected() -> None:
    """Those of 2000 transitions on a normal, at long, middle and short steps."""
    target = Counted(targets.standard(5))
    maps = (coordinates.coordinates_of(np.zeros(5), np.ones(5)),)
    rng = np.random.default_rng(3)
    at = hmc.chains_at(target, rng.standard_normal((2000, 5)), np.zeros(2000, dtype=np.intp))
    for step in (2.2, 1.0, 0.5):
        before = target.gradients
        hmc.transition(target, maps, at, step, rng, Clock(60))
        taken = (target.gradients - before) / 2000
        # Steps are jittered by a fifth, which the expectation leaves out.
        assert taken == pytest.approx(hmc.gradients_of(step), rel=0.1)


def test_draws_are_thinned_from_the_last_on() -> None:
    """Of 20 draws every third stays, the last of them, so that new ones go on in step."""
    target, rng = targets.standard(2), np.random.default_rng(1)
    optimum = optimum_of(target)
    own = home.Home.of(target, optimum, optimum.basins, rng, Clock(60), Sizes())
    made = kept(target, own, own.starts, 20, rng, Clock(60), burn=0)
    thinned = made.thinned(3)
    np.testing.assert_array_equal(thinned.z, made.z[:, [1, 4, 7, 10, 13, 16, 19]])
    assert thinned.chance.shape == thinned.leapfrogs.shape == thinned.z.shape[:2]
    assert thinned.end is made.end


def test_coordinates_that_are_as_good_as_the_draws_stay() -> None:
    """A ratio of stretches is 1 up to a common factor; few effective draws tell of no shape."""
    target, rng = targets.standard(4), np.random.default_rng(1)
    own = home.Home.of(
        target, optimum_of(target), optimum_of(target).basins, rng, Clock(60), Sizes()
    )
    made = kept(target, own, own.starts, 20, rng, Clock(60), burn=5)
    z = rng.standard_normal(made.z.shape)

    def again(z: FloatArray, ess: float) -> home.Home | None:
        return own.reshaped(target, z, made.end, ess, rng, Clock(60))

    assert again(z, 5000.0) is None
    assert again(7 * z, 5000.0) is None
    stretched = z * [1, 1, 1, 5]
    assert again(stretched, 7.0) is None
    assert again(stretched, math.nan) is None
    found = again(stretched, 5000.0)
    assert found is not None
    assert ratio_of_stretches(own.maps[0], found.maps[0]) == pytest.approx(5, rel=0.1)
    np.testing.assert_array_equal(home.first_half(found.starts).z, made.end.z)
    np.testing.assert_array_equal(found.starts.z[len(made.end.z) :], stretched[:, 0])


def test_a_seed_gives_the_same_ensemble_at_a_known_cost() -> None:
    """Two runs are equal to the last bit; gradients are as many as the docstring says."""
    target = Counted(targets.any_normal(3, 1))
    optimum = optimum_of(target)
    before = target.gradients
    one = ensemble_of(target, optimum=optimum)
    spent = target.gradients - before
    two = ensemble_of(target, optimum=optimum)
    np.testing.assert_array_equal(one.z, two.z)
    assert one.figures == two.figures
    assert target.gradients - before == 2 * spent
    assert spent < (256 * (5 + 20) + 256 * 20) * 4


def test_the_clock_ends_an_ensemble() -> None:
    """A run that is out of time raises, whatever it was doing."""
    target = targets.standard(2)
    optimum = optimum_of(target)
    with pytest.raises(TimeLimitError):
        short_chains.run(target, optimum, np.random.default_rng(1), Clock(0))
