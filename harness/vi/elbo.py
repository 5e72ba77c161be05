"""ELBOs of several Gaussians on common random numbers, for precise differences.

Draws are ``z = mean + L eps`` with the same ``eps`` for all Gaussians. The estimate is the mean of
``log p(z) − log q(z)``, which does not vary where q is the posterior (Roeder, Wu and Duvenaud
2017, *Sticking the landing*). Base draws are antithetic Sobol normals in independently scrambled
blocks, and the spread between blocks gives the error. Regression removes what a quadratic in
``eps`` explains, because its expectation is known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.records import NO_ESTIMATE, Estimate, FloatArray
from harness.vi.gaussian import Gaussian
from harness.vi.sobol import antithetic_normals
from harness.vi.target import Clock, Target

BLOCKS = 16  # the smallest number of scrambles of an estimate
PER_FEATURE = 20  # draws for each control variate
MOST_CONTROLLED = 50  # the largest dimension in which control variates are worth their memory
MOST_BLOCKS = 512


@dataclass(frozen=True, slots=True)
class Elbo:
    """An ELBO, nats, with its error."""

    value: Estimate  # −∞ if some draws have no density
    below: Estimate  # how far it lies below the first Gaussian's, on the same base draws
    lost: float  # the share of draws without a density
    draws: int


def elbos(
    target: Target,
    gaussians: Sequence[Gaussian],
    rng: np.random.Generator,
    clock: Clock,
    *,
    error: float = 0.01,
    share: float = 0.01,
    size: int = 64,
    most: int = 1 << 16,
    level: bool = True,
) -> tuple[Elbo, ...]:
    """Estimate the ELBO of each Gaussian, and how far it lies below that of the first.

    The number of blocks of ``size`` draws, a power of two, is doubled until the standard error of
    ``below`` (of ``value`` for the first Gaussian, if its ``level`` matters) is at most ``error``
    nats or ``share`` of the difference, or until ``most`` draws are used.

    Raises
    ------
    harness.vi.target.TimeLimitError
        If the clock runs out before there are ``BLOCKS`` blocks.
    """
    d = target.dimension
    terms: list[list[FloatArray]] = [[] for _ in gaussians]
    used: list[list[FloatArray]] = [[] for _ in gaussians]
    wanted = BLOCKS
    open_ = list(range(len(gaussians)))
    found: dict[int, Elbo] = {}
    made = 0
    while True:
        while made < wanted:
            if made < BLOCKS:
                clock.check()
            elif clock.over:
                return _together(found)
            eps = antithetic_normals(d, size, rng)
            made += 1
            for k in open_:
                q = gaussians[k]
                log_q = -0.5 * np.einsum("nd,nd->n", eps, eps) - (q.entropy - 0.5 * q.dimension)
                terms[k].append(np.asarray(target.log_density(q.transform(eps)) - log_q))
                used[k].append(eps)
        for k in open_:
            if found and clock.over:
                if len(found) < len(gaussians):
                    clock.check()
                return _together(found)
            found[k] = _elbo(terms[0], terms[k], used[k])
        asked = open_ if level else [k for k in open_ if k]
        still = [k for k in asked if not _enough(found[k], error, share, first=k == 0)]
        if not still or 2 * wanted * size > most or wanted >= MOST_BLOCKS:
            return _together(found)
        # All others are compared with the first, so it needs every block.
        open_ = sorted({0, *still})
        wanted *= 2


def _together(found: Mapping[int, Elbo]) -> tuple[Elbo, ...]:
    """Return all estimates; differences are unknown if the first turned out to have no ELBO."""
    first = found[0]
    if first.lost == 0:
        return tuple(found.values())
    return tuple(e if e.lost else replace(e, below=NO_ESTIMATE) for e in found.values())


def _elbo(
    first: Sequence[FloatArray], own: Sequence[FloatArray], eps: Sequence[FloatArray]
) -> Elbo:
    """Summarise blocks, with as many of the first Gaussian's blocks as there are own ones."""
    values = np.concatenate(own)
    lost = float(np.mean(~np.isfinite(values)))
    draws = len(values)
    if lost == 0 and not math.isfinite(float(values.sum())):
        lost = 1 / draws  # values so extreme that their sum overflows
    if lost > 0:
        nothing = Estimate(-math.inf, math.nan)
        return Elbo(nothing, Estimate(math.inf, math.nan), lost, draws)
    others = np.concatenate(first[: len(own)])
    known = bool(np.isfinite(others).all())
    both = np.stack([values, others - values if known else np.zeros(draws)], axis=1)
    value, below = _estimates(both, _features(np.concatenate(eps)), len(own))
    return Elbo(value, below if known else NO_ESTIMATE, lost, draws)


def _features(eps: FloatArray) -> FloatArray | None:
    """Return functions of eps with expectation zero, ``(n, features)``, or None.

    These are all products of two coordinates if there are enough draws, else only the squares.
    Odd functions already have mean zero, because the draws are in antithetic pairs.
    """
    n, d = eps.shape
    if d > MOST_CONTROLLED or n < PER_FEATURE * (d + 1):
        return None
    rows, columns = np.diag_indices(d)
    if n >= PER_FEATURE * (d * (d + 1) // 2 + 1):
        rows, columns = np.tril_indices(d)
    return np.asarray(eps[:, rows] * eps[:, columns] - (rows == columns))


def _estimates(values: FloatArray, features: FloatArray | None, count: int) -> list[Estimate]:
    """Return the means of columns, less what features explain, with errors between blocks."""
    if features is not None:
        centred = features - features.mean(axis=0)
        # The features are nearly orthogonal, so the quick normal equations lose nothing.
        slopes = np.linalg.solve(centred.T @ centred, centred.T @ (values - values.mean(axis=0)))
        values = values - features @ slopes
    blocks = values.reshape(count, -1, values.shape[1]).mean(axis=1)
    errors = np.std(blocks, axis=0, ddof=1) / math.sqrt(count)
    return [Estimate(float(m), float(e)) for m, e in zip(blocks.mean(axis=0), errors, strict=True)]


def _enough(found: Elbo, error: float, share: float, *, first: bool) -> bool:
    what = found.value if first else found.below
    if not math.isfinite(what.value):
        return True
    # The level of an ELBO is no scale, because it contains the data's constants.
    scale = 0.0 if first else share * abs(what.value)
    return what.mcse <= max(error, scale)
