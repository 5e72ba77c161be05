"""Stochastic optimisers that maximise: frozen values with ``init`` and ``step``.

A step changes neither its state nor the gradient, so states can be kept, compared and continued.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np

from harness.records import FloatArray


class Optimiser(Protocol):
    """What the loop needs from an optimiser, whose state nobody else inspects."""

    def init(self, size: int) -> Any:
        """Return the state before the first step, for ``size`` parameters."""

    def step(self, state: Any, gradient: FloatArray) -> tuple[Any, FloatArray]:
        """Return the next state and the update, shape ``(size,)``, to be added."""


class AdamState(NamedTuple):
    """Steps taken, and moving averages of the gradient and of its square."""

    taken: int
    first: FloatArray
    second: FloatArray


@dataclass(frozen=True, slots=True)
class Adam:
    """Adam (Kingma and Ba 2015), with bias correction.

    With ``decay_steps`` the rate falls along half a cosine from ``learning_rate`` to 0 in that
    many steps and stays at 0, so that the last iterate settles.
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
    """The next slot, and the squares of the last gradients, shape ``(window, size)``."""

    slot: int
    squares: FloatArray


@dataclass(frozen=True, slots=True)
class AdagradWindow:
    """Adagrad over a window of gradients: PyMC's default, ``adagrad_window``.

    The update is ``learning_rate · g / √(Σ g² + epsilon)``, summed over the last ``window``
    gradients including the newest. A constant gradient therefore moves a parameter by at most
    ``learning_rate / √window`` a step: 0.0003 with the defaults, or 3 in 10 000 steps.
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
    """The gradient times a rate that shrinks by ``1 − decay`` at every step.

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
"""By the option's value: an optimiser from a learning rate and the planned number of steps."""
