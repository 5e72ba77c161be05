"""Linear response and Newton steps without forming the Hessian, for many parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.records import FloatArray
from harness.vi.deterministic.elbo import Objective

STEP = 1e-4  # length of the difference, in units (s, 1)

Product = Callable[[FloatArray], FloatArray]

Ended = Literal["solved", "curvature", "iterations"]
"""Why conjugate gradients ended: the residual is small; a direction has no positive curvature, so
the matrix is not positive definite; or the iterations ran out."""


def hessian_product(objective: Objective, theta: FloatArray) -> Product:
    """Return v ↦ H v in ``(mu / s, omega)`` at ``theta``, by central differences."""
    d = objective.dimension
    units = np.ones(2 * d)
    units[:d] = np.exp(theta[d:])

    def product(v: FloatArray) -> FloatArray:
        length = float(np.abs(v).max()) or 1.0
        h = STEP / length
        _, up = objective(theta + h * units * v)
        _, down = objective(theta - h * units * v)
        return np.asarray(units * (up - down) / (2 * h))

    return product


def solve(
    product: Product, b: FloatArray, *, tolerance: float = 1e-3, iterations: int = 200
) -> tuple[FloatArray, Ended]:
    """Solve H x = b by preconditioned conjugate gradients.

    The preconditioner is the inverse Hessian of independent Gaussians, 1 for means and 1/2 for
    log sds. The solution counts as solved if the residual is at most ``tolerance`` of b.
    """
    d = len(b) // 2
    inverse = np.concatenate([np.ones(d), np.full(d, 0.5)])
    x, r = np.zeros_like(b), b.copy()
    p = inverse * r
    size = float(r @ p)
    enough = tolerance**2 * size
    for _ in range(iterations):
        if size <= enough:
            return x, "solved"
        Hp = product(p)
        bend = float(p @ Hp)
        if not bend > 0:
            return x, "curvature"
        step = size / bend
        x, r = x + step * p, r - step * Hp
        old, size = size, float(r @ (inverse * r))
        p = inverse * r + size / old * p
    return x, "solved" if size <= enough else "iterations"


def response_variances(
    objective: Objective, theta: FloatArray, chosen: NDArray[np.int_]
) -> tuple[FloatArray, Ended]:
    """Return linear-response variances of chosen means, in units of s².

    One equation is solved for each index of an unconstrained parameter. The second value is
    ``solved`` if all were solved, else why the last failure ended.
    """
    d = objective.dimension
    product = hessian_product(objective, theta)
    out = np.empty(len(chosen))
    ended: Ended = "solved"
    for i, j in enumerate(chosen):
        unit = np.zeros(2 * d)
        unit[j] = 1.0
        x, why = solve(product, unit)
        out[i] = x[j]
        ended = ended if why == "solved" else why
    return out, ended
