"""What a failed check says: only what is not the same, and what to do next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

from harness.check.baseline import Figure, Margins, MethodBaseline
from harness.check.baseline.form import SUMMARIES
from harness.records.text import number, with_error

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
"""A longer table is cut: nobody reads 500 rows that all say the same."""

LINES = 6
"""The same for what limits a new baseline."""

_COLUMNS = ("quantity", "summary", "old ± error", "new ± error", "difference", "margin",
            "in errors", "conclusion")  # fmt: skip

_MOST_DRAWS = 1e8
"""Beyond so many draws nobody takes them; the difference then lies on the margin."""


def said(error: Exception) -> str:
    """Return a baseline error without its advice, which is for the command line."""
    text = str(error)
    return text.rpartition("; ")[0] or text


def unusable(place: Place, what: Sequence[str]) -> str:
    """Say why draws have no moments that could be compared or kept."""
    lines = [*what[:ROWS], *([f"and {len(what) - ROWS} more"] if len(what) > ROWS else [])]
    told = "".join(f"\n  {line}" for line in lines)
    return (
        f"posterior {place.name!r} cannot be compared:{told}\n"
        "Nothing was written, and --posterior-regen does not write it either."
    )


def unreadable(place: Place, error: Exception) -> str:
    """Say that there is a baseline and that it cannot be used."""
    return (
        f"posterior {place.name!r} cannot be compared: {said(error)}\n"
        f"Restore the file, or write it anew: {place.command}"
    )


def unwritable(place: Place, error: OSError) -> str:
    """Say that the baseline's folder cannot be written to."""
    return f"posterior {place.name!r}: cannot write beside {place.shown}: {error}"


def candidate(place: Place, limits: Sequence[str], intake: Intake) -> str:
    """Say that there was nothing to compare with."""
    told = "".join(f"\n  {line}" for line in limits)
    return (
        f"posterior {place.name!r} has no baseline, so nothing was compared.\n"
        f"What was found is now in {place.show(place.candidate)}{told}\n"
        f"Review it, then rename it to {place.path.name}, "
        f"or: {place.command}{_moves(intake)}"
    )


def _moves(intake: Intake) -> str:
    if not intake.moves:
        return ""
    return (
        f"\nA single {intake.source} is compared by its own draws' error: an approximation that "
        "merely moved with its seed counts as changed. Pass a list of fits with different seeds "
        "to allow for that."
    )


# --- what limits a baseline -----------------------------------------------------------------


def limits(method: MethodBaseline, margins: Margins) -> list[str]:
    """Say which figures of a new baseline will not be compared, or only coarsely."""
    lost, wide = [], dict.fromkeys(SUMMARIES, 0.0)
    coarse = 0
    for name, figures in method.quantities.items():
        for what, figure in figures.items():
            if figure.why:
                lost.append(f"the {what} of {name} will not be compared: {figure.why}")
            elif (figure.margin or 0.0) > margins.of(what, _PLAIN):
                coarse += 1
                wide[what] = max(wide[what], figure.margin or 0.0)
    rest = len(lost) - LINES
    out = [*lost[:LINES], *([f"and {rest} more figures will not"] if rest > 0 else [])]
    if coarse:
        told = ", ".join(
            f"{what} up to {_amount(what, size)} instead of "
            f"{_amount(what, margins.of(what, _PLAIN))}"
            for what, size in wide.items()
            if size
        )
        unit = "seeds" if method.kind == "seeds" else "draws"
        total = len(method.quantities) * len(SUMMARIES)
        out.append(
            f"{coarse} of {total} figures need wider margins than asked for ({told}); more {unit} "
            "would narrow them"
        )
    return out


_PLAIN = Figure(0.0, 0.0, 1.0)
"""A figure without a margin of its own."""


def reasons(figures: Mapping[str, Figure]) -> str:
    """Return why a quantity's figures cannot be compared."""
    return "; ".join(dict.fromkeys(f.why for f in figures.values() if f.why)) or "none is given"


# --- what changed ---------------------------------------------------------------------------


def replaced(changes: Sequence[Change]) -> str:
    """Say in half a sentence how an old baseline compared with its successor."""
    if [c.what for c in changes] == ["baseline"]:
        return f"written; not compared with the old one: {changes[0].note}"
    moved = sum(c.conclusion == "changed" for c in changes)
    open_ = sum(c.conclusion == "inconclusive" for c in changes)
    if moved:
        return f"written; changed by more than chance ({moved} of {len(changes)} figures)"
    if open_:
        return f"written; could not tell whether {open_} of {len(changes)} figures changed"
    return "written; the same as before but for chance"


def moved(
    place: Place,
    old: MethodBaseline,
    new: MethodBaseline,
    changes: Sequence[Change],
    alpha: float,
    intake: Intake,
) -> str:
    """Say what is not the same, in a table, and what to do about it."""
    rows = [c for c in changes if c.conclusion != "same"]
    rows.sort(key=lambda c: c.conclusion != "changed")
    count = sum(c.conclusion == "changed" for c in rows)
    if count:
        title = f"posterior {place.name!r} has changed"
    else:
        title = f"posterior {place.name!r}: could not tell whether it changed"
    same = len(changes) - len(rows)
    lines = [title, *_table(rows[:ROWS])]
    if len(rows) > ROWS:
        lines.append(f"and {len(rows) - ROWS} more figures that are not the same")
    lines.append(
        f"{same} of {len(changes)} figures are the same "
        f"(false alarms in the whole check: {alpha:g}; baseline: {place.shown})"
    )
    if not count:
        lines.append(_more(rows, old, new, alpha, len(changes)))
    lines.append(f"If this is what you want: {place.command}")
    return "\n".join(lines) + _moves(intake)


def _table(rows: Sequence[Change]) -> list[str]:
    cells = [_COLUMNS, *(_row(c) for c in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(_COLUMNS) - 1)]
    return [
        "  " + "  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1]])
        for row in cells
    ]


def _row(c: Change) -> tuple[str, ...]:
    note = c.note
    figures = not (math.isnan(c.old.value) and math.isnan(c.new.value))
    old, new = (c.was, c.now) if c.was or c.now else (with_error(c.old), with_error(c.new))
    if c.what == "moments":
        old = new = ""
        note = f"was {c.was}; now {c.now}"
    elif not figures and not c.was:
        old = new = ""
    told = math.isfinite(c.difference) and math.isfinite(c.margin)
    return (
        c.quantity,
        "" if c.kind in {"missing", "new"} else c.what,
        old,
        new,
        _amount(c.what, c.difference, sign=True) if told else "",
        _amount(c.what, c.margin) if told else "",
        f"{c.sds:+.1f}".replace("-", "−") if told and math.isfinite(c.sds) else "",
        f"{_CONCLUSIONS.get(c.kind, c.conclusion)}{': ' if note else ''}{note}",
    )


_CONCLUSIONS = {"missing": "missing", "new": "new"}


def _amount(what: str, size: float, *, sign: bool = False) -> str:
    """Write a difference or a margin: sds for locations, per cent for the sd."""
    plus = "+" if sign and size >= 0 else ""
    if what == "sd":
        return f"{plus}{100 * math.expm1(size):.3g}%".replace("-", "−")
    return f"{plus}{number(size)} sd"


# --- how many draws would tell --------------------------------------------------------------


def _more(
    rows: Sequence[Change], old: MethodBaseline, new: MethodBaseline, alpha: float, figures: int
) -> str:
    """Say how many draws, or seeds, would decide what is open."""
    sizes = [m.kept if m.kind == "seeds" else m.draws for m in (old, new)]
    unit = "seeds" if new.kind == "seeds" else "draws"
    needed = [draws_needed(c, sizes[0], sizes[1], alpha, figures) for c in rows]
    told = [n for n in needed if n is not None]
    now = f"(the baseline has {sizes[0]}, this test {sizes[1]})"
    begin = f"Could not tell {now}"
    if not told:
        return f"{begin}: more {unit} may; how many cannot be estimated from these."
    if max(told) > _MOST_DRAWS:
        return f"{begin}: a difference lies just at its margin, where no number of {unit} tells."
    return f"{begin}: about {_rounded_up(max(told))} {unit} on either side would."


def draws_needed(c: Change, old: int, new: int, alpha: float, figures: int) -> float | None:
    """Estimate how many draws, the same on both sides, would decide a figure.

    Errors shrink with the square root of the draws. The half of the interval should be no more
    than half the margin. Where it is already, it should be no more than the distance between
    difference and margin; for one beyond its margin that distance must be so many errors that
    Holm's strictest test rejects.
    """
    errors = (c.old.mcse, c.new.mcse)
    half = max(c.interval[1] - c.difference, c.difference - c.interval[0])
    room = abs(c.margin - abs(c.difference))
    if not all(math.isfinite(x) for x in (*errors, half, room)) or not any(errors):
        return None
    reach = 2 * half / c.margin
    if reach <= 1:
        if room == 0:
            return math.inf
        reach = half / room
        if abs(c.difference) > c.margin:
            normal = NormalDist()
            reach *= normal.inv_cdf(1 - alpha / max(figures, 1)) / normal.inv_cdf(0.975)
    # The joint variance is a / n on either side: with n on both, that of the mean of both.
    share = errors[0] ** 2 / (errors[0] ** 2 + errors[1] ** 2)
    return max(reach, 1.0) ** 2 * (share * old + (1 - share) * new)


def _rounded_up(n: float) -> int:
    """Round up to two digits."""
    step = int(10 ** max(math.floor(math.log10(n)) - 1, 0))
    return math.ceil(n / step) * step
