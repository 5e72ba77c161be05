"""q behind a run of a Gaussian family: from its draws and their log q."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.methods import METHODS
from harness.records import FAMILY_NAMES, FamilyName, RunResult
from harness.records.names import stan_name
from harness.records.text import count, listed
from harness.stan.density import Density
from harness.stan.unconstrain import unconstrained, undetermined
from harness.vi.gaussian import Gaussian
from harness.vi.recover import SPARE, recover

if TYPE_CHECKING:
    from harness.records import FloatArray

MOST_DRAWS = 4000
"""At most this many draws are transformed to the unconstrained scale."""

LEAST_DRAWS = 400


class Fit(NamedTuple):
    """A run's q; where ``q`` is None it is unknown, and ``words`` say why."""

    run: RunResult
    family: FamilyName
    q: Gaussian | None
    exact: bool
    words: str
    lost: float
    """Share of its draws that are no point of the unconstrained scale, or have no density."""
    draws: int = 0
    """How many draws its moments come from, where nothing else is known."""
    collapsed: bool = False
    """Whether it has no width in some direction: its ELBO is −∞."""


def family_of(run: RunResult) -> FamilyName | None:
    """Return the Gaussian family of a run; None where its q is not Gaussian."""
    row = METHODS.get(run.spec.method)
    if row is not None:
        return row.family_of(run.spec.options)
    return next((f for f in FAMILY_NAMES if f == run.spec.options.get("family")), None)


def fit_of(run: RunResult, model: Density) -> Fit:
    """Return the Gaussian behind a run's draws.

    Raises
    ------
    ValueError
        If the run has no draws, or is not of a Gaussian family.
    """
    family = family_of(run)
    if family is None or run.draws is None:
        raise ValueError(f"{run.spec.method} has no draws of a Gaussian")
    draws, d = run.draws, model.dimension
    total = draws.values.shape[0] * draws.values.shape[1]
    squares = d if family == "meanfield" else d * (d + 1) // 2
    wanted = min(max(int(SPARE * (squares + d + 1)) + 50, LEAST_DRAWS), MOST_DRAWS, total)
    spread = np.linspace(0, total - 1, min(MOST_DRAWS, total)).astype(int)
    log_q = None if draws.log_q is None else draws.log_q.reshape(-1)
    if log_q is not None and not np.isfinite(log_q).any():
        log_q = None
    index = spread
    if log_q is not None:
        # Draws near the middle are far from bounds, where digits are lost.
        usable = np.where(np.isfinite(log_q), log_q, -np.inf)
        index = np.argsort(-usable, kind="stable")[: min(2 * wanted, total)]
    z = unconstrained(model, draws, index.tolist())
    good = np.isfinite(z).all(axis=1)
    if log_q is not None:
        good &= np.isfinite(log_q[index])
    lost = 0.0 if draws.log_p is None else float(np.mean(~np.isfinite(draws.log_p)))
    fit = Fit(run, family, None, exact=False, words="", lost=max(lost, 1 - float(good.mean())))
    if int(good.sum()) < d + 2:
        why = "its draws lie on the bounds of the parameters, or are not finite"
        return fit._replace(words=why)
    words = ""
    if log_q is not None:
        found = recover(z[good], log_q[index][good], family)
        if found.exact:
            return _with_q(fit._replace(exact=True), found.mean, found.covariance)
        words = found.words
        # Draws chosen by log q are less spread than q: take any draws for the moments.
        z = unconstrained(model, draws, spread.tolist())
        good = np.isfinite(z).all(axis=1)
    z = z[good]
    if len(z) < d + 2:
        return fit._replace(words=f"{count(len(z), 'usable draw')} for {count(d, 'parameter')}")
    covariance = np.atleast_2d(np.cov(z, rowvar=False))
    words = words or f"q's mean and covariance are estimated from {count(len(z), 'draw')}"
    return _with_q(fit._replace(words=words, draws=len(z)), z.mean(axis=0), covariance)


def _with_q(fit: Fit, mean: FloatArray, covariance: FloatArray) -> Fit:
    """Return the fit with its q, or with the words why there is none."""
    factor = np.sqrt(np.diag(covariance))
    if fit.family == "fullrank":
        try:
            factor = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            why = "q's covariance is singular: q has collapsed in some direction"
            return fit._replace(exact=False, words=why, collapsed=True)
    q = Gaussian(np.asarray(mean, dtype=np.float64), np.asarray(factor, dtype=np.float64))
    if not q.usable:
        if not (np.isfinite(q.mean).all() and np.isfinite(q.factor).all()):
            return fit._replace(exact=False, words="q is not finite")
        return fit._replace(exact=False, words="q has collapsed to a point", collapsed=True)
    return fit._replace(q=q)


def lost_coordinates(model: Density) -> str:
    """Name the unconstrained parameters that draws do not determine, such as unit vectors'.

    A point must come back from the constrained scale. Empty where all do.
    """
    lost = np.flatnonzero(undetermined(model))
    found = [stan_name(model.unconstrained_names()[int(j)]) for j in lost]
    why = "the radius of a unit_vector is in none of them"
    return f"{listed(found, 4)}, because {why}" if found else ""
