"""What methods are called in sentences, tables and figures: one name each, everywhere."""

from __future__ import annotations

from collections.abc import Mapping

TITLES: Mapping[str, str] = {
    "nuts": "NUTS",
    "meanfield": "mean-field",
    "fullrank": "full-rank",
    "meanfield_tuned": "tuned mean-field",
    "fullrank_tuned": "tuned full-rank",
    "dadvi": "DADVI",
    "dadvi_lr": "DADVI + LR",
    "dadvi_psis": "DADVI + PSIS",
    "dadvi_basins": "DADVI + basins",
    "advi": "lecture's ADVI",
    "advi_fullrank": "lecture's full-rank ADVI",
    "advi_adam": "ADVI with Adam",
    "advi_sgd": "hand-made ADVI",
    "minibatch": "minibatch ADVI",
    "bbvi": "score-function VI",
    "svgd": "SVGD",
    "cavi": "CAVI",
    "svi": "SVI",
    "quadrature_mse": "1-D MSE fit",
    "quadrature_kl": "1-D KL fit",
    "quadrature_truncated": "1-D truncated fit",
}
"""LR is the linear-response covariance, PSIS Pareto-smoothed importance sampling."""


def title(method: str) -> str:
    """Return a method's name in words; an unknown one keeps its own."""
    return TITLES.get(method, method)
