"""Deterministic ADVI as methods: mean-field, linear response, and importance-weighted."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from harness.methods.bridged import on_bridge
from harness.methods.method import DASHED, DOTTED, SOLID, Look, Method
from harness.methods.settings import Options, real, whole, word
from harness.records import FAMILY_NAMES


@dataclass(frozen=True)
class DadviOptions(Options):
    """The options that all four methods share."""

    # The largest error that base draws may leave: of means in posterior sds, and of ln sd.
    error: float = real(0.05, above=0)
    base_draws: int = whole(0, 0, 2**20)  # to begin with; 0: by what a gradient costs
    most_base_draws: int = whole(8192, 1, 2**20)  # where doubling them ends
    starts: int = whole(0, 0, 10**5)  # starting points; 0: by what a gradient costs


@dataclass(frozen=True)
class FamilyOptions(DadviOptions):
    """The options of ``dadvi``."""

    family: str = word("meanfield", FAMILY_NAMES)


@dataclass(frozen=True)
class ResponseOptions(DadviOptions):
    """The options of ``dadvi_lr``."""

    # Predicted seconds of products with the Hessian where there are too many parameters to form it.
    conjugate_s: float = real(30.0)


@dataclass(frozen=True)
class WeightOptions(DadviOptions):
    """The options of ``dadvi_basins``."""

    # At most this many proposals for each draw that is wanted; of few draws, as many as of 10 000.
    proposals: float = real(4.0, above=0)
    # The seconds that 10 000 draws' proposals may take; if they take longer, halves as many.
    weights_s: float = real(10.0)


@dataclass(frozen=True)
class PsisOptions(ResponseOptions, WeightOptions):
    """The options of ``dadvi_psis``."""


# Version 18 ends where the ELBO rises without end, and has a linear response where log p bends at
# points only.
# Version 17, of weighted draws alone, draws more around the Gaussian's shell, and from
# funnels where the first proposals show one.
# Version 16 whitens coordinates sooner, ends starts that lead nowhere sooner, and counts proposals
# by smoothed weights.
# Version 15 counts the eigenvalues that Lanczos' method does not find as their mean.
# Version 13 has linear response in over 600 parameters.
# Version 11 keeps the Hessians of fewer base draws where there come more, and ends Newton's method
# a step sooner.
# Version 10 looks at fewer wide points for other modes.
# Version 9 begins with half the base draws, or fewer, and with fewer of them for the Hessian;
# climbs that are stuck end sooner, and so do proposals whose weights are hopeless.
# Version 8 doubts Gaussians that their own weights move, and says KL and the weights' worth.
# Version 6 follows starts on few base draws, and ends proposals when their weights are enough.
# Version 5 starts far from the best basin too, and doubts a linear response below mean field.
# Version 4 weighs proposals by a density's seconds, delivers all draws and says which are copies.
_row = functools.partial(Method, bridge=True, version=19)

DADVI = _row(
    name="dadvi",
    title="DADVI",
    what="deterministic ADVI: the best Gaussian with independent parameters",
    kind="deterministic",
    fit=on_bridge("dadvi_gaussian:fit_family"),
    options=FamilyOptions(),
    look=Look("#b0307a", SOLID, "p"),
    usual=True,
    other_optimum=(
        "few base draws",
        "it maximises an ELBO that a fixed set of base draws estimates",
    ),
)

DADVI_LR = _row(
    name="dadvi_lr",
    title="DADVI + LR",
    what="deterministic ADVI with the covariance of linear response",
    kind="deterministic",
    fit=on_bridge("dadvi_gaussian:fit_response"),
    options=ResponseOptions(),
    look=Look("#7d1f56", DASHED, "h"),
    usual=True,
    family="fullrank",
    repairable=False,
    other_optimum=(
        "linear response",
        "its covariance is that of linear response, which does not maximise the ELBO",
    ),
)

DADVI_PSIS = _row(
    name="dadvi_psis",
    title="DADVI + PSIS",
    what="draws of dadvi_lr, weighted by Pareto-smoothed importance sampling",
    kind="weighted draws",
    fit=on_bridge("dadvi_weighted:fit_weighted"),
    options=PsisOptions(),
    look=Look("#4f1237", DOTTED, "*"),
    usual=True,
    sized_by=("proposals", "weights_s"),
    repairable=False,
    one_mode="its proposals lie in one mode, and weights cannot put draws where there are none",
)

DADVI_BASINS = _row(
    name="dadvi_basins",
    title="DADVI + basins",
    what="a mixture of one Gaussian for each basin found, its draws weighted",
    kind="weighted draws",
    fit=on_bridge("dadvi_weighted:fit_basins"),
    # More starts than the others take: what none of them finds is missing.
    options=WeightOptions(starts=24),
    look=Look("#7a1fa2", DASHED, "$b$"),
    sized_by=("proposals", "weights_s"),
    repairable=False,
)
