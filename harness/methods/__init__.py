"""The table of methods. A method is a row here; nothing registers itself."""

from __future__ import annotations

from collections.abc import Mapping

from harness.methods import advi, bbvi, cavi, cmdstan, dadvi, minibatch, quadrature, svgd
from harness.records import Method

METHODS: Mapping[str, Method] = {
    m.name: m
    for m in (
        cmdstan.NUTS,
        cmdstan.MEANFIELD,
        cmdstan.MEANFIELD_TUNED,
        cmdstan.FULLRANK,
        cmdstan.FULLRANK_TUNED,
        dadvi.DADVI,
        dadvi.DADVI_LR,
        dadvi.DADVI_PSIS,
        dadvi.DADVI_BASINS,
        advi.ADVI,
        advi.ADVI_FULLRANK,
        advi.ADVI_ADAM,
        advi.ADVI_SGD,
        minibatch.MINIBATCH,
        svgd.SVGD,
        bbvi.BBVI,
        cavi.CAVI,
        cavi.SVI,
        quadrature.QUADRATURE_MSE,
        quadrature.QUADRATURE_KL,
        quadrature.QUADRATURE_TRUNCATED,
    )
}

DEFAULT_METHODS = (
    "meanfield",
    "fullrank",
    "meanfield_tuned",
    "fullrank_tuned",
    "dadvi",
    "dadvi_lr",
    "dadvi_psis",
    "nuts",
)
"""CmdStan's own, and deterministic ADVI: what any program gets unless --methods says otherwise."""
