"""What deterministic ADVI says where the ELBO has no optimum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from harness.methods.bridged import FitError, Problem, along, along_words, directions_words
from harness.records import FloatArray, Reason
from harness.records.names import stan_name
from harness.records.text import listed, number, setting
from harness.stan.density import Density
from harness.vi import deterministic
from harness.vi.deterministic.improper import flat_directions, hard_edges, lost_in_doubles

NAMED = 3
"""Edges, and parameters of a point, that a message names."""

ZERO = 1e-6
"""A limit smaller than this is called 0, and one larger than its inverse infinite."""

LOST = (
    "log p falls by less than 1 nat along {} before doubles end: the posterior is improper, or "
    "part of its mass lies where a parameter rounds to its bound; a prior with less mass there can "
    "be fitted"
)


def level_along(problem: Problem[Any], directions: Sequence[FloatArray]) -> FitError:
    """Return that log p does not fall along some directions ``(d,)``, or not as far as it goes."""
    each = [along(problem.model, v) for v in directions]
    lost = [lost_in_doubles(problem.target, problem.rng.spawn(1)[0], v) for v in directions]
    if all(lost):
        return FitError(LOST.format(directions_words(each)))
    words = f"{deterministic.IMPROPER}; {along_words(each)}"
    return FitError(words, Reason.IMPROPER)


def no_optimum(problem: Problem[Any], error: Exception) -> FitError:
    """Return why there is no optimum: edges that are not declared, or flat directions."""
    names = [stan_name(n) for n in problem.model.unconstrained_names()]
    said = [
        f"the density ends at {names[e.which]} = {setting(e.at)}: "
        f"declare <{e.side}={setting(e.at)}>"
        for e in hard_edges(problem.target, problem.rng)
    ]
    flat = [] if said else flat_directions(problem.target, problem.rng)
    if flat:
        return level_along(problem, flat)
    return FitError("; ".join([str(error) or deterministic.IMPROPER, *said[:NAMED]]))


def unbounded(model: Density, error: deterministic.UnboundedError) -> FitError:
    """Return that the ELBO rises without end, and where the density is infinite."""
    names = [stan_name(n) for n in model.unconstrained_names()]
    values, _ = model.constrain(error.mean[None], transformed=False)
    constrained = map(stan_name, model.constrained_names(transformed=False))
    known = dict(zip(constrained, values[0].tolist(), strict=True))
    chosen = [names[i] for i in error.which.tolist()]
    named = [(name, _limit(known[name])) for name in chosen if name in known]
    if not named:
        return FitError(str(error), Reason.IMPROPER)
    places = listed([f"{name} → {value}" for name, value in named], NAMED)
    which, away = named[0]
    words = (
        f"{error} where {places}; give {which} a prior that keeps it from {away}, and see that no "
        "term is counted twice"
    )
    return FitError(words, Reason.IMPROPER)


def _limit(value: float) -> str:
    """Write what a value tends to."""
    if abs(value) < ZERO:
        return "0"
    if abs(value) > 1 / ZERO:
        return number(math.copysign(math.inf, value))
    return number(value)
