"""The runs of a check: whatever a test hands over, as :mod:`harness.intake` takes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.intake import copied
from harness.intake import take as taken_of
from harness.records import Draws
from harness.records.names import base_name
from harness.records.text import listed

_NAMED = 8


@dataclass(frozen=True, slots=True, eq=False)
class Intake:
    """Draws to check: one run, or one for each seed, and the ``source`` they came from."""

    runs: tuple[Draws, ...]
    source: str
    several: bool
    """Runs of several seeds were given, which then carry the error."""
    moves: bool
    """This is a single run of an approximation, which moves with its seed."""

    @property
    def size(self) -> int:
        """The number of draws of a run."""
        chains, draws = self.runs[0].values.shape[:2]
        return int(chains) * int(draws)


def take(given: Any, *, quantities: Sequence[str] = (), independent: bool = False) -> Intake:
    """Read what a test hands over; the arguments are those of ``posterior_regression.check``.

    Raises
    ------
    TypeError
        If it is nothing that can be taken.
    ValueError
        If it has no draws, odd shapes, truncated output, lacks a quantity, or is a point.
    """
    __tracebackhide__ = True
    wanted = (quantities,) if isinstance(quantities, str) else tuple(quantities)
    found = taken_of(given, independent=independent)
    if point := next((t for t in found if t.kind == "point"), None):
        raise ValueError(f"a {point.source} is a single point; its draws are needed")
    runs = tuple(_chosen(t.draws, wanted) for t in found)
    for run in runs[1:]:
        if other := sorted(set(run.names) ^ set(runs[0].names)):
            raise ValueError(f"not all seeds have the same quantities: {listed(other, _NAMED)}")
    if both := copied(run.values.reshape(-1, len(run.names)) for run in runs):
        one, two = both
        raise ValueError(f"seeds {one} and {two} have the same draws; a copy is no further seed")
    several = isinstance(given, list) or len(runs) > 1
    sources = list(dict.fromkeys(t.source for t in found))
    source = f"{len(runs)} × {' and '.join(sources)}" if several else sources[0]
    return Intake(runs, source, several, not several and found[0].kind == "approximation")


def _chosen(draws: Draws, wanted: Sequence[str]) -> Draws:
    """Keep the requested quantities, in the order of the draws, and how often draws repeat."""
    __tracebackhide__ = True
    stats = {} if draws.copies is None else {"copies": draws.copies}
    if not wanted:
        return Draws(draws.names, draws.values, stats=stats, iid=draws.iid)
    bases = [base_name(name) for name in draws.names]
    unknown = [w for w in wanted if w not in draws.names and w not in bases]
    if unknown:
        there = listed(list(dict.fromkeys(bases)), _NAMED)
        raise ValueError(f"unknown quantities: {listed(unknown, _NAMED)}; the draws have {there}")
    keep = [i for i, base in enumerate(bases) if base in wanted or draws.names[i] in wanted]
    names = tuple(draws.names[i] for i in keep)
    return Draws(names, draws.values[:, :, keep], stats=stats, iid=draws.iid)
