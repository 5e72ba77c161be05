"""What an ensemble must show before it is believed: each limit with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from harness.records import Reason, Rule


@dataclass(frozen=True, slots=True)
class Check:
    """A figure of the ensemble and its limit, ``rule.close``; the rest of a rule does not apply."""

    id: str  # its name among the figures
    noun: str
    rule: Rule
    reason: Reason
    form: Literal["number", "percent", "integer"] = "number"
    digits: int = 2

    def fine(self, value: float) -> bool:
        """Return whether a value keeps the limit; NaN never does."""
        return value >= self.rule.close if self.rule.at_least else value <= self.rule.close


def _most(limit: float, why: str) -> Rule:
    return Rule(limit, limit, "above", why)


def _least(limit: float, why: str) -> Rule:
    return Rule(limit, limit, "above", why, at_least=True)


CHECKS = (
    Check(
        "other_regions",
        "regions behind a valley where far starts ended and no chain started",
        _most(0, "mass in a region where no chain starts is missing from every draw"),
        Reason.OTHER_BASINS,
        "integer",
    ),
    Check(
        "other_mass",
        "mass of basins that no chain started in, by their ELBOs",
        _most(0.01, "more missing mass than this is more than the limit on missed mass"),
        Reason.OTHER_BASINS,
        "percent",
    ),
    Check(
        "share_error",
        "standard error of a basin's share",
        _most(0.02, "chains do not change shares, and three such errors move a mean by .1 sd"),
        Reason.WEIGHTS,
    ),
    Check(
        "balance",
        "standard errors by which a region's share changed from start to end",
        _most(4, "shares that chains change were wrong at the start"),
        Reason.WEIGHTS,
    ),
    Check(
        "stuck",
        "share of chains that never moved",
        _most(0.002, "chains are stuck where the density is too narrow for the common step"),
        Reason.NOT_MIXED,
        "percent",
    ),
    Check(
        "acceptance",
        "acceptance, in the basin where it is least",
        _least(0.6, "a step adapted to 0.85 that is accepted less often is too long somewhere"),
        Reason.NOT_MIXED,
    ),
    Check(
        "nested_rhat",
        "nested R-hat",
        _most(
            1.01,
            "groups of chains that started side by side must agree with all others; 1.02 let a "
            "wrong ensemble through",
        ),
        Reason.NOT_MIXED,
        digits=4,
    ),
    Check(
        "memory",
        "memory, the rank correlation of a chain's start and end",
        _most(0.3, "chains that remember where they started keep the errors of the starts"),
        Reason.NOT_MIXED,
    ),
    Check(
        "far_rhat",
        "nested R-hat between these chains and those from far starts",
        _most(1.03, "chains from anywhere must end in the same distribution"),
        Reason.NOT_MIXED,
        digits=4,
    ),
    Check(
        "arrived",
        "share of far starts that arrived",
        _least(0.25, "far starts that do not arrive can tell of no other region"),
        Reason.NOT_MIXED,
        "percent",
    ),
    Check(
        "weight_share",
        "effective share of the weights or draws that chains start from",
        _least(0.01, "starts by a few weights are wrong by more than chains can forget"),
        Reason.WEIGHTS,
        "percent",
    ),
    Check(
        "ess",
        "effective draws",
        _least(2000, "with fewer, an error of a tenth of an sd can hide in the noise"),
        Reason.NOT_MIXED,
        "integer",
    ),
    Check(
        "tail_error",
        "standard error of a 5% or 95% quantile, in sds",
        _most(0.1, "heavy tails need more draws, and two such errors are the limit on a tail"),
        Reason.NOT_MIXED,
    ),
)
"""In the order in which doubts are said."""


def doubts(figures: Mapping[str, float]) -> tuple[Check, ...]:
    """Return the checks that an ensemble with these figures fails, missing ones included.

    Without far starts what they would show is not known, and whoever left them out knows it: the
    figures are then absent as a group.
    """
    asked = [c for c in CHECKS if c.id in figures or not (c.id in FAR and FAR.isdisjoint(figures))]
    return tuple(c for c in asked if not c.fine(figures.get(c.id, float("nan"))))


FAR = frozenset({"other_regions", "far_rhat", "arrived"})
"""Checks that need far starts."""
