"""The draws of one scalar, prepared once and compared many times."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.metrics.effective import (
    effective_sizes,
    local_worth,
    of_halves,
    rhat_of_scores,
    split,
    waves,
)
from harness.metrics.modes import Basins, find_basins
from harness.metrics.threads import cached
from harness.ranks import normal_scores, ordered_scores
from harness.records import FloatArray

SD_PER_WIDTH = 1.0 / (2 * 1.6448536269514722)
"""The sd of a normal distribution whose 5-95% width is 1."""

OUTLIER_SDS = 50.0
"""Draws count at most this many robust sds from the median in the error of a mean."""

CONSTANT = 1e-12
"""A range below this share of the largest value is rounding, not variation."""

AMPLE_ESS = 400
"""With a larger effective size, a mean that is still poorly known is so because of its tails."""

MEAN_ERROR = 0.1
"""A mean whose standard error is a larger share of the unit cannot judge."""

NO_VARIANCE = 0.5
"""From this tail index on the variance is infinite, so that no standard error of a mean holds."""

Kind = Literal["continuous", "heavy", "discrete", "constant"]
"""What a quantity is in the reference, and so which metrics judge it.

``constant`` quantities have one value, ``discrete`` ones few; ``heavy`` ones have tails so heavy
that their mean is unknown even from ample draws; all others are ``continuous``.
"""

QUANTILES = {"q5": 0.05, "q50": 0.5, "q95": 0.95}

MARKS = (0.05, 0.5, 0.95)
"""Joint metrics put draws on the scale of their draws at these probabilities."""

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Probabilities of the quantiles whose effective sizes stand for the whole distribution."""

FEWEST_PER_LEVEL = 20
"""A quantity whose values occur more often than that on average takes few values."""

_ARRAYS = ("order", "sorted", "finite_sorted", "_squares", "_levels", "scores", "far_scores")
"""What a sample keeps of the size of its draws."""


def weighted_size(series: FloatArray, copies: FloatArray) -> float:
    """Return the effective sample size for the mean of resampled draws, both ``(draw,)``.

    A proposal of weight w is drawn about n w times, so that the mean's variance Σ w² (f − f̄)² over
    the proposals is Σ copies (f − f̄)² / n² over the draws. That includes the noise of resampling.
    """
    deviations = (series - np.mean(series)) ** 2
    clustered = float(np.sum(copies * deviations))
    n = float(series.size)
    return n * float(np.sum(deviations)) / clustered if clustered > 0 else n


def effective_size(series: FloatArray) -> float:
    """Return the effective sample size for the mean of Markov chains, shape ``(chain, draw)``.

    NaN with fewer than four draws or one that is not finite; the number of draws if none differ.
    """
    return float(effective_sizes(series))


class Sample:
    """Draws of one scalar, with everything that comparisons need computed at most once."""

    def __init__(self, values: FloatArray, *, iid: bool, copies: FloatArray | None = None) -> None:
        """Take draws, shape ``(chain, draw)``; if not ``iid``, errors use effective sizes.

        ``copies`` says how many draws are copies of the same proposal, if some are.
        """
        self._values: FloatArray | None = np.asarray(values, dtype=np.float64)
        self._again: Callable[[], FloatArray] | None = None
        self.iid = iid
        self.copies = copies
        self.n = values.size

    @property
    def values(self) -> FloatArray:
        """The draws, shape ``(chain, draw)``."""
        if self._values is None:
            if self._again is None:
                raise ValueError("the draws of a sample were released and cannot be read again")
            self._values = self._again()
        return self._values

    @property
    def released(self) -> bool:
        """Whether the draws have to be read again."""
        return self._values is None

    def release(self, again: Callable[[], FloatArray]) -> None:
        """Let go of all arrays and keep the figures; ``again`` reads the draws if need be."""
        self.settle()
        self._values, self._again = None, again
        for name in _ARRAYS:
            self.__dict__.pop(name, None)

    def settle(self) -> None:
        """Compute the figures that need the draws and are asked for later."""
        _ = self.kind, self.mean_se, self.basins, self.marks

    def restore(self, values: FloatArray) -> None:
        """Take the draws again that :meth:`release` let go of."""
        self._values = values

    def have_sorted(self, ordered: FloatArray, order: NDArray[np.intp] | None) -> None:
        """Take the draws in ascending order, which many samples are put in together."""
        self.__dict__["sorted"] = ordered
        if order is not None:
            self.__dict__["order"] = order

    @cached
    def order(self) -> NDArray[np.intp]:
        """The places of the draws in ascending order, shape ``(n,)``."""
        return np.argsort(self.values, axis=None)

    @cached
    def sorted(self) -> FloatArray:
        """All draws in ascending order, shape ``(n,)``."""
        return np.sort(self.values, axis=None)

    @cached
    def finite(self) -> bool:
        """Whether there are draws and all are finite; if not, moments and quantiles are NaN."""
        # NaN is the last of sorted numbers.
        return self.n > 0 and bool(np.all(np.isfinite(self.sorted[[0, -1]])))

    @cached
    def finite_sorted(self) -> FloatArray:
        """The finite draws in ascending order."""
        return self.sorted if self.finite else self.sorted[np.isfinite(self.sorted)]

    @cached
    def marks(self) -> tuple[float, ...]:
        """The draws at :data:`MARKS`, not interpolated."""
        if self.n == 0:
            return (math.nan,) * len(MARKS)
        return tuple(self.sorted[[int(p * (self.n - 1)) for p in MARKS]].tolist())

    @cached
    def _moments(self) -> tuple[float, float]:
        """Mean and sd, on a scale on which the squares of 1e300 do not overflow."""
        if not self.finite:
            return math.nan, math.nan
        with np.errstate(over="ignore", invalid="ignore"):
            centre = float(self.sorted[self.n // 2])
            scale = max(float(self.sorted[-1]) - centre, centre - float(self.sorted[0]))
            if scale == 0.0:
                return centre, 0.0
            if not math.isfinite(scale):
                return math.inf, math.inf
            u = (self.values - centre) / scale
            sd = float(np.std(u, ddof=1)) * scale if self.n > 1 else math.nan
            return centre + float(np.mean(u)) * scale, sd

    @property
    def mean(self) -> float:
        """The mean of the draws."""
        return self._moments[0]

    @property
    def sd(self) -> float:
        """The standard deviation of the draws."""
        return self._moments[1]

    @cached
    def constant(self) -> bool:
        """Whether the draws differ by rounding only."""
        if not self.finite:
            return False
        low, high = float(self.sorted[0]), float(self.sorted[-1])
        return high / 2 - low / 2 <= CONSTANT * max(abs(low), abs(high))

    def effective(self, series: FloatArray) -> float:
        """Return the effective sample size for the mean of a function of the draws."""
        if not self.iid:
            return effective_size(series)
        return float(self.n) if self.copies is None else weighted_size(series, self.copies)

    @cached
    def _sizes(self) -> tuple[float, ...]:
        """Effective sizes of the mean, of the variance and of the shares below ``LEVELS``."""
        shares = [self.values <= self.quantile(p) for p in LEVELS]
        series = (self.values, self._squares, *shares)
        if self.iid:
            return tuple(self.effective(np.asarray(x, dtype=np.float64)) for x in series)
        return tuple(effective_sizes(np.stack(series, dtype=np.float64)).tolist())

    @property
    def _independent(self) -> bool:
        return self.iid and self.copies is None

    @cached
    def ess_mean(self) -> float:
        """Effective sample size of the mean."""
        return float(self.n) if self._independent else self._sizes[0]

    @cached
    def _squares(self) -> FloatArray:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return np.asarray(((self.values - self.mean) / self.sd) ** 2)

    @cached
    def _squares_sd(self) -> float:
        return float(np.std(self._squares))

    @cached
    def ess_sd(self) -> float:
        """Effective sample size of the variance."""
        if self._independent or self.sd == 0:
            return self.ess_mean
        return self._sizes[1]

    def ess_quantile(self, p: float) -> float:
        """Effective sample size of the share of draws under the p-quantile, p of ``LEVELS``."""
        return float(self.n) if self._independent else self._sizes[2 + LEVELS.index(p)]

    @cached
    def ess_overall(self) -> float:
        """Effective sample size over the whole distribution: the harmonic mean of several."""
        if self._independent:
            return float(self.n)
        parts = [self.ess_quantile(p) for p in LEVELS]
        return len(parts) / sum(1 / p for p in parts)

    @cached
    def ess_least(self) -> float:
        """The smallest of the effective sample sizes: a safe choice for any function."""
        # NumPy's minimum, unlike Python's, keeps a NaN.
        return float(np.min([self.ess_mean, self.ess_sd, self.ess_overall]))

    @cached
    def _levels(self) -> tuple[FloatArray, FloatArray] | None:
        """Values and mid-distribution probabilities of a quantity that takes few values."""
        if np.count_nonzero(np.diff(self.sorted)) >= self.n / FEWEST_PER_LEVEL:
            return None
        value, count = np.unique(self.sorted, return_counts=True)
        share = count / self.n
        return value, np.cumsum(share) - share / 2

    @cached
    def kind(self) -> Kind:
        """What the quantity is; see :data:`Kind`."""
        if self.constant:
            return "constant"
        if self.finite and self._levels is not None:
            return "discrete"
        if not self.finite or not self.ess_mean >= AMPLE_ESS:
            return "continuous"
        unknown = self.mean_mcse > MEAN_ERROR * self.unit or self._tail_index > NO_VARIANCE
        return "heavy" if unknown else "continuous"

    @property
    def _tail_index(self) -> float:
        """Hill's estimate of the tail index, from the √n draws farthest from the median."""
        k = int(math.sqrt(self.n))
        # They are among the lowest and the highest as many.
        ends = np.concatenate([self.sorted[: k + 1], self.sorted[-k - 1 :]])
        far = np.sort(np.abs(ends - self.quantiles["q50"]))[-k - 1 :]
        return float(np.mean(np.log(far[1:] / far[0]))) if far[0] > 0 else math.inf

    def quantile(self, p: float) -> float:
        """Return the p-quantile.

        For a discrete quantity, this is the quantile of the mid-distribution function: it moves
        steadily with the probabilities, so that it has a standard error. The usual quantile jumps
        from one value to the next.
        """
        if not self.finite:
            return math.nan
        p = min(max(p, 0.0), 1.0)
        if self._levels is not None:
            return float(np.interp(p, self._levels[1], self._levels[0]))
        at = p * (self.n - 1)
        low = min(int(at), self.n - 1)
        high = min(low + 1, self.n - 1)
        below, above = float(self.sorted[low]), float(self.sorted[high])
        # Rounding of a weighted mean of equal values could give widths under zero.
        return below if below == above else below * (low + 1 - at) + above * (at - low)

    def below(self, x: float) -> float:
        """Return the share of draws below x plus half of those at x: the inverse of quantile."""
        if not self.finite:
            return math.nan
        if self._levels is not None:
            return float(np.interp(x, self._levels[0], self._levels[1], left=0.0, right=1.0))
        under, upto = (int(np.searchsorted(self.sorted, x, side)) for side in ("left", "right"))
        return (under + upto) / 2 / self.n

    @cached
    def quantiles(self) -> dict[str, float]:
        """The 5%, 50% and 95% quantiles by name."""
        return {name: self.quantile(p) for name, p in QUANTILES.items()}

    @cached
    def sparsity(self) -> dict[str, float]:
        """The quantile function's slope (one over the density) at each named quantile.

        From the quantiles 0.3 p on either side, or two standard errors if that is more. If the
        function is much steeper within three standard errors (in a valley between two modes), that
        slope counts: the quantile may lie on either side of the valley.
        """
        out = {}
        for name, p in QUANTILES.items():
            if math.isnan(self.ess_quantiles[name]):
                out[name] = math.nan
                continue
            step = math.sqrt(p * (1 - p) / max(self.ess_quantiles[name], 1.0))
            usual = self._slope(p, max(0.3 * min(p, 1 - p), 2 * step))
            steep = max(self._slope(p, k * step) for k in (1, 2, 3))
            out[name] = usual if steep <= 2 * usual else steep
        return out

    def _slope(self, p: float, reach: float) -> float:
        low, high = max(p - reach, 0.0), min(p + reach, 1.0)
        with np.errstate(over="ignore"):
            return float(np.subtract(self.quantile(high), self.quantile(low))) / (high - low)

    @cached
    def ess_quantiles(self) -> dict[str, float]:
        """Effective sample sizes of the named quantiles."""
        return {name: self.ess_quantile(p) for name, p in QUANTILES.items()}

    def quantile_mcse(self, name: str) -> float:
        """Return the standard error of a named quantile: sqrt(p (1 − p) / ess) / density."""
        p = QUANTILES[name]
        return self.sparsity[name] * math.sqrt(p * (1 - p) / self.ess_quantiles[name])

    @cached
    def mean_mcse(self) -> float:
        """The standard error of the mean, sd / sqrt(ess)."""
        return self.sd / math.sqrt(self.ess_mean)

    @cached
    def sd_mcse(self) -> float:
        """The standard error of the sd, from the spread of the squares."""
        return self.sd * self.log_sd_mcse

    @cached
    def log_sd_mcse(self) -> float:
        """The standard error of ln sd: half the relative error of the variance."""
        if self.sd == 0:
            return 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            return self._squares_sd / 2 / math.sqrt(self.ess_sd)

    @cached
    def width(self) -> float:
        """The 5-95% width."""
        with np.errstate(over="ignore"):
            return float(np.subtract(self.quantiles["q95"], self.quantiles["q5"]))

    @cached
    def log_width_mcse(self) -> float:
        """The standard error of ln(5-95% width), with both quantiles' joint error.

        The width's influence function is the slope of the quantile function times the indicator
        of each tail. The tails exclude each other, so their covariance is −0.05².
        """
        if self.width == 0:
            return 0.0
        low = self.sparsity["q5"] / self.width
        high = self.sparsity["q95"] / self.width
        p = QUANTILES["q5"]
        variance = p * (1 - p) * (low**2 + high**2) - 2 * p**2 * low * high
        return math.sqrt(variance / (self.n if self._independent else self._width_worth))

    @cached
    def _width_worth(self) -> float:
        """The effective size of the width's influence function, but for its unit."""
        low, high = self.sparsity["q5"], self.sparsity["q95"]
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            low, high = low / self.width, high / self.width
        influence = low * (self.values <= self.quantiles["q5"]) + high * (
            self.values > self.quantiles["q95"]
        )
        return self.effective(influence)

    @cached
    def robust_scale(self) -> float:
        """The sd of a normal distribution of this 5-95% width; the sd if the width is zero."""
        return self.width * SD_PER_WIDTH or self.sd

    @cached
    def unit(self) -> float:
        """σ, in which distances are given: the sd, or the robust scale where tails stretch it."""
        return min(self.sd, self.robust_scale)

    @cached
    def reach(self) -> float:
        """How far from their centre values are clipped in the variances of standard errors."""
        return OUTLIER_SDS * self.robust_scale

    def bounded(self, series: FloatArray, centre: float) -> FloatArray:
        """Clip values to 50 robust sds of the draws around a centre.

        Only for the variances of standard errors. One draw of 10 000 that lies 300 sds out moves
        the mean by 0.03 sd but would double its standard error and leave it undecided.
        """
        return np.clip(series, centre - self.reach, centre + self.reach)

    @cached
    def mean_se(self) -> float:
        """The standard error of the mean for comparisons: see :meth:`bounded`."""
        scale = self.robust_scale
        if scale == 0:
            return 0.0
        reach = self.reach
        centre = self.quantiles["q50"]
        if self.sorted[0] >= centre - reach and self.sorted[-1] <= centre + reach:
            return self.mean_mcse
        sd = float(np.std(self.bounded(self.values, centre) / scale, ddof=1)) * scale
        return sd / math.sqrt(self.ess_mean)

    @cached
    def scores(self) -> FloatArray:
        """Normal scores of the ranks, each chain cut in halves: ``(2 · chain, draw // 2)``."""
        if self.values.shape[-1] % 2 == 0:
            scores = ordered_scores(self.values.ravel(), self.order)
            return split(scores.reshape(self.values.shape))
        halves = split(self.values)  # without the middle draws, which would have ranks
        return normal_scores(halves.reshape(-1, 1)).reshape(halves.shape)

    @cached
    def far_scores(self) -> FloatArray:
        """Normal scores of the distances from the median, cut as :attr:`scores`."""
        halves = split(self.values)
        with np.errstate(over="ignore", invalid="ignore"):
            folded = np.abs(halves - np.median(halves)).reshape(-1, 1)
        return normal_scores(folded).reshape(halves.shape)

    @cached
    def rhats(self) -> tuple[float, float]:
        """The split R-hat of the ranks and that of the ranks of distances from the median."""
        with np.errstate(divide="ignore", invalid="ignore"):
            one, two = (float(rhat_of_scores(z)) for z in (self.scores, self.far_scores))
        return one, two

    @cached
    def bulk_worth(self) -> float:
        """The effective sample size of the ranks' normal scores."""
        return float(of_halves(self.scores[None])[0])

    @property
    def _lowest_ranks(self) -> NDArray[np.intp]:
        """How many draws are smaller than each, ``(chain, draw)``."""
        ascending = self.values.ravel()[self.order]
        first = np.arange(self.n)
        first[1:][ascending[1:] == ascending[:-1]] = 0
        found = np.empty(self.n, dtype=np.intp)
        found[self.order] = np.maximum.accumulate(first)
        return found.reshape(self.values.shape)

    @cached
    def basins(self) -> Basins:
        """The modes of the draws' density.

        The noise of a density estimate is local, so the effective size is that of a function that
        varies quickly with the ranks. The effective size for the mean of two chains stuck in two
        modes is a few draws, which would show no modes.
        """
        return find_basins(self.finite_sorted, self._local_worth)

    @cached
    def _local_worth(self) -> float:
        if self.iid:
            return self.n * (1.0 if self.copies is None else float(np.mean(1 / self.copies)))
        if not self.finite:
            return float(self.n)
        return float(local_worth(waves(self.n)[self._lowest_ranks], self.n))


def prepare(values: FloatArray, *, iid: bool, copies: FloatArray | None = None) -> Sample:
    """Prepare the draws of one scalar, shape ``(chain, draw)``, for comparisons."""
    return Sample(values, iid=iid, copies=copies)
