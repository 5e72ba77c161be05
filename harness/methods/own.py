"""A method of the user's own: a function of a target, as a row like those of METHODS."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from harness.methods.bridged import FitError, Problem, on_bridge
from harness.methods.method import DOTTED, Look, Method
from harness.methods.settings import Options
from harness.records import FamilyName, FloatArray
from harness.vi.recover import MOST_UNKNOWNS, SPARE, recover
from harness.vi.target import Fitted, Target, TimeLimitError

OwnFit = Callable[[Target, np.random.Generator, int], FloatArray | tuple[FloatArray, FloatArray]]
"""``fit(target, rng, draws)`` returns draws on the unconstrained scale, shape
``(draws, target.dimension)``, alone or with the log density of q at each, shape ``(draws,)``,
nats. Called again with a larger ``draws`` and the same random numbers where the draws are too few
to decide."""

DENSE = 50
"""The largest number of parameters at which a Gaussian with correlations is looked for."""

AT_ODDS = 5.0
"""Standard errors by which draws and ``log_q`` of a Gaussian may differ in scale."""


def own_method(name: str, fit: OwnFit) -> Method:
    """Return a function as a row. Its runs are never stored in place of a call."""
    return Method(
        name=name,
        title=name,
        what="a method of your own",
        kind="own",
        fit=on_bridge(partial(_fitted, fit)),
        options=Options(),
        look=Look("#5b6770", DOTTED, "<"),
        bridge=True,
    )


class _Timed:
    """A target that ends a run whose seconds are over, as no one else can."""

    def __init__(self, problem: Problem[Options]) -> None:
        self._problem = problem
        self.dimension = problem.target.dimension

    def log_density(self, z: FloatArray) -> FloatArray:
        self._problem.clock.check()
        return self._problem.target.log_density(_points(z, self.dimension))

    def log_density_gradient(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        self._problem.clock.check()
        return self._problem.target.log_density_gradient(_points(z, self.dimension))


def _points(z: FloatArray, dimension: int) -> FloatArray:
    """Return points as the engine takes them; a single one without its axis is refused."""
    points = np.ascontiguousarray(z, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != dimension:  # noqa: PLR2004 - a matrix
        raise ValueError(
            f"points of shape {points.shape}; allowed: (points, {dimension}), so z[None] for one"
        )
    return points


def _fitted(fit: OwnFit, problem: Problem[Options]) -> Fitted:
    """Call the function, and take what it returns if it is what was asked for.

    Raises
    ------
    FitError
        If it raises, or returns something else than finite draws with finite densities.
    TimeLimitError
        If its time is over.
    """
    try:
        # Its own warnings are its own affair: numbers that are not finite are refused below.
        found = fit(_Timed(problem), problem.rng, problem.draws)
    except TimeLimitError:
        raise
    except Exception as error:  # a fit that raises is a result
        raise FitError(f"{type(error).__name__}: {error}") from error
    problem.clock.check()
    z, log_q = found if isinstance(found, tuple) and len(found) == 2 else (found, None)  # noqa: PLR2004
    z = _array("draws", z, (problem.draws, problem.target.dimension))
    if log_q is None:
        return Fitted(z)
    log_q = _array("log_q", log_q, (problem.draws,))
    return Fitted(z, log_q, family=gaussian(z, log_q))


def _array(what: str, given: object, shape: tuple[int, ...]) -> FloatArray:
    """Return finite numbers of a shape, else raise FitError."""
    try:
        array = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise FitError(f"fit returned {what} that are no numbers: {error}") from error
    if array.shape != shape:
        raise FitError(f"fit returned {what} of shape {array.shape}; allowed: {shape}")
    bad = int(np.count_nonzero(~np.isfinite(array)))
    if bad:
        raise FitError(f"fit returned {what} with {bad} of {array.size} values not finite")
    return array


def gaussian(z: FloatArray, log_q: FloatArray) -> FamilyName | None:
    """Return the Gaussian family whose log density ``log_q`` is at draws, None if it is neither.

    ``z`` has shape ``(draw, d)``, unconstrained scale. A constant in ``log_q`` does not matter.

    Raises
    ------
    FitError
        If it is a Gaussian's, but not the one that the draws come from: under q the mean of
        ``(z − μ)' Σ⁻¹ (z − μ)`` is d, with variance 2 d / draws.
    """
    n, d = z.shape
    families: tuple[FamilyName, ...] = ("meanfield", "fullrank") if d <= DENSE else ("meanfield",)
    for family in families:
        unknowns = (d if family == "meanfield" else d * (d + 1) // 2) + d + 1
        few = int(SPARE * unknowns) + 50
        if unknowns > MOST_UNKNOWNS or n < few:
            continue
        some = np.linspace(0, n - 1, few).astype(int)
        found = recover(z[some], log_q[some], family)
        if not found.exact:
            continue
        white = np.linalg.solve(np.linalg.cholesky(found.covariance), (z - found.mean).T)
        size, mcse = float(np.mean((white**2).sum(axis=0))), math.sqrt(2 * d / n)
        if abs(size - d) > AT_ODDS * mcse:
            raise FitError(
                "log_q is a Gaussian's, but not that of the draws: the mean of their squared "
                f"distances is {size:.4g} and should be {d} ± {mcse:.2g} (a factor ½, a scale?)"
            )
        return family
    return None
