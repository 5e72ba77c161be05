"""The table of methods. A method is a row here; nothing registers itself."""

from __future__ import annotations

from collections.abc import Mapping

from harness.methods import (
    advi,
    bbvi,
    cavi,
    cmdstan_advi,
    dadvi,
    laplace,
    minibatch,
    nuts,
    pathfinder,
    quadrature,
    score_matching,
    short_chains,
    svgd,
)
from harness.methods.method import Method

METHODS: Mapping[str, Method] = {
    m.name: m
    for m in (
        cmdstan_advi.MEANFIELD,
        cmdstan_advi.FULLRANK,
        cmdstan_advi.MEANFIELD_TUNED,
        cmdstan_advi.FULLRANK_TUNED,
        dadvi.DADVI,
        dadvi.DADVI_LR,
        dadvi.DADVI_PSIS,
        dadvi.DADVI_BASINS,
        short_chains.SHORT_CHAINS,
        pathfinder.PATHFINDER,
        laplace.LAPLACE,
        score_matching.LOWRANK,
        score_matching.BAM,
        advi.ADVI,
        advi.ADVI_FULLRANK,
        advi.ADVI_ADAM,
        advi.ADVI_SGD,
        minibatch.MINIBATCH,
        bbvi.BBVI,
        svgd.SVGD,
        cavi.CAVI,
        cavi.SVI,
        quadrature.QUADRATURE_MSE,
        quadrature.QUADRATURE_KL,
        quadrature.QUADRATURE_TRUNCATED,
        nuts.NUTS,
    )
}
"""In the order in which tables and figures show them."""

DEFAULT_METHODS = tuple(m.name for m in METHODS.values() if m.usual)
"""Stan's own, and deterministic ADVI: what any program gets unless --methods says otherwise."""


def makes(name: str) -> str:
    """Return what a method's draws are, for those who read them from a file.

    Those of a method that is not in the table are taken for an approximation's.
    """
    return "sampler" if name in METHODS and not METHODS[name].approximate else "approximation"


def title(name: str) -> str:
    """Return what a method is called in words; one of a newer harness keeps its name."""
    return METHODS[name].title if name in METHODS else name
