"""From draws to figures: values and errors against closed forms, and what has no moments."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from baseline_builders import (
    SEEDS,
    Z95,
    as_draws,
    figures,
    normals,
    shifted,
    walks,
)
from scipy.special import stdtrit

from harness.check.baseline.change import USUAL
from harness.check.baseline.form import SUMMARIES, Figure
from harness.check.baseline.precision import room
from harness.check.baseline.summarise import Summary, fingerprint, of_draws, settle, unit
from harness.records import Draws

NORMAL = {"mean": 0.0, "sd": 1.0, "q5": -Z95, "q50": 0.0, "q95": Z95}
"""The figures of a standard normal distribution."""

ERROR = {
    "mean": 1.0,
    "sd": math.sqrt(0.5),
    "q5": math.sqrt(0.05 * 0.95) / 0.10313564,
    "q50": math.sqrt(0.25) / 0.39894228,
    "q95": math.sqrt(0.05 * 0.95) / 0.10313564,
}
"""Their standard errors times the root of n: sqrt(p (1 − p)) over the density for quantiles."""


# --- draws ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_independent_draws_have_the_errors_of_textbooks(seed: int) -> None:
    """Values lie within 4.5 errors of the truth, errors within 25% of theirs."""
    summary = of_draws(normals(seed))
    assert (summary.kind, summary.kept, summary.no_moments) == ("independent", 1, "")
    for what, figure in summary.quantities["x"].items():
        expected = ERROR[what] / math.sqrt(16_000)
        assert abs(figure.value - NORMAL[what]) < 4.5 * expected
        assert figure.mcse == pytest.approx(expected, rel=0.25)
        assert figure.ess == 16_000
        assert (figure.spread, figure.margin, figure.why) == (None, None, "")


@pytest.mark.parametrize("seed", SEEDS)
def test_chains_have_the_errors_of_their_effective_size(seed: int) -> None:
    """AR(1) chains with ρ = 1/2 are worth a third of their draws for the mean, within 20%."""
    summary = of_draws(walks(seed, rho=0.5))
    assert summary.kind == "chains"
    mean = summary.quantities["x"]["mean"]
    assert mean.ess == pytest.approx(16_000 / 3, rel=0.2)
    assert mean.mcse == pytest.approx(1 / math.sqrt(16_000 / 3), rel=0.12)
    # Squares of a Gaussian chain have the squared autocorrelation: worth 0.6 of the draws.
    assert summary.quantities["x"]["sd"].ess == pytest.approx(0.6 * 16_000, rel=0.2)


def test_all_five_summaries_of_every_quantity_are_there_in_order() -> None:
    """Asked for by name they come in that order, and what the draws lack is left out."""
    draws = as_draws(np.random.default_rng(1).normal(size=(2, 500, 3)), ("a", "b", "c"))
    assert list(of_draws(draws).quantities) == ["a", "b", "c"]
    found = of_draws(draws, ["c", "nowhere", "a"])
    assert list(found.quantities) == ["c", "a"]
    assert set(found.samples or {}) == {"a", "c"}
    assert all(tuple(f) == SUMMARIES for f in found.quantities.values())


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("iid", [True, False])
def test_one_draw_that_is_no_number_leaves_no_figure(bad: float, iid: bool) -> None:
    """Every figure of that quantity is NaN and says how many draws; the others have theirs."""
    values = np.random.default_rng(2).normal(size=(4, 500, 2))
    values[1, 7, 0] = bad
    found = of_draws(as_draws(values, ("bad", "good"), iid=iid)).quantities
    for figure in found["bad"].values():
        assert math.isnan(figure.value)
        assert math.isnan(figure.mcse)
        assert figure.why == "not finite in 1 of 2000 draws"
    assert all(math.isfinite(f.value) and math.isfinite(f.mcse) for f in found["good"].values())


@pytest.mark.parametrize("shape", [(1, 0), (4, 0), (0, 0)])
def test_no_draws_are_no_number(shape: tuple[int, int]) -> None:
    """Nothing has no mean."""
    found = of_draws(as_draws(np.empty(shape))).quantities["x"]
    assert all(math.isnan(f.value) and f.why for f in found.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_chains_in_different_places_have_no_moments(seed: int) -> None:
    """One chain of four that is two sds away: the reason names quantity and R-hat."""
    values = walks(seed, 4000).values.copy()
    values[2] += 2.0
    summary = of_draws(as_draws(values[:, :, 0], ("height",), iid=False))
    assert summary.quantities == {}
    assert "the chains have not mixed: R-hat 1." in summary.no_moments
    assert "height" in summary.no_moments


def test_chains_of_small_effective_size_have_no_moments() -> None:
    """A chain that hardly moves, or is too short to tell, has no error to trust."""
    slow = of_draws(walks(3, 4000, rho=0.9995))
    short = of_draws(as_draws(np.random.default_rng(1).normal(size=(4, 6)), iid=False))
    assert "effective size" in slow.no_moments
    assert "R-hat unknown" in short.no_moments
    assert not slow.quantities
    assert not short.quantities


def test_one_stuck_quantity_takes_the_moments_of_all() -> None:
    """Chains that have not mixed in one quantity have not mixed."""
    values = np.random.default_rng(1).normal(size=(4, 1000, 2))
    values[0, :, 1] += 3
    assert of_draws(as_draws(values, ("a", "b"), iid=False)).quantities == {}


@pytest.mark.parametrize("iid", [True, False])
def test_a_constant_has_figures_without_error(iid: bool) -> None:
    """Transformed data and dimensions of a program are constants: no reason to give up."""
    found = of_draws(as_draws(np.full((4, 500), 2.5), iid=iid))
    assert found.no_moments == ""
    for what, figure in found.quantities["x"].items():
        assert figure.value == (0.0 if what == "sd" else 2.5)
        assert figure.mcse == 0.0


@pytest.mark.parametrize("iid", [True, False])
def test_what_varies_by_rounding_is_a_constant(iid: bool) -> None:
    """The sum of a simplex differs from one in the last digit, as the compiler likes."""
    rng = np.random.default_rng(1)
    found = of_draws(as_draws(1 + 2.3e-16 * rng.integers(-2, 3, (4, 500)), iid=iid))
    assert found.quantities["x"]["sd"] == Figure(0.0, 0.0, 2000.0)
    assert found.quantities["x"]["q95"].value == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize("power", [-250, -160, 160, 250])
def test_units_do_not_matter(power: int) -> None:
    """Draws of a likelihood as small as 1e-250 have the figures of others, in their unit."""
    one = of_draws(normals(1, 4000)).quantities["x"]
    other = of_draws(shifted(normals(1, 4000), times=10.0**power)).quantities["x"]
    for what in SUMMARIES:
        assert other[what].value / 10.0**power == pytest.approx(one[what].value)
        assert other[what].mcse / 10.0**power == pytest.approx(one[what].mcse)


# --- fingerprints ---------------------------------------------------------------------------


def test_fingerprints_are_of_the_last_digit() -> None:
    """The smallest change of one draw, of a name or of the shape is another fingerprint."""
    draws = as_draws(np.random.default_rng(1).normal(size=(2, 6, 2)), ("a", "b"))
    moved = draws.values.copy()
    moved[1, 3, 1] = np.nextafter(moved[1, 3, 1], 2)
    others = [
        replace(draws, values=moved),
        replace(draws, names=("a", "c")),
        replace(draws, names=("b", "a")),
        replace(draws, values=draws.values.reshape(3, 4, 2)),
        replace(draws, values=draws.values[::-1]),
        replace(draws, values=-draws.values),
        None,
    ]
    found = {fingerprint(d) for d in [draws, *others]}
    assert len(found) == 1 + len(others)
    assert fingerprint(None) == "none"


def test_fingerprints_do_not_depend_on_memory() -> None:
    """Equal draws have equal fingerprints, however they lie in memory; and are short."""
    values = np.random.default_rng(1).normal(size=(2, 6, 3))
    draws = Draws(("a", "b", "c"), values)
    turned = Draws(("a", "b", "c"), np.asfortranarray(values))
    assert fingerprint(draws) == fingerprint(turned)
    assert len(fingerprint(draws)) == 16


# --- what is kept ---------------------------------------------------------------------------


def test_figures_with_small_errors_keep_the_usual_margins() -> None:
    """16 000 independent draws need no wider margin."""
    kept = settle(of_draws(normals(1)))
    assert all(f.margin is None for f in kept.quantities["x"].values())


@pytest.mark.parametrize("seed", SEEDS)
def test_figures_with_large_errors_get_wider_margins(seed: int) -> None:
    """With 2000 draws an error of 0.022 sd has no room in 0.1: the margin is 8 errors or more.

    Settled twice they are settled no further.
    """
    once = settle(of_draws(normals(seed, 2000)))
    kept = once.quantities["x"]
    mean = kept["mean"]
    assert (mean.margin or 0) >= room(2 * 1999) * mean.mcse / unit(kept)
    assert 0.17 < (mean.margin or 0) < 0.27
    assert (kept["sd"].margin or 0) > USUAL.scale
    assert settle(once).quantities == once.quantities


@pytest.mark.parametrize("seed", SEEDS)
def test_two_runs_of_one_thing_fit_into_the_room(seed: int) -> None:
    """Of 20 000 pairs with this error, about 4 differ by more; 9 more are 4.5 standard errors."""
    pairs, degrees, error = 20_000, 1000, 0.3
    runs = np.random.default_rng([seed, 3]).normal(0, error, (pairs, 2))
    reach = np.abs(runs[:, 0] - runs[:, 1]) + stdtrit(degrees, 0.975) * error * math.sqrt(2)
    assert np.count_nonzero(reach > room(degrees) * error) <= 4 + 9


@pytest.mark.parametrize("seed", SEEDS)
def test_moments_of_heavy_tails_are_kept_without_error_and_say_why(seed: int) -> None:
    """A Cauchy distribution has no mean and no sd, but quantiles."""
    draws = as_draws(np.random.default_rng([seed, 5]).standard_cauchy((4, 2500)))
    kept = settle(of_draws(draws)).quantities["x"]
    assert "too heavy" in kept["sd"].why
    assert math.isnan(kept["sd"].mcse)
    assert all(not kept[q].why for q in ("q5", "q50", "q95"))
    assert all(math.isfinite(f.value) for f in kept.values())


def test_the_unit_of_heavy_tails_is_the_width() -> None:
    """The sd of the normal distribution of the same 5-95% width, where the sd is larger."""
    assert unit(figures(sd=2.0)) == pytest.approx(2.0)
    heavy = figures() | {"sd": Figure(50.0, 1.0, 100.0)}
    assert unit(heavy) == pytest.approx(1.0)
    flat = figures() | {"q5": Figure(0.0, 0.0, 9.0), "q95": Figure(0.0, 0.0, 9.0)}
    assert unit(flat) == 1.0


def test_an_infinite_error_excuses_nothing() -> None:
    """A figure whose error has no bound gets no margin without one."""
    q = figures() | {"q5": Figure(-1.6, math.inf, 100.0), "mean": Figure(0.0, math.inf, 100.0)}
    kept = settle(Summary("independent", 1, {"x": q})).quantities["x"]
    for what in ("q5", "mean"):
        assert kept[what].margin is None
        assert kept[what].why


def test_what_has_no_quantities_says_so() -> None:
    """A baseline without figures needs a reason, or it could not be read again."""
    assert settle(Summary("chains", 1, {})).no_moments
    assert settle(Summary("chains", 1, {}, no_moments="stuck")).no_moments == "stuck"


@pytest.mark.parametrize("what", SUMMARIES)
def test_tails_have_twice_the_margin_of_a_location(what: str) -> None:
    """0.1 sd for mean and median, 0.2 for the tails, ln 1.1 for the sd."""
    expected = {"mean": 0.1, "q50": 0.1, "sd": math.log(1.1)}.get(what, 0.2)
    assert USUAL.of(what) == pytest.approx(expected)
