"""Measure draws of methods against draws of a reference: one tidy list of measures."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from harness import metrics
from harness.metrics.correlation_error import worst_pair
from harness.metrics.metric import WorstPair
from harness.metrics.pairs import partners
from harness.metrics.samples import places
from harness.metrics.summaries import MEAN, Q50
from harness.records import (
    Draws,
    Estimate,
    FloatArray,
    Measure,
    Model,
    Reference,
    RunResult,
)
from harness.records.names import base_name
from harness.records.text import integer, listed

REFERENCE = "reference"
"""The name under which the reference's own summaries stand among the measures."""

MOST_GENERATED = 1000
"""Of more generated quantities as many are compared, evenly spaced; all of a choice are."""

_NAMED = 8
"""Quantities left out that are named one by one."""


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The quantities to compare, and what was left out and why."""

    names: tuple[str, ...]
    notes: tuple[str, ...]
    # Left out, but a method that gives one of them another value is told so.
    constant: tuple[str, ...] = ()
    # Left out as linear functions of one quantity that stays, which is named.
    copies: Mapping[str, str] = field(default_factory=dict)
    # The generated quantities among the names: a group of their own.
    generated: frozenset[str] = frozenset()


def select(model: Model, reference: Draws, generated: Collection[str] = ()) -> Selection:
    """Choose the scalars to compare: the model's choice, or all that vary.

    A quantity that is constant or not finite in the reference is left out and named; one that is
    so only in a method's draws stays and counts against the method. One number under two names, as
    in a symmetric matrix, counts once. ``generated`` are the variables of the program's generated
    quantities; of very many, some are compared.
    """
    notes = []
    chosen = model.quantities
    if chosen:
        present = {base_name(n) for n in reference.names} | set(reference.names)
        absent = [c for c in chosen if c not in present]
        if absent:
            notes.append(f"not in the reference's draws, so not compared: {', '.join(absent)}")
    wanted, note = looked_at(model, reference.names, generated)
    notes += [note] if note else []
    if chosen:
        wanted = [n for n in wanted if n in chosen or base_name(n) in chosen]
    whose: dict[str | None, list[str]] = {}
    at = {name: i for i, name in enumerate(reference.names)}
    why_not = metrics.unusable(reference.values)
    for name in wanted:
        whose.setdefault(why_not[at[name]], []).append(name)
    names = whose.pop(None, [])
    notes += [
        f"left out, {why} in the reference: {listed(unusable, _NAMED)}"
        for why, unusable in whose.items()
    ]
    index = np.array([at[n] for n in names], dtype=np.intp)
    copies = {names[c]: names[o] for c, o in metrics.copies(reference.values, index).items()}
    if copies:
        same = [f"{copy} ({original})" for copy, original in copies.items()]
        notes.append(f"left out, the same as another quantity: {listed(same, _NAMED)}")
    judged = tuple(n for n in names if n not in copies)
    group = frozenset(n for n in judged if base_name(n) in generated)
    return Selection(judged, tuple(notes), tuple(whose.get("constant", ())), copies, group)


def looked_at(
    model: Model, names: Sequence[str], generated: Collection[str]
) -> tuple[list[str], str]:
    """Return the scalars that a comparison looks at, and a note where some are left out.

    All but the generated quantities where the model has none compared, those that are not among its
    choice or, without a choice, but ``MOST_GENERATED`` of these.
    """
    many = [n for n in names if base_name(n) in generated]
    if not model.generated:
        left_out = set(many)
        return [n for n in names if n not in left_out], ""
    if model.quantities:
        chosen = set(model.quantities)
        left_out = {n for n in many if n not in chosen and base_name(n) not in chosen}
        return [n for n in names if n not in left_out], ""
    if len(many) <= MOST_GENERATED:
        return list(names), ""
    left_out = set(many) - {many[i * len(many) // MOST_GENERATED] for i in range(MOST_GENERATED)}
    note = (
        f"{integer(MOST_GENERATED)} of {integer(len(many))} generated quantities are "
        "compared, evenly spaced; choose others with --quantities"
    )
    return [n for n in names if n not in left_out], note


class Measured(NamedTuple):
    """One run's measures, and the pair whose correlation is most wrong."""

    measures: list[Measure]
    pair: WorstPair | None = None


def _settled(sample: metrics.Sample) -> tuple[metrics.Sample, dict[str, Estimate]]:
    """Return a scalar of the reference and its summaries, with all figures that need its draws."""
    sample.settle()
    return sample, metrics.summaries(sample)


def _compared(
    own: Mapping[str, metrics.Sample],
    references: Mapping[str, metrics.Sample],
    *,
    summaries_only: bool,
) -> list[tuple[dict[str, Estimate], tuple[float, ...]]]:
    """Return the figures of a run's quantities beside the reference's, and their marks.

    The run may lack some of the quantities.
    """
    compared: list[dict[str, Estimate]] = [{} for _ in own]
    if not summaries_only:
        compared = metrics.compare_quantities(list(own.values()), [references[n] for n in own])
    found = {
        name: (metrics.summaries(sample) | more, sample.marks)
        for (name, sample), more in zip(own.items(), compared, strict=True)
    }
    return [
        found[name] if name in found else (metrics.not_measured(sample.kind), ())
        for name, sample in references.items()
    ]


class Yardstick:
    """A reference prepared once for the comparisons of one model."""

    def __init__(self, model: str, reference: Reference, selection: Selection) -> None:
        """Sort and summarise the reference's draws; raises ValueError if it has none."""
        if reference.draws is None:
            raise ValueError(f"the reference of {model} has no draws: {reference.why}")
        self.model = model
        self.kind = reference.kind
        self.names = selection.names
        self.constant = dict(
            zip(
                selection.constant,
                metrics.samples_of(reference.draws, selection.constant, keep=True),
                strict=True,
            )
        )
        self.copies = selection.copies
        self.draws = reference.draws
        self.iid = reference.draws.iid
        self._prepared: dict[tuple[str, ...], metrics.JointReference] = {}
        self.samples: list[metrics.Sample] = []
        self._summaries: list[dict[str, Estimate]] = []
        found = metrics.of_samples(_settled, self.draws, self.names, keep=True, arrays=False)
        for sample, summary in found:
            self.samples.append(sample)
            self._summaries.append(summary)

    def _measures(
        self, method: str, seed: int | None, quantity: str | None, found: Mapping[str, Estimate]
    ) -> list[Measure]:
        return [
            Measure(self.model, method, seed, quantity, m, float(e.value), float(e.mcse), self.kind)
            for m, e in found.items()
        ]

    def own_summaries(self) -> list[Measure]:
        """Return the reference's mean, sd and quantiles with their errors."""
        return [
            m
            for name, found in zip(self.names, self._summaries, strict=True)
            for m in self._measures(REFERENCE, None, name, found)
        ]

    def run(self, result: RunResult, *, against_itself: bool = False) -> Measured:
        """Measure one run against the reference; nothing if the run has no draws.

        A quantity that the run does not have is measured as NaN, which no rule calls close.
        With ``against_itself`` (NUTS as the reference) there are only summaries.
        """
        draws = result.draws
        if draws is None:
            return Measured([])
        method, seed = result.spec.method, result.spec.seed
        out: list[Measure] = []
        broken = self._broken(draws)
        judged = dict(zip(self.names, self.samples, strict=True)) | broken
        there = frozenset(draws.names)
        present = tuple(n for n in judged if n in there)
        theirs = metrics.Reader(self.draws, tuple(judged), keep=True)
        ours = metrics.Reader(draws, present, keep=draws is self.draws)

        def beside(
            block: Sequence[str],
        ) -> list[tuple[dict[str, Estimate], tuple[float, ...]]]:
            mine = [n for n in block if n in there]
            found = _compared(
                dict(zip(mine, ours.read(mine), strict=True)),
                dict(zip(block, theirs.read(block), strict=True)),
                summaries_only=against_itself,
            )
            theirs.let_go(block)
            return found

        marks = {}
        results = (
            r for block in metrics.each(beside, metrics.blocks_of(tuple(judged))) for r in block
        )
        for name, (found, at) in zip(judged, results, strict=True):
            out += self._measures(method, seed, name, found)
            marks[name] = at
        if not against_itself:
            out += self._moved(draws, method, seed)
        pair = None
        together = tuple(n for n in present if judged[n].kind != "discrete")
        if len(together) > 1 and not against_itself:
            both = [judged[n].marks for n in together], [marks[n] for n in together]
            joint = self._joint(draws, together, *map(np.array, both))
            out += self._measures(method, seed, None, metrics.compare_joint(joint))
            pair = worst_pair(joint, together)
        out += self._measures(method, seed, None, metrics.measured("run", result))
        return Measured(out, pair)

    def _joint(
        self, draws: Draws, present: tuple[str, ...], theirs: FloatArray, marks: FloatArray
    ) -> metrics.Joint:
        if present not in self._prepared:
            vectors: dict[str, list[int]] = {}
            for i, name in enumerate(present):
                vectors.setdefault(base_name(name), []).append(i)
            self._prepared[present] = metrics.JointReference(
                self.draws.values,
                iid=self.iid,
                seed=seed_of(" ".join(self.names)),
                vectors=[np.array(v) for v in vectors.values()],
                which=places(self.draws, present),
                marks=theirs,
            )
        return metrics.Joint(
            draws.values,
            self._prepared[present],
            iid=draws.iid,
            copies=draws.copies,
            which=places(draws, present),
            marks=marks,
        )

    def _broken(self, draws: Draws) -> dict[str, metrics.Sample]:
        """Return copies of a quantity that are none in these draws, with their reference."""
        out = {}
        for pair in self.copies.items():
            if set(pair) <= set(draws.names):
                both = [
                    np.stack([d.quantity(n).ravel() for n in pair]) for d in (self.draws, draws)
                ]
                if not metrics.copies(np.concatenate(both, axis=1).T[None]):
                    out[pair[0]] = metrics.sample_of(self.draws, pair[0])
        return out

    def _moved(self, draws: Draws, method: str, seed: int) -> list[Measure]:
        """Measure what is constant in the reference and has another value in these draws."""
        out = []
        for name, sample in self.constant.items():
            if name in draws.names:
                own = metrics.sample_of(draws, name)
                found = metrics.compare_quantity(own, sample)
                if any(e.value != 0 for e in found.values()):
                    out += self._measures(method, seed, name, metrics.summaries(own) | found)
        return out

    def spread(self, measures: Sequence[Measure]) -> list[Measure]:
        """Return the metrics over seeds, where a method has several."""
        by_cell: dict[tuple[str, str], list[Measure]] = {}
        centre = {"continuous": MEAN.id, "heavy": Q50.id}
        kinds = self.kinds()
        for m in measures:
            if m.quantity is None or m.seed is None:
                continue
            # A copy that a run breaks has no kind of its own.
            if m.metric == centre.get(kinds.get(m.quantity, "constant")):
                by_cell.setdefault((m.method, m.quantity), []).append(m)
        out = []
        samples = dict(zip(self.names, self.samples, strict=True))
        for (method, quantity), cells in by_cell.items():
            if len(cells) == 1:
                continue
            means = np.array([c.value for c in cells])
            errors = np.array([c.mcse for c in cells])
            found = metrics.measured("seeds", means, errors, samples[quantity])
            out += self._measures(method, None, quantity, found)
        return out

    def kinds(self) -> Mapping[str, metrics.Kind]:
        """Return what each quantity is in the reference."""
        varying = zip(self.names, self.samples, strict=True)
        return {n: s.kind for n, s in [*varying, *self.constant.items()]}

    def modes(self) -> Mapping[str, int]:
        """Return how many modes each quantity has in the reference; values are no modes."""
        kinds = self.kinds()
        return {
            n: s.basins.count
            for n, s in zip(self.names, self.samples, strict=True)
            if kinds[n] != "discrete"
        }

    def correlations(self) -> Mapping[str, tuple[str, float]]:
        """Return each quantity's strongest partner in the reference and their correlation.

        Of very many quantities the partner is sought among neighbours and the scalars.
        """
        names = self.names
        if len(names) < 2:  # noqa: PLR2004 (a pair)
            return {}
        found = partners(self.draws.values, places(self.draws, names), self._scalars())
        return {name: (names[j], r) for name, (j, r) in zip(names, found, strict=True)}

    def _scalars(self) -> list[int]:
        """Return the places of quantities that are no elements of a vector."""
        return [i for i, name in enumerate(self.names) if base_name(name) == name]


def chain_measures(result: RunResult, names: Sequence[str], reference: str) -> list[Measure]:
    """Return the sampler diagnostics of a run of Markov chains, per quantity and per run."""
    draws = result.draws
    if draws is None:
        return []
    there = frozenset(draws.names)
    present = [n for n in names if n in there]
    found = metrics.chain_diagnostics(
        metrics.of_samples(metrics.of_chains, draws, present, keep=True),
        draws.stats,
        result.diagnostics.get("max_tree_depth"),
    )
    spec = result.spec
    run = (spec.model, spec.method, spec.seed)
    return [
        Measure(
            *run, None if i is None else present[i], m, float(e.value), float(e.mcse), reference
        )
        for m, i, e in found
    ]


def mode_shares(result: RunResult, names: Sequence[str]) -> dict[str, list[float]]:
    """Return each chain's share in the leftmost mode, for quantities with several modes."""
    draws = result.draws
    if draws is None or draws.iid:
        return {}
    there = frozenset(draws.names)
    present = [n for n in names if n in there]
    found = metrics.of_samples(_leftmost, draws, present, keep=True, arrays=False)
    return {n: shares for n, shares in zip(present, found, strict=True) if shares}


def _leftmost(own: metrics.Sample) -> list[float]:
    """Return each chain's share in the leftmost of several modes; none where there is one."""
    return metrics.chain_shares(own)[:, 0].tolist() if own.basins.count > 1 else []


def seed_of(text: str) -> int:
    """Return a seed that depends on a text only."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)
