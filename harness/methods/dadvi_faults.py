"""What keeps a deterministic fit from being believed, and what is worth reading about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harness.methods.bridged import Problem
from harness.methods.dadvi import DadviOptions
from harness.records import Reason
from harness.records.text import count, estimate, fixed, listed, number, percent, setting
from harness.vi import deterministic
from harness.vi.deterministic import Basin, Optimum

OTHER_MASS = 0.01
"""Estimated mass in other basins from which a Gaussian in one of them is not the posterior."""

NAMED = 3
"""Other basins that a message names."""

SHOWN = 5
"""Parameters of each basin that are written out."""


class Fault(NamedTuple):
    """What keeps a run from being called converged, and a sentence that says it."""

    reason: Reason
    words: str


UNSETTLED = Fault(Reason.NOT_SETTLED, "the optimiser of the ELBO has not converged")


def faults_of(problem: Problem[DadviOptions], optimum: Optimum) -> tuple[Fault, ...]:
    """Return what keeps an optimum from being believed."""
    faults = list(basin_faults(optimum.basins))
    limit = problem.options.error
    if not optimum.settled:
        faults.append(UNSETTLED)
    if not np.isfinite(optimum.errors.mean).all():
        words = f"the error of the optimum is unknown: {deterministic.IMPROPER}"
        faults.append(Fault(Reason.BASE_DRAWS, words))
    elif not optimum.error <= limit:
        faults.append(error_fault(optimum.error, limit, optimum.objective.draws))
    return tuple(faults)


def error_fault(error: float, limit: float, draws: int | None = None) -> Fault:
    """Return the fault of base draws that leave too large an error."""
    those = "the base draws" if draws is None else count(draws, "base draw")
    words = f"{those} leave an error of {number(error)} sd; allowed: {setting(limit)}"
    return Fault(Reason.BASE_DRAWS, words)


def basin_faults(basins: Sequence[Basin]) -> tuple[Fault, ...]:
    """Return the fault of a q that cannot hold the mass of other basins, if there is one."""
    modes = [b for b in basins if b.separate]
    others = modes[1:]
    if not others or 1 - modes[0].mass <= OTHER_MASS:
        return ()
    each = [f"{fixed(b.elbo, 2)} (about {percent(b.mass)} of the mass)" for b in others]
    which = "the other" if len(others) == 1 else "the others"
    words = (
        f"{count(len(others) + 1, 'basin')} found: a Gaussian can hold only one; the best has "
        f"ELBO {fixed(modes[0].elbo, 2)}, {which} {listed(each, NAMED)}"
    )
    return (Fault(Reason.OTHER_BASINS, words),)


def described(problem: Problem[DadviOptions], optimum: Optimum) -> list[str]:
    """Return a line for each basin, and one for steps that were taken back."""
    names = problem.model.unconstrained_names()
    d = len(names)
    lines = []
    if optimum.refused:
        steps = count(optimum.refused, "step")
        lines.append(f"{steps} led to points without a density and were taken back")
    for i, basin in enumerate(optimum.basins, start=1):
        places = zip(names[:SHOWN], basin.theta[:d], np.exp(basin.theta[d:]), strict=False)
        shown = ", ".join(f"{name} {estimate(mean, sd)}" for name, mean, sd in places)
        kind = f"{percent(basin.mass)} of the mass" if basin.separate else "not a mode of its own"
        lines.append(
            f"basin {i}: ELBO {fixed(basin.elbo, 4)}, reached from {count(basin.starts, 'start')}, "
            f"{kind}; mean ± sd, unconstrained: {shown}{', …' if d > SHOWN else ''}"
        )
    return lines
