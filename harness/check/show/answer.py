"""The answer of a check in one line, one line a model, and what to do next."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from harness.check.baseline.change import Conclusion
from harness.check.baseline.decide import CHANGED, SAME
from harness.check.baseline.outcome import CheckOutcome, ModelCheck
from harness.check.show.rows import CANDIDATE, SYMBOLS, WORDS, is_candidate
from harness.records.text import clean, count, one_line

BASELINES = Path("baselines")
"""Where ``harness baseline`` writes if not told otherwise."""

BUDGET, MOST_BUDGET = 8, 64
_MOST_NAMED = 10


def conclusion(code: int) -> Conclusion:
    """Return the conclusion that an exit code stands for."""
    return "same" if code == SAME else "changed" if code == CHANGED else "inconclusive"


def number(check: ModelCheck, wanted: Conclusion) -> int:
    """Count the figures of a conclusion; a candidate has none that were compared."""
    if is_candidate(check):
        return 0
    return sum(c.conclusion == wanted for c in check.changes)


def compared(check: ModelCheck) -> int:
    """Count the figures that were compared."""
    return 0 if is_candidate(check) else len(check.changes)


def answer(outcome: CheckOutcome) -> str:
    """Say in one line what the whole check found."""
    said = conclusion(outcome.exit_code)
    start = f"{SYMBOLS[said]} {WORDS[said]}"
    if not outcome.models:
        return f"{start}: nothing was checked"
    total = sum(map(compared, outcome.models))
    of_models = count(len(outcome.models), "model")
    if said == "same":
        return f"{start}: {count(total, 'figure')} of {of_models}{_exactly(outcome)}"
    parts = []
    if having := [n for m in outcome.models if (n := number(m, said))]:
        parts.append(f"{sum(having)} of {count(total, 'figure')}, in {len(having)} of {of_models}")
    open_ = sum(number(m, "inconclusive") for m in outcome.models)
    if open_ and said == "changed":
        parts.append(f"{open_} could not be told")
    parts += _models_apart(outcome, of_models)
    return f"{start}: {'; '.join(parts)}"


def _exactly(outcome: CheckOutcome) -> str:
    """Say to what extent the draws themselves are the same."""
    if outcome.exact:
        return ", to the last digit"
    alike = sum(m.identical for m in outcome.models)
    if not alike:
        return ""
    return ", identical draws" + ("" if alike == len(outcome.models) else f" in {alike}")


def _models_apart(outcome: CheckOutcome, of_models: str) -> list[str]:
    """Say how many models were not compared at all, and why."""
    kinds = (
        ("no baseline for", sum(map(is_candidate, outcome.models))),
        ("could not check", sum(m.error is not None for m in outcome.models)),
        ("nothing to compare in", sum(map(is_empty, outcome.models))),
    )
    return [f"{words} {n} of {of_models}" for words, n in kinds if n]


def is_empty(check: ModelCheck) -> bool:
    """Tell whether a model has nothing that was compared and no reason for it."""
    return not check.changes and check.error is None and not is_candidate(check)


def model_line(check: ModelCheck) -> str:
    """Say in one line what became of one model."""
    said = conclusion(check.exit_code)
    total = compared(check)
    changed, open_ = number(check, "changed"), number(check, "inconclusive")
    parts = []
    words = WORDS[said]
    if is_candidate(check):
        words = "no baseline"
        parts.append(f"a candidate was written: {one_line(shown(check.path))}")
    elif is_empty(check):
        parts.append("nothing was compared")
    elif said == "same":
        parts += [count(total, "figure"), *(["identical draws"] if check.identical else [])]
    if changed:
        parts.append(f"{changed} of {count(total, 'figure')}")
    if open_:
        parts.append(
            f"{open_} could not be told" if changed else f"{open_} of {count(total, 'figure')}"
        )
    if check.error is not None:
        if changed or open_:
            parts.append("and it could not be checked to the end")
        else:
            words = "could not be checked"
    inside = f" ({'; '.join(parts)})" if said != "same" else f" ({', '.join(parts)})"
    return f"{SYMBOLS[said]} {one_line(check.model)}: {words}{inside if parts else ''}"


def also_different(check: ModelCheck) -> list[str]:
    """Return what would be reasons, had anything changed."""
    if check.exit_code != SAME:
        return []
    return [f"also different, to no effect: {reason}" for reason in check.reasons]


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
        """One line: ``if this is meant: harness baseline mixture, and commit the file``."""
        return f"{self.why}: {self.command}{self.then}"


def next_steps(outcome: CheckOutcome) -> list[Step]:
    """Say what to do about what is not the same."""
    steps = []
    changed = [m for m in outcome.models if number(m, "changed") and not _gone(m)]
    if changed:
        files = "the file" if len(changed) == 1 else "the files"
        steps.append(
            Step("if this is meant", _command("baseline", changed), f", and commit {files}")
        )
        if outcome.exact:
            steps.append(Step("to allow for Monte Carlo error", _command("check", changed)))
    for check in filter(is_candidate, outcome.models):
        assert check.path is not None  # noqa: S101 - a candidate has one
        target = check.path.with_name(check.path.name.removesuffix(CANDIDATE) + ".json")
        names = [shown(check.path), shown(target)]
        steps.append(
            Step(f"review {one_line(names[0])}, then", shlex.join(["mv", *map(one_line, names)]))
        )
    open_ = [m for m in outcome.models if number(m, "inconclusive") and not number(m, "changed")]
    if open_:
        budget = _budget(str(outcome.provenance.get("command", "")))
        if budget is not None:
            steps.append(Step("more draws", f"{_command('check', open_)} --budget {budget}"))
    return steps


def _gone(check: ModelCheck) -> bool:
    """Tell whether the model itself is missing: no new baseline could be written."""
    return any(c.kind == "missing" and not c.method for c in check.changes)


def _budget(command: str) -> int | None:
    """Return a budget that is larger than the one that did not suffice, if there is one."""
    given = re.search(r"--budget[ =](\d{1,3})\b", command)
    if given is None:
        return BUDGET
    return max(BUDGET, min(2 * int(given[1]), MOST_BUDGET)) if int(given[1]) < MOST_BUDGET else None


def _command(name: str, checks: list[ModelCheck]) -> str:
    models = [shlex.quote(one_line(m.model)) for m in checks]
    if len(models) > _MOST_NAMED:
        models = ["MODEL …"]
    folders = {m.path.parent for m in checks if m.path is not None}
    where = []
    if len(folders) == 1 and (folder := shown(folders.pop())) != BASELINES.as_posix():
        where = ["--baselines", shlex.quote(one_line(folder))]
    return " ".join(["harness", name, *models, *where])
