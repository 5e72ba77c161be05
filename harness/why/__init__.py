"""Why a fit is not the posterior: family or optimiser, in nats, with the evidence.

:func:`explain` splits KL(q ‖ p) of every run of a Gaussian family and names the causes of both
parts; see Yao et al. 2018, *Yes, but did it work?*, for why neither the ELBO nor
k-hat alone can tell them apart.
"""

from __future__ import annotations

from harness.why.explain import explain

VERSION = 1
"""Raised when explanations are no longer comparable with stored ones."""

__all__ = ["explain"]
