"""Callbacks of the loop: a tracker, and rules that stop.

With ``stop=False`` a rule only watches: ``fired_at`` is the first iteration at which it would
have stopped the run.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from harness.records import FloatArray
from harness.records.text import number, setting
from harness.vi.loop import Info

Diff = Literal["relative", "absolute"]
DIFFS: tuple[Diff, Diff] = ("relative", "absolute")

_EPSILON = 1e-6  # keeps the relative change finite where a parameter was 0


class _Rule:
    """A rule records when it first fired, and stops the run unless it only watches."""

    def __init__(self, *, stop: bool) -> None:
        self.stop = stop
        self.fired_at: int | None = None

    def _judge(self, figure: float, tolerance: float, iteration: int, said: str) -> None:
        if not figure < tolerance:
            return
        if self.fired_at is None:
            self.fired_at = iteration
        if self.stop:
            raise StopIteration(f"{said}, below {setting(tolerance)}, at iteration {iteration}")


class CheckParametersConvergence(_Rule):
    """Stop when the variational parameters change little, like PyMC's callback of that name.

    At every multiple of ``every`` the parameters are compared with those of the comparison
    before, the first time with those of the first step. The rule fires when the norm of the
    changes, |Δ| or with ``diff="relative"`` (|Δ| + 1e-6) / (|previous| + 1e-6), is below
    ``tolerance``. It looks at the raw parameters, means and log scales: a mean near 0 makes
    relative changes large. ``order`` is that of :func:`numpy.linalg.norm`; infinity takes the
    largest change.
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
        self.norms: dict[int, float] = {}  # by iteration, the norm at each comparison
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
        previous, self._previous = self._previous, phi.copy()
        if self._skipped:
            self._skipped = False
            return
        change = np.abs(phi - previous)
        if self.diff == "relative":
            change = (change + _EPSILON) / (np.abs(previous) + _EPSILON)
        norm = float(np.linalg.norm(change, self.order))
        self.norms[info.iteration] = norm
        said = f"{self.diff} change of the parameters over {self.every} steps is {number(norm)}"
        self._judge(norm, self.tolerance, info.iteration, said)


class Tracker:
    """Record functions of the parameters: ``Tracker(mean=family.mean, sd=family.sd)``.

    The functions of ``phi`` return numbers or arrays of constant shape, which are copied at
    every multiple of ``every``.
    """

    def __init__(self, *, every: int = 1, **functions: Callable[[FloatArray], Any]) -> None:
        if every < 1:
            raise ValueError(f"every={every}; allowed: at least 1")
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

    def __getitem__(self, name: str) -> FloatArray:
        """Return the record so far of one name, shape ``(recorded iteration, *shape)``."""
        return np.array(self._recorded[name])


class StopWhenSlow(_Rule):
    """Stop when the ELBO rises less than its noise can show.

    After each ``window`` of steps the mean m₂ of its ELBO estimates is compared with the mean m₁
    of the window before; v₁ and v₂ are the variances within the windows, without bad steps. The
    rule fires when a whole window gained less than ``tolerance`` sds of a single estimate ::

        (m₂ − m₁) / √((v₁ + v₂) / 2) < tolerance

    At the optimum the left side has mean 0 and standard error √(2 / window). While q drifts, the
    drift is part of v too, and the left side is up to √12: drift is not mistaken for noise.

    A level ELBO does not prove that q has converged: a parameter on which the ELBO hardly depends
    may still move.

    Raises
    ------
    ValueError
        If ``window`` is less than 8 / tolerance²: two standard errors would exceed the tolerance.
    """

    def __init__(self, window: int = 1000, tolerance: float = 0.1, *, stop: bool = True) -> None:
        super().__init__(stop=stop)
        if not tolerance > 0 or window * tolerance**2 < 8:  # noqa: PLR2004 - see Raises
            raise ValueError(
                f"a window of {window} steps cannot show a gain of {setting(tolerance)} sds of a "
                "step; allowed: window · tolerance² of at least 8"
            )
        self.window, self.tolerance = window, tolerance
        self.gains: dict[int, float] = {}  # by iteration, the left side at each comparison
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
            return  # too few good steps to decide
        means = np.mean(values, axis=1, where=finite)
        noise = math.sqrt(float(np.var(values, axis=1, where=finite).mean()))
        rise = float(means[1] - means[0])
        gain = rise / noise if noise > 0 else math.copysign(math.inf, rise) if rise else 0.0
        self.gains[info.iteration] = gain
        said = f"the ELBO gained {number(gain)} sds of a step over {self.window} steps"
        self._judge(gain, self.tolerance, info.iteration, said)
