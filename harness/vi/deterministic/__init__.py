"""Deterministic ADVI: the ELBO on fixed base draws, its optima, and linear response.

:func:`fit` finds the best mean-field Gaussian, distinguishes basins, and returns the
linear-response covariance with the error from base draws. :func:`fit_fullrank` continues from
there. The method is that of Giordano, Ingram and Broderick (2024), *Black box variational
inference with a deterministic objective: faster, more accurate, and even more black box*, JMLR 25.
"""

from __future__ import annotations

from harness.vi.deterministic.basins import Basin
from harness.vi.deterministic.conjugate_gradients import response_variances
from harness.vi.deterministic.elbo import Objective
from harness.vi.deterministic.fit import IMPROPER, Optimum, fit
from harness.vi.deterministic.fullrank import FullRank, fit_fullrank
from harness.vi.deterministic.large import low_rank
from harness.vi.deterministic.polish import Wanted, response_covariance
from harness.vi.deterministic.sizes import Settings
from harness.vi.deterministic.starts import StartError, UnboundedError

__all__ = [
    "IMPROPER",
    "Basin",
    "FullRank",
    "Objective",
    "Optimum",
    "Settings",
    "StartError",
    "UnboundedError",
    "Wanted",
    "fit",
    "fit_fullrank",
    "low_rank",
    "response_covariance",
    "response_variances",
]
