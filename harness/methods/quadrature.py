"""One-dimensional fits of a Stan program: see :mod:`harness.vi.quadrature`."""

from __future__ import annotations

import functools

from harness.methods.bridged import on_bridge
from harness.methods.method import DASHED, DOTTED, SOLID, Look, Method
from harness.methods.settings import Options

# Few seeds: only the draws of q are random.
_row = functools.partial(
    Method, kind="quadrature", options=Options(), bridge=True, repairable=False
)

QUADRATURE_MSE = _row(
    name="quadrature_mse",
    title="1-D MSE fit",
    what="one parameter: a Gaussian by the weighted mean square of log q − log p",
    fit=on_bridge("fits:mean_square"),
    look=Look("#2f6f9f", DASHED, "2"),
    family="meanfield",
    other_optimum=(
        "other objective",
        "it minimises a weighted square of log q − log p instead of KL(q ‖ p)",
    ),
)

QUADRATURE_KL = _row(
    name="quadrature_kl",
    title="1-D KL fit",
    what="one parameter: a Gaussian by KL(q‖p)",
    fit=on_bridge("fits:divergence"),
    look=Look("#3d6b1f", SOLID, "|"),
    family="meanfield",
)

QUADRATURE_TRUNCATED = _row(
    name="quadrature_truncated",
    title="1-D truncated fit",
    what="one parameter in (0, 1): a truncated normal by KL(q‖p), on its own scale",
    fit=on_bridge("fits:truncated"),
    look=Look("#86501c", DOTTED, "4"),
    other_family="truncated normal",
)
