"""Summarise draws for a baseline: every figure with the error that belongs to it.

The error of Markov chains follows from their effective size. Draws of one approximation q are
independent, but q moves with the seed, so its error is that of a mean over seeds.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from harness import metrics
from harness.check.baseline.change import USUAL, Margins
from harness.check.baseline.form import SUMMARIES, Figure, Kind, MethodBaseline
from harness.check.baseline.precision import freedom, freedoms_of, room
from harness.metrics.chains import rhat
from harness.metrics.sample import CONSTANT, QUANTILES, SD_PER_WIDTH, Sample
from harness.records import Draws
from harness.records.text import integer, listed, number, setting

if TYPE_CHECKING:
    from harness.records import FloatArray

WORST_RHAT = 1.1
FEWEST_EFFECTIVE = 100.0
"""Chains beyond these limits cannot be a baseline."""

LOST = (1.3, 25.0)
GAINED = (1.05, 400.0)
"""R-hat and effective size at which chains lose the moments that a baseline has, or gain those that
it lacks. They are not the baseline's own limits: both figures are estimates, and chains near a
limit would cross it by chance (with 25 quantities of effective size 200, in a tenth of checks). In
between, the errors are large, and say so."""

LEAST_KEPT = 0.8
"""At least this share of a method's seeds must agree, or it has no moments worth comparing."""

AWAY_SDS = 1.0
AWAY_FACTOR = 3.0
AWAY_ERRORS = 4.0
"""A seed has run away if a mean is over one posterior width from the seeds' median, or an sd over
three times, or under a third of, their median: each by more than four errors too."""

WIDEST = {"mean": 1.0, "sd": math.log(2)}
"""A comparison with wider margins than these (sds, ln of a ratio) would say nothing."""

ENOUGH = 5
"""The differences between fewer seeds say little about the next seed."""


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """The summaries of a method's draws."""

    kind: Kind
    kept: int
    quantities: Mapping[str, Mapping[str, Figure]]
    no_moments: str = ""
    ran_away: tuple[int, ...] = ()
    """The positions of the draws that ran away."""
    samples: Mapping[str, Sample] | None = None
    """Where its own draws carry the error."""
    freedoms: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Degrees of freedom of errors that rest on draws, by quantity and summary."""


def fingerprint(draws: Draws | None) -> str:
    """Return a hash of draws to the last digit, ``"none"`` for a run that has none."""
    if draws is None:
        return "none"
    h = hashlib.sha256("\0".join(draws.names).encode())
    h.update(repr(draws.values.shape).encode())
    h.update(np.ascontiguousarray(draws.values).tobytes())
    return h.hexdigest()[:16]


def unit(figures: Mapping[str, Figure]) -> float:
    """Return the width by which a quantity's locations are measured, in its own unit.

    It is the sd, or if tails make that larger, the sd of a normal distribution with the same
    5-95% width: the sd of a Cauchy posterior would swallow every change.
    """
    width = (figures["q95"].value - figures["q5"].value) * SD_PER_WIDTH
    sd = figures["sd"].value
    return min(sd, width) if width > 0 and sd > 0 else sd


def of_draws(
    draws: Draws, names: Sequence[str] | None = None, old: MethodBaseline | None = None
) -> Summary:
    """Summarise draws that carry their own error: Markov chains, or independent draws.

    All quantities if ``names`` is None. If the baseline ``old`` with which these draws will be
    compared has moments, chains must mix worse to have none.
    """
    kind: Kind = "independent" if draws.iid else "chains"
    worst, fewest = WORST_RHAT, FEWEST_EFFECTIVE
    if old is not None and old.kind == "chains" and old.kept > 0:
        worst, fewest = GAINED if old.no_moments else LOST
    chosen = draws.names if names is None else [n for n in names if n in draws.names]
    samples = {}
    for name in chosen:
        sample = samples[name] = metrics.sample_of(draws, name)
        if draws.iid or not sample.finite or sample.constant:
            continue
        # Many short chains have been judged by a nested R-hat of their own.
        r = rhat(sample.values) if draws.long_chains else 1.0
        ess = sample.ess_least
        if not (r <= worst and ess >= fewest):
            why = (
                f"the chains have not mixed: R-hat {number(r, 3)}, effective size {integer(ess)} "
                f"for {name} (allowed: {setting(worst)}, {setting(fewest)})"
            )
            return Summary(kind, 1, {}, no_moments=why, samples={})
    quantities = {name: _own_figures(sample) for name, sample in samples.items()}
    freedoms = {name: freedoms_of(samples[name], q) for name, q in quantities.items()}
    return Summary(kind, 1, quantities, samples=samples, freedoms=freedoms)


def _own_figures(sample: Sample) -> Mapping[str, Figure]:
    if sample.constant:
        # The little that it varies is rounding, which differs between compilers.
        return {
            what: Figure(0.0 if what == "sd" else sample.mean, 0.0, float(sample.n))
            for what in SUMMARIES
        }
    why = f"not finite in {sample.n - sample.finite_sorted.size} of {sample.n} draws"
    ess: Mapping[str, float] = {}
    if sample.finite:
        why, ess = "", {"mean": sample.ess_mean, "sd": sample.ess_sd, **sample.ess_quantiles}
    return {
        what: Figure(e.value, e.mcse, ess.get(what, math.nan), why=why)
        for what, e in metrics.summaries(sample).items()
    }


def settle(summary: Summary, margins: Margins = USUAL) -> Summary:
    """Return what is worth keeping as a baseline.

    A figure whose error is too large for its margin gets a wider one. If it would need more
    than :data:`WIDEST`, a figure of heavy tails loses its error and says so, and an approximation
    has no moments at all.
    """
    quantities = {
        name: {
            what: _with_margin(what, f, figures, _freedom(summary, name, what, f), margins)
            for what, f in figures.items()
        }
        for name, figures in summary.quantities.items()
    }
    if summary.kind == "seeds":
        for name, figures in quantities.items():
            apart = _too_far_apart(name, figures, summary.kept)
            if apart:
                return replace(summary, quantities={}, no_moments=apart)
    none = "" if quantities or summary.no_moments else "it has no quantities"
    return replace(summary, quantities=quantities, no_moments=summary.no_moments or none)


def _freedom(summary: Summary, name: str, what: str, figure: Figure) -> float:
    if summary.kind == "seeds":
        return summary.kept - 1
    known = summary.freedoms.get(name, {}).get(what)
    return freedom(summary.kind, figure.ess) if known is None else known


def _with_margin(
    what: str, figure: Figure, figures: Mapping[str, Figure], degrees: float, margins: Margins
) -> Figure:
    """Widen the margin where the figure's own error leaves no room for the one asked for."""
    scale = figures["sd"].value if what == "sd" else unit(figures)
    if figure.why or not scale > 0:
        return figure
    if degrees == 0:
        return replace(figure, mcse=math.nan, why="its error cannot be told: tails too heavy")
    # The degrees of freedom are this error's own, not those of both sides: a margin is too narrow
    # if the baseline's error happens to be too small.
    needed = room(degrees) * figure.mcse / scale
    if needed <= margins.of(what):
        return figure
    if not (math.isfinite(needed) and needed <= WIDEST.get(what, math.inf)):
        share = number(figure.mcse / scale)
        why = f"its error is {share} of the quantity's width: tails too heavy"
        return replace(figure, mcse=math.nan, why=why)
    return replace(figure, margin=needed)


def of_seeds(
    runs: Sequence[Draws | None],
    names: Sequence[str] | None = None,
    widths: Mapping[str, float] | None = None,
    old: MethodBaseline | None = None,
) -> Summary:
    """Summarise approximations from several seeds; the seeds carry the error.

    All quantities of the first run if ``names`` is None. Seeds run away in units of ``widths``, the
    posterior's sd of each quantity; where unknown, the median of the approximations' own. If some
    seeds of the baseline ``old`` ran away, those near its others are kept: of two modes, either
    may have the majority.
    """
    have = [(i, d) for i, d in enumerate(runs) if d is not None]
    if not have:
        return Summary("seeds", 0, {}, no_moments="no run gave draws")
    wanted = list(have[0][1].names if names is None else names)
    # Seed, quantity, and summaries with the errors of mean and sd.
    table = np.array([[_values(d, n) for n in wanted] for _, d in have])
    centres = old.quantities if old is not None and old.kept < len(old.seeds) else {}
    away = _away(table, wanted, widths or {}, centres)
    ran_away = tuple(i for (i, _), gone in zip(have, away, strict=True) if gone)
    kept = int(np.count_nonzero(~away))
    # If the baseline has moments, the number kept is compared as a share of seeds.
    least = LEAST_KEPT * len(runs) if old is None or old.no_moments else 0.0
    if kept < max(least, 2):
        whom = "the baseline's" if centres else "each other"
        why = f"only {kept} of {len(runs)} seeds gave draws that lie near {whom}"
        if len(runs) == 1:
            why = "one seed does not show how far the approximation moves with the seed"
        finite = np.isfinite(table).all((0, 2))
        if not finite.all():
            lost = [name for name, good in zip(wanted, finite, strict=True) if not good]
            why += f"; not finite in some of them: {listed(lost, 3)}"
        return Summary("seeds", kept, {}, no_moments=why, ran_away=ran_away)
    near = [d.values for (_, d), gone in zip(have, away, strict=True) if not gone]
    draws = float(sum(values.shape[0] * values.shape[1] for values in near))
    quantities = {name: _seed_figures(table[~away, j], draws) for j, name in enumerate(wanted)}
    return Summary("seeds", kept, quantities, ran_away=ran_away)


def _values(draws: Draws, name: str) -> list[float]:
    if name not in draws.names:
        return [math.nan] * (len(SUMMARIES) + 2)
    sample = metrics.sample_of(draws, name)
    if sample.constant:
        return [*(figure.value for figure in _own_figures(sample).values()), 0.0, 0.0]
    quantiles = (sample.quantile(QUANTILES[q]) for q in SUMMARIES[2:])
    return [sample.mean, sample.sd, *quantiles, sample.mean_mcse, sample.sd_mcse]


def _away(
    table: FloatArray,
    names: Sequence[str],
    widths: Mapping[str, float],
    centres: Mapping[str, Mapping[str, Figure]],
) -> np.ndarray:
    """Tell which seeds lie far from the baseline's centre, or their own median, in any quantity."""
    away = np.zeros(len(table), dtype=bool)
    for j, name in enumerate(names):
        mean, sd = table[:, j, 0], table[:, j, 1]
        finite = np.isfinite(table[:, j]).all(axis=1)
        if not finite.any():
            away[:] = True
            continue
        middle, typical = float(np.median(mean[finite])), float(np.median(sd[finite]))
        if name in centres:
            middle, typical = centres[name]["mean"].value, centres[name]["sd"].value
        width = widths.get(name, typical)
        width = width if width > 0 else typical
        with np.errstate(invalid="ignore", over="ignore"):
            reach = AWAY_SDS * width + CONSTANT * abs(middle)
            far = AWAY_ERRORS * table[:, j, -2]
            away |= ~finite | (np.abs(mean - middle) > np.maximum(reach, far))
            scattered = (sd > AWAY_FACTOR * typical) | (sd < typical / AWAY_FACTOR)
            # Few draws of a rare event have an sd of any size, or none.
            unit_sd = max(typical, float(np.max(sd[finite]))) or 1.0
            variance, errors = (sd / unit_sd) ** 2, 2 * sd / unit_sd * table[:, j, -1] / unit_sd
            allowed = AWAY_ERRORS * np.maximum(errors, np.median(errors[finite]))
            away |= scattered & (np.abs(variance - (typical / unit_sd) ** 2) > allowed)
    return away


def _seed_figures(values: FloatArray, draws: float) -> Mapping[str, Figure]:
    """Summarise one quantity's summaries, shape ``(seed, summary)``, over the seeds.

    The sd's value is the geometric mean, because sds are compared by their logarithms.
    """
    k = len(values)
    found: dict[str, Figure] = {}
    for i, what in enumerate(SUMMARIES):
        v = values[:, i]
        if what == "sd" and np.all(v > 0):
            value = float(np.exp(np.mean(np.log(v))))
            spread = value * float(np.std(np.log(v), ddof=1))
        else:
            # Squares of 1e-200 or 1e200 would under- or overflow.
            size = float(np.max(np.abs(v))) or 1.0
            value, spread = float(np.mean(v / size)) * size, float(np.std(v / size, ddof=1)) * size
        found[what] = Figure(value, spread / math.sqrt(k), draws, spread)
    return found


def _too_far_apart(name: str, figures: Mapping[str, Figure], count: int) -> str:
    for what in WIDEST:
        figure = figures[what]
        if figure.why and figure.spread is not None:
            scale = figures["sd"].value if what == "sd" else unit(figures)
            seeds = f"only {count} seeds" if count < ENOUGH else "seeds"
            return (
                f"the {what} of {name} differs between {seeds} by {number(figure.spread / scale)} "
                "posterior sd: too much for moments worth comparing"
            )
    return ""
