"""Callbacks of the loop: what may be watched, and rules that stop.

Each is called with the parameters and :class:`~harness.vi.loop.Info` after every step. The rules
have ``stop=False`` to only watch: ``fired_at`` is then the first iteration at which they would
have stopped.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from harness.records import FloatArray
    from harness.vi.loop import Info

Diff = Literal["relative", "absolute"]
DIFFS: tuple[Diff, Diff] = ("relative", "absolute")

_EPSILON = 1e-6
"""Keeps the relative change finite where a parameter was 0."""


class _Rule:
    """What rules share: firing once, and stopping unless they only watch."""

    def __init__(self, *, stop: bool) -> None:
        self.stop = stop
        self.fired_at: int | None = None

    def _fire(self, iteration: int, words: str) -> None:
        if self.fired_at is None:
            self.fired_at = iteration
        if self.stop:
            raise StopIteration(words)


class CheckParametersConvergence(_Rule):
    """Stop when the variational parameters change little, as PyMC's callback of that name.

    The parameters at the first step are remembered; at every iteration that is a multiple of
    ``every`` they are compared with those remembered, and remembered in turn. With
    ``diff="relative"`` a change is (abs Δ + 1e-6) / (abs previous + 1e-6), with ``"absolute"``
    abs Δ; the rule fires when the norm over all parameters is below ``tolerance``. The parameters
    are the raw ones, means and logs of scales: a mean near 0 makes relative changes large.

    Parameters
    ----------
    order
        Of the norm, as :func:`numpy.linalg.norm` takes it; infinity is the largest change.
    stop
        False to only note when it would have stopped.

    Attributes
    ----------
    fired_at
        The first iteration at which the rule fired, or None.
    norms
        The norm at each comparison, by iteration.
    """

    def __init__(
        self,
        every: int = 100,
        tolerance: float = 1e-3,
        diff: Diff = "relative",
        order: float = math.inf,
        *,
        stop: bool = True,
    ) -> None:
        super().__init__(stop=stop)
        if every < 1 or diff not in DIFFS:
            msg = f"every={every}, diff={diff!r}; allowed: at least 1, 'relative' or 'absolute'"
            raise ValueError(msg)
        self.every, self.tolerance, self.diff, self.order = every, tolerance, diff, order
        self.norms: dict[int, float] = {}
        self._previous: FloatArray | None = None
        self._skipped = False

    def __call__(self, phi: FloatArray, info: Info) -> None:
        """See :class:`~harness.vi.loop.Callback`."""
        # Parameters that stand still because their steps were skipped have not converged.
        self._skipped = self._skipped or info.bad
        if self._previous is None:
            self._previous = phi.copy()
            return
        if info.iteration % self.every:
            return
        if self._skipped:
            self._skipped, self._previous = False, phi.copy()
            return
        change = np.abs(phi - self._previous)
        if self.diff == "relative":
            change = (change + _EPSILON) / (np.abs(self._previous) + _EPSILON)
        norm = float(np.linalg.norm(change, self.order))
        self._previous = phi.copy()
        self.norms[info.iteration] = norm
        if norm < self.tolerance:
            words = f"{self.diff} change of the parameters over {self.every} steps is {norm:.2g}"
            self._fire(
                info.iteration, f"{words}, under {self.tolerance:g}, at iteration {info.iteration}"
            )


class Tracker:
    """Record functions of the parameters: ``Tracker(mean=family.mean, sd=family.sd)``.

    Parameters
    ----------
    every
        Record at multiples of this iteration only.
    functions
        By name: of ``phi``, returning a number or an array of one shape; copied.

    Attributes
    ----------
    iterations
        At which was recorded.
    """

    def __init__(self, *, every: int = 1, **functions: Callable[[FloatArray], Any]) -> None:
        if every < 1:
            msg = f"every={every}; allowed: at least 1"
            raise ValueError(msg)
        self.every = every
        self.iterations: list[int] = []
        self._functions = functions
        self._recorded: dict[str, list[FloatArray]] = {name: [] for name in functions}

    def __call__(self, phi: FloatArray, info: Info) -> None:
        """See :class:`~harness.vi.loop.Callback`."""
        if info.iteration % self.every:
            return
        self.iterations.append(info.iteration)
        for name, function in self._functions.items():
            self._recorded[name].append(np.array(function(phi), dtype=np.float64))

    @property
    def records(self) -> dict[str, FloatArray]:
        """By name, what was recorded so far, shape ``(recorded iteration, *shape)``."""
        return {name: np.array(found) for name, found in self._recorded.items()}

    def __getitem__(self, name: str) -> FloatArray:
        """Return the record of one name."""
        return np.array(self._recorded[name])


class StopWhenSlow(_Rule):
    """Stop when the ELBO no longer gains what its own noise would let one see.

    After each ``window`` of steps the mean m₂ of its ELBO estimates is compared with the mean m₁
    of the window before; v₁ and v₂ are the variances within the windows, bad steps left out. The
    rule fires when ::

        (m₂ − m₁) / √((v₁ + v₂) / 2) < tolerance

    so when a whole window of steps gained less than ``tolerance`` sds of a single estimate. At
    rest the left side has mean 0 and standard error √(2 / window). While q still drifts, the
    drift itself is in v and the left side is up to √12: it cannot be taken for noise.

    A flat ELBO is not a settled q: where the ELBO hardly depends on a parameter, that one may
    still wander.

    Parameters
    ----------
    window
        At least 8 / tolerance², so that two standard errors are no more than the tolerance.

    Raises
    ------
    ValueError
        If the window is too short for the tolerance.

    Attributes
    ----------
    fired_at
        The first iteration at which the rule fired, or None.
    gains
        The left side at each comparison, by iteration.
    """

    def __init__(self, window: int = 1000, tolerance: float = 0.1, *, stop: bool = True) -> None:
        super().__init__(stop=stop)
        if not tolerance > 0 or window * tolerance**2 < 8:  # noqa: PLR2004 - see Parameters
            msg = (
                f"a window of {window} steps cannot show a gain of {tolerance:g} sds of a step; "
                "allowed: window · tolerance² of at least 8"
            )
            raise ValueError(msg)
        self.window, self.tolerance = window, tolerance
        self.gains: dict[int, float] = {}
        self._values: deque[float] = deque(maxlen=2 * window)

    def __call__(self, phi: FloatArray, info: Info) -> None:
        """See :class:`~harness.vi.loop.Callback`."""
        del phi
        self._values.append(math.nan if info.bad else info.elbo)
        if info.iteration % self.window or len(self._values) < 2 * self.window:
            return
        values = np.array(self._values).reshape(2, self.window)
        finite = np.isfinite(values)
        if finite.sum(axis=1).min() < self.window / 2:
            return  # too many bad steps to say anything
        means = np.mean(values, axis=1, where=finite)
        noise = math.sqrt(float(np.var(values, axis=1, where=finite).mean()))
        rise = float(means[1] - means[0])
        gain = rise / noise if noise > 0 else math.copysign(math.inf, rise) if rise else 0.0
        self.gains[info.iteration] = gain
        if gain < self.tolerance:
            self._fire(
                info.iteration,
                f"the ELBO gained {gain:.2g} sds of a step over {self.window} steps, "
                f"under {self.tolerance:g}, at iteration {info.iteration}",
            )


class StopWhenCostly(_Rule):
    """Stop when the steps take too long for the number that is planned: "I was slow, sorry".

    At multiples of ``every`` the seconds so far are extrapolated to ``planned`` steps; the rule
    fires when that is over ``limit_s``. It is the lecture's own callback, with its reason.
    """

    def __init__(self, planned: int, limit_s: float, every: int = 10, *, stop: bool = True) -> None:
        super().__init__(stop=stop)
        self.planned, self.limit_s, self.every = planned, limit_s, every

    def __call__(self, phi: FloatArray, info: Info) -> None:
        """See :class:`~harness.vi.loop.Callback`."""
        del phi
        if info.iteration % self.every:
            return
        needed_s = info.elapsed_s / info.iteration * self.planned
        if needed_s > self.limit_s:
            self._fire(
                info.iteration,
                f"{self.planned} steps would take {needed_s:.3g} s, over {self.limit_s:g} s; "
                f"stopped at iteration {info.iteration}",
            )
