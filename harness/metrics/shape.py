"""The shape of a posterior: what keeps the best Gaussian of a family away from it.

Draws on the unconstrained scale in; skewness, tails, funnels and correlation out, each with its
Monte Carlo error. These are evidence for the cause of a family gap, and rank causes by about
how many nats each one costs. Draws may be autocorrelated: the caller says how many independent
ones they are worth, and should name the least of what it knows (bulk and tail, all chains).
Draws that cannot be used (not finite, constant, worth fewer than 100 independent ones) give
NaN, never a harmless figure; arguments that make no sense raise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import digamma

from harness.metrics.sample import CONSTANT
from harness.records import NO_ESTIMATE, Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.records import FloatArray

LEAST_EFFECTIVE = 100.0
"""With fewer independent draws than this, fourth moments and thirds of the draws are noise."""

BLOCKS = 20
"""Consecutive blocks of draws for batch means and the jackknife."""

SURE = 4.0
"""Standard errors by which evidence must exceed a limit: it is the largest of many figures."""

NORMAL_TAU4 = 30 / math.pi * math.atan(math.sqrt(2)) - 9
"""L-kurtosis of the normal distribution, 0.1226 (Hosking, 1990, table 1)."""

SKEWED_TAU4 = 1.2
"""A skewed density has τ₄ up to this many τ₃² above the normal's without heavier tails than
its skewness brings: 1.18 for a log-gamma close to the normal, 1.07 for −ln Gamma(2), 0.78 for a
log-normal (found by quadrature)."""

PRACTICAL_EXCESS = 0.02
"""An excess of τ₄ that matters: a Student t with about 15 degrees of freedom, 0.003 nats."""

SETTLED_ERROR = 0.15
"""The largest relative standard error at which a third or fourth moment is an estimate of
anything: beyond it, few draws carry the sum, and the error shrinks no longer as 1/√n."""

SETTLED_EXCESS = 0.055
"""An excess of τ₄ beyond which the error of a fourth moment, an eighth moment, need not exist: a
Student t with 6 degrees of freedom. Lucky samples of such tails look settled by themselves."""

FUNNEL_RATIO = 2.0
"""A spread that doubles between thirds: one Gaussian scale is then wrong by √2 in both."""

FUNNEL_DRAWS = 4000
"""More draws than this are thinned in the search for a funnel, which goes over all pairs."""

CANDIDATES = 20
"""Pairs of coordinates looked at again for whether separate modes feign a funnel."""

ROUNDING = 1e-9
"""A spread under this share of the sd is the rounding of an exact linear dependence."""

DRAWS_PER_COORDINATE = 5
"""Independent draws for each coordinate that an inverse covariance needs."""

SINGULAR = 1e-12
"""Smallest eigenvalue of a correlation matrix, relative to the largest, that can be inverted."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of one marginal; without unit, zero skewness and kurtosis for a normal.

    ``skewness`` and ``excess_kurtosis`` are the standardised third and fourth moments, which
    heavy tails leave undefined: their error is infinite where it cannot be known. ``settled``
    says whether the fourth means anything: its relative error is at most 15% and
    :attr:`tail_excess` at most 0.055. A normal needs about 500 independent draws for that.
    ``l_skewness`` (τ₃) and ``l_kurtosis`` (τ₄; 0.1226 for a normal) exist where a mean does.
    All are NaN where the draws cannot be used.
    """

    skewness: Estimate
    excess_kurtosis: Estimate
    l_skewness: Estimate
    l_kurtosis: Estimate
    settled: bool

    @property
    def tail_excess(self) -> Estimate:
        """τ₄ above the normal's that the skewness does not explain; negative for light tails.

        Skewness brings between 0 and 1.2 τ₃² (:data:`SKEWED_TAU4`) with it: in between, zero.
        """
        tau3, tau4 = self.l_skewness, self.l_kurtosis
        slope = 2 * SKEWED_TAU4 * abs(tau3.value) if tau4.value > NORMAL_TAU4 else 0.0
        error = math.hypot(tau4.mcse, slope * tau3.mcse)
        return Estimate(_excess(tau3.value, tau4.value), error)

    @property
    def skew_nats(self) -> Estimate:
        """About how many nats of KL(best Gaussian ‖ p) the skewness costs: π τ₃².

        By Edgeworth a skewness γ costs γ²/12 (Comon, 1994), and by Cornish-Fisher
        λ₃ = γ/6 E[(Z² − 1)(6Φ² − 6Φ + 1)] = γ √3/(6π), λ₂ = 1/√π: so τ₃ = γ/(2 √(3π)).
        For the log of a gamma variable, whose cost is the remainder of Stirling's formula, this
        is 2% too much for shape 10, 9% for shape 2 and 12% for shape 1. What noise adds to the
        square is taken off.
        """
        value, error = self.l_skewness
        square, spread = _square(value, error)
        return Estimate(math.pi * square, math.pi * spread)

    @property
    def tail_nats(self) -> Estimate:
        """About how many nats of KL(best Gaussian ‖ p) heavy or light tails cost.

        An excess kurtosis κ costs κ²/48 to leading order (Comon, 1994), and by Cornish-Fisher
        τ₄ − τ₄(normal) = 5√2 κ/(48π): so 24π²/25 e² for the excess e of
        :attr:`tail_excess`. Heavy tails cost a Gaussian much less than that: divided by
        1 + 25 e it is within 12% of the Student t with 2 or more degrees of freedom.
        For light tails it is within a factor 2 of densities exp(−|x|^b), b ≤ 8.
        """
        excess, error = self.tail_excess
        heavy = max(excess, 0.0)
        square, spread = _square(excess, error)
        factor = 24 * math.pi**2 / 25 / (1 + 25 * heavy)
        return Estimate(factor * square, factor * spread)

    @property
    def tails(self) -> str:
        """``heavy`` or ``light`` where :attr:`tail_excess` says so, else the empty string.

        It must differ from zero by 4 standard errors and by 0.02, which is a Student t with
        about 15 degrees of freedom.
        """
        value, error = self.tail_excess
        if not abs(value) > max(SURE * error, PRACTICAL_EXCESS) or math.isnan(error):
            return ""
        return "heavy" if value > 0 else "light"


def _excess(tau3: float, tau4: float) -> float:
    raw = tau4 - NORMAL_TAU4
    return raw - min(max(raw, 0.0), SKEWED_TAU4 * tau3**2)


def _square(value: float, error: float) -> tuple[float, float]:
    """Return the square of a noisy figure, less what the noise adds but not below 0; its error."""
    square = value**2 - error**2
    return (0.0 if square < 0 else square), 2 * abs(value) * error + error**2


NO_SHAPE = Shape(NO_ESTIMATE, NO_ESTIMATE, NO_ESTIMATE, NO_ESTIMATE, settled=False)


@dataclass(frozen=True, slots=True)
class Funnel:
    """How much the spread of coordinate ``of`` depends on where coordinate ``on`` is.

    ``ratio`` is at least 1: the wider spread over the narrower one, between the upper and the
    lower third of ``on``. ``wide`` says where ``of`` is wide: ``upper`` when that is where
    ``on`` is large, ``lower`` when it is where ``on`` is small. The ratio is NaN where the
    draws cannot be used.
    """

    of: int
    on: int
    ratio: Estimate
    wide: str


def is_funnel(found: Funnel | None, *, limit: float = FUNNEL_RATIO) -> bool:
    """Return whether the ratio of spreads exceeds a limit by four standard errors.

    None and NaN are no evidence of a funnel, and none of its absence either.
    """
    return found is not None and found.ratio.value - SURE * found.ratio.mcse > limit


def marginal_shapes(z: FloatArray, effective: float | FloatArray) -> tuple[Shape, ...]:
    """Return the shape of every coordinate's marginal.

    Errors are those of influence functions (the delta method): their sd over the square root of
    the effective number of draws, or their batch means' if those vary more. L-moments are
    λ_r = ∫ Q(u) P_{r−1}(2u − 1) du (Hosking, 1990), with influence function
    −∫ (1{x ≤ y} − F(y)) P_{r−1}(2 F(y) − 1) dy.

    Parameters
    ----------
    z
        Draws, shape ``(draw, d)``, unconstrained scale, chains one after another.
    effective
        How many independent draws they are worth, one figure or one for each coordinate.

    Returns
    -------
    tuple of Shape
        One for each coordinate; :data:`NO_SHAPE` where its draws cannot be used.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """
    z, worth = _checked(z, effective)
    usable = _usable(z, worth)
    shapes = [NO_SHAPE] * z.shape[1]
    x, worth = _standardised(z[:, usable]), worth[usable]
    if x.size == 0:
        return tuple(shapes)
    squares = x**2
    third, fourth = np.mean(x * squares, axis=0), np.mean(squares**2, axis=0)
    skew = _estimates(third, x * squares - third - 3 * x - 1.5 * third * (squares - 1), worth)
    kurtosis = _estimates(
        fourth - 3, squares**2 - fourth - 4 * third * x - 2 * fourth * (squares - 1), worth
    )
    tau3, tau4 = _l_moments(x, worth)
    noise3 = np.sqrt(np.mean(squares**3, axis=0) / worth) / np.mean(np.abs(x) * squares, axis=0)
    noise4 = np.sqrt(np.mean(squares**4, axis=0) / worth) / fourth
    for k, i in enumerate(np.flatnonzero(usable)):
        light = _excess(tau3[k].value, tau4[k].value) <= SETTLED_EXCESS
        settled = light and bool(noise4[k] <= SETTLED_ERROR)
        known = light and bool(noise3[k] <= SETTLED_ERROR)
        # A sample short of extremes has a low fourth moment and a low error of it as well; by
        # repetitions, three times the relative error makes up for most of it.
        error4 = kurtosis[k].mcse * (1 + 3 * kurtosis[k].mcse / float(fourth[k]))
        shapes[int(i)] = Shape(
            skewness=Estimate(skew[k].value, skew[k].mcse if known else math.inf),
            excess_kurtosis=Estimate(kurtosis[k].value, error4 if settled else math.inf),
            l_skewness=tau3[k],
            l_kurtosis=tau4[k],
            settled=settled,
        )
    return tuple(shapes)


def funnel(z: FloatArray, effective: float | FloatArray) -> Funnel | None:
    """Return the strongest dependence of one coordinate's spread on another coordinate.

    The spread of ``of`` is its mean absolute deviation from a straight line in ``on``, fitted
    in the upper and in the lower third of ``on``: correlation has no effect. Each coordinate is
    made symmetric first, (Q(u) − Q(1 − u))/2, which leaves symmetric ones as they are: else a
    skewed coordinate that depends on another would be wide where it is large. Two modes with
    different shares in the two thirds differ in spread as well, but much less in the shortest
    interval with a quarter of the draws: the ratio is not more than the square of the ratio of
    those lengths.

    Parameters
    ----------
    z
        Draws, shape ``(draw, d)``, unconstrained scale, chains one after another. More than
        4000 are thinned.
    effective
        How many independent draws they are worth, one figure or one for each coordinate.

    Returns
    -------
    Funnel or None
        None for a single coordinate. The ratio is NaN if any coordinate cannot be used.
        It is the largest of d(d − 1), so that a little more than 1 means nothing.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """
    z, worth = _checked(z, effective)
    d = z.shape[1]
    if d < 2:  # noqa: PLR2004 (a pair)
        return None
    if not np.all(_usable(z, worth)):
        return Funnel(0, 1, NO_ESTIMATE, "")
    x = _standardised(z)[:: -(-len(z) // FUNNEL_DRAWS)]
    worth = np.minimum(worth, len(x))
    order = np.argsort(x, axis=0)
    ordered = np.take_along_axis(x, order, axis=0)
    np.put_along_axis(x, order, (ordered - ordered[::-1]) / 2, axis=0)
    logs = np.array([_log_ratios(x, order, on) for on in range(d)])
    strongest = np.argsort(-np.abs(logs), axis=None)[: min(CANDIDATES, d * (d - 1))]
    found = []
    for flat in strongest:
        on, of = (int(i) for i in np.unravel_index(flat, logs.shape))
        found.append(_pair(x, order, of, on, float(min(worth[of], worth[on]))))
    return max(found, key=lambda f: -1.0 if math.isnan(f.ratio.value) else f.ratio.value)


def conditional_sds(covariance: FloatArray) -> FloatArray:
    """Return the sd of each coordinate given all others, 1/√Λᵢᵢ with Λ the inverse covariance.

    These are the sds of the mean-field Gaussian closest to N(·, Σ) in KL(q ‖ p) (Bishop, 2006,
    section 10.1.2).

    Raises
    ------
    ValueError
        If the matrix is not square, not finite, or not positive definite.
    """
    _, diagonal = _log_determinant(covariance)
    return np.asarray(np.sqrt(np.diag(covariance) / diagonal))


def correlation_nats(covariance: FloatArray) -> float:
    """Return the nats that mean-field loses to correlation on a Gaussian with this covariance.

    ½ (Σ ln Λᵢᵢ − ln det Λ) = ½ (Σ ln (R⁻¹)ᵢᵢ + ln det R), with R the correlation matrix: the
    least KL(q ‖ p) of a q with independent coordinates.

    Raises
    ------
    ValueError
        If the matrix is not square, not finite, or not positive definite.
    """
    log_determinant, diagonal = _log_determinant(covariance)
    return max(0.5 * (float(np.sum(np.log(diagonal))) + log_determinant), 0.0)


def correlation_gap(z: FloatArray, effective: float | FloatArray) -> Estimate:
    """Estimate :func:`correlation_nats` from draws, without the bias that noise gives it.

    Chance correlations alone bring d(d − 1)/(4n) nats: the jackknife over 20 blocks of draws
    takes them off again (and what is known of Wishart matrices, the part of higher order), so
    that the estimate can be a little less than zero. The error is that of the influence function
    ½ (xᵀΛx − Σ (Λx)ᵢ²/Λᵢᵢ), with the noise of second order, which is all there is without
    correlation, and the part of higher order.

    Parameters
    ----------
    z
        Draws, shape ``(draw, d)``, unconstrained scale, chains one after another.
    effective
        How many independent draws they are worth, one figure or one for each coordinate.

    Returns
    -------
    Estimate
        In nats. Exactly zero for one coordinate; NaN where a coordinate cannot be used, where
        there are fewer than five independent draws for each coordinate, or where the
        covariance is singular.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """
    z, worth = _checked(z, effective)
    n, d = z.shape
    least = float(np.min(worth))
    if not np.all(_usable(z, worth)) or least < DRAWS_PER_COORDINATE * d:
        return NO_ESTIMATE
    if d == 1:
        return Estimate(0.0, 0.0)
    x = _standardised(z)
    total = x.T @ x
    try:
        value = correlation_nats(total / n)
        left_out = [_without(total, part, n) for part in np.array_split(x, BLOCKS)]
        precision = np.linalg.inv(total / n)
    except (ValueError, np.linalg.LinAlgError):
        return NO_ESTIMATE
    scores = x @ precision
    influence = 0.5 * (np.sum(x * scores, axis=1) - scores**2 @ (1 / np.diag(precision)))
    first = float(_errors(influence[:, None], np.array([least]))[0])
    # ½ Σ r², and what correlations of four errors, 8/n, may be hidden by chance.
    second = (0.5 * math.sqrt(d * (d - 1)) + 2.0) / least
    linear = (BLOCKS - 1) * (float(np.mean(left_out)) - value)
    bias = linear * _curvature(least - 1, d)
    return Estimate(value - bias, math.hypot(first, second, bias - linear))


def _curvature(freedom: float, d: int) -> float:
    """Return the bias of correlation_nats over what the jackknife makes of it, for normal draws.

    A Wishart matrix has E ln det = Σ ψ((ν − i + 1)/2) and its inverse's diagonal 1/χ² with
    ν − d + 1 degrees of freedom: a bias of ½ Σ [ψ((ν − i + 1)/2) − ψ((ν − d + 1)/2)].
    """

    def bias(nu: float) -> float:
        terms = digamma((nu - np.arange(d)) / 2)
        return 0.5 * float(np.sum(terms - terms[-1]))

    whole = bias(freedom)
    return whole / ((BLOCKS - 1) * (bias(freedom * (1 - 1 / BLOCKS)) - whole))


def _without(total: FloatArray, part: FloatArray, n: int) -> float:
    """Return the nats of correlation of centred draws, sum of products given, less a block."""
    rest = n - len(part)
    mean = -np.sum(part, axis=0) / rest
    return correlation_nats((total - part.T @ part) / rest - np.outer(mean, mean))


def _checked(z: FloatArray, effective: float | FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return draws and, for each coordinate, how many independent ones they are worth."""
    z = np.asarray(z, dtype=np.float64)
    if z.ndim != 2 or z.shape[1] == 0:  # noqa: PLR2004 (draws and coordinates)
        raise ValueError(f"z has shape {z.shape}; it must be (draw, d) with d at least 1")
    worth = np.asarray(effective, dtype=np.float64)
    if worth.shape not in {(), (z.shape[1],)}:
        raise ValueError(
            f"effective has shape {worth.shape}; it must be one number or {z.shape[1]}, "
            "one for each coordinate"
        )
    # Antithetic chains know a mean better than independent draws do, but nothing else.
    return z, np.minimum(np.broadcast_to(worth, z.shape[1:]), float(len(z)))


def _usable(z: FloatArray, worth: FloatArray) -> NDArray[np.bool_]:
    """Return which coordinates are finite, vary, and are worth enough independent draws."""
    if len(z) < LEAST_EFFECTIVE:
        return np.zeros(z.shape[1], dtype=bool)
    low, high = np.min(z, axis=0), np.max(z, axis=0)
    with np.errstate(invalid="ignore"):
        varies = high / 2 - low / 2 > CONSTANT * np.maximum(np.abs(low), np.abs(high))
    usable = np.isfinite(low) & np.isfinite(high) & varies & (worth >= LEAST_EFFECTIVE)
    return np.asarray(usable)


def _standardised(z: FloatArray) -> FloatArray:
    """Return draws with mean 0 and sd 1, by way of a range that cannot overflow."""
    low, high = np.min(z, axis=0), np.max(z, axis=0)
    x = (z / 2 - low / 2) / (high / 2 - low / 2)
    x -= np.mean(x, axis=0)
    return np.asarray(x / np.std(x, axis=0))


def _errors(influence: FloatArray, worth: FloatArray) -> FloatArray:
    """Return standard errors of means of influence functions, shape ``(draw, k)``.

    Batch means notice where the effective size, usually that of a mean, flatters fourth powers.
    """
    edges = np.linspace(0, len(influence), BLOCKS + 1).astype(np.intp)
    sizes = np.diff(edges)[:, None]
    means = np.add.reduceat(influence, edges[:-1], axis=0) / sizes
    batch = np.std(means, axis=0, ddof=1) / math.sqrt(BLOCKS)
    return np.asarray(np.maximum(np.std(influence, axis=0) / np.sqrt(worth), batch))


def _estimates(values: FloatArray, influence: FloatArray, worth: FloatArray) -> list[Estimate]:
    errors = _errors(influence, worth)
    return [Estimate(float(v), float(e)) for v, e in zip(values, errors, strict=True)]


def _l_moments(x: FloatArray, worth: FloatArray) -> tuple[list[Estimate], list[Estimate]]:
    """Return τ₃ and τ₄ of each column.

    With spacings s_i of the sorted draws and u = i/n between them, λ_r is the sum of
    −s_i ∫₀ᵘ P_{r−1}(2t − 1) dt, and the influence of a draw the sum of s_i P_{r−1}(2u − 1) over
    the spacings below it, less the mean.
    """
    n = len(x)
    order = np.argsort(x, axis=0)
    spacings = np.diff(np.take_along_axis(x, order, axis=0), axis=0)
    u = np.arange(1, n)[:, None] / n
    weights = (2 * u - 1, 6 * u**2 - 6 * u + 1, 20 * u**3 - 30 * u**2 + 12 * u - 1)
    integrals = (
        u - u**2,
        -2 * u**3 + 3 * u**2 - u,
        -5 * u**4 + 10 * u**3 - 6 * u**2 + u,
    )
    values = [np.sum(spacings * w, axis=0) for w in integrals]
    influences = []
    for weight in weights:
        below = np.zeros_like(x)
        np.cumsum(spacings * weight, axis=0, out=below[1:])
        influences.append(below - np.mean(below, axis=0))
    ratios = []
    for value, influence in zip(values[1:], influences[1:], strict=True):
        ratio = value / values[0]
        by_draw = np.empty_like(x)
        np.put_along_axis(by_draw, order, (influence - ratio * influences[0]) / values[0], axis=0)
        ratios.append(_estimates(ratio, by_draw, worth))
    return ratios[0], ratios[1]


def _residuals(x: FloatArray, rows: NDArray[np.intp], on: int) -> FloatArray:
    """Return some draws' deviations from the straight lines in one coordinate."""
    r = x[rows]
    r -= np.mean(r, axis=0)
    t = r[:, on].copy()
    square = float(t @ t)
    if square > 0:
        r -= np.outer(t, (t @ r) / square)
    return r


def _log_ratios(x: FloatArray, order: NDArray[np.intp], on: int) -> FloatArray:
    """Return ln of upper over lower spread of each coordinate; 0 where it has none."""
    third = len(x) // 3
    spreads = [
        np.mean(np.abs(_residuals(x, rows, on)), axis=0)
        for rows in (order[-third:, on], order[:third, on])
    ]
    varies = np.minimum(*spreads) > ROUNDING
    varies[on] = False
    return np.log(np.where(varies, spreads[0], 1.0)) - np.log(np.where(varies, spreads[1], 1.0))


def _pair(x: FloatArray, order: NDArray[np.intp], of: int, on: int, worth: float) -> Funnel:
    """Return the funnel of one pair, with separate modes allowed for."""
    third = len(x) // 3
    influence = np.zeros(len(x))
    logs, cores = [], []
    for rows, sign in ((order[-third:, on], 1.0), (order[:third, on], -1.0)):
        r = _residuals(x[:, [of, on]], rows, 1)[:, 0]
        spread = float(np.mean(np.abs(r)))
        ordered = np.sort(r)
        quarter = third // 4
        core = float(np.min(ordered[quarter:] - ordered[:-quarter]))
        if not (spread > ROUNDING and core > 0):
            return Funnel(of, on, NO_ESTIMATE, "")
        influence[rows] = sign * (np.abs(r) / spread - 1) * len(x) / third
        logs.append(sign * math.log(spread))
        cores.append(sign * math.log(core))
    log, core = sum(logs), sum(cores)
    wide = "upper" if log > 0 else "lower"
    ratio = math.exp(min(abs(log), max(2 * math.copysign(1.0, log) * core, 0.0)))
    error = float(_errors(influence[:, None], np.array([worth]))[0])
    return Funnel(of, on, Estimate(ratio, ratio * error), wide)


def _log_determinant(covariance: FloatArray) -> tuple[float, FloatArray]:
    """Return ln det R and the diagonal of R⁻¹ of the correlation matrix R."""
    covariance = np.asarray(covariance, dtype=np.float64)
    if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1]:  # noqa: PLR2004
        raise ValueError(f"the covariance has shape {covariance.shape}; it must be square")
    variances = np.diag(covariance)
    if not (np.all(np.isfinite(covariance)) and np.all(variances > 0)):
        raise ValueError("the covariance is not finite with a positive diagonal")
    sd = np.sqrt(variances)
    values, vectors = np.linalg.eigh(covariance / sd / sd[:, None])
    if not values[0] > SINGULAR * values[-1]:
        raise ValueError(
            f"the covariance is singular: its correlation matrix has eigenvalues from "
            f"{values[0]:.3g} to {values[-1]:.3g}; leave out coordinates that others determine"
        )
    return float(np.sum(np.log(values))), np.asarray(vectors**2 @ (1 / values))
