"""Stochastic optimisers as small pure pieces: they climb, for the ELBO is to be large.

Each is a frozen value with ``init(size)`` and ``step(state, gradient)``. A step changes neither
the state it is given nor the gradient, so that a state can be kept, compared and continued.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from harness.records import FloatArray


class Optimiser(Protocol):
    """What the loop needs: a state, and what to add to the parameters.

    The state is whatever the optimiser makes of it; nobody else looks inside.
    """

    def init(self, size: int) -> Any:
        """Return the state before the first step, for ``size`` parameters."""

    def step(self, state: Any, gradient: FloatArray) -> tuple[Any, FloatArray]:
        """Return the next state and the update, shape ``(size,)``, to be added."""


class AdamState(NamedTuple):
    """Steps taken and the moving averages of the gradient and of its square."""

    taken: int
    first: FloatArray
    second: FloatArray


@dataclass(frozen=True, slots=True)
class Adam:
    """Adam (Kingma and Ba 2015), with bias correction.

    With ``decay_steps`` the rate falls as a half cosine from ``learning_rate`` to 0 over that
    many steps and stays there, so that the last iterate settles.
    """

    learning_rate: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    decay_steps: int | None = None

    def init(self, size: int) -> AdamState:
        """See :meth:`Optimiser.init`."""
        return AdamState(0, np.zeros(size), np.zeros(size))

    def rate(self, count: int) -> float:
        """Return the learning rate of the step after ``count`` steps."""
        if self.decay_steps is None:
            return self.learning_rate
        share = min(count / self.decay_steps, 1.0)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * share))

    def step(self, state: AdamState, gradient: FloatArray) -> tuple[AdamState, FloatArray]:
        """See :meth:`Optimiser.step`."""
        count = state.taken + 1
        first = self.beta1 * state.first
        first += (1 - self.beta1) * gradient
        second = self.beta2 * state.second
        second += (1 - self.beta2) * (gradient * gradient)
        update = second / (1 - self.beta2**count)
        np.sqrt(update, out=update)
        update += self.epsilon
        np.divide(first, update, out=update)
        update *= self.rate(state.taken) / (1 - self.beta1**count)
        return AdamState(count, first, second), update


class WindowState(NamedTuple):
    """Which slot comes next, and the squares of the last gradients, ``(window, size)``."""

    slot: int
    squares: FloatArray


@dataclass(frozen=True, slots=True)
class AdagradWindow:
    """Adagrad over the last gradients only: PyMC's default, ``adagrad_window``.

    The update is ``learning_rate · g / √(Σ g² over the last ``window`` gradients + epsilon)``,
    the newest included. A gradient that keeps its sign so moves a parameter by at most
    ``learning_rate / √window`` a step: with the defaults 0.0003, or 3 in 10 000 steps.
    """

    learning_rate: float = 1e-3
    epsilon: float = 0.1
    window: int = 10

    def init(self, size: int) -> WindowState:
        """See :meth:`Optimiser.init`."""
        return WindowState(0, np.zeros((self.window, size)))

    def step(self, state: WindowState, gradient: FloatArray) -> tuple[WindowState, FloatArray]:
        """See :meth:`Optimiser.step`."""
        squares = state.squares.copy()
        np.multiply(gradient, gradient, out=squares[state.slot])
        update = np.add.reduce(squares, axis=0)
        update += self.epsilon
        np.sqrt(update, out=update)
        np.divide(gradient, update, out=update)
        update *= self.learning_rate
        return WindowState((state.slot + 1) % self.window, squares), update


@dataclass(frozen=True, slots=True)
class Sgd:
    """The gradient times a rate that falls by the factor ``1 − decay`` with each step.

    The defaults are those of the lecture's hand-made ADVI.
    """

    learning_rate: float = 5e-4
    decay: float = 5e-5

    def init(self, size: int) -> float:
        """Return the rate of the first step; it does not depend on the size."""
        del size
        return self.learning_rate

    def step(self, state: float, gradient: FloatArray) -> tuple[float, FloatArray]:
        """See :meth:`Optimiser.step`."""
        return state * (1.0 - self.decay), state * gradient


OPTIMISERS: Mapping[str, Callable[[float, int], Optimiser]] = MappingProxyType(
    {
        "adam": lambda rate, _: Adam(rate),
        "adam_cosine": lambda rate, steps: Adam(rate, decay_steps=steps),
        "adagrad_window": lambda rate, _: AdagradWindow(rate),
        "sgd": lambda rate, _: Sgd(rate, decay=0.0),
        "sgd_decay": lambda rate, _: Sgd(rate),
    }
)
"""How an option's name, a learning rate and a planned number of steps become an optimiser."""
