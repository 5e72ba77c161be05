"""The answer of a check in one line, one line a model, and what to do next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import NamedTuple

from harness.check.baseline.change import (
    CHANGED,
    ENOUGH_SEEDS,
    SAME,
    CheckOutcome,
    Conclusion,
    ModelCheck,
    NoMoments,
)
from harness.check.baseline.file import CANDIDATE, SUFFIX
from harness.check.show.words import CONCLUSIONS, SYMBOLS, note
from harness.records.text import clean, count, one_line

BASELINES = Path("baselines")
"""Where ``harness baseline`` writes unless told otherwise."""

BUDGET, MOST_BUDGET = 8, 64

_MOST_NAMED = 10


def conclusion(code: int) -> Conclusion:
    """Return the conclusion that an exit code stands for."""
    return "same" if code == SAME else "changed" if code == CHANGED else "inconclusive"


def number(check: ModelCheck, wanted: Conclusion) -> int:
    """Count the figures of a conclusion; for a candidate none were compared."""
    return sum(c.conclusion == wanted for c in check.changes) if not check.candidate else 0


def compared(check: ModelCheck) -> int:
    """Count the figures that were compared."""
    return 0 if check.candidate else len(check.changes)


def answer(outcome: CheckOutcome) -> str:
    """Say in one line what the whole check found."""
    said = conclusion(outcome.exit_code)
    start = f"{SYMBOLS[said]} {CONCLUSIONS[said]}"
    if not outcome.models:
        return f"{start}: nothing was checked"
    total = count(sum(map(compared, outcome.models)), "figure")
    of_models = count(len(outcome.models), "model")
    if said == "same":
        return f"{start}: {total} of {of_models}{_exactly(outcome)}{_roughly(outcome)}"
    parts = []
    if having := [n for m in outcome.models if (n := number(m, said))]:
        parts.append(f"{sum(having)} of {total}, in {len(having)} of {of_models}")
    open_ = sum(number(m, "inconclusive") for m in outcome.models)
    if open_ and said == "changed":
        parts.append(f"{open_} undecided")
    apart = (
        ("no baseline for", sum(m.candidate for m in outcome.models)),
        ("could not check", sum(m.error is not None for m in outcome.models)),
        ("nothing to compare in", sum(map(is_empty, outcome.models))),
    )
    parts += [f"{words} {n} of {of_models}" for words, n in apart if n]
    return f"{start}: {'; '.join(parts)}{_roughly(outcome)}"


def _exactly(outcome: CheckOutcome) -> str:
    """Say to what extent the draws themselves are the same."""
    if outcome.exact:
        return ", to the last digit"
    alike = sum(m.identical for m in outcome.models)
    if not alike:
        return ""
    return ", identical draws" + ("" if alike == len(outcome.models) else f" in {alike}")


def _roughly(outcome: CheckOutcome) -> str:
    """Say how many methods were compared without means, sds and quantiles."""
    rough = sum(len(coarse(m)) for m in outcome.models)
    return f"; {count(rough, 'method')} by level and shares of seeds only" if rough else ""


def coarse(check: ModelCheck) -> list[NoMoments]:
    """Return the notes on methods that were compared without means, sds and quantiles."""
    return [n for n in check.notes if isinstance(n, NoMoments)]


def is_empty(check: ModelCheck) -> bool:
    """Tell whether nothing was compared although nothing went wrong."""
    return not check.changes and check.error is None and not check.candidate


def model_line(check: ModelCheck) -> str:
    """Say in one line what became of one model."""
    said = conclusion(check.exit_code)
    words, parts = CONCLUSIONS[said], []
    total = count(compared(check), "figure")
    changed, open_ = number(check, "changed"), number(check, "inconclusive")
    if check.candidate:
        words = "no baseline"
        parts.append(f"a candidate was written: {one_line(shown(check.path))}")
    elif is_empty(check):
        parts.append("nothing was compared")
    elif said == "same":
        parts += [f"{total}, identical draws" if check.identical else total]
    if changed:
        parts.append(f"{changed} of {total}")
    if open_:
        parts.append(f"{open_} undecided" if changed else f"{open_} of {total}")
    if check.error is not None and (changed or open_):
        parts.append("the check did not finish")
    elif check.error is not None:
        words = "could not be checked"
    inside = f" ({'; '.join(parts)})" if parts else ""
    return f"{SYMBOLS[said]} {one_line(check.model)}: {words}{inside}"


def remarks(check: ModelCheck) -> list[str]:
    """Return the notes on a model, with the differences that had no effect on its figures."""
    idle = check.reasons if check.exit_code == SAME else ()
    return [*(f"different, with no effect: {reason}" for reason in idle), *map(note, check.notes)]


def shown(path: Path | None) -> str:
    """Return a path relative to the current folder, if it is inside, with forward slashes."""
    if path is None:
        return ""
    here = Path.cwd()
    if path.is_absolute() and path.is_relative_to(here):
        path = path.relative_to(here)
    return clean(path.as_posix())


class Step(NamedTuple):
    """Something to do: why, the command, and what goes with it."""

    why: str
    command: str
    then: str = ""

    def __str__(self) -> str:
        """One line: ``if this is intended: harness baseline mixture, and commit the file``."""
        return f"{self.why}: {self.command}{self.then}"


def next_steps(outcome: CheckOutcome) -> list[Step]:
    """Say what to do about what is not the same."""
    steps = []
    changed = [m for m in outcome.models if number(m, "changed") and not _gone(m)]
    if changed:
        files = "the file" if len(changed) == 1 else "the files"
        steps.append(
            Step("if this is intended", _command("baseline", changed), f", and commit {files}")
        )
        if outcome.exact:
            steps.append(Step("to allow for Monte Carlo error", _command("check", changed)))
    for check in outcome.models:
        if check.candidate and check.path is not None:
            target = check.path.with_name(check.path.name.removesuffix(CANDIDATE) + SUFFIX)
            names = [one_line(shown(path)) for path in (check.path, target)]
            steps.append(Step(f"review {names[0]}, then", shlex.join(["mv", *names])))
    open_ = [m for m in outcome.models if number(m, "inconclusive") and not number(m, "changed")]
    # A share of two or three seeds cannot decide, however many seeds it is compared with.
    few = [m for m in open_ if any(n.seeds < ENOUGH_SEEDS for n in coarse(m))]
    if few:
        why = "for means, sds and quantiles to compare, in the state that the baseline is of"
        steps.append(Step(why, f"{_command('baseline', few)} --seeds {ENOUGH_SEEDS}"))
    open_ = [m for m in open_ if m not in few]
    if open_ and outcome.budget < MOST_BUDGET:
        budget = max(BUDGET, min(2 * outcome.budget, MOST_BUDGET))
        steps.append(Step("for more draws", f"{_command('check', open_)} --budget {budget}"))
    return steps


def _gone(check: ModelCheck) -> bool:
    """Tell whether the model itself is missing: no new baseline could be written."""
    return any(c.kind == "missing" and c.part == "model" for c in check.changes)


def _command(name: str, checks: list[ModelCheck]) -> str:
    models = [shlex.quote(one_line(m.model)) for m in checks]
    if len(models) > _MOST_NAMED:
        models = ["MODEL …"]
    folders = {m.path.parent for m in checks if m.path is not None}
    where = []
    if len(folders) == 1 and (folder := shown(folders.pop())) != BASELINES.as_posix():
        where = ["--baselines", shlex.quote(one_line(folder))]
    return " ".join(["harness", name, *models, *where])
