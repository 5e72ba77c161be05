"""Gaussians fitted by score matching: batch and match, with or without a patch.

Cai, Modi, Pillaud-Vivien, Margossian, Gower, Blei and Saul 2024, *Batch and match: black-box
variational inference with a score-based divergence* (ICML). A batch of B draws z of q = N(μ, Σ) and
their scores g = ∇log p(z) have means z̄, ḡ and covariances C, Γ. The next q minimises

    D(q; p) + (2/λ) KL(q_t ‖ q),    D(q; p) = E ‖∇log q − ∇log p‖²_Σ,

with D estimated on the batch, and that minimum is in closed form::

    U = λ Γ + λ/(1+λ) ḡ ḡᵀ
    V = Σ + λ C + λ/(1+λ) (μ − z̄)(μ − z̄)ᵀ
    Σ ← the solution of Σ U Σ + Σ = V
    μ ← μ/(1+λ) + λ/(1+λ) (Σ ḡ + z̄)

With V = L Lᵀ, Σ = 2 L (I + (I + 4 Lᵀ U L)^½)⁻¹ Lᵀ: positive definite by construction. A Gaussian
posterior is a fixed point whatever the batch, so it is met up to rounding.

Modi, Cai and Saul 2025, *Batch, match, and patch* (AISTATS), keep Σ low-rank plus diagonal: with
U = Q Qᵀ, Q of shape (d, B + 1), the same solution is

    S = V − V Q (½ I + (Qᵀ V Q + ¼ I)^½)⁻² Qᵀ V,

which is never formed but multiplied, and :func:`harness.vi.low_rank.patched` projects it.

Where p is no Gaussian the fixed point is E[Σ g] = 0 and Cov(Σ g) = Σ. The mean's condition is
that of the ELBO. The covariance's is not: by Cauchy and Schwarz Cov(Lᵀ g) ≥ I at the best ELBO, and
score matching is mostly the narrower of the two.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from scipy import linalg

from harness.records import FloatArray
from harness.vi.gaussian import Gaussian
from harness.vi.low_rank import LowRank, patched

Q = TypeVar("Q", Gaussian, LowRank)


class UpdateError(ArithmeticError):
    """A batch from which no update follows."""


def match(q: Gaussian, z: FloatArray, g: FloatArray, rate: float) -> Gaussian:
    """Return the full-rank Gaussian of one update; see the module.

    Draws ``z`` and scores ``g`` have shape ``(draw, d)``; ``rate`` is λ.

    Raises
    ------
    numpy.linalg.LinAlgError, UpdateError
        If numbers overflow.
    """
    X, G, off = _centred(q.mean, z, g, rate)
    root = _finite(np.concatenate([q.factor.T, X, off[None]]))
    L = _triangle(root)
    scores = _finite(G @ L)
    eigenvalues, vectors = np.linalg.eigh(scores.T @ scores)
    shrunk = np.sqrt(2 / (1 + np.sqrt(1 + 4 * np.maximum(eigenvalues, 0))))
    factor = _triangle((L @ (vectors * shrunk)).T)
    factor = factor * np.where(np.diag(factor) < 0, -1.0, 1.0)
    share = rate / (1 + rate)
    step = factor @ (factor.T @ g.mean(axis=0))
    return Gaussian(q.mean / (1 + rate) + share * (step + z.mean(axis=0)), factor)


def match_and_patch(
    q: LowRank, z: FloatArray, g: FloatArray, rate: float, steps: int | None = None
) -> LowRank:
    """Return the low-rank Gaussian of one update and its patch; see :func:`match`.

    ``steps`` is the most steps of the patch, None for the usual number.
    """
    X, G, off = _centred(q.mean, z, g, rate)
    R = _finite(np.column_stack([q.loadings, X.T, off]))
    scores = _finite(_compressed(G).T)

    def spread(a: FloatArray) -> FloatArray:
        return np.asarray(q.own[:, None] * a + R @ (R.T @ a))

    seen = spread(scores)
    eigenvalues, vectors = np.linalg.eigh(_finite(scores.T @ seen))
    W = seen @ (vectors / (0.5 + np.sqrt(np.maximum(eigenvalues, 0) + 0.25)))
    variances = q.own + np.square(R).sum(axis=1) - np.square(W).sum(axis=1)
    if not (variances > 0).all():
        raise UpdateError("a variance is lost in rounding")

    def apply(a: FloatArray) -> FloatArray:
        return np.asarray(spread(a) - W @ (W.T @ a))

    share = rate / (1 + rate)
    step = apply(g.mean(axis=0)[:, None])[:, 0]
    mean = q.mean / (1 + rate) + share * (step + z.mean(axis=0))
    more = {} if steps is None else {"steps": steps}
    return patched(q, mean, apply, variances, **more)


def _centred(
    mean: FloatArray, z: FloatArray, g: FloatArray, rate: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return X with XᵀX = λ C, G with GᵀG = U, and √(λ/(1+λ)) (μ − z̄)."""
    share, each = rate / (1 + rate), np.sqrt(rate / len(_finite(z)))
    middle = _finite(g).mean(axis=0)
    X = each * (z - z.mean(axis=0))
    G = np.concatenate([each * (g - middle), np.sqrt(share) * middle[None]])
    return X, G, np.sqrt(share) * (mean - z.mean(axis=0))


def _triangle(rows: FloatArray) -> FloatArray:
    """Return the lower triangle L with L Lᵀ = AᵀA, without squaring the condition number of A."""
    return np.asarray(linalg.qr(rows, mode="r", check_finite=False)[0])[: rows.shape[1]].T


def _compressed(rows: FloatArray) -> FloatArray:
    """Return at most d rows with the same product of columns."""
    return rows if len(rows) <= rows.shape[1] else _triangle(_finite(rows)).T


def _finite(a: FloatArray) -> FloatArray:
    """Return the array if it is finite: LAPACK may never return from others."""
    if not np.isfinite(a).all():
        raise UpdateError("numbers overflow")
    return a


def change(new: Q, old: Q) -> float:
    """Return the largest change of a mean in sds, or of the log of a marginal or conditional sd.

    Conditional sds see a narrow direction that no marginal sees.
    """
    means = (new.mean - old.mean) / old.sd
    marginal = np.log(new.sd / old.sd)
    conditional = np.log(conditional_sd(new) / conditional_sd(old))
    return float(np.abs([means, marginal, conditional]).max())


def conditional_sd(q: Gaussian | LowRank) -> FloatArray:
    """Return the sds given all other parameters, shape ``(d,)``."""
    if isinstance(q, LowRank):
        return q.conditional_sd
    inverse = np.linalg.inv(q.factor)
    return np.asarray(1 / np.sqrt(np.square(inverse).sum(axis=0)))
