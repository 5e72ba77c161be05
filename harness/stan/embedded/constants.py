"""A Stan program with the constants that ``~`` drops.

The engine evaluates ``y ~ normal(mu, sigma)`` without the terms that depend on no parameter: its
density lacks a constant. ``target += normal_lpdf(y | mu, sigma)`` has them all. Whether the
two programs differ by one constant is checked where the rewritten one is used.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from harness.stan.density import EngineError
from harness.stan.source import blanked, closing

if TYPE_CHECKING:
    from harness.stan.density import Density

POINTS = 5
"""Number of points at which the density and the one with constants must differ by one constant."""

TRIED = 50
"""They are taken from this many points, because some may be rejected."""

TOLERANCE = 1e-8
"""Of the larger density; rounding in sums over many data is far smaller."""

_MASS = re.compile(
    r"(bernoulli|beta_(neg_)?binomial|binomial|categorical|discrete_range|hypergeometric|multinomial"
    r"|neg_binomial|ordered_(logistic|probit)|poisson)(_2)?(_log(it)?)?(_glm)?"
)
"""Stan's distributions of whole numbers."""

_SAMPLED = re.compile(r"~\s*(\w+)\s*\(")
_OWN_MASS = re.compile(r"\breal\s+(\w+)_lpmf\s*\(")
_UNNORMALISED = re.compile(r"\b(\w+)_lup([dm])f\b")
_HEADER = re.compile(r"\s*(?:(?:for|if|while)\s*(\()|else\b)")
_LIMITED = re.compile(r"\s*T\s*\[")


def with_constants(text: str) -> str:
    """Return an expanded program with every ``~`` written as ``target +=``.

    Raises
    ------
    EngineError
        If a statement is truncated, which needs the truncation's own terms.
    """
    text = _UNNORMALISED.sub(r"\1_lp\2f", text)
    code = blanked(text)
    own = set(_OWN_MASS.findall(code))
    parts, done = [], 0
    for sampled in _SAMPLED.finditer(code):
        end = closing(code, sampled.end(), "()")
        if _LIMITED.match(code, end):
            raise EngineError("the constants of a truncated statement are not known")
        start = _subject(code, sampled.start())
        name = sampled[1]
        kind = "lpmf" if name in own or _MASS.fullmatch(name) else "lpdf"
        subject, rest = text[start : sampled.start()].strip(), text[sampled.end() : end]
        parts += [text[done:start], f" target += {name}_{kind}({subject} | {rest}"]
        done = end
    return "".join(parts) + text[done:]


def _subject(code: str, tilde: int) -> int:
    """Return where what stands before a ``~`` begins: after the statement before, and after heads.

    Heads are those of ``for``, ``if`` and ``while``, and ``else``.
    """
    start = max(code.rfind(mark, 0, tilde) for mark in ";{}") + 1
    while head := _HEADER.match(code, start, tilde):
        start = closing(code, head.end(), "()") if head[1] else head.end()
    return start


def same_but_for_a_constant(one: Density, other: Density) -> bool:
    """Tell whether two densities of as many parameters differ by one constant at some points."""
    if one.dimension != other.dimension:
        return False
    z = np.random.default_rng(0).uniform(-2, 2, (TRIED, one.dimension))
    z[0] = 0
    difference, size = [], 1.0
    for row in z:
        values = [model.log_density(row[None]).value[0] for model in (one, other)]
        if np.isfinite(values).all():
            difference.append(values[1] - values[0])
            size = max(size, *map(abs, values))
        if len(difference) == POINTS:
            return bool(np.ptp(difference) <= TOLERANCE * size)
    return False
