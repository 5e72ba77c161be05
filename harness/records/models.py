"""A Stan program with its data, and the claims a figure can confirm or refute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence of the lecture that a figure of the comparison can confirm or refute."""

    text: str
    source: str
    figure: Mapping[str, Any]
    """Names it: ``{"method": …, "quantity": …, "metric": …, "over": …}``; ``over``, how seeds are
    summarised: ``mean``, ``median``, ``worst``, ``best``, ``spread`` or ``share``. With ``beside``,
    a method, seconds are divided by that method's mean in the same comparison: machines differ."""
    expect: Mapping[str, float]
    """One of the keys ``at_most``, ``at_least`` or ``near`` (with ``within``, an absolute
    tolerance beside the figure's own error)."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """A claim with what was measured. ``holds`` is None where it could not be measured."""

    model: str
    claim: str
    source: str
    expected: str
    measured: float
    error: float
    holds: bool | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Model:
    """A Stan program with its data and what to look at."""

    name: str
    title: str
    stan_file: Path
    """An empty path where draws are judged without their program."""
    data_file: Path | None
    """JSON that CmdStan reads; large simulated data are generated into the cache."""
    source: str = ""
    lesson: str = ""
    quantities: tuple[str, ...] = ()
    """Base names to compare (``"x"`` stands for ``x[1]``, …); empty means all."""
    generated: bool = True
    """Whether generated quantities are computed and compared."""
    reference: str | None = None
    """Name of an exact sampler in :mod:`harness.models.exact`, or None: NUTS."""
    claims: tuple[Claim, ...] = ()
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Per method: ``{"meanfield": {"seeds": 3, "draws": 4000, "skip": "why"}}``."""
    limits: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Changed limits: ``{"bias": {"close": 0.05, "wrong": 0.25}}``."""
    batch: Mapping[str, Any] | None = None
    """How the data split by rows, for minibatch methods: ``rows``, the variables to split,
    ``size``, the one that holds their number, ``scale``, the one by which the program multiplies
    its likelihood. None where they do not split."""
    methods: tuple[str, ...] = ()
    """Methods to run on this model beside the usual ones."""
    draws_file: Path | None = None
    """Draws that came with it and serve as a supplied reference, unless another one is chosen."""
    notes: tuple[str, ...] = ()
    """What was noticed when it was read."""

    @property
    def has_program(self) -> bool:
        """Whether its program is known."""
        return self.stan_file != Path()


@dataclass(frozen=True, slots=True)
class Program:
    """A Stan program as the runs need it: plain paths and versions."""

    stan_file: Path
    versions: Mapping[str, str]
    executable: Path | None = None
    """CmdStan's; None where there is no CmdStan, or it has not been built yet."""
    cmdstan: Path | None = None
    library: Path | None = None
    """The program behind the bridge's interface, where a method needs it."""
    library_error: str = ""
    """Why there is no library, in the compiler's words."""
    embedded: bool = False
    """Whether the embedded engine makes the density."""
    embedded_error: str = ""
    """Why it does not, in the engine's words."""
    constants: bool = False
    """Whether the embedded density has all constants; the bridge's always has."""
    updated: Path | None = None
    """The program in today's syntax, where the embedded engine needs that."""
    generated: bool = True
    """Whether its runs compute generated quantities; without, they are not even compiled."""

    @property
    def embedded_file(self) -> Path:
        """The program as the embedded engine reads it."""
        return self.updated or self.stan_file
