"""Gaussians by score matching: batch and match, with any covariance or a low-rank one."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from harness.methods.bridged import on_bridge
from harness.methods.method import DASHED, SOLID, Look, Method
from harness.methods.settings import Options, real, whole


@dataclass(frozen=True)
class MatchOptions(Options):
    """The options of both methods, as in :class:`harness.vi.batch_and_match.Settings`."""

    # Draws of the first iterations; more where there are more parameters.
    batch: int = whole(32, 2, 2**16)
    most_batch: int = whole(4096, 16, 2**20)  # where the growth of batches, and of a check, ends
    iterations: int = whole(1000, 1)  # at most
    # The largest change at a check that ends the fit, of means in sds and of log sds.
    tolerance: float = real(0.05, above=0)


@dataclass(frozen=True)
class LowRankOptions(MatchOptions):
    """The options of ``lowrank``."""

    rank: int = whole(10, 0, 1000)  # factors beside the diagonal


# Version 2 checks twice in a row, and averages where the factors give any covariance.
_row = functools.partial(Method, kind="score matching", bridge=True, family="fullrank", version=3)

LOWRANK = _row(
    name="lowrank",
    title="low rank",
    what="score matching: a Gaussian with ten factors beside independent parameters",
    fit=on_bridge("score_matching_fit:fit_low_rank"),
    options=LowRankOptions(),
    narrower=True,
    look=Look("#2f7d4f", SOLID, "$r$"),
    other_optimum=(
        "other objective",
        "it matches scores, with a limited number of factors; neither maximises the ELBO",
    ),
)

BAM = _row(
    name="bam",
    title="batch and match",
    what="score matching: a Gaussian with any covariance, up to 300 parameters",
    fit=on_bridge("score_matching_fit:fit_full_rank"),
    options=MatchOptions(),
    look=Look("#1f5a38", DASHED, "$m$"),
    other_optimum=(
        "other objective",
        "it matches scores, which does not maximise the ELBO",
    ),
)
