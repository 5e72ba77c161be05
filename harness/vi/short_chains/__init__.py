"""An ensemble of short chains that starts from a fit, checks it, and replaces it.

:func:`run` starts some hundred chains of Hamiltonian Monte Carlo from distinct weighted draws of a
deterministic fit, in its coordinates, and as many far away. Where the chains forget their starts
and far starts lead nowhere else, their draws are the posterior's. The ideas are those of Wang,
Kasprzak and Huggins (2023), *A targeted accuracy diagnostic for variational approximations*,
arXiv 2302.12419, and of Margossian et al. (2024), *Nested R-hat*, arXiv 2110.13017.
"""

from __future__ import annotations

from harness.vi.short_chains.checks import CHECKS, Check, doubts
from harness.vi.short_chains.ensemble import Ensemble, run
from harness.vi.short_chains.home import Sizes

__all__ = ["CHECKS", "Check", "Ensemble", "Sizes", "doubts", "run"]
