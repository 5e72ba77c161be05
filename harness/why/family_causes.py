"""Why a family's best member is not the posterior: correlation, modes, skew, tails, a funnel."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness import metrics
from harness.records import Cause, Estimate, FamilyName
from harness.records.text import number, with_error

if TYPE_CHECKING:
    from harness.vi.family_optimum import Best
    from harness.vi.gaussian import Gaussian
    from harness.why.posterior import Posterior

COUNTS = 0.005
"""Nats from which a gap counts: what a mean costs that is 0.1 sd off, the close limit."""

SHARE = 0.2
"""Of a gap, from which a part of it is a cause."""

ENOUGH = 0.1
"""Of what is left of a gap, from which a marginal's shape is taken to be behind it."""

MISSED = 0.01
"""Mass from which a mode counts, as in the rule on missed mass."""

MORE = 1.25
"""Times what one marginal shows, from which the basins' own masses are believed: modes may lie
crosswise, so that each marginal shows half of them."""

AGREES = 0.1
"""Ln of a ratio of sds up to which a prediction has come true."""

NOTHING = 5e-4
"""Nats that are written as none."""


def family_causes(
    family: FamilyName,
    gap: Estimate,
    best: Best,
    correlation: Estimate | None,
    fullrank_gap: Estimate | None,
    posterior: Posterior | None,
    rng: np.random.Generator,
) -> tuple[Cause, ...]:
    """Name the causes of a family gap, the largest first.

    Parameters
    ----------
    gap
        log Z − ELBO(q*), nats.
    best
        q* of the family.
    correlation
        How much nearer full-rank's q* is than mean-field's, nats; None for full-rank.
    fullrank_gap
        log Z − ELBO of full-rank's q*, where it is known.
    posterior
        None where no reference can be trusted: causes that need one are then not named.
    """
    if math.isnan(gap.value):
        # Modes are seen without log Z.
        alone = _modes(best, posterior, rng)
        return () if alone is None else (alone,)
    if math.isinf(gap.value) or not gap.value - 2 * gap.mcse > COUNTS:
        return ()
    found: list[Cause] = []
    rest = gap.value
    if family == "meanfield" and correlation is not None and _counts(correlation, gap):
        nats = min(correlation.value, gap.value)
        words = _correlation_words(best.q, correlation, gap, fullrank_gap, posterior)
        found.append(Cause("family", "correlation", nats, words))
        rest -= nats
    modes = _modes(best, posterior, rng)
    if modes is not None and modes.nats > max(SHARE * rest, COUNTS):
        found.append(dataclasses.replace(modes, nats=min(modes.nats, rest)))
        rest -= modes.nats
    if rest > max(SHARE * gap.value, COUNTS + 2 * gap.mcse):
        found.append(_shape(rest, posterior))
    return tuple(sorted(found, key=lambda c: -c.nats))


def figure(estimate: Estimate) -> str:
    """Write a figure with its error, without it where it is under a thousandth."""
    if abs(estimate.value) + estimate.mcse < NOTHING:
        return "0"
    if not estimate.mcse > 1e-3 * abs(estimate.value):
        return number(estimate.value, 3)
    return with_error(estimate)


def _counts(part: Estimate, gap: Estimate) -> bool:
    return part.value - 2 * part.mcse > max(COUNTS, SHARE * gap.value)


def _correlation_words(
    q: Gaussian,
    correlation: Estimate,
    gap: Estimate,
    fullrank_gap: Estimate | None,
    posterior: Posterior | None,
) -> str:
    words = f"a full-rank Gaussian comes {figure(correlation)} nats nearer"
    if fullrank_gap is not None and math.isfinite(fullrank_gap.value):
        left = figure(Estimate(max(fullrank_gap.value, 0.0), fullrank_gap.mcse))
        words = f"the best full-rank Gaussian is {left} nats away, this one {figure(gap)}"
        if left == "0":
            words = f"the best full-rank Gaussian is the posterior, this one is {figure(gap)} away"
    if posterior is None or len(posterior.names) == 1:
        return words
    corr = np.atleast_2d(np.corrcoef(posterior.z, rowvar=False))
    np.fill_diagonal(corr, 0.0)
    i, j = np.unravel_index(int(np.argmax(np.abs(corr))), corr.shape)
    names = posterior.names
    words += f"; {names[i]} and {names[j]} correlate at {number(float(corr[i, j]))}"
    try:
        predicted = metrics.conditional_sds(posterior.covariance) / posterior.sd
    except ValueError:
        return words
    ratio = q.sd / posterior.sd
    # Where something else narrows it too, the prediction is no evidence.
    agree = np.abs(np.log(ratio / predicted)) < AGREES
    if not agree.any():
        return words
    k = int(np.argmin(np.where(agree, predicted, np.inf)))
    return (
        f"{words}; that Gaussian's sd of {names[k]} is {number(float(ratio[k]))} of the "
        f"posterior's, and correlation alone (1/√Λᵢᵢ) makes it {number(float(predicted[k]))}"
    )


def _modes(best: Best, posterior: Posterior | None, rng: np.random.Generator) -> Cause | None:
    """Say how much mass lies in modes that q* does not hold; it costs −ln of what it holds."""
    modes = [b for b in best.optimum.basins if b.separate]
    others = 1 - modes[0].mass if len(modes) > 1 else 0.0
    if posterior is not None:
        missed, which = posterior.missed(best.q, rng)
        seen = missed.value - 2 * missed.mcse > MISSED
        if seen and not others > MORE * missed.value:
            share = min(missed.value, 1 - 1e-9)
            nats = -math.log1p(-share)
            words = (
                f"{posterior.names[which]} has modes that the best Gaussian leaves out, with "
                f"{with_error(missed)} of the mass: −ln(1 − {number(share)}) = "
                f"{with_error(Estimate(nats, missed.mcse / (1 - share)))} nats"
            )
            return Cause("family", "several modes", nats, words)
    if not others > MISSED:
        return None
    words = (
        f"{len(modes)} basins found by climbing from several starts; those q is not in hold about "
        f"{number(others)} of the mass: {number(-math.log1p(-others))} nats"
    )
    return Cause("family", "several modes", -math.log1p(-others), words)


def _shape(rest: float, posterior: Posterior | None) -> Cause:
    """Name what correlation and modes leave of a gap."""
    if posterior is None:
        words = "there are no trusted draws to look at: correlation and modes do not explain it"
        return Cause("family", "other shape", rest, words)
    shapes, names = posterior.shapes, posterior.names
    if metrics.is_funnel(posterior.funnel):
        assert posterior.funnel is not None  # noqa: S101 - is_funnel says so
        return Cause("family", "funnel", rest, _funnel_words(posterior.funnel, names))
    skew = np.array([s.skew_nats.value for s in shapes])
    tails = np.array([s.tail_nats.value for s in shapes])
    # A marginal with two modes has no tails to speak of.
    usable = np.isfinite(skew) & np.isfinite(tails) & posterior.unimodal
    if not usable.any():
        words = "its marginals have several modes, or too few draws for their shape to be told"
        return Cause("family", "other shape", rest, words)
    skew, tails = np.where(usable, skew, 0.0), np.where(usable, tails, 0.0)
    total = {"skew": float(skew.sum()), "tails": float(tails.sum())}
    if max(total.values()) < ENOUGH * rest:
        words = (
            "correlation, modes and the marginals' skewness and tails "
            f"({number(total['skew'])} and {number(total['tails'])} nats) do not explain it"
        )
        return Cause("family", "other shape", rest, words)
    if total["skew"] >= total["tails"]:
        k = int(np.argmax(skew))
        return Cause("family", "skew", rest, _skew_words(names[k], shapes[k]))
    k = int(np.argmax(tails))
    # The posterior's heavy tails make q's too light.
    name = "light tails" if shapes[k].tail_excess.value > 0 else "heavy tails"
    return Cause("family", name, rest, _tail_words(names[k], shapes[k]))


def _funnel_words(found: metrics.Funnel, names: Sequence[str]) -> str:
    where = "large" if found.wide == "upper" else "small"
    return (
        f"the spread of {names[found.of]} is {with_error(found.ratio)} times as wide where "
        f"{names[found.on]} is {where} as at its other end; no Gaussian's is"
    )


def _skew_words(name: str, found: metrics.Shape) -> str:
    skewness = with_error(found.skewness)
    if not math.isfinite(found.skewness.mcse):
        skewness = f"{number(found.skewness.value)} (its error is not known)"
    return (
        f"on the unconstrained scale {name} has skewness {skewness} and L-skewness "
        f"{with_error(found.l_skewness)}, a Gaussian 0"
    )


def _tail_words(name: str, found: metrics.Shape) -> str:
    heavier = "heavier" if found.tail_excess.value > 0 else "lighter"
    fourth = (
        f"excess kurtosis {with_error(found.excess_kurtosis)}"
        if found.settled
        else "a fourth moment that does not settle"
    )
    return (
        f"on the unconstrained scale the posterior's tails of {name} are {heavier} than a "
        f"Gaussian's: {fourth}, L-kurtosis {with_error(found.l_kurtosis)} where a Gaussian "
        "has 0.123"
    )
