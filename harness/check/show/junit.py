"""JUnit XML as GitHub's, GitLab's and Jenkins' readers take it.

One suite a model, one case a method, and one for the model itself. Readers agree on the
elements and attributes used here (Jenkins' ``junit-10.xsd`` allows no others): a *failure* is a
figure that changed, an *error* one that is undecided or a model that could not be run.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import NamedTuple

from harness.check.baseline.change import CheckOutcome, ModelCheck
from harness.check.show.answer import answer, is_empty, model_line, next_steps
from harness.check.show.rows import Row, plain, rows
from harness.check.show.words import note
from harness.records.text import clean, clip, count, one_line

WHOLE = "model"
"""Name of the case for a model as a whole: read, run, and every method there."""

_LINES = 1000
_MESSAGE = 300


class _Trouble(NamedTuple):
    """What is wrong with a case."""

    element: str
    kind: str
    message: str
    text: str


def junit(outcome: CheckOutcome) -> str:
    """Return the check as JUnit XML."""
    root = ET.Element("testsuites", name="harness check")
    root.extend(_suite(check, outcome) for check in outcome.models)
    if not outcome.models:
        # A file without cases would be read as a success.
        trouble = _Trouble("error", "nothing checked", answer(outcome), "")
        root.append(_filled("harness check", [("check", trouble)], outcome, ""))
    for what in ("tests", "failures", "errors"):
        root.set(what, str(sum(int(suite.attrib[what]) for suite in root)))
    if outcome.seconds is not None:
        root.set("time", f"{outcome.seconds:.3f}")
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _suite(check: ModelCheck, outcome: CheckOutcome) -> ET.Element:
    found = rows(check)
    named = [] if check.candidate else [one_line(c.method) for c in check.changes]
    methods = dict.fromkeys(name for name in named if name)
    whole = WHOLE
    while whole in methods:
        whole = f"the {whole}"
    cases = [
        (whole, _of_model(check, found)),
        *((m, _of_rows([r for r in found if r.method == m], check)) for m in methods),
    ]
    out = "\n".join([*check.reasons, *filter(None, [check.diff]), *map(note, check.notes)])
    return _filled(one_line(check.model), cases, outcome, out)


def _filled(
    name: str,
    cases: list[tuple[str, _Trouble | None]],
    outcome: CheckOutcome,
    out: str,
) -> ET.Element:
    elements = [t.element for _, t in cases if t is not None]
    suite = ET.Element(
        "testsuite",
        name=name,
        tests=str(len(cases)),
        failures=str(elements.count("failure")),
        errors=str(elements.count("error")),
        skipped="0",
    )
    seconds = None
    if outcome.seconds is not None and len(outcome.models) == 1:
        seconds = f"{outcome.seconds:.3f}"
        suite.set("time", seconds)
    if outcome.date is not None:
        suite.set("timestamp", f"{outcome.date.isoformat()}T00:00:00")
    for i, (case_name, trouble) in enumerate(cases):
        case = ET.SubElement(suite, "testcase", classname=name, name=case_name)
        if i == 0 and seconds is not None:
            case.set("time", seconds)
        if trouble is not None:
            message = clip(one_line(trouble.message), _MESSAGE)
            mark = ET.SubElement(case, trouble.element, message=message, type=trouble.kind)
            mark.text = clean(trouble.text) or message
        if i == 0 and out:
            ET.SubElement(case, "system-out").text = clean(out)
    return suite


def _of_model(check: ModelCheck, found: list[Row]) -> _Trouble | None:
    """Say what is wrong with the model itself."""
    line = model_line(check)
    own = _of_rows([r for r in found if not r.method], check)
    if check.error is not None:
        if own is None:
            return _Trouble("error", "could not run", check.error, check.error)
        # A case has one element, and a change is graver than a run that failed.
        message = f"{own.message}; {check.error}"
        return own._replace(message=message, text=f"{check.error}\n\n{own.text}")
    if check.candidate:
        steps = "\n".join(map(str, next_steps(CheckOutcome((check,)))))
        return _Trouble("failure", "no baseline", line, steps)
    if is_empty(check):
        return _Trouble("error", "nothing compared", line, line)
    return own


def _of_rows(found: list[Row], check: ModelCheck) -> _Trouble | None:
    if not found:
        return None
    changed = sum(r.conclusion == "changed" for r in found)
    sizes = (("changed", changed), ("undecided", len(found) - changed))
    message = "; ".join(f"{count(n, 'figure')} {what}" for what, n in sizes if n)
    text = plain(found, _LINES)
    if check.reasons:
        text += "\n\nlikely reasons:\n" + "\n".join(f"- {one_line(r)}" for r in check.reasons)
    if changed:
        return _Trouble("failure", "changed", message, text)
    return _Trouble("error", "inconclusive", message, text)
