"""Findings in a few words, for tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from harness.judge.wording import ALL_OF_IT, SUBJECT, divergent, sd_ratio
from harness.judge.words import shares_listed
from harness.records import Closeness, Estimate
from harness.records.text import number, with_error

if TYPE_CHECKING:
    from harness.judge.context import Scene


def headline(scene: Scene, level: Closeness) -> str:
    """Return a finding as a few words for a table."""
    if level == "unsure":
        what = SUBJECT[scene.measure.metric].format(q=scene.quantity)
        if math.isnan(scene.measure.value):
            return f"{what} could not be computed"
        return f"{what} undecided: {with_error(Estimate(scene.measure.value, scene.measure.mcse))}"
    return _SHORT[scene.measure.metric](scene)


def _short_width(s: Scene) -> str:
    if s.measure.value == -math.inf:
        return f"{s.quantity} collapsed to a point"
    if s.measure.value == math.inf:
        return f"draws of {s.quantity} not finite"
    name, ratio = sd_ratio(s)
    return f"{name} of {s.quantity} {number(ratio)} of the reference's"


def _short_missed(s: Scene) -> str:
    modes = s.context.modes.get(s.quantity, 0)
    bias = s.own.get("bias")
    if s.measure.value > ALL_OF_IT and bias is not None and math.isfinite(bias.value):
        return f"nowhere near {s.quantity}: mean {number(abs(bias.value))} sd off"
    lost = f"misses {number(s.measure.value)} of {s.quantity}'s mass"
    return f"holds one mode of two: {lost}" if modes == 2 else lost  # noqa: PLR2004


def _short_correlation(s: Scene) -> str:
    pair = s.pair
    if pair is None or not math.isfinite(s.measure.value):
        return f"a correlation off by {number(s.measure.value)}"
    return f"correlation of {pair[0]} and {pair[1]} {number(pair[2])}, not {number(pair[3])}"


def _short_modes(s: Scene) -> str:
    shares = s.context.mode_shares.get(s.quantity)
    if shares:
        return f"chains give the left mode of {s.quantity} {shares_listed(shares)}"
    return f"chains differ by {number(s.measure.value)} in the modes of {s.quantity}"


_SHORT: Mapping[str, Callable[[Scene], str]] = {
    "bias": lambda s: f"mean of {s.quantity} {number(abs(s.measure.value))} sd off",
    "log_width_ratio": _short_width,
    "w1": lambda s: f"draws of {s.quantity} {number(s.measure.value)} sd off on average",
    "tail": lambda s: f"a tail quantile of {s.quantity} {number(abs(s.measure.value))} sd off",
    "missed_mass": _short_missed,
    "corr_error": _short_correlation,
    "worst_direction": lambda s: (
        f"a linear combination {number(math.exp(min(s.measure.value, 700.0)))} times as wide"
    ),
    "sliced_w1": lambda s: f"combinations {number(s.measure.value)} sd off on average",
    "seed_spread": lambda s: (
        f"mean of {s.quantity} moves by {number(s.measure.value)} sd between seeds"
    ),
    "khat": lambda s: f"k-hat {number(s.measure.value)}",
    "rhat": lambda s: f"R-hat {number(s.measure.value, 3)} for {s.quantity}",
    "ess_bulk": lambda s: f"bulk ESS {s.measure.value:.0f} for {s.quantity}",
    "ess_tail": lambda s: f"tail ESS {s.measure.value:.0f} for {s.quantity}",
    "divergences": divergent,
    "ebfmi": lambda s: f"E-BFMI {number(s.measure.value)}",
    "treedepth_hits": lambda s: f"{s.measure.value:.1%} of transitions at the maximum tree depth",
    "chain_modes": _short_modes,
}
