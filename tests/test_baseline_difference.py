"""Differences of figures and what chance has to do with them, against closed forms."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from baseline_builders import SEEDS, figures, sampler
from scipy import stats

from harness import metrics
from harness.check.baseline.change import Change, Margins, conclude
from harness.check.baseline.compare import _Both, compare_method
from harness.check.baseline.difference import (
    Difference,
    counts,
    errors,
    location,
    quantile,
    scale_of_draws,
)
from harness.check.baseline.form import SUMMARIES, Figure, MethodBaseline
from harness.check.baseline.summarise import of_draws
from harness.metrics.sample import QUANTILES
from harness.records import Draws

LARGE = 1e9
"""Degrees of freedom at which Student's t is normal."""


def within(count: int, n: int, p: float, k: float = 4.5) -> bool:
    """Tell whether a count is that of n trials of chance p, up to k standard errors."""
    return abs(count - n * p) <= k * math.sqrt(n * p * (1 - p))


def at_most(count: int, n: int, p: float, k: float = 4.5) -> bool:
    """Tell whether a count is at most n p, up to k standard errors."""
    return count <= n * p + k * math.sqrt(n * p * (1 - p))


# --- locations ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("d", "margin", "df"), [*itertools.product((-3.0, 0.0, 0.7), (0, 0.5, 2), (3, 50))]
)
def test_p_of_a_location_is_the_largest_that_the_margin_allows(
    d: float, margin: float, df: float
) -> None:
    """P(|D| > |d|) at a true difference of the margin: the sum of both tails of Student's t."""
    found = location(1.0, 1.0 + 2 * d * 0.4, 0.4, df, margin, 2.0)
    size = abs(found.value)
    tails = [stats.t.sf((size - s * margin) / 0.2, df) for s in (1, -1)]
    assert found.value == pytest.approx(0.4 * d)
    assert found.sds == pytest.approx(2 * d)
    assert found.p == pytest.approx(min(sum(tails), 1.0))
    half = stats.t.ppf(0.975, df) * 0.2
    assert found.low == pytest.approx(found.value - half)
    assert found.high == pytest.approx(found.value + half)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_intervals_of_a_location_cover_and_p_is_uniform(seed: int) -> None:
    """2000 differences with 9 degrees of freedom, within 4.5 standard errors."""
    rng = np.random.default_rng([seed, 1])
    n, df, true = 2000, 9, 0.3
    spread = 0.1 * np.sqrt(rng.chisquare(df, n) / df)
    seen = true + 0.1 * rng.normal(size=n)
    found = [location(0.0, d, e, df, 0.0, 1.0) for d, e in zip(seen, spread, strict=True)]
    assert within(sum(f.low <= true <= f.high for f in found), n, 0.95)
    null = [location(true, d, e, df, 0.0, 1.0).p for d, e in zip(seen, spread, strict=True)]
    for alpha in (0.5, 0.1, 0.01):
        assert within(sum(p <= alpha for p in null), n, alpha)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_p_is_uniform_at_the_margin_and_smaller_nowhere_inside(seed: int) -> None:
    """A true difference of the margin has p below alpha in alpha of cases, half of it never."""
    rng = np.random.default_rng([seed, 2])
    n, margin, error = 2000, 0.5, 0.1
    at, inside = (
        [location(0.0, true + error * e, error, LARGE, margin, 1.0).p for e in rng.normal(size=n)]
        for true in (margin, margin / 2)
    )
    for alpha in (0.5, 0.1, 0.01):
        assert within(sum(p <= alpha for p in at), n, alpha)
    assert sum(p <= 0.05 for p in inside) <= 3  # 2.5 errors of 0.1 away: 3e-5 of 2000


def test_figures_without_error_differ_or_do_not() -> None:
    """An error of zero leaves no chance: p is one inside the margin, else zero."""
    same, other = (location(1.0, 1.0 + d, 0.0, 5, 0.1, 1.0) for d in (0.05, 0.2))
    assert (same.p, other.p) == (1.0, 0.0)
    assert same.low == same.high == pytest.approx(0.05)


# --- errors ---------------------------------------------------------------------------------


def test_errors_are_their_own_where_draws_vary_alike() -> None:
    """An effective draw that varies by 2 then and now: 2 / sqrt(ess), the same as alone."""
    old, new = Figure(0.0, 0.2, 100.0), Figure(0.0, 0.1, 400.0)
    assert errors(old, new) == pytest.approx((0.2, 0.1))


def test_no_error_is_smaller_than_that_of_both_together() -> None:
    """Draws vary by 1, and four times as many now by 2: 3.4 = (1 + 4 × 4) / 5 together."""
    old, new = Figure(0.0, 0.1, 100.0), Figure(0.0, 0.1, 400.0)
    assert errors(old, new) == pytest.approx((math.sqrt(3.4 / 100), 0.1))
    assert errors(new, old) == pytest.approx((0.1, math.sqrt(3.4 / 100)))


@pytest.mark.parametrize("scale", [1e-250, 1.0, 1e250])
def test_errors_have_no_unit(scale: float) -> None:
    """Squares of the errors would over- or underflow."""
    found = errors(Figure(0.0, 0.1 * scale, 100.0), Figure(0.0, 0.1 * scale, 400.0))
    assert [e / scale for e in found] == pytest.approx([math.sqrt(3.4 / 100), 0.1])


@pytest.mark.parametrize("bad", [math.nan, 0.0, -1.0])
def test_without_an_effective_size_there_is_no_error(bad: float) -> None:
    """Without an effective sample size the error is NaN."""
    good = Figure(0.0, 0.1, 100.0)
    for pair in ((good, Figure(0.0, 0.1, bad)), (Figure(0.0, 0.1, bad), good)):
        assert all(math.isnan(e) for e in errors(*pair))


# --- scales ---------------------------------------------------------------------------------


def sd_figure(value: float, relative: float, ess: float = 1000.0) -> Figure:
    """Return an sd with a relative error."""
    return Figure(value, relative * value, ess)


def textbook_fieller(r: float, e_old: float, e_new: float, t: float) -> tuple[float, float]:
    """Return Fieller's limits for the ratio r of two variances with these relative errors."""
    roots = np.roots([1 - (t * e_old) ** 2, -2 * r, r**2 * (1 - (t * e_new) ** 2)])
    return float(min(roots)), float(max(roots))


@pytest.mark.parametrize(
    ("ratio", "error"), [*itertools.product((0.8, 1.0, 1.3), (0.01, 0.05, 0.15))]
)
def test_the_interval_of_two_sds_is_fiellers_or_that_of_logarithms(
    ratio: float, error: float
) -> None:
    """Whichever is wider on each side; both by their textbook forms."""
    found = scale_of_draws(sd_figure(2.0, error), sd_figure(2 * ratio, error), LARGE, 0.1)
    t = stats.norm.ppf(0.975)
    low, high = textbook_fieller(ratio**2, 2 * error, 2 * error, t)
    half = t * error * math.sqrt(2)
    assert found.value == pytest.approx(math.log(ratio))
    assert found.low == pytest.approx(min(math.log(low) / 2, found.value - half), rel=1e-6)
    assert found.high == pytest.approx(max(math.log(high) / 2, found.value + half), rel=1e-6)


def test_the_interval_of_two_sds_is_what_the_test_does_not_reject() -> None:
    """Shifted by either limit, the sds are different with a p of 0.05 exactly."""
    old, new = sd_figure(2.0, 0.08, 100.0), sd_figure(3.0, 0.05, 300.0)
    found = scale_of_draws(old, new, 20, 0.0)
    for limit in (found.low, found.high):
        moved = sd_figure(3.0 * math.exp(-limit), 0.05, 300.0)
        assert scale_of_draws(old, moved, 20, 0.0).p == pytest.approx(0.05)


def test_an_sd_of_no_certain_size_has_no_bounds() -> None:
    """An error as large as the variance leaves the ratio open."""
    found = scale_of_draws(sd_figure(1.0, 0.6), sd_figure(1.2, 0.6), LARGE, 0.1)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert found.p > 0.5


MARGINALS: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "Student t, 3 df": lambda rng, shape: rng.standard_t(3, shape),
    "exponential": lambda rng, shape: rng.exponential(size=shape),
    "lognormal": lambda rng, shape: np.exp(rng.normal(size=shape)),
}


def sds_of(draws: np.ndarray) -> list[Figure]:
    """Return the sds of independent draws, one a row, as a summary has them."""
    n = draws.shape[1]
    squares = (draws - draws.mean(axis=1, keepdims=True)) ** 2
    variance = squares.sum(axis=1) / (n - 1)
    error = squares.std(axis=1) / np.sqrt(variance) / 2 / math.sqrt(n)
    return [Figure(float(np.sqrt(v)), float(e), n) for v, e in zip(variance, error, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("growth", [1, 4])
@pytest.mark.parametrize("marginal", MARGINALS)
def test_sds_of_one_distribution_differ_no_more_often_than_alpha(
    marginal: str, growth: int
) -> None:
    """400 draws, then 400 or 1600: of 10 000 pairs at most alpha + 4.5 standard errors.

    The difference of variances alone gave 3.6 times 0.0025 for exponentials, the logarithms
    alone 4.5 times for lognormals.
    """
    rng = np.random.default_rng([growth, *marginal.encode()])
    pairs, n = 10_000, 400
    p = []
    for _ in range(10):
        old, new = (sds_of(MARGINALS[marginal](rng, (pairs // 10, n * k))) for k in (1, growth))
        p += [scale_of_draws(a, b, n - 1, 0.0).p for a, b in zip(old, new, strict=True)]
    for alpha in (0.05, 0.01, 0.0025):
        assert at_most(sum(v <= alpha for v in p), pairs, alpha)
    if marginal == "normal":
        assert sum(v <= 0.05 for v in p) > 0.035 * pairs


def test_sds_over_seeds_are_compared_by_logarithms() -> None:
    """The error is that of ln sd: the same as a location's."""
    method = MethodBaseline("seeds", tuple(range(10)), 1000, 10, {})
    old, new = (Figure(sd, 0.1, 1.0, spread=0.04 * sd) for sd in (2.0, 3.0))
    both = _Both(method, method, {}, Margins(), identical=False)
    found = both._over_seeds("sd", old, new, 0.1, 1.0)
    error = 0.04 * math.sqrt(2 / 10)
    expected = location(math.log(2), math.log(3), error, 18, 0.1, 1.0)
    assert found == pytest.approx(tuple(expected))


# --- quantiles ------------------------------------------------------------------------------


def quantile_of(old: np.ndarray, new: np.ndarray, what: str, margin: float = 0.0) -> Difference:
    """Compare a quantile of independent draws with other draws."""
    share = QUANTILES[what]
    kept = Figure(metrics.prepare(old[None], iid=True).quantile(share), 0.1, float(old.size))
    return quantile(what, kept, metrics.prepare(new[None], iid=True), LARGE, margin, 1.0)


def test_draws_under_a_quantile_are_beta_binomial() -> None:
    """The p-value is twice SciPy's tail, of as many draws as lie under the stored value."""
    rng = np.random.default_rng(1)
    law = stats.betabinom(200, 0.05 * 399 + 1, 0.95 * 399 + 1)
    for _ in range(50):
        old, new = rng.normal(size=400), rng.normal(size=200)
        k = int(np.sum(new < np.quantile(old, 0.05)))
        tail = law.cdf(k) if k <= law.mean() else law.sf(k - 1)
        assert quantile_of(old, new, "q5").p == pytest.approx(min(2 * tail, 1.0))


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(400, 400), (400, 1600), (100, 100), (4000, 1000)])
@pytest.mark.parametrize("what", QUANTILES)
def test_quantiles_of_one_distribution_differ_no_more_often_than_alpha(
    what: str, sizes: tuple[int, int]
) -> None:
    """2000 pairs of each distribution, some with five draws in the tail.

    The normal approximation gave 3 times 0.0025 at 400 draws. Intervals hold the true difference
    in 95%, and inside the margin p is hardly ever small; all up to 4.5 standard errors.
    """
    rng = np.random.default_rng([*sizes, *what.encode()])
    pairs = 2000
    found = [quantile_of(rng.normal(size=sizes[0]), rng.normal(size=sizes[1]), what)
             for _ in range(pairs)]  # fmt: skip
    for alpha in (0.05, 0.01, 0.0025):
        assert at_most(sum(f.p <= alpha for f in found), pairs, alpha)
    covered = sum(f.low <= 0 <= f.high for f in found)
    assert at_most(pairs - covered, pairs, 0.05)
    if min(sizes) >= 400:  # with fewer, a single draw more or less makes much of it
        assert covered < 0.98 * pairs


@pytest.mark.slow
@pytest.mark.parametrize("what", QUANTILES)
def test_p_of_a_quantile_moved_by_the_margin_is_about_uniform(what: str) -> None:
    """Among 2000 pairs that differ by the margin, a share alpha has a smaller p, up to rounding."""
    rng = np.random.default_rng([7, *what.encode()])
    pairs, margin = 2000, 0.5
    p = [quantile_of(rng.normal(size=2000), margin + rng.normal(size=2000), what, margin).p
         for _ in range(pairs)]  # fmt: skip
    for alpha in (0.1, 0.01):
        assert at_most(sum(v <= alpha for v in p), pairs, alpha)
    assert sum(v <= 0.1 for v in p) > 0.07 * pairs


def test_a_quantile_of_few_values_that_stayed_has_not_moved() -> None:
    """More than 5% of draws are the lowest value, now a little more or less: p is one."""
    rng = np.random.default_rng(1)
    for _ in range(50):
        old, new = (rng.binomial(1, 0.7, 4000).astype(float) for _ in range(2))
        for what in ("q5", "q95"):
            found = quantile_of(old, new, what)
            assert (found.value, found.p) == (0.0, 1.0)


@pytest.mark.parametrize("bad", [math.nan, 0.0])
def test_a_quantile_without_effective_size_is_not_told(bad: float) -> None:
    """It has neither a p-value nor a bound."""
    sample = metrics.prepare(np.random.default_rng(1).normal(size=(1, 400)), iid=True)
    found = quantile("q5", Figure(-1.6, 0.1, bad), sample, 10, 0.2, 1.0)
    assert math.isnan(found.p)
    assert (found.low, found.high) == (-math.inf, math.inf)


# --- shares and families --------------------------------------------------------------------


def fisher(old: int, of_old: int, new: int, of_new: int) -> Fraction:
    """Return Fisher's p-value as a fraction: the share of all tables that are at most as likely."""
    ones = old + new
    ways = [math.comb(of_old, k) * math.comb(of_new, ones - k) for k in range(ones + 1)]
    return Fraction(sum(w for w in ways if w <= ways[old]), sum(ways))


def test_shares_are_compared_by_fishers_exact_test() -> None:
    """All tables of up to six and six, and some larger ones, agree to twelve digits."""
    small = itertools.product(range(7), range(7), (6,), (1, 4, 6))
    large = [(0, 10, 10, 40), (3, 0, 10, 20), (7, 9, 10, 10), (50, 80, 100, 120)]
    for old, new, of_old, of_new in [(a, b, n, m) for a, b, n, m in small if b <= m] + large:
        expected = float(fisher(old, of_old, new, of_new))
        assert counts(old, of_old, new, of_new) == pytest.approx(expected, rel=1e-12)
    assert counts(3, 4, 1, 4) == pytest.approx(17 / 35, rel=1e-12)  # the lady tasting tea
    assert counts(0, 0, 3, 7) == counts(0, 5, 0, 7) == 1.0


def change(p: float | None) -> Change:
    """Return a figure that was compared, with its p-value."""
    return Change("m", "nuts", "x", "summary", "moved", "inconclusive", "mean", p=p)


def test_holm_rejects_what_it_rejects_by_hand() -> None:
    """0.005 ≤ 0.05 / 4 and 0.01 ≤ 0.05 / 3, but 0.03 > 0.05 / 2: it and 0.04 stay."""
    done = conclude([change(p) for p in (0.01, None, 0.04, 0.03, 0.005)], 0.05)
    assert [c.conclusion == "changed" for c in done] == [True, False, False, False, True]


def test_holm_ends_at_the_first_that_it_does_not_reject() -> None:
    """0.02 > 0.05 / 3, so that 0.021 stays although it is under 0.05 / 2."""
    done = conclude([change(p) for p in (0.02, 0.021, 0.9)], 0.05)
    assert all(c.conclusion == "inconclusive" for c in done)


# --- what cannot be compared ----------------------------------------------------------------

BROKEN = {
    "not a number": Figure(math.nan, 0.01, 1e4),
    "no error": Figure(0.0, math.nan, 1e4),
    "an infinite error": Figure(0.0, math.inf, 1e4),
    "an infinite figure": Figure(math.inf, 0.01, 1e4),
    "no effective size": Figure(0.0, 0.01, math.nan),
    "an effective size of zero": Figure(0.0, 0.01, 0.0),
}


@pytest.mark.parametrize("side", ["baseline", "now"])
@pytest.mark.parametrize("what", SUMMARIES)
@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_broken_is_never_the_same(broken: str, what: str, side: str) -> None:
    """Whichever figure, on whichever side, with draws or without."""
    good = sampler(fingerprints=())
    bad = sampler(fingerprints=(), quantities={"x": figures() | {what: BROKEN[broken]}})
    sample = of_draws(Draws(("x",), np.random.default_rng(1).normal(size=(4, 2500, 1)))).samples
    pair = (bad, good) if side == "baseline" else (good, bad)
    # With the draws at hand, the error of a new quantile is theirs.
    told = side == "now" and what in QUANTILES and "error" in broken
    for samples in (None,) if told else (None, sample):
        (found,) = (
            c for c in compare_method("m", "nuts", *pair, samples, Margins()) if c.name == what
        )
        assert found.conclusion != "same"


def test_a_constant_that_moved_is_changed_and_one_that_stayed_is_the_same() -> None:
    """A constant has no error to allow for."""
    constant, moved = (
        sampler(
            fingerprints=(),
            quantities={"x": {k: Figure(0.0 if k == "sd" else at, 0.0, 1e4) for k in SUMMARIES}},
        )
        for at in (2.0, 2.1)
    )
    for old, new, expected in ((constant, constant, "same"), (constant, moved, "changed")):
        found = compare_method("m", "nuts", old, new, None, Margins())
        means = [c.conclusion for c in found if c.quantity and c.name != "sd"]
        assert means == [expected] * 4
