"""Estimators of the ELBO's gradient at a given q, and their variances.

With L = E_q[log p(z) − log q(z)] the *reparameterised* gradient differentiates log p along
z = mu + sigma eps; the *score-function* gradient needs only log p (Ranganath, Gerrish and Blei
2014, equation 2):

    ∇L = E_q[∇ log q(z) · (log p(z) − log q(z))].

It is unbiased; control variates and Rao–Blackwellisation reduce its variance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from harness.records import FloatArray
from harness.vi.families import Family, MeanField
from harness.vi.target import Target

Estimator = Callable[[MeanField, FloatArray, FloatArray, Target], tuple[FloatArray, FloatArray]]
"""From family, phi, base draws and target to log p and gradients, per draw."""

_ENOUGH = 10  # draws that the coefficient of a control variate needs at least


def reparameterised(
    family: MeanField, phi: FloatArray, eps: FloatArray, target: Target
) -> tuple[FloatArray, FloatArray]:
    """Return log p, and the gradient of log p(mu + sigma eps) plus entropy, per draw.

    ``eps`` are standard normal base draws, shape ``(draw, dimension)``. log p has shape
    ``(draw,)``, and gradients with respect to ``phi`` have shape ``(draw, size)``.
    """
    log_p, slope = target.log_density_gradient(family.transform(phi, eps))
    return log_p, np.concatenate([slope, slope * eps * family.sd(phi) + 1.0], axis=1)


def score(
    family: MeanField, phi: FloatArray, eps: FloatArray, target: Target
) -> tuple[FloatArray, FloatArray]:
    """Return log p and ∇ log q · (log p − log q) per draw, as :func:`reparameterised` does."""
    score, log_p, log_q = _scored(family, phi, eps, target)
    return log_p, np.asarray(score * (log_p - log_q.sum(axis=1))[:, None])


def score_rao_blackwell(
    family: MeanField, phi: FloatArray, eps: FloatArray, target: Target
) -> tuple[FloatArray, FloatArray]:
    """Return log p and ∇ log qᵢ · (log p − log qᵢ) for the parameters of each factor qᵢ, per draw.

    Ranganath et al. also drop the terms of log p that do not depend on zᵢ. A Stan program returns
    log p as one number, so all of it stays and only the other factors' log qⱼ are integrated out:
    E[∇ log qᵢ · log qⱼ] = 0. No theorem says that this reduces the variance. Where q is close to
    p, the whole log q cancels more of log p than a single factor does.
    """
    score, log_p, log_q = _scored(family, phi, eps, target)
    return log_p, np.asarray(score * np.tile(log_p[:, None] - log_q, (1, 2)))


def score_control(
    family: MeanField, phi: FloatArray, eps: FloatArray, target: Target
) -> tuple[FloatArray, FloatArray]:
    """Return log p and the :func:`score` gradient less a · ∇ log q, per draw.

    The score h has mean zero, and a = Cov(f, h) / Var(h), one for each parameter, minimises the
    variance (Ranganath et al. 2014, equation 9). Estimating a from the *other* draws of the call
    keeps the gradient unbiased.

    Raises
    ------
    ValueError
        If there are fewer than ten draws.
    """
    log_p, gradient = score(family, phi, eps, target)
    return log_p, _controlled(gradient, _scores(family, phi, eps))


def score_both(
    family: MeanField, phi: FloatArray, eps: FloatArray, target: Target
) -> tuple[FloatArray, FloatArray]:
    """Return :func:`score_rao_blackwell` with the control variate of :func:`score_control`."""
    log_p, gradient = score_rao_blackwell(family, phi, eps, target)
    return log_p, _controlled(gradient, _scores(family, phi, eps))


ESTIMATORS: Mapping[str, Estimator] = MappingProxyType(
    {
        "reparameterised": reparameterised,
        "score": score,
        "score_control": score_control,
        "score_rao_blackwell": score_rao_blackwell,
        "score_both": score_both,
    }
)
"""The estimators by the option's value."""


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """Mean and variance of a one-draw gradient, each of shape ``(size,)``.

    The standard error of the variance is √((m₄ − m₂²) / n), with m₄ the fourth moment.
    """

    mean: FloatArray
    variance: FloatArray
    variance_error: FloatArray


def variances(
    target: Target, family: MeanField, phi: FloatArray, rng: np.random.Generator, n: int
) -> dict[str, Spread]:
    """Return the spread of every estimator's one-draw gradient at one q, by name.

    All estimators use the same ``n`` draws, so that ratios of variances are precise.

    Raises
    ------
    ValueError
        If ``n`` is less than ten.
    """
    eps = rng.standard_normal((n, family.dimension))
    found = {}
    for name, estimator in ESTIMATORS.items():
        _, gradient = estimator(family, phi, eps, target)
        mean = gradient.mean(axis=0)
        second = np.mean((gradient - mean) ** 2, axis=0)
        fourth = np.mean((gradient - mean) ** 4, axis=0)
        error = np.sqrt(np.maximum(fourth - second**2, 0) / n)
        found[name] = Spread(mean, second * n / (n - 1), error)
    return found


def total_variance(spread: Spread, sd: FloatArray) -> tuple[float, float]:
    """Return the variance summed over all parameters, and a bound on its standard error.

    Gradients with respect to means are multiplied by q's ``sd``, shape ``(dimension,)``, and so
    have no unit, like those with respect to log sds. All errors come from the same draws and are
    added as if fully correlated.
    """
    weight = np.concatenate([sd**2, np.ones(len(sd))])
    return float(weight @ spread.variance), float(weight @ spread.variance_error)


@dataclass(frozen=True, slots=True)
class ScoreObjective:
    """An estimator as the loop's objective; all but ``reparameterised`` need only log p.

    The ELBO estimate is the mean of log p − log q over the same draws.
    """

    estimator: str = "score_both"
    draws: int = 100

    def __call__(
        self, family: Family, phi: FloatArray, target: Target, rng: np.random.Generator
    ) -> tuple[float, FloatArray]:
        """See :class:`harness.vi.loop.Objective`."""
        assert isinstance(family, MeanField)  # noqa: S101 - its factors are what is used here
        eps = rng.standard_normal((self.draws, family.dimension))
        log_p, gradient = ESTIMATORS[self.estimator](family, phi, eps, target)
        ratio = log_p - family.log_density(phi, family.transform(phi, eps))
        return float(ratio.mean()), gradient.mean(axis=0)


def _scores(family: MeanField, phi: FloatArray, eps: FloatArray) -> FloatArray:
    """Return ∇ log q, ``[eps / sigma, eps² − 1]``, shape ``(draw, size)``."""
    return np.concatenate([eps / family.sd(phi), eps**2 - 1], axis=1)


def _scored(
    family: MeanField, phi: FloatArray, eps: FloatArray, target: Target
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return scores, log p ``(draw,)`` and the factors' log qᵢ ``(draw, dimension)``."""
    log_p = target.log_density(family.transform(phi, eps))
    log_q = -0.5 * eps**2 - np.log(family.sd(phi)) - 0.5 * math.log(2 * math.pi)
    return _scores(family, phi, eps), log_p, log_q


def _controlled(f: FloatArray, h: FloatArray) -> FloatArray:
    """Return f − a h with a = Cov(f, h) / Var(h) from all draws but the one it is applied to."""
    n = len(f)
    if n < _ENOUGH:
        raise ValueError(f"{n} draws; a control variate's coefficient needs {_ENOUGH} or more")
    # The sums without draw s are those of all draws less its own term.
    rest = n - 1
    mean_f, mean_h = (f.sum(axis=0) - f) / rest, (h.sum(axis=0) - h) / rest
    product = ((f * h).sum(axis=0) - f * h) / rest - mean_f * mean_h
    square = ((h**2).sum(axis=0) - h**2) / rest - mean_h**2
    return np.asarray(f - product / square * h)
