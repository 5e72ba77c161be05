"""Deterministic ADVI: the ELBO on fixed base draws, its optima, and linear response.

:func:`fit` finds the best mean-field Gaussian, tells basins apart, and gives the covariance of
linear response with the error that the base draws leave; :func:`fit_fullrank` starts from there.
By Giordano, Ingram and Broderick (2024), *Black box variational inference with a deterministic
objective: faster, more accurate, and even more black box*, JMLR 25.
"""

from __future__ import annotations

from harness.vi.deterministic.basins import Basin, StartError
from harness.vi.deterministic.conjugate_gradients import response_variances
from harness.vi.deterministic.elbo import Objective, log_normal
from harness.vi.deterministic.fit import IMPROPER, Optimum, Settings, fit
from harness.vi.deterministic.fullrank import FullRank, fit_fullrank
from harness.vi.deterministic.importance import (
    FEWEST,
    PER_DRAW,
    Defensive,
    Mixture,
    Proposal,
    delivered,
    smoothed_weights,
    systematic,
)

__all__ = [
    "FEWEST",
    "IMPROPER",
    "PER_DRAW",
    "Basin",
    "Defensive",
    "FullRank",
    "Mixture",
    "Objective",
    "Optimum",
    "Proposal",
    "Settings",
    "StartError",
    "delivered",
    "fit",
    "fit_fullrank",
    "log_normal",
    "response_variances",
    "smoothed_weights",
    "systematic",
]
