"""How chains go on that are right but for their length."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from harness.vi.short_chains.checks import CHECKS, doubts
from harness.vi.short_chains.home import MOST

if TYPE_CHECKING:
    from collections.abc import Mapping

SLOW, FAR_APART = frozenset({"nested_rhat", "memory", "ess", "tail_error"}), 1.1
"""Checks that longer chains may pass, unless nested R-hat exceeds the second figure."""

MEASURED = frozenset({"ess", "tail_error"})
"""Those that more draws alone pass."""

SHAPED = SLOW | {"acceptance", "weight_share"}
"""Checks that chains may pass in better coordinates."""

LONGEST = 240
"""Transitions of a chain, those that are thrown away included, up to which slow ones go on."""

MARGIN = 1.3
"""Effective draws over those that are asked for: they grow more slowly than transitions do, and one
more look at all draws takes as long as many of them."""

FOR_ONE = 2
"""Draws for one effective draw, at least: thinned draws can be worth no more than their number."""

_ESS, _TAIL, _STUCK = (
    next(c.rule.close for c in CHECKS if c.id == name) for name in ("ess", "tail_error", "stuck")
)


class More(NamedTuple):
    """Draws of each chain that are added, the transitions of each, and which old ones stay."""

    draws: int
    thin: int
    every: int | None  # step between old draws that stay; None: none stays


def merely_slow(figures: Mapping[str, float]) -> bool:
    """Return whether chains are right but for their length, and a longer one may do."""
    doubted = {c.id for c in doubts(figures)}
    return bool(doubted) and doubted <= SLOW and figures["nested_rhat"] < FAR_APART


def merely_misshapen(figures: Mapping[str, float]) -> bool:
    """Return whether better coordinates may be all that chains lack."""
    doubted = {c.id for c in doubts(figures)}
    return bool(doubted) and doubted <= SHAPED and figures["nested_rhat"] < FAR_APART


def merely_few(figures: Mapping[str, float], regions: int) -> bool:
    """Return whether chains are right but for their number, and twice as many may do.

    So few may be stuck that among more there are no others. With several regions more chains are
    better than longer ones, which change regions, and then mix in none.
    """
    few = _STUCK < figures["stuck"] <= 2 * _STUCK
    others = {c.id for c in doubts(figures)} - {"stuck"}
    fine = others <= SLOW and figures["nested_rhat"] < FAR_APART
    return (few and fine) or (regions > 1 and merely_slow(figures))


def longer(
    figures: Mapping[str, float], chains: int, draws: int, thin: int, spent: int
) -> More | None:
    """Return how chains that are merely slow go on, None where that is known not to suffice.

    Where only effective draws are missing, the old ones stay, thinned as the new ones are. Else
    all transitions so far are thrown away, and there come at least as many.

    Parameters
    ----------
    figures
        Of chains that are :func:`merely_slow`.
    chains, draws, thin
        Chains, kept draws of each, and transitions of each draw.
    spent
        All transitions of a chain so far.
    """
    factor = MARGIN * max(_ESS / figures["ess"], (figures["tail_error"] / _TAIL) ** 2)
    # However slow, a chain is worth one draw; transitions add to that.
    now, needed = figures["ess"] / chains - 1, factor * figures["ess"] / chains - 1
    if not now * LONGEST > needed * draws * thin:
        return None
    wanted = math.ceil(draws * thin * needed / now)
    if {c.id for c in doubts(figures)} <= MEASURED:
        added = max(math.ceil(wanted / thin) - draws, 1)
        every = math.ceil((draws + added) / MOST)
        more = More(math.ceil(added / every), thin * every, every)
    else:
        draws = min(max(draws, math.ceil(FOR_ONE * (needed + 1))), MOST)
        more = More(draws, math.ceil(max(wanted, spent) / draws), None)
    return more if spent + more.draws * more.thin <= LONGEST else None
