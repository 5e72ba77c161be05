"""Deterministic ADVI as methods: mean-field, linear response, and importance-weighted."""

from __future__ import annotations

import functools
from collections.abc import Callable

from harness.methods.bridged import Problem, on_bridge
from harness.methods.dadvi_options import (
    FamilyOptions,
    PsisOptions,
    ResponseOptions,
    WeightOptions,
)
from harness.methods.method import DASHED, DOTTED, SOLID, Look, Method
from harness.vi.target import Fitted


def _family() -> Callable[[Problem[FamilyOptions]], Fitted]:
    from harness.methods.dadvi_gaussian import fit_family

    return fit_family


def _response() -> Callable[[Problem[ResponseOptions]], Fitted]:
    from harness.methods.dadvi_gaussian import fit_response

    return fit_response


def _psis() -> Callable[[Problem[PsisOptions]], Fitted]:
    from harness.methods.dadvi_weighted import fit_weighted

    return fit_weighted


def _basins() -> Callable[[Problem[WeightOptions]], Fitted]:
    from harness.methods.dadvi_weighted import fit_basins

    return fit_basins


_row = functools.partial(Method, version=1, draws=10_000, seeds=5, bridge=True)

DADVI = _row(
    name="dadvi",
    title="DADVI",
    what="deterministic ADVI: the best Gaussian with independent parameters",
    kind="deterministic",
    fit=on_bridge(_family),
    options=FamilyOptions(),
    look=Look("#b0307a", SOLID, "p"),
    usual=True,
    other_optimum=(
        "few base draws",
        "it maximises an ELBO that a fixed set of base draws estimates",
    ),
)

DADVI_LR = _row(
    name="dadvi_lr",
    title="DADVI + LR",
    what="deterministic ADVI with the covariance of linear response",
    kind="deterministic",
    fit=on_bridge(_response),
    options=ResponseOptions(),
    look=Look("#7d1f56", DASHED, "h"),
    usual=True,
    family="fullrank",
    repairable=False,
    other_optimum=(
        "linear response",
        "its covariance is that of linear response, which does not maximise the ELBO",
    ),
)

DADVI_PSIS = _row(
    name="dadvi_psis",
    title="DADVI + PSIS",
    what="draws of dadvi_lr, weighted by Pareto-smoothed importance sampling",
    kind="weighted draws",
    fit=on_bridge(_psis),
    options=PsisOptions(),
    look=Look("#4f1237", DOTTED, "*"),
    usual=True,
    repairable=False,
    one_mode="its proposals lie in one mode, and weights cannot put draws where there are none",
)

DADVI_BASINS = _row(
    name="dadvi_basins",
    title="DADVI + basins",
    what="a mixture of one Gaussian for each basin found, its draws weighted",
    kind="weighted draws",
    fit=on_bridge(_basins),
    # More starts than the others take: what none of them finds is missing.
    options=WeightOptions(starts=24),
    look=Look("#7a1fa2", DASHED, "$b$"),
    repairable=False,
)
