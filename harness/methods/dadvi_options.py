"""The options of :mod:`harness.methods.dadvi`."""

from __future__ import annotations

from dataclasses import dataclass

from harness.methods.settings import Options, real, whole, word
from harness.records import FAMILY_NAMES


@dataclass(frozen=True)
class DadviOptions(Options):
    """The options that all four methods share.

    Attributes
    ----------
    error
        The largest error that base draws may leave: of means in posterior sds, and of ln sd.
    base_draws, starts
        Base draws to begin with, and starting points; 0: by what a gradient costs.
    most_base_draws
        Where doubling the base draws ends.
    """

    error: float = real(0.05, above=0)
    base_draws: int = whole(0, 0)
    most_base_draws: int = whole(8192, 1)
    starts: int = whole(0, 0)


@dataclass(frozen=True)
class FamilyOptions(DadviOptions):
    """The options of ``dadvi``: with the Gaussian family."""

    family: str = word("meanfield", FAMILY_NAMES)


@dataclass(frozen=True)
class ResponseOptions(DadviOptions):
    """The options of ``dadvi_lr``.

    ``conjugate_s`` are the seconds of conjugate gradients where there are too many parameters
    for a Hessian.
    """

    conjugate_s: float = real(30.0)


@dataclass(frozen=True)
class WeightOptions(DadviOptions):
    """The options of ``dadvi_basins``.

    ``proposals`` are drawn for each draw that is wanted, as far as weighing them takes no more
    than ``weights_s`` seconds.
    """

    proposals: float = real(4.0, above=0)
    weights_s: float = real(4.0)


@dataclass(frozen=True)
class PsisOptions(ResponseOptions, WeightOptions):
    """The options of ``dadvi_psis``."""
