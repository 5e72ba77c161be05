"""A reference's draws on the unconstrained scale, and the shape of the posterior they show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import metrics
from harness.methods.bridged import untransformed
from harness.metrics.influence import LEAST_EFFECTIVE
from harness.metrics.missed_mass import missed_mass
from harness.records import Estimate, Reference
from harness.records.names import stan_name
from harness.records.text import count, number
from harness.stan.unconstrain import MissingParametersError, unconstrained
from harness.vi.deterministic.improper import hard_edges
from harness.vi.gaussian import Gaussian
from harness.why.fits import lost_coordinates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.records import FloatArray
    from harness.stan.density import Density
    from harness.vi.target import Target

DRAWS = 4000
"""Draws of q* from which the mass that it misses is estimated."""

REFERENCE_DRAWS = 4000
"""Draws of a reference that are transformed to the unconstrained scale."""


@dataclass(frozen=True)
class Posterior:
    """A posterior, as a reference's draws show it."""

    z: FloatArray
    """Unconstrained scale, shape ``(n, d)``."""
    effective: float
    """How many independent draws they are worth (effective sample size)."""
    names: tuple[str, ...]
    """Of the unconstrained parameters."""

    @cached_property
    def covariance(self) -> FloatArray:
        """Shape ``(d, d)``."""
        return np.atleast_2d(np.cov(self.z, rowvar=False))

    @cached_property
    def sd(self) -> FloatArray:
        """Shape ``(d,)``."""
        return np.sqrt(np.diag(self.covariance))

    @cached_property
    def shapes(self) -> tuple[metrics.Shape, ...]:
        """One a parameter."""
        return metrics.marginal_shapes(self.z, self.effective)

    @cached_property
    def funnel(self) -> metrics.Funnel | None:
        """The strongest dependence of a spread on another parameter."""
        return metrics.funnel(self.z, self.effective)

    @cached_property
    def _samples(self) -> tuple[metrics.Sample, ...]:
        return tuple(metrics.prepare(column[None], iid=True) for column in self.z.T)

    @cached_property
    def unimodal(self) -> NDArray[np.bool_]:
        """Which marginals are unimodal, shape ``(d,)``."""
        return np.array([s.basins.count <= 1 for s in self._samples])

    def missed(self, q: Gaussian, rng: np.random.Generator) -> tuple[Estimate, int]:
        """Return the largest mass that q misses in one marginal, and the index of that marginal.

        NaN where there are too few draws to show it.
        """
        drawn = q.draw(DRAWS, rng)
        found = [
            missed_mass(metrics.prepare(drawn[None, :, j], iid=True), sample)
            for j, sample in enumerate(self._samples)
        ]
        values = np.array([f.value for f in found])
        if np.isnan(values).all():
            return Estimate(math.nan, math.nan), 0
        worst = int(np.nanargmax(values))
        return found[worst], worst

    @property
    def gaussians(self) -> list[Gaussian]:
        """The Gaussian with these moments; none where the covariance is singular."""
        try:
            factor = np.linalg.cholesky(self.covariance)
        except np.linalg.LinAlgError:
            return []
        return [Gaussian(self.z.mean(axis=0), np.asarray(factor, dtype=np.float64))]


def posterior_of(reference: Reference, model: Density) -> tuple[Posterior | None, tuple[str, ...]]:
    """Return what a reference shows of the posterior, and notes on what it does not.

    None where the reference is not trusted, lacks parameters, or is worth too few draws.
    """
    if reference.draws is None or not reference.trusted:
        why = f"the posterior's shape is unknown: no reference is trusted ({reference.why})"
        return None, (why,)
    if hidden := lost_coordinates(model):
        words = f"draws do not determine the unconstrained {hidden}"
        return None, (f"the posterior's shape is unknown: {words}",)
    draws = reference.draws
    total = draws.values.shape[0] * draws.values.shape[1]
    index = np.linspace(0, total - 1, min(REFERENCE_DRAWS, total)).astype(int)
    try:
        z = unconstrained(model, draws, index.tolist())
    except MissingParametersError as error:
        return None, (f"the posterior's shape is unknown; in the reference, {error}",)
    said: tuple[str, ...] = ()
    good = np.isfinite(z).all(axis=1)
    if not good.all():
        lost = int(np.count_nonzero(~good))
        words = f"{lost} of {count(len(z), 'reference draw')} lie on a bound and were left out"
        said = (words,)
    z = z[good]
    effective = float(len(z))
    if not draws.iid:
        effective = min(effective, _least_ess(draws.values))
    if len(z) < LEAST_EFFECTIVE or not effective >= LEAST_EFFECTIVE:
        words = (
            f"the reference is worth {number(effective, 3)} independent draws, too few to show "
            "the posterior's shape"
        )
        return None, (*said, words)
    return Posterior(z, effective, stan_names(model.unconstrained_names())), said


def stan_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of a density as people write them: ``beta[2]``."""
    return tuple(stan_name(n) for n in names)


def entries(model: Density, z: FloatArray) -> dict[str, FloatArray]:
    """Return a point's constrained entries by parameter; scalars are together under no name."""
    names = stan_names(model.constrained_names(transformed=False))
    found: dict[str, list[float]] = {}
    for name, value in zip(names, model.constrain(z[None], transformed=False)[0][0], strict=True):
        found.setdefault(name.partition("[")[0] if "[" in name else "", []).append(float(value))
    return {name: np.array(values) for name, values in found.items()}


def edges_of(
    model: Density, target: Target, rng: np.random.Generator
) -> tuple[Mapping[str, Any], ...]:
    """Return where the density ends in a parameter that is declared without that bound."""
    names = dict(enumerate(stan_names(model.unconstrained_names())))
    free = untransformed(model)
    found = [e for e in hard_edges(target, rng) if names[e.which] in free]
    return tuple({"of": names[e.which], "side": e.side, "at": e.at} for e in found)


def _least_ess(values: NDArray[np.float64]) -> float:
    """Return the smallest effective sample size over quantities that vary."""
    found = [
        metrics.prepare(values[:, :, i], iid=False).ess_least
        for i, why in enumerate(metrics.unusable(values))
        if why is None
    ]
    return float(np.nanmin(found)) if found else 0.0
