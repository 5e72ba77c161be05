"""What both engines make of a Stan program with its data: a density that methods can call."""

from __future__ import annotations

import enum
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from harness.records import FloatArray


class EngineError(RuntimeError):
    """The Stan program threw, with its message; or it cannot be used, with the reason."""


class Status(enum.IntEnum):
    """How an evaluation ended."""

    OK = 0
    REJECT = 1
    FAILED = 2
    NOT_FINITE = 3


@functools.lru_cache(maxsize=32)
def _shapes(names: tuple[str, ...]) -> dict[str, tuple[int, ...] | None]:
    """Return the shape of each variable; None where its elements have parts of their own."""
    last: dict[str, tuple[int, ...] | None] = {}
    for name in names:
        variable, part, _ = name.partition(":")  # of a tuple
        base, *index = variable.split(".")
        plain = not part and all(i.isdigit() for i in index)  # else of a complex number
        last[base] = tuple(map(int, index)) if plain else None
    return last


def check_parameters(theta: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """Check values by name against the names of the constrained parameters' elements.

    Raises
    ------
    EngineError
        If a parameter is missing or has another shape.
    """
    for name, shape in _shapes(names).items():
        if name not in theta:
            raise EngineError(f"there is no value of the parameter {name}")
        found = np.shape(theta[name])
        if shape is not None and found != shape:
            raise EngineError(f"{name} has shape {found}; the program has {shape}")


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Log densities at several points."""

    value: FloatArray
    """Shape ``(point,)``, nats; −inf where the program rejects, NaN where it fails."""
    gradient: FloatArray | None
    """Shape ``(point, dimension)``, NaN where evaluation fails; None if it was not requested."""
    status: NDArray[np.int32]
    """Shape ``(point,)``, see :class:`Status`."""
    message: str = ""
    """The program's message at the first point that is not OK; empty if there is none."""

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Which points are OK, shape ``(point,)``."""
        return np.asarray(self.status == Status.OK)


class DensityPoint(Protocol):
    """A point for repeated evaluations with buffers of its own; each thread should have one.

    Write the point into the elements of ``z``, call, and read ``gradient``, which every call
    overwrites, with NaN if evaluation failed.
    """

    z: FloatArray
    gradient: FloatArray

    def __call__(self) -> float:
        """Return the log density at ``z``: −inf if the program rejects, NaN if it fails."""
        ...

    @property
    def status(self) -> Status:
        """How the last call ended."""
        ...

    @property
    def ok(self) -> bool:
        """Whether the last call gave a finite value and gradient."""
        ...

    def check(self) -> None:
        """Raise EngineError with the program's message if the last call failed."""
        ...


AT_ONCE = 2**20
"""Numbers in memory at a time, where only some of them are kept."""


def points_at_once(points: int, width: int, *, cut: bool) -> int:
    """Return how many points are written at a time: all, where none of their values are cut."""
    return max(1, AT_ONCE // max(width, 1) if cut else points)


class Density(Protocol):
    """A Stan program with its data: log density with Jacobian, nats, at unconstrained points."""

    @property
    def engine(self) -> Literal["bridge", "embedded"]:
        """Which engine evaluates it."""
        ...

    @property
    def constants(self) -> bool:
        """Whether the density has all constants; otherwise it lacks an unknown one.

        Differences between densities do not depend on it. log Z from a formula does, and so does
        a rule that stops at a relative change of the ELBO.
        """
        ...

    @property
    def dimension(self) -> int:
        """The number of unconstrained parameters."""
        ...

    def unconstrained_names(self) -> tuple[str, ...]:
        """Return the names of the unconstrained parameters in Stan's form, ``beta.2``."""
        ...

    def constrained_names(
        self, *, transformed: bool = False, generated: bool = False
    ) -> tuple[str, ...]:
        """Return the names of the constrained values, in the order of :meth:`constrain`."""
        ...

    def at_point(self) -> DensityPoint:
        """Return a point with its own buffers, the fastest way to single gradients."""
        ...

    def log_density(self, z: ArrayLike) -> Evaluation:
        """Evaluate the log density at points of shape ``(point, dimension)``."""
        ...

    def log_density_gradient(self, z: ArrayLike) -> Evaluation:
        """Evaluate the log density and its gradient at points ``(point, dimension)``."""
        ...

    def value_and_gradient(self, z: ArrayLike) -> tuple[float, FloatArray]:
        """Evaluate at one point of shape ``(dimension,)``; raise EngineError if that fails."""
        ...

    def constrain(
        self,
        z: ArrayLike,
        *,
        transformed: bool = True,
        generated: bool = False,
        seed: int = 1,
        keep: Sequence[int] | None = None,
    ) -> tuple[FloatArray, NDArray[np.int32]]:
        """Return constrained values ``(point, value)`` and each point's status.

        Of the values, those at the places ``keep``, or all; the others of some points are in
        memory at a time.
        """
        ...

    def unconstrain(self, theta: Mapping[str, Any]) -> FloatArray:
        """Return the point ``(dimension,)`` for constrained parameters by name.

        Raises EngineError if a parameter is missing, has another shape, or violates its
        constraint.
        """
        ...

    def messages(self) -> str:
        """Return what the program printed since the last call of this method."""
        ...

    def last_error(self) -> str:
        """Return the message of the first failure in the last call that had one."""
        ...

    def close(self) -> None:
        """Free the program and its data; later calls raise EngineError."""
        ...
