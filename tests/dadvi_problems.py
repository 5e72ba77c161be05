"""Densities and problems that tests of deterministic ADVI share."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy import special
from targets import Density

from harness.methods.bridged import Expected
from harness.methods.method import Method
from harness.records import FloatArray
from harness.vi import deterministic
from harness.vi.deterministic import (
    Optimum,
    Settings,
)
from harness.vi.target import Clock, Target


def hierarchy(groups: int = 8, rows: int = 20) -> Density:
    """Return a logistic regression with non-centred group intercepts: (mu, ln tau, slope, e)."""
    rng = np.random.default_rng(8)
    group = np.repeat(np.arange(groups), rows)
    x = rng.normal(size=groups * rows)
    truth = 0.5 + 0.8 * rng.normal(size=groups)[group] - x
    y = (rng.random(groups * rows) < special.expit(truth)).astype(np.float64)
    member = np.eye(groups)[group]

    def density(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        mu, log_tau, slope, e = z[:, 0], z[:, 1], z[:, 2], z[:, 3:]
        tau = np.exp(log_tau)
        eta = mu[:, None] + tau[:, None] * e[:, group] + slope[:, None] * x
        value = (y * eta - np.logaddexp(0, eta)).sum(axis=1)
        rest = y - special.expit(eta)
        by_group = rest @ member
        # mu, slope ~ N(0, 2); tau ~ half-normal(1), with the Jacobian of its logarithm.
        value = value - (mu**2 + slope**2) / 8 - tau**2 / 2 + log_tau - 0.5 * (e**2).sum(axis=1)
        gradient = np.column_stack(
            (
                rest.sum(axis=1) - mu / 4,
                tau * (by_group * e).sum(axis=1) - tau**2 + 1,
                rest @ x - slope / 4,
                tau[:, None] * by_group - e,
            )
        )
        return value, gradient

    return Density(3 + groups, density)


def autoregression(rows: int = 200) -> Density:
    """Return an AR(2) with a level: flat priors on (level, phi1, phi2, ln sigma)."""
    rng = np.random.default_rng(9)
    y = np.zeros(rows)
    for t in range(2, rows):
        y[t] = 0.3 + 0.6 * y[t - 1] - 0.2 * y[t - 2] + 0.5 * rng.normal()
    X = np.column_stack([np.ones(rows - 2), y[1:-1], y[:-2]])

    def density(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        rest = y[2:] - z[:, :3] @ X.T
        precision = np.exp(-2 * z[:, 3])
        squares = precision * np.sum(rest**2, axis=1)
        value = -0.5 * squares - (rows - 2) * z[:, 3]
        return value, np.column_stack([precision[:, None] * (rest @ X), squares - (rows - 2)])

    return Density(4, density)


def fitted(target: Target, seed: int = 1, **settings: float) -> Optimum:
    """Fit with linear response."""
    rng = np.random.default_rng(seed)
    return deterministic.fit(target, rng, Clock(120), Settings(**settings))  # type: ignore[arg-type]


class _Names:
    """A model that only has names."""

    engine = "NumPy"

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension

    def unconstrained_names(self) -> list[str]:
        return [f"x.{i}" for i in range(1, self.dimension + 1)]

    def constrained_names(self, *, transformed: bool) -> list[str]:
        del transformed
        return self.unconstrained_names()

    def constrain(self, z: FloatArray, *, transformed: bool) -> tuple[FloatArray, None]:
        del transformed
        return z, None


def problem(
    target: Target, method: Method, seed: int = 1, draws: int = 1000, **options: Any
) -> Any:
    """Return the parts of a problem that the methods' fits read."""
    return SimpleNamespace(
        target=target,
        model=_Names(target.dimension),
        expected=Expected(1e-6, 1e-6),
        draws=draws,
        rng=np.random.default_rng(seed),
        clock=Clock(60),
        options=SimpleNamespace(**{**method.defaults, **options}),
    )
