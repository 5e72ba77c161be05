"""The decision of a comparison as Markdown, and what makes foreign text safe in it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.records import Comparison
from harness.records.levels import SYMBOLS
from harness.records.text import clean, clip, count, one_line
from harness.report.decision import decide
from harness.report.rows import ModelDecision

MOST = 60_000
"""Characters. A comment may have 65 536, a job summary a MiB."""

_NAME, _SENTENCE = 100, 300  # characters
_PLAIN_CODE = re.compile(r"[^`|\\$@]+")
# An underscore inside a word is not markup, nor is a sign or a point before a figure.
_MARKUP = re.compile(r"[\\`*\[\]<>|~$&#{}]|(?<![^\W_])_|_(?![^\W_])")
_AT_START = re.compile(r"^(\d*)([-+=.)])(?!\d)")


def markdown(comparison: Comparison) -> str:
    """Return a comparison's answer and its tables of verdicts, less than :data:`MOST` characters.

    Tables that do not fit are left out at the end, and counted.
    """
    found = decide(comparison)
    one = len(found.models) == 1
    parts = [f"### {words(found.answer, _SENTENCE)}"]
    parts += [words(found.detail, 3 * _SENTENCE)] if found.detail else []
    length = sum(map(len, parts))
    for done, model in enumerate(found.models):
        part = "\n\n".join(_model(model, headed=not one))
        length += len(part)
        if length > MOST:
            parts.append(f"Left out: {count(len(found.models) - done, 'model')}.")
            break
        parts.append(part)
    parts += [words(found.claims, _SENTENCE)] if found.claims else []
    return "\n\n".join(parts) + "\n"


def _model(model: ModelDecision, *, headed: bool) -> Iterator[str]:
    if headed:
        yield f"#### {code(model.model)}: {words(model.answer, _SENTENCE)}"
    if model.error is not None:
        yield words(model.error, _SENTENCE)
        return
    if model.rows:
        headings = ("method", "verdict", "what is wrong", "why", "what helps", "time")
        last = (model.speed_heading, "checked against")
        lines = [f"| {' | '.join((*headings, *last))} |", "|---|---|---|---|---|--:|--:|---|"]
        for row in model.rows:
            level = f"{SYMBOLS[row.level]} {row.level}" + (f" ({row.seeds})" if row.seeds else "")
            said = (row.title, level, row.says, row.why, row.helps)
            figures = (row.time_text, row.times_text, row.evidence)
            cells = [words(text, _SENTENCE) for text in (*said, *figures)]
            lines.append(f"| {' | '.join(cells)} |")
        yield "\n".join(lines)
    for remark in model.remarks:
        yield words(remark, _SENTENCE)
    if model.command:
        yield f"Next: {code(model.command, _SENTENCE)}"


# --- escaping --------------------------------------------------------------------------------


def words(text: str, most: int = _NAME) -> str:
    """Return text on one line in which nothing is markup, a table's border, or a mention."""
    plain = _MARKUP.sub(r"\\\g<0>", clip(one_line(text), most))
    plain = _AT_START.sub(r"\1\\\2", plain)
    # A zero-width space keeps a name from being called by a mention.
    return plain.replace("@", "@&#8203;")


def code(text: str, most: int = _NAME) -> str:
    """Return text on one line as code, whatever stands in it."""
    plain = clip(one_line(text), most)
    if not plain:
        return ""
    if _PLAIN_CODE.fullmatch(plain):
        return f"`{plain}`"
    # Characters by their numbers are never markup, and no border of a table.
    escaped = "".join(c if c.isalnum() or c == " " else f"&#{ord(c)};" for c in plain)
    return f"<code>{escaped}</code>"


def fence(text: str, language: str = "") -> str:
    """Return text as a block of code whose fence is longer than any in it."""
    text = clean(text)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    marks = "`" * max(3, longest + 1)
    return f"{marks}{language}\n{text}\n{marks}"
