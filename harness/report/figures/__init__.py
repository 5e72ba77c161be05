"""Figures of a comparison: records in, plain image data out. matplotlib is used only here.

:func:`figures_for` is a pure function of one model's comparison, so that callers may run
models in parallel and keep the result; :func:`cost_figure` needs all models.
"""

from __future__ import annotations

from dataclasses import replace

from harness.records import Comparison, ModelComparison
from harness.report.figures import (
    chains,
    cost,
    density,
    elbo,
    errors,
    gaps,
    overlay,
    pairs,
    tracks,
    variance,
)
from harness.report.figures.canvas import Figure, Panel

__all__ = ["Figure", "Panel", "cost_figure", "density_figure", "figures_for"]


def figures_for(comparison: ModelComparison) -> list[Figure]:
    """Return every figure of one model, in the order of the report.

    Where the divergence comes from, densities of up to three quantities (a few methods over each
    other, then each method), quantile errors, the
    worst pair, ELBO traces, what was tracked beside them, variances of gradients and the NUTS
    chains; those that have nothing to show are left out. A model that could not be compared has
    none.
    """
    if comparison.error is not None:
        return []
    made = [
        gaps.figure(comparison),
        overlay.figure(comparison),
        *density.figures(comparison),
        errors.figure(comparison),
        pairs.figure(comparison),
        elbo.figure(comparison),
        *tracks.figures(comparison),
        variance.figure(comparison),
        chains.figure(comparison),
    ]
    return [figure for figure in made if figure is not None]


def density_figure(comparison: ModelComparison, quantity: str) -> Figure | None:
    """Return the densities of a quantity, or None where no run has draws of it.

    The comparison must have its arrays.
    """
    made = density.figure(comparison, quantity)
    if made is None:
        return None
    # The caption of a report's figure says which quantities it chose.
    return replace(made, caption=made.caption.partition(" Drawn:")[0])


def cost_figure(comparison: Comparison) -> Figure | None:
    """Return seconds against error over all models, or None where nothing was measured."""
    return cost.figure(comparison)
