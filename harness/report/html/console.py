"""Console text for the report: what was said, without settings and progress lines."""

from __future__ import annotations

import re

_PROGRESS = re.compile(
    r"^\s*\d+\s+-?(?:[\d.]+(?:e[+-]?\d+)?|inf|nan)\s+\S+\s+\S+\s*$"  # a row of the ELBO table
    r"|^(?:Chain \[?\d+\]? )?Iteration:\s+\d+ / \d+",
    re.IGNORECASE,
)
_KEEP_EACH_SIDE = 900


def excerpt(text: str) -> str:
    """Return console text worth reading.

    Left out, and counted: CmdStan's echo of its settings (the report has them, and the
    echo names files of the machine), and lines of mere progress (the ELBO is drawn). A
    long rest keeps its beginning and its end.
    """
    lines = _without_settings(text.splitlines())
    out: list[str] = []
    skipped = 0
    for line in lines:
        if _PROGRESS.match(line):
            skipped += 1
            continue
        if skipped:
            out.append(_left_out(skipped))
            skipped = 0
        if line.strip() or (out and out[-1].strip()):
            out.append(line.rstrip())
    if skipped:
        out.append(_left_out(skipped))
    said = "\n".join(out).strip()
    if len(said) > 2 * _KEEP_EACH_SIDE + 80:
        gap = len(said) - 2 * _KEEP_EACH_SIDE
        middle = f"\n… {gap} characters left out …\n"
        said = said[:_KEEP_EACH_SIDE] + middle + said[-_KEEP_EACH_SIDE:]
    return said


def _left_out(n: int) -> str:
    return f"… {n} lines of progress …" if n > 1 else "… 1 line of progress …"


def _without_settings(lines: list[str]) -> list[str]:
    """Drop the echo: from ``method = …`` up to the first empty line."""
    start = next((i for i, line in enumerate(lines) if line.startswith("method =")), None)
    if start is None:
        return lines
    end = next((i for i in range(start, len(lines)) if not lines[i].strip()), len(lines))
    return lines[:start] + lines[end:]
