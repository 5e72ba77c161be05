"""Findings in the words a colleague would use, with their figures, limits and reasons."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from harness.judge.words import limits, shares_listed
from harness.records import Closeness, Estimate, Measure, Rule
from harness.records.text import number, with_error

if TYPE_CHECKING:
    from harness.judge.context import Scene

EXPLAINS = 0.5
"""A correlation of at least this size is given as the reason for a width that is too small."""

ONE_QUANTITY = 0.995
"""Beyond this correlation two names stand for one quantity, which explains nothing."""

ALL_OF_IT = 0.99
"""A missed mass beyond this is the whole posterior, but for rounding."""

A_MODE = 0.05
"""Where a mode of this mass is missed, that is why the width is too small."""

NOTHING = Estimate(0.0, 0.0)


def sentence(
    scene: Scene,
    rule: Rule,
    level: Closeness,
    *,
    z: float,
    needed: int | None = None,
    where: str = "",
) -> str:
    """Say what was found: the figure, the limit and the reason.

    ``where`` names the seed or seeds, in brackets after the quantity.
    """
    m = scene.measure
    subject = f"`{m.quantity}`" if m.quantity is not None else "All quantities together"
    if where:
        subject += f" ({where})"
    if level == "unsure":
        return f"{subject}: {_undecided(scene, rule, z, needed)}."
    bounds = limits(rule)
    return f"{subject}: {_LONG[m.metric](scene)}. {bounds[0].upper()}{bounds[1:]}: {rule.why}."


def _estimate(m: Measure) -> Estimate:
    return Estimate(m.value, m.mcse)


SUBJECT: Mapping[str, str] = {
    "bias": "error of the mean of {q}",
    "log_width_ratio": "width of {q}",
    "w1": "distance of {q}",
    "tail": "tail of {q}",
    "missed_mass": "share of {q}'s mass in missed modes",
    "corr_error": "largest error of a correlation",
    "worst_direction": "width of the worst linear combination",
    "sliced_w1": "distance of random combinations",
    "seed_spread": "spread over seeds of {q}",
    "khat": "k-hat",
    "rhat": "R-hat of {q}",
    "ess_bulk": "bulk ESS of {q}",
    "ess_tail": "tail ESS of {q}",
    "divergences": "number of divergent transitions",
    "ebfmi": "E-BFMI",
    "treedepth_hits": "share of transitions at the maximum tree depth",
    "chain_modes": "chains' agreement on the modes of {q}",
}


def _undecided(scene: Scene, rule: Rule, z: float, needed: int | None) -> str:
    m = scene.measure
    what = SUBJECT[m.metric].format(q=scene.quantity)
    if math.isnan(m.value):
        return f"the {what} could not be computed, so it counts as undecided ({limits(rule)})"
    if not math.isfinite(m.mcse):
        return (
            f"the {what} is {number(m.value)} with an error that could not be computed, "
            f"so it is undecided ({limits(rule)})"
        )
    more = f"; about {needed} draws would decide" if needed else ""
    return (
        f"the {what} is {with_error(_estimate(m))}, and {z:.1f} such errors are more than the "
        f"{rule.close * rule.unsure_factor:.2g} that has to be told from nothing, so it is "
        f"undecided{more}"
    )


def _mean(s: Scene) -> str:
    if math.isinf(s.measure.value):
        return _not_finite(s)
    off = f"{number(abs(s.measure.value))} sd too {'high' if s.measure.value > 0 else 'low'}"
    own, theirs = s.own.get("mean"), s.theirs.get("mean")
    if own is None or theirs is None:
        return f"{s.method}'s mean is {off}"
    return f"{s.method}'s mean is {off}, {number(own.value, 3)} where {with_error(theirs)} is right"


def _not_finite(s: Scene) -> str:
    return f"{s.method}'s draws are not all finite numbers, so they are infinitely far off"


def sd_ratio(s: Scene) -> tuple[str, float]:
    """Return what to call the width, and its ratio: the sd where both ratios tell the same."""
    ratio = math.exp(min(s.measure.value, 700.0))
    own, theirs = s.own.get("sd"), s.theirs.get("sd")
    if own is None or theirs is None or not (own.value > 0 and theirs.value > 0):
        return "5-95% width", ratio
    sds = own.value / theirs.value
    if math.isfinite(sds) and abs(math.log(sds) - s.measure.value) < math.log(1.1):
        return "sd", sds
    return "5-95% width", ratio


def _width_figures(s: Scene, name: str) -> str:
    if name == "sd":
        return f" ({number(s.own['sd'].value)} against {with_error(s.theirs['sd'])})"
    if all(k in f for k in ("q5", "q95") for f in (s.own, s.theirs)):
        own, theirs = (f["q95"].value - f["q5"].value for f in (s.own, s.theirs))
        return f" ({number(own)} against {number(theirs)})"
    return ""


FACTORISED = frozenset({
    "meanfield", "meanfield_tuned", "dadvi", "advi", "advi_sgd", "minibatch", "bbvi", "cavi", "svi",
})  # fmt: skip
"""Methods whose family has no correlations, which narrows it where the posterior has some."""


def _width(s: Scene) -> str:
    if s.measure.value == -math.inf:
        theirs = s.theirs.get("sd")
        against = f" where the sd is {with_error(theirs)}" if theirs is not None else ""
        return f"{s.method} has collapsed to a single point{against}"
    if s.measure.value == math.inf:
        return _not_finite(s)
    name, ratio = sd_ratio(s)
    text = f"{s.method}'s {name} is {number(ratio)} of the reference's{_width_figures(s, name)}"
    partner = s.context.correlations.get(s.quantity)
    # Only a factorised family narrows by correlation.
    if (
        partner is not None
        and s.measure.method in FACTORISED
        and s.measure.value < 0
        and EXPLAINS <= abs(partner[1]) <= ONE_QUANTITY
        and s.own.get("missed_mass", NOTHING).value <= A_MODE
    ):
        first, second = sorted((s.quantity, partner[0]))
        text += f", because {first} and {second} correlate at {number(partner[1])}"
    return text


def _tail(s: Scene) -> str:
    if math.isinf(s.measure.value):
        return _not_finite(s)
    size = number(abs(s.measure.value))
    errors = {
        name: s.own[name].value - s.theirs[name].value
        for name in ("q5", "q95")
        if name in s.own and name in s.theirs
    }
    direction = "high" if s.measure.value > 0 else "low"
    if not errors:
        return f"{s.method}'s 5% or 95% quantile is {size} sd too {direction}"
    name = max(errors, key=lambda k: abs(errors[k]))
    return (
        f"{s.method}'s {name[1:]}% quantile is {size} sd too {direction}, "
        f"{number(s.own[name].value, 3)} where {with_error(s.theirs[name])} is right"
    )


def _missed(s: Scene) -> str:
    share = number(s.measure.value)
    if s.measure.value > ALL_OF_IT:
        bias = s.own.get("bias", NOTHING)
        off = f": its mean is {number(abs(bias.value))} sd off" if bias.value else ""
        return f"{s.method} has almost no draws where the posterior's mass lies{off}"
    modes = s.context.modes.get(s.quantity, 0)
    of = f", of the {modes} that it has" if modes > 1 else ""
    return f"{s.method} misses modes that hold {share} of the posterior's mass{of}"


def _correlation(s: Scene) -> str:
    pair = s.pair
    if math.isinf(s.measure.value):
        return _not_finite(s)
    if pair is None:
        return f"{s.method} has a correlation wrong by {number(s.measure.value)}"
    a, b, own, theirs = pair
    return (
        f"{s.method} has {a} and {b} correlate at {number(own)}, the reference at {number(theirs)}"
    )


def _direction(s: Scene) -> str:
    if s.measure.value == math.inf:
        return _not_finite(s)
    if s.measure.value == -math.inf:
        return f"in some linear combination {s.method} has collapsed to a single point"
    ratio = number(math.exp(min(s.measure.value, 700.0)))
    return f"in its worst linear combination {s.method} is {ratio} times as wide as the reference"


def _distance(s: Scene) -> str:
    if math.isinf(s.measure.value):
        return _not_finite(s)
    return (
        f"{s.method}'s draws are on average {number(s.measure.value)} sd from where they should be"
    )


def _spread(s: Scene) -> str:
    if math.isinf(s.measure.value):
        return f"in some seeds {s.method}'s mean is not even finite"
    return f"{s.method}'s mean moves by {number(s.measure.value)} sd from seed to seed"


def _khat(s: Scene) -> str:
    if math.isinf(s.measure.value):
        return "k-hat is infinite: a few draws carry all the weight, or densities are not finite"
    return f"k-hat is {number(s.measure.value)}"


def _modes(s: Scene) -> str:
    shares = s.context.mode_shares.get(s.quantity)
    if shares:
        return f"the chains give its left mode {shares_listed(shares)} of their draws"
    return f"chains differ by {number(s.measure.value)} in how much they give to one mode"


def _rhat(s: Scene) -> str:
    return f"R-hat {number(s.measure.value, 3)}"


def divergent(s: Scene) -> str:
    """Count divergent transitions."""
    n = s.measure.value
    return f"{n:.0f} divergent transition{'' if n == 1 else 's'}"


_LONG: Mapping[str, Callable[[Scene], str]] = {
    "bias": _mean,
    "log_width_ratio": _width,
    "w1": _distance,
    "tail": _tail,
    "missed_mass": _missed,
    "corr_error": _correlation,
    "worst_direction": _direction,
    "sliced_w1": _distance,
    "seed_spread": _spread,
    "khat": _khat,
    "rhat": _rhat,
    "ess_bulk": lambda s: f"bulk ESS {s.measure.value:.0f}",
    "ess_tail": lambda s: f"tail ESS {s.measure.value:.0f}",
    "divergences": divergent,
    "ebfmi": lambda s: f"E-BFMI {number(s.measure.value)} in the worst chain",
    "treedepth_hits": lambda s: f"{s.measure.value:.1%} of transitions at the maximum tree depth",
    "chain_modes": _modes,
}
