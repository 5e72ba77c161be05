"""Markdown for a pull-request comment or a job summary, as GitHub renders it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.check.baseline.change import SAME, CheckOutcome, Conclusion, ModelCheck
from harness.check.show.answer import answer, model_line, next_steps, remarks
from harness.check.show.rows import HEADINGS, Row, pick, rows
from harness.records.text import clean, clip, count, head, one_line, seconds, setting
from harness.report.markdown import code, fence, words

MOST = 60_000
"""Characters. A comment may have 65 536, a job summary a MiB."""

_HEADINGS = ("model", "method", *HEADINGS[:4], "difference (95% interval; margin)", "evidence")
_SENTENCE, _MESSAGE = 300, 2000  # characters


_LIMITS = (150, 100, 50, 25, 10)
"""How many rows of a table, lines of diffs, and models or sentences in a list are shown."""


def markdown(outcome: CheckOutcome) -> str:
    """Return the check as Markdown of less than :data:`MOST` characters.

    What does not fit is left out at the end of each table, where the least grave stands, and
    counted.
    """
    for most in _LIMITS:
        text = "\n\n".join(_parts(outcome, most)) + "\n"
        if len(text) <= MOST:
            return text
    # The names are absurdly long; the answer has none of them.
    return f"{_heading(outcome)}\n\nThe table is too long for GitHub; the JUnit file has it.\n"


def _parts(outcome: CheckOutcome, most: int) -> Iterator[str]:
    yield _heading(outcome)
    yield from _tables(outcome, "Changed", "changed", most)
    yield from _tables(outcome, "Undecided", "inconclusive", most)
    yield from _errors(outcome, most)
    yield from _reasons(outcome, most)
    steps = next_steps(outcome)
    if steps:
        items = [
            f"{words(s.why, _SENTENCE)}: {code(s.command, _SENTENCE)}{words(s.then, _SENTENCE)}"
            for s in steps
        ]
        yield "#### What next\n\n" + _items(items, most, "step")
    yield _all_models(outcome, most)
    yield _origin(outcome)


def _heading(outcome: CheckOutcome) -> str:
    return f"### {words(answer(outcome), _MESSAGE)}"


def _tables(outcome: CheckOutcome, title: str, conclusion: Conclusion, most: int) -> Iterator[str]:
    tables = [rows(m, conclusion) for m in outcome.models]
    if not any(tables):
        return
    shown = pick(tables, most)
    lines = [f"| {' | '.join(_HEADINGS)} |", "|---" * len(_HEADINGS) + "|"]
    lines += [_line(row) for table in shown for row in table]
    yield f"#### {title}\n\n" + "\n".join(lines)
    lost = [(t[0].model, len(t) - len(s)) for t, s in zip(tables, shown, strict=True) if t]
    lost = [(model, n) for model, n in lost if n]
    if lost:
        named = ", ".join(f"{n} of {code(model)}" for model, n in lost[:most])
        rest = "" if len(lost) <= most else ", and others"
        total = sum(n for _, n in lost)
        yield f"{count(total, 'more figure')}, less grave, not shown: {named}{rest}."


def _line(row: Row) -> str:
    told = "<br>".join(filter(None, (words(row.told), words(row.note, _SENTENCE))))
    cells = [
        *map(code, (row.model, row.method, row.quantity)),
        words(row.figure),
        *(words(side, _SENTENCE) for side in (row.old, row.new)),
        told,
        words(row.evidence),
    ]
    return f"| {' | '.join(cells)} |"


def _errors(outcome: CheckOutcome, most: int) -> Iterator[str]:
    failed = [(m.model, m.error) for m in outcome.models if m.error is not None]
    if not failed:
        return
    yield "#### Could not be checked"
    for model, error in failed[:most]:
        message = clip(clean(error).strip(), _MESSAGE)
        if "\n" in message:
            yield f"{code(model)}:\n\n{fence(message)}"
        else:
            yield f"{code(model)}: {words(message, _MESSAGE)}"
    if len(failed) > most:
        yield _more(len(failed), most, "model").strip()


def _reasons(outcome: CheckOutcome, most: int) -> Iterator[str]:
    moved = [m for m in outcome.models if m.exit_code != SAME]
    having = [(m, _said(m.reasons)) for m in moved if _said(m.reasons) or m.diff]
    if not having:
        return
    yield "#### Likely reasons"
    left = most  # of all diffs together
    for check, said in having[:most]:
        if said:
            model = code(check.model)
            yield _items([f"{model}: {words(r, _SENTENCE)}" for r in said], most, "reason")
        if check.diff:
            allowed = max(left, 3)
            yield f"{code(check.model)}:\n\n" + fence(
                clip(head(check.diff, allowed), 100 * allowed), "diff"
            )
            left -= allowed
    if len(having) > most:
        yield _more(len(having), most, "model").strip()


def _all_models(outcome: CheckOutcome, most: int) -> str:
    models = [
        "\n  - ".join(words(line, _SENTENCE) for line in (model_line(m), *_notes(m, most)))
        for m in outcome.models
    ]
    listed = _items(models, most, "model")
    noted = any(_notes(m, 1) for m in outcome.models)
    title = "Every model, and notes" if noted else "Every model"
    return f"<details><summary>{title}</summary>\n\n{listed}\n\n</details>"


def _notes(check: ModelCheck, most: int) -> Sequence[str]:
    notes = _said(remarks(check))
    left = len(notes) - most
    return notes if left <= 0 else [*notes[:most], f"… {count(left, 'more note')}"]


def _said(sentences: Sequence[str]) -> list[str]:
    """Leave out what is empty: an empty item of a list would make a heading of its neighbour."""
    return [s for s in sentences if one_line(s)]


def _origin(outcome: CheckOutcome) -> str:
    parts = [code(outcome.command, _SENTENCE)] if outcome.command else []
    parts += [outcome.date.isoformat()] if outcome.date is not None else []
    parts += [words(f"{name} {v}", _SENTENCE) for name, v in outcome.versions.items()][:10]
    parts += [seconds(outcome.seconds)] if outcome.seconds is not None else []
    if outcome.exact:
        parts.append("compared to the last digit")
    elif outcome.tests:
        tested = count(outcome.tests, "test")
        parts.append(f"family-wise error {setting(outcome.alpha)} over {tested}")
    return f"<sub>{' · '.join(parts)}</sub>"


def _items(items: Sequence[str], most: int, noun: str) -> str:
    return "\n".join(f"- {item}" for item in items[:most]) + _more(len(items), most, noun)


def _more(total: int, most: int, noun: str) -> str:
    return f"\n\n… {count(total - most, f'more {noun}')}" if total > most else ""
