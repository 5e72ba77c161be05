"""The log density and gradient that an algorithm needs, its clock, and what it returns."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness.records import Doubt, FamilyName, FloatArray, Reason, Status, Trace
from harness.records.text import seconds


class Target(Protocol):
    """A log density on the unconstrained scale, nats, up to a constant."""

    @property
    def dimension(self) -> int:
        """The number of unconstrained parameters."""

    def log_density(self, z: FloatArray) -> FloatArray:
        """Return the values, shape ``(point,)``, at points of shape ``(point, dimension)``.

        The value is −inf outside the support and NaN where evaluation fails.
        """

    def log_density_gradient(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return values ``(point,)`` and gradients ``(point, dimension)``; NaN where it fails."""


class TimeLimitError(RuntimeError):
    """A run has used up its seconds."""


class Clock:
    """The seconds since it was made, and the seconds allowed."""

    def __init__(self, limit_s: float = float("inf")) -> None:
        self.limit_s = limit_s
        self._begin = time.perf_counter()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._begin

    @property
    def over(self) -> bool:
        """Whether the limit has passed; for loops that keep what they have so far."""
        return self.elapsed_s > self.limit_s

    def check(self) -> None:
        """Raise :class:`TimeLimitError` if the limit has passed; for code with nothing to keep."""
        if self.over:
            raise TimeLimitError(f"stopped after the time limit of {seconds(self.limit_s)}")


class Counted:
    """A target that counts its points: ``values`` without gradient, ``gradients`` with."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.dimension = target.dimension
        self.values = 0
        self.gradients = 0

    def log_density(self, z: FloatArray) -> FloatArray:
        """See :meth:`Target.log_density`."""
        self.values += len(z)
        return self._target.log_density(z)

    def log_density_gradient(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See :meth:`Target.log_density_gradient`."""
        self.gradients += len(z)
        return self._target.log_density_gradient(z)


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """The result of an algorithm on the unconstrained scale."""

    z: FloatArray | None  # draws, shape (draw, dimension); None if it failed
    log_q: FloatArray | None = None
    """Log density of the approximation at z, shape (draw,), nats; None where it has no density
    (particles, resampled draws)."""
    status: Status = "ok"  # as in harness.records.RunResult
    message: str = ""
    trace: Trace | None = None  # the optimiser's path, kept even if the run ended badly
    diagnostics: Mapping[str, float] = field(default_factory=dict)  # scalars of the run
    words: str = ""  # worth reading, not a number: basins found, stopping rules that fired
    reason: Reason | None = None
    log_p: FloatArray | None = None
    """Log density of the target at z, shape (draw,), nats; None where the fit did not need it."""
    proposal: NDArray[np.intp] | None = None
    """Which weighted proposal each draw is, shape (draw,); None where none was weighted."""
    chains: int = 0
    """The number of Markov chains that the draws are, one after the other; 0: independent draws."""
    stats: Mapping[str, FloatArray] = field(default_factory=dict)
    """Statistics of a sampler, each of shape (chain, draw)."""
    doubts: tuple[Doubt, ...] = ()  # what it doubts itself by, where that is a figure
    family: FamilyName | None = None  # of q, where only its draws tell


def finite_rows(value: FloatArray, gradient: FloatArray) -> NDArray[np.bool_]:
    """Return which points have a finite value and gradient, shape ``(point,)``."""
    return np.asarray(np.isfinite(value) & np.isfinite(gradient).all(axis=1))
