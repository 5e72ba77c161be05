"""q behind a run of a Gaussian family: from its draws and their log q."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from harness.methods import METHODS
from harness.records import FamilyName, RunResult
from harness.stan.bridge import BridgeModel
from harness.vi.gaussian import Gaussian
from harness.vi.recover import SPARE, recover
from harness.why.unconstrained import unconstrained

MOST_DRAWS = 4000
"""Draws that are taken back to the unconstrained scale at most."""

LEAST_DRAWS = 400


class Fit(NamedTuple):
    """A run's q; ``q`` is None where it could not be had, ``words`` then say why."""

    run: RunResult
    family: FamilyName
    q: Gaussian | None
    exact: bool
    words: str
    lost: float
    """Share of its draws that are on no point of the unconstrained scale, or have no density."""
    draws: int = 0
    """How many draws its moments are of, where they are all that is known."""


def family_of(run: RunResult) -> FamilyName | None:
    """Return the Gaussian family of a run, None where its q is no Gaussian."""
    return METHODS[run.spec.method].family_of(run.spec.options)


def fit_of(run: RunResult, model: BridgeModel) -> Fit:
    """Return the Gaussian behind a run's draws.

    Raises
    ------
    ValueError
        If the run has no draws, or is not of a Gaussian family.
    """
    family = family_of(run)
    if family is None or run.draws is None:
        msg = f"{run.spec.method} has no Gaussian to be told from its draws"
        raise ValueError(msg)
    draws, d = run.draws, model.dimension
    total = draws.values.shape[0] * draws.values.shape[1]
    squares = d if family == "meanfield" else d * (d + 1) // 2
    wanted = min(max(int(SPARE * (squares + d + 1)) + 50, LEAST_DRAWS), MOST_DRAWS, total)
    log_q = None if draws.log_q is None else draws.log_q.reshape(-1)
    if log_q is not None and not np.isfinite(log_q).any():
        log_q = None
    lost = 0.0
    if draws.log_p is not None:
        lost = float(np.mean(~np.isfinite(draws.log_p)))
    if log_q is None:
        index = np.linspace(0, total - 1, min(MOST_DRAWS, total)).astype(int)
    else:
        # Those near the middle are the farthest from bounds, where digits are lost.
        usable = np.where(np.isfinite(log_q), log_q, -np.inf)
        index = np.argsort(-usable, kind="stable")[: min(2 * wanted, total)]
    z = unconstrained(model, draws, index.tolist())
    good = np.isfinite(z).all(axis=1)
    if log_q is not None:
        good &= np.isfinite(log_q[index])
    lost = max(lost, 1 - float(good.mean()))
    if int(good.sum()) < d + 2:
        why = "its draws lie on the bounds of the parameters, or are not finite"
        return Fit(run, family, None, exact=False, words=why, lost=lost)
    z = z[good]
    if log_q is None:
        return _by_moments(run, family, z, lost)
    found = recover(z, log_q[index][good], family)
    if not found.exact:
        # Draws chosen by log q have another spread than q: its moments are those of any draws.
        any_index = np.linspace(0, total - 1, min(MOST_DRAWS, total)).astype(int)
        z = unconstrained(model, draws, any_index.tolist())
        fit = _by_moments(run, family, z[np.isfinite(z).all(axis=1)], lost)
        return fit._replace(words=f"{found.words}" if fit.q is not None else fit.words)
    return _checked(run, family, found.mean, found.covariance, lost, exact=True, words="")


def _by_moments(run: RunResult, family: FamilyName, z: np.ndarray, lost: float) -> Fit:
    if len(z) < z.shape[1] + 2:
        why = f"{len(z)} usable draws for {z.shape[1]} parameters"
        return Fit(run, family, None, exact=False, words=why, lost=lost)
    covariance = np.atleast_2d(np.cov(z, rowvar=False))
    if family == "meanfield":
        covariance = np.diag(np.diag(covariance))
    words = f"q's mean and covariance are those of {len(z)} of its draws"
    found = _checked(run, family, z.mean(axis=0), covariance, lost, exact=False, words=words)
    return found._replace(draws=len(z))


def _checked(
    run: RunResult,
    family: FamilyName,
    mean: np.ndarray,
    covariance: np.ndarray,
    lost: float,
    *,
    exact: bool,
    words: str,
) -> Fit:
    if family == "meanfield":
        factor = np.sqrt(np.diag(covariance))
    else:
        try:
            factor = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            why = "q's covariance has no factor: it has collapsed in some direction"
            return Fit(run, family, None, exact=False, words=why, lost=lost)
    q = Gaussian(np.asarray(mean, dtype=np.float64), np.asarray(factor, dtype=np.float64))
    if not q.usable:
        return Fit(run, family, None, exact=False, words="q has collapsed to a point", lost=lost)
    return Fit(run, family, q, exact, words, lost)
