"""What an algorithm needs of a posterior: its log density and the gradient, at many points."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from harness.records import FloatArray, Status, Trace


class Target(Protocol):
    """A log density on the unconstrained scale, nats, up to a constant."""

    @property
    def dimension(self) -> int:
        """The number of unconstrained parameters."""

    def log_density(self, z: FloatArray) -> FloatArray:
        """Return the values, shape ``(point,)``, at points of shape ``(point, dimension)``.

        A point outside the support is −inf; one that cannot be evaluated NaN.
        """

    def log_density_gradient(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return values ``(point,)`` and gradients ``(point, dimension)``.

        The gradient of a point that cannot be evaluated is NaN.
        """


class TimeLimitError(RuntimeError):
    """The seconds a run may take are over."""


class Clock:
    """The seconds since it was made, and whether they are still allowed."""

    def __init__(self, limit_s: float = float("inf")) -> None:
        """Start now."""
        self.limit_s = limit_s
        self._begin = time.perf_counter()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._begin

    @property
    def over(self) -> bool:
        """Whether the limit is reached: a loop that asks can keep what it has."""
        return self.elapsed_s > self.limit_s

    def check(self) -> None:
        """Raise if the limit is reached.

        Raises
        ------
        TimeLimitError
            For code that has nothing to keep.
        """
        if self.over:
            msg = f"stopped after the time limit of {self.limit_s:g} s"
            raise TimeLimitError(msg)


class Counted:
    """A target that counts its points: ``values`` without gradient, ``gradients`` with."""

    def __init__(self, target: Target) -> None:
        """Wrap a target; its dimension is asked for once."""
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
    """What an algorithm found, before anything Stan-like is made of it.

    Attributes
    ----------
    z
        Draws on the unconstrained scale, shape ``(draw, dimension)``; None if it failed.
    log_q
        Log density of the approximation at ``z``, shape ``(draw,)``, nats; None where there
        is none (particles, resampled draws).
    status, message
        As in :class:`~harness.records.RunResult`.
    trace
        The optimiser's path, kept whatever the end.
    diagnostics
        Scalars of the run; ``khat`` and ``weight_ess`` where weights were used.
    words
        What is worth reading but is no number: basins found, stopping rules that fired.
    """

    z: FloatArray | None
    log_q: FloatArray | None = None
    status: Status = "ok"
    message: str = ""
    trace: Trace | None = None
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    words: str = ""


def finite_rows(value: FloatArray, gradient: FloatArray) -> FloatArray:
    """Return which points have a finite value and gradient, shape ``(point,)``, boolean."""
    return np.asarray(np.isfinite(value) & np.isfinite(gradient).all(axis=1))
