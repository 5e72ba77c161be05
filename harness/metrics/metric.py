"""A row of the METRICS table, and the scene that its words describe."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from harness.metrics.sample import Kind
from harness.records import Closeness, Estimate, Measure, Rule, RunResult
from harness.records.budget import EXACT_DRAWS, MAX_DRAWS, MAX_NUTS_SAMPLES, Scarce
from harness.records.text import count, integer, number, percent, setting, with_error


class WorstPair(NamedTuple):
    """The two quantities whose correlation is most wrong, with both correlations."""

    first: str
    second: str
    own: float
    reference: float


@dataclass(frozen=True, slots=True)
class JudgeContext:
    """What sentences may mention beside the measures; everything may be left out."""

    dimension: int | None = None  # quantities compared; by default counted from the measures
    # For each quantity, its strongest partner in the reference and their correlation.
    correlations: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    pairs: Mapping[int, WorstPair] = field(default_factory=dict)  # by seed
    chains: int = 4  # Markov chains behind an R-hat
    modes: Mapping[str, int] = field(default_factory=dict)  # of each quantity in the reference
    # What each quantity is in the reference; by default continuous.
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    generated: frozenset[str] = frozenset()  # the generated quantities, judged as a group
    # For each quantity with several modes, the share of every chain in the leftmost one.
    mode_shares: Mapping[str, Sequence[float]] = field(default_factory=dict)
    title: str = ""  # what the method is called in sentences; by default its id
    factorised: bool = False  # the method's family has no correlations


@dataclass(frozen=True, slots=True)
class Scene:
    """One measure with the figures around it.

    ``own`` and ``theirs`` are the same quantity's other figures in this run and in the
    reference; ``alike`` are this metric's values in all seeds with the same finding, ascending.
    """

    measure: Measure
    own: Mapping[str, Estimate] = field(default_factory=dict)
    theirs: Mapping[str, Estimate] = field(default_factory=dict)
    context: JudgeContext = field(default_factory=JudgeContext)
    alike: Sequence[float] = ()

    @property
    def value(self) -> float:
        """The measured value."""
        return self.measure.value

    @property
    def quantity(self) -> str:
        """The quantity's name; joint metrics concern all."""
        return self.measure.quantity or "all quantities"

    @property
    def method(self) -> str:
        """The method's name in running text."""
        return self.context.title or self.measure.method

    @property
    def pair(self) -> WorstPair | None:
        """The pair of quantities with the worst correlation in this measure's seed."""
        seed = self.measure.seed
        return None if seed is None else self.context.pairs.get(seed)


Scope = Literal["draws", "quantity", "joint", "run", "seeds", "chain", "sampler", "unconstrained"]
"""For whom a metric is computed, and so what ``measure`` is called with.

- ``draws``: one sample, ``measure(own)``, a summary of one quantity.
- ``quantity``: two samples of one quantity, ``measure(own, reference)``; with ``many`` two lists
  of samples.
- ``joint``: all quantities of a run and of the reference, ``measure(joint)``.
- ``run``: a run with its draws, ``measure(result)``.
- ``seeds``: one quantity's means in every seed, ``measure(means, mcses, reference)``.
- ``chain``: Markov chains of one quantity, shape ``(chain, draw)``, ``measure(values)``.
- ``sampler``: the sampler's own statistics, ``measure(stats, max_depth)``.
- ``unconstrained``: draws of all parameters, ``measure(own, reference)``.
"""

TAKEN: Mapping[Scarce, str] = {
    "run": f"the {integer(MAX_DRAWS)} draws that the harness takes of a run",
    "nuts": f"the {integer(MAX_NUTS_SAMPLES)} draws a chain that the harness takes of NUTS",
    "ensemble": f"the {integer(MAX_DRAWS)} draws that the harness takes of short chains",
    "exact": f"the {integer(EXACT_DRAWS)} exact draws that the harness takes",
    "supplied": "the supplied reference's draws",
    "given": "the given fit's draws",
}
"""The limit that would have to give, by the sample whose draws are too few."""

LARGEST_LOG = 700.0
"""Logarithms above this overflow when they are turned into ratios."""


Words = Callable[[Scene, str], str]
"""Turns a scene, and how large its value is in words, into words."""


class Column(NamedTuple):
    """A metric's column in the report's table of quantities."""

    title: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """Everything that is known about one metric."""

    id: str  # its name in files, limits and claims
    noun: str  # the figure in words without its quantity: "error of the mean"
    scope: Scope  # for whom it is computed
    # Its estimate, or None where it is not defined: for good draws only without a rule.
    measure: Callable[..., Any]
    # Of scope ``quantity``: ``measure`` takes a list of samples and a list of their references, and
    # returns a list of estimates, because one operation on many quantities beats many on one.
    many: bool = False
    unit: str = ""
    # The quantities it is for; constant ones are measured only in runs that move them.
    kinds: tuple[Kind, ...] = ("continuous", "heavy", "discrete", "constant")
    rule: Rule | None = None  # the limits and their reason; summaries are not judged
    stricter: Callable[[RunResult], float] | None = None  # a run's upper bound on the close limit
    log: bool = False  # the value is the logarithm of a ratio; people read the ratio
    form: Literal["number", "integer", "percent"] = "number"
    digits: int = 2
    # Place in headlines among findings that are equally grave and frequent, smallest first.
    telling: float = 100
    # Orders findings of one metric whose values are equal to two digits, largest first.
    tie: Callable[[Scene], float] | None = None
    by_seed: bool = False  # seeds differ in kind, so that each one's value is listed
    # A finding as a clause, and in a few words for tables. By default the noun and the value.
    clause: Words | None = None
    brief: Words | None = None
    # A remedy's effect from the scenes before and after it, in a few words.
    change: Callable[[Scene | None, Scene], str] | None = None
    column: Column | None = None  # its column in the table of quantities
    hide_zeros: bool = False  # a column of zeros is left out

    @property
    def title(self) -> str:
        """The figure in words with its unit, for tables."""
        return f"{self.noun}, in {self.unit}" if self.unit else self.noun

    @property
    def about_chains(self) -> bool:
        """Whether it is a diagnostic of Markov chains."""
        return self.scope in {"chain", "sampler"}

    def subject(self, quantity: str | None) -> str:
        """Return the figure in words with its quantity."""
        return self.noun if quantity is None else f"{self.noun} of {quantity}"

    def shown(self, figure: Estimate) -> Estimate:
        """Return a figure as people read it: the ratio instead of its logarithm."""
        if not self.log:
            return Estimate(*figure)
        ratio = math.exp(min(figure[0], LARGEST_LOG))
        return Estimate(ratio, ratio * figure[1])

    def size(self, value: float) -> str:
        """Write how large a value is: a ratio, or the value without its sign."""
        signless = self.rule is not None and self.rule.direction == "both" and not self.log
        return self._write(abs(value) if signless else self.shown(Estimate(value, 0.0)).value)

    def _write(self, value: float) -> str:
        if self.form == "number":
            return number(value, self.digits)
        return integer(value) if self.form == "integer" else percent(value, 1)

    def _with_unit(self, text: str) -> str:
        return f"{text} {self.unit}" if self.unit else text

    def bound(self, limit: float) -> str:
        """Write a limit as people read it: of a logarithm the factor."""
        if self.log:
            return f"×{_factor(limit)}"
        return percent(limit) if self.form == "percent" else setting(limit)

    def _bounding(self, value: float) -> str:
        """Write a bound in two digits, of a logarithm in three as the factor."""
        if self.log:
            return f"×{number(math.exp(min(value, LARGEST_LOG)), 3)}"
        return percent(value, 1) if self.form == "percent" else number(value)

    def limits(self, rule: Rule) -> str:
        """Write a rule's limits in the unit in which sentences give the figure."""
        if self.log:
            close, wrong = (f"{_factor(-v)} to {_factor(v)}" for v in (rule.close, rule.wrong))
            return f"{close} is close, outside {wrong} is wrong"
        close, wrong = (self._with_unit(self.bound(v)) for v in (rule.close, rule.wrong))
        if rule.at_least:
            return f"at least {close} is close, below {wrong} is wrong"
        if rule.alarm or rule.close == rule.wrong:
            return f"up to {close} is close"
        return f"up to {close} is close, beyond {wrong} is wrong"

    def sentence(
        self,
        scene: Scene,
        rule: Rule,
        level: Closeness,
        *,
        z: float,
        needed: int | None = None,
        beyond: Scarce | None = None,
        where: str = "",
        more: int = 0,
    ) -> str:
        """Say what was found, and the limits where they are not the metric's own.

        A figure is bounded by z standard errors beyond its value. ``where`` names the seed,
        ``needed`` is how many draws would decide, ``beyond`` the sample whose limit is too low for
        that, and ``more`` how many other quantities have the same finding.
        """
        quantity = scene.measure.quantity
        whole = "The chains" if self.scope == "sampler" else "All quantities together"
        subject = f"`{quantity}`" if quantity is not None else whole
        if where:
            subject += f" ({where})"
        also = f"; likewise {count(more, 'more quantity', 'more quantities')}" if more else ""
        if level == "unsure":
            return f"{subject}: {self._undecided(scene, rule, z, needed, beyond)}{also}."
        clause = self._worded(self.clause, scene) or f"{self.noun} {self._figure(scene)}"
        # The limits that hold everywhere are explained once, in a table of their own.
        own = "" if rule == self.rule else f" Here {self.limits(rule)}: {rule.why}."
        return f"{subject}: {clause}{also}.{own}"

    def _worded(self, words: Words | None, scene: Scene) -> str:
        return "" if words is None else words(scene, self.size(scene.value))

    def _figure(self, scene: Scene) -> str:
        return self._with_unit(self.size(scene.value))

    def _undecided(
        self, scene: Scene, rule: Rule, z: float, needed: int | None, beyond: Scarce | None
    ) -> str:
        m = scene.measure
        if not math.isfinite(m.mcse) or math.isnan(m.value):
            what = "it" if math.isnan(m.value) else f"the error of {self._figure(scene)}"
            return (
                f"the {self.noun} is undecided, because {what} could not be computed "
                f"({self.limits(rule)})"
            )
        figure = self._with_unit(with_error(self.shown(Estimate(m.value, m.mcse))))
        draws = f"; about {integer(needed)} draws would decide" if needed else ""
        if beyond:
            draws = f"; that takes more than {TAKEN[beyond]}"
        signless = abs(m.value) if rule.direction == "both" else m.value
        most = signless + (-z if rule.at_least else z) * m.mcse
        allowed = rule.close * rule.bound_factor ** (-1 if rule.at_least else 1)
        return (
            f"the {self.noun} is {figure}, undecided: the Monte Carlo error bounds it by "
            f"{self._with_unit(self._bounding(most))}, "
            f"and close is at most {self._with_unit(self._bounding(allowed))}{draws}"
        )

    def headline(self, scene: Scene, level: Closeness) -> str:
        """Return a finding in a few words."""
        m = scene.measure
        subject = self.subject(m.quantity)
        if level == "unsure" and math.isnan(m.value):
            return f"{subject} could not be computed"
        if level == "unsure":
            return f"{subject} undecided: {with_error(self.shown(Estimate(m.value, m.mcse)))}"
        return self._worded(self.brief, scene) or f"{subject} {self._figure(scene)}"

    def changed(self, before: Scene | None, after: Scene) -> str:
        """Return in a few words what became of the figure: ``k-hat 0.4 instead of 1.2``."""
        if self.change is not None:
            return self.change(before, after)
        was = "unknown" if before is None else self.size(before.value)
        subject = self.subject(after.measure.quantity)
        return f"{subject} {self.size(after.value)} instead of {self._with_unit(was)}"


def _factor(log: float) -> str:
    return setting(round(math.exp(log), 2))


def not_finite(scene: Scene) -> str:
    """Say that a method's draws are not all numbers."""
    return f"{scene.method}'s draws are not all finite numbers, so they are infinitely far off"


def unless_infinite(clause: Words) -> Words:
    """Return a clause that says so where the draws are not all numbers."""

    def said(scene: Scene, size: str) -> str:
        return not_finite(scene) if math.isinf(scene.value) else clause(scene, size)

    return said
