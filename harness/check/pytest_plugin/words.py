"""What a failed check says: only what is not the same, and what to do next."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from textwrap import indent
from typing import TYPE_CHECKING

from harness.check.baseline.change import Margins, ModelCheck
from harness.check.baseline.form import SUMMARIES, BaselineError, Figure, MethodBaseline
from harness.check.show.rows import plain, rows
from harness.check.show.words import margin, reason
from harness.records.text import setting

if TYPE_CHECKING:
    from harness.check.baseline.change import Change
    from harness.check.baseline.form import Kind
    from harness.check.pytest_plugin.intake import Intake
    from harness.check.pytest_plugin.places import Place

KINDS: Mapping[Kind, str] = {
    "chains": "Markov chains",
    "independent": "independent draws",
    "seeds": "runs of several seeds",
}

ROWS = 30
"""A longer table is cut: nobody reads 500 rows that say the same."""

LINES = 6
"""The same for what limits a new baseline."""


def unusable(place: Place, what: Sequence[str]) -> str:
    """Say why draws have no moments that could be compared or kept."""
    return (
        f"posterior {place.name!r} cannot be compared:{below(what)}\n"
        "Nothing was written, and --posterior-regen does not write it either."
    )


def below(lines: Sequence[str], indent: int = 2) -> str:
    """Set lines below a sentence; the last counts those beyond :data:`ROWS`."""
    more = [f"and {len(lines) - ROWS} more"] if len(lines) > ROWS else []
    return "".join(f"\n{' ' * indent}{line}" for line in [*lines[:ROWS], *more])


def unreadable(place: Place, error: BaselineError) -> str:
    """Say that there is a baseline and that it cannot be used."""
    return (
        f"posterior {place.name!r} cannot be compared: {error.problem}\n"
        f"Restore the file, or write it again: {place.command}"
    )


def unwritable(place: Place, error: OSError) -> str:
    """Say that the baseline's folder cannot be written to."""
    return f"posterior {place.name!r}: cannot write beside {place.shown}: {error}"


def candidate(place: Place, limits: Sequence[str], intake: Intake) -> str:
    """Say that there was nothing to compare with."""
    return (
        f"posterior {place.name!r} has no baseline, so nothing was compared.\n"
        f"A candidate was written: {place.show(place.candidate)}{below(limits)}\n"
        f"Review it, then rename it to {place.path.name}, "
        f"or: {place.command}{_moves(intake)}"
    )


def _moves(intake: Intake) -> str:
    if not intake.moves:
        return ""
    return (
        f"\nThe error of a single {intake.source} is that of its draws, so an approximation that "
        "only moved with its seed counts as changed. To allow for that, pass a list of fits with "
        "different seeds."
    )


# --- what limits a baseline -----------------------------------------------------------------


def limits(method: MethodBaseline, margins: Margins) -> list[str]:
    """Say which figures of a new baseline will not be compared, or only coarsely."""
    lost = [
        f"the {what} of {name} will not be compared: {f.why}"
        for f, what, name in method.figures
        if f.why
    ]
    wide: dict[str, list[float]] = defaultdict(list)
    for figure, what, _ in method.figures:
        if not figure.why and (figure.margin or 0.0) > margins.of(what):
            wide[what].append(figure.margin or 0.0)
    rest = len(lost) - LINES
    out = [*lost[:LINES], *([f"and {rest} more figures will not"] if rest > 0 else [])]
    if wide:
        told = ", ".join(
            f"{what} up to {margin(what, max(wide[what]))} instead of "
            f"{margin(what, margins.of(what))}"
            for what in SUMMARIES
            if what in wide
        )
        unit = "seeds" if method.kind == "seeds" else "draws"
        coarse = sum(map(len, wide.values()))
        out.append(
            f"{coarse} of {len(method.figures)} figures need wider margins than asked for "
            f"({told}, in sds); more {unit} would narrow them"
        )
    return out


def reasons(figures: Mapping[str, Figure]) -> str:
    """Return why a quantity's figures cannot be compared."""
    return "; ".join(dict.fromkeys(f.why for f in figures.values() if f.why)) or "none is given"


# --- what changed ---------------------------------------------------------------------------


def replaced(changes: Sequence[Change]) -> str:
    """Say in half a sentence how an old baseline compared with its successor."""
    if [c.part for c in changes] == ["baseline"]:
        return f"written; not compared with the old one: {reason(changes[0])}"
    moved = sum(c.conclusion == "changed" for c in changes)
    open_ = sum(c.conclusion == "inconclusive" for c in changes)
    if moved:
        return f"written; changed by more than chance ({moved} of {len(changes)} figures)"
    if open_:
        return f"written; undecided whether {open_} of {len(changes)} figures changed"
    return "written; the same as before up to chance"


def moved(
    place: Place,
    old: MethodBaseline,
    changes: Sequence[Change],
    needed: float,
    alpha: float,
    intake: Intake,
) -> str:
    """Say what is not the same, in a table, and what to do about it."""
    found = rows(ModelCheck(place.name, tuple(changes)))
    changed = any(row.conclusion == "changed" for row in found)
    title = f"posterior {place.name!r} has changed"
    if not changed:
        title = f"posterior {place.name!r}: undecided whether it changed"
    same = (
        f"{len(changes) - len(found)} of {len(changes)} figures are the same "
        f"(false alarms in the whole check: {setting(alpha)}; baseline: {place.shown})"
    )
    lines = [title, indent(plain(found, ROWS), "  "), same]
    if any(c.reason == "too few draws" for c in changes):
        unit, sizes = "draws", (old.draws, intake.size)
        if intake.several:
            unit, sizes = "seeds", (old.kept, len(intake.runs))
        lines.append(
            f"Too few {unit} to decide (the baseline has {sizes[0]}, this test {sizes[1]}): "
            + (
                f"about {_rounded_up(needed)} {unit} would be enough."
                if math.isfinite(needed)
                else "the baseline's own are too few for these margins; write it again."
            )
        )
    lines.append(f"If this is intended: {place.command}")
    return "\n".join(lines) + _moves(intake)


def _rounded_up(n: float) -> int:
    """Round up to two digits."""
    step = int(10 ** max(math.floor(math.log10(n)) - 1, 0))
    return math.ceil(n / step) * step
