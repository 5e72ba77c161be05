"""Workflow commands with which GitHub marks a run and the files of a pull request."""

import os
from pathlib import Path
from typing import NamedTuple

from harness.check.baseline.change import AddedSeeds, CheckOutcome
from harness.check.show.answer import answer, model_line, next_steps, shown
from harness.check.show.rows import pick, rows
from harness.check.show.words import CONCLUSIONS, note
from harness.records.text import clean, clip, count, one_line

MOST = 10
"""GitHub shows no more of each kind a step."""

_TITLE, _MESSAGE = 200, 4000
_BREAKS = "%\r\n"


class _Mark(NamedTuple):
    """One annotation before it is written."""

    title: str
    message: str
    path: Path | None = None


def annotations(outcome: CheckOutcome) -> list[str]:
    """Return the workflow commands of a check, one a line of standard output.

    At most :data:`MOST` errors, the gravest of every model first; the last says how many more
    there are. Added seeds are notices.
    """
    marks = _whole_models(outcome)
    tables = [rows(m) for m in outcome.models]
    total = len(marks) + sum(map(len, tables))
    room = MOST if total <= MOST else MOST - 1
    marks = marks[:room]
    for check, table in zip(outcome.models, pick(tables, room - len(marks)), strict=True):
        for row in table:
            title = f"{row.model} / {row.address}: {CONCLUSIONS[row.conclusion]}"
            marks.append(_Mark(title, "\n".join(row.lines), check.path))
    if total > MOST:
        more = count(total - room, "more finding")
        marks.append(_Mark(more, f"{more}, which GitHub would not show. {answer(outcome)}"))
    if outcome.exit_code and not marks:
        marks.append(_Mark("harness check", answer(outcome)))
    added = [(m, [note(n) for n in m.notes if isinstance(n, AddedSeeds)]) for m in outcome.models]
    notices = [_Mark(m.model, "\n".join(notes), m.path) for m, notes in added if notes]
    return [
        *(_command("error", mark) for mark in marks),
        *(_command("notice", mark) for mark in notices[:MOST]),
    ]


def _whole_models(outcome: CheckOutcome) -> list[_Mark]:
    """Return the models that were not compared at all."""
    marks = []
    for check in outcome.models:
        if check.error is not None:
            marks.append(
                _Mark(f"{one_line(check.model)}: could not be checked", check.error, check.path)
            )
        elif check.candidate:
            steps = next_steps(CheckOutcome((check,)))
            message = "\n".join([model_line(check), *map(str, steps)])
            marks.append(_Mark(f"{one_line(check.model)}: no baseline", message, check.path))
    return marks


def _command(name: str, mark: _Mark) -> str:
    properties = {"title": clip(one_line(mark.title), _TITLE)}
    if mark.path is not None:
        properties["file"] = _from_root(mark.path)
    # A line break would end the command; a property's value also ends at a colon or a comma.
    listed = ",".join(
        f"{key}={_escaped(value, _BREAKS + ':,')}" for key, value in properties.items()
    )
    return f"::{name} {listed}::{_escaped(clip(clean(mark.message).strip(), _MESSAGE), _BREAKS)}"


def _from_root(path: Path) -> str:
    """Return a path as GitHub counts it: from the root of the checkout, else from here."""
    root = os.environ.get("GITHUB_WORKSPACE")
    if root and path.absolute().is_relative_to(root):
        return clean(path.absolute().relative_to(root).as_posix())
    return shown(path)


def _escaped(text: str, characters: str) -> str:
    return "".join(f"%{ord(c):02X}" if c in characters else c for c in text)
