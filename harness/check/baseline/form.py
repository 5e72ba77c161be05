"""What a baseline holds: plain records, with the types that a file must have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, ValidatorFunctionWrapHandler, WrapValidator

from harness.records import Level

SCHEMA = 1

SUMMARIES = ("mean", "sd", "q5", "q50", "q95")
"""What is compared of every quantity."""

Kind = Literal["chains", "independent", "seeds"]
"""What carries the error: autocorrelated draws, independent draws, or the seeds of a method."""


class BaselineError(ValueError):
    """A baseline that cannot be used: the problem, and for the command line what to do."""

    def __init__(self, problem: str, advice: str = "") -> None:
        super().__init__(f"{problem}; {advice}" if advice else problem)
        self.problem = problem


def _or_nan(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    """Read null as NaN, which no check calls the same."""
    return math.nan if value is None else read(value)


_Positive = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False), WrapValidator(_or_nan)]
Size = Annotated[_Positive, WrapValidator(_or_nan)]
"""An error, a spread, a margin or a number of draws: never negative."""
OptionalSize = Annotated[_Positive | None, WrapValidator(_or_nan)]
Count = Annotated[int, Field(strict=True, ge=0)]


@dataclass(frozen=True, slots=True)
class Figure:
    """A summary of one quantity, in its own unit."""

    value: Number
    mcse: Size
    """Standard error; NaN where there is none, and then ``why`` gives the reason."""
    ess: Size
    """Effective sample size: of this summary for chains, else the number of draws."""
    spread: OptionalSize = None
    """Sd of the summary between seeds; None where seeds do not carry the error."""
    margin: OptionalSize = None
    """A wider margin than the check's own, where the error is too large for that: in sds of the
    quantity for locations, as ln of a ratio for the sd."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """How many seeds out of how many."""

    count: Count
    of: Count

    @property
    def value(self) -> float:
        """The share; NaN of nothing."""
        return self.count / self.of if self.of else math.nan

    @property
    def mcse(self) -> float:
        """The binomial error: the sd of Jeffreys' posterior, which is not zero at 0 of 10."""
        a, b = self.count + 0.5, self.of - self.count + 0.5
        return math.sqrt(a * b / (a + b) ** 2 / (a + b + 1))


@dataclass(frozen=True, slots=True)
class MethodBaseline:
    """What a baseline says of one method on one model."""

    kind: Kind
    seeds: tuple[Count, ...]
    draws: Count
    """Of each run."""
    kept: Count
    """How many seeds the ``quantities`` rest on."""
    options: Mapping[str, Any]
    level: Level | None = None
    typical: Level | None = None
    levels: Mapping[Level, Count] = field(default_factory=dict)
    """How many seeds have each level."""
    causes: tuple[str, ...] = ()
    """Ids of causes that hold for every seed."""
    faults: Mapping[str, Count] = field(default_factory=dict)
    """How many seeds are off or wrong by each metric."""
    seed_causes: Mapping[str, Count] = field(default_factory=dict)
    """How many seeds have each cause that depends on the seed."""
    shares: Mapping[str, Share] = field(default_factory=dict)
    """``failed`` (no draws), ``ran_away`` and ``doubted`` (by CmdStan) seeds."""
    no_moments: str = ""
    """Why no moments are worth comparing; empty where ``quantities`` holds them."""
    quantities: Mapping[str, Mapping[str, Figure]] = field(default_factory=dict)
    fingerprints: tuple[str, ...] = ()
    """A hash of every seed's draws, to the last digit; ``"none"`` for a run without any."""

    @property
    def figures(self) -> list[tuple[Figure, str, str]]:
        """Every figure with its summary and its quantity."""
        return [(f, what, name) for name, q in self.quantities.items() for what, f in q.items()]


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a comparison of one model found, and what is needed to repeat it."""

    model: str
    methods: Mapping[str, MethodBaseline]
    reference: Mapping[str, Any] = field(default_factory=dict)
    """``kind`` and ``trusted``."""
    request: Mapping[str, Any] = field(default_factory=dict)
    """What was asked for: ``methods``, ``seeds``, ``reference``, ``quantities`` and ``source``,
    whose files are relative to the baseline's folder."""
    program: Mapping[str, Any] = field(default_factory=dict)
    """``hash`` and ``text`` (lines), so that a check can show what changed."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """``hash``, and ``variables``: size and hash of each."""
    written: Mapping[str, Any] = field(default_factory=dict)
    """``date``, ``command`` and versions."""
