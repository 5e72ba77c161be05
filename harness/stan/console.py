"""Read what CmdStan prints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from harness.records import Reason, Status
from harness.records.text import count, fixed
from harness.stan.source import generated_line

_NUMBER = r"-?(?:[\d.]+(?:e[+-]?\d+)?|inf|nan)"
_STEP = re.compile(rf"^\s*(\d+)(?:\s+{_NUMBER}){{5}}\s+(\d+)(?:\s|$)", re.IGNORECASE)
_PATH = re.compile(r"^Path \[(\d+)\] : *Iter ")
_CHOSEN = re.compile(r"Path \[(\d+)\] : *Best Iter: \[\d+\] ELBO \(([^)]+)\)")
_MAX_ITERATIONS = "The maximum number of iterations is reached"
_NOT_GOOD = "may not have converged to a good optimum"
_DIVERGING = "MAY BE DIVERGING"

_ROW = re.compile(
    r"^\s*(\d+)\s+(-?[\d.]+(?:e[+-]?\d+)?|-?inf|-?nan)\s+\S+\s+\S+(.*)$", re.IGNORECASE
)
_ETA = re.compile(r"Found best value \[eta = ([^\]]+)\]")
_ADAPT = re.compile(r"^Iteration:\s+(\d+) / \d+ .*\(Adaptation\)", re.MULTILINE)
_NOISE = re.compile(
    r"^\s*$|^[-]{10,}|^EXPERIMENTAL|not been thoroughly tested|^\s*or buggy"
    r"|Gradient evaluation took|leapfrog steps per transition|Adjust your expectations"
    r"|^Iteration:|Begin eta|Begin stochastic|^Success!|^iter\s+ELBO|Drawing a sample|^COMPLETED"
    r"|Elapsed Time|seconds \("
)
_CUT = "\f"
"""Stands where the middle of what a program printed was left out."""
_EXCERPT_LINES = 24
_ROWS_KEPT = 3


@dataclass(frozen=True, slots=True)
class AdviConsole:
    """ADVI's status, a sentence about problems, and the step size that it chose."""

    status: Status
    reason: Reason | None
    message: str
    eta: float | None
    adaptation_iterations: int | None
    """None where part of the output was left out."""

    def gradient_evaluations(
        self, options: Mapping[str, Any], diagnostics: Mapping[str, float]
    ) -> int | None:
        """Return the number of gradients of the log density, or None without a path."""
        if "iterations" not in diagnostics or self.adaptation_iterations is None:
            return None
        steps = self.adaptation_iterations + int(diagnostics["iterations"])
        return steps * int(options["grad_samples"])


def read_advi(text: str) -> AdviConsole:
    """Read the console text of a run that ended with exit code 0.

    CmdStan has three messages about failed convergence; CmdStanPy knows one of them. A run has
    diverged if its last line of progress still says that it may be diverging.
    """
    rows = [m for m in map(_ROW.match, text.splitlines()) if m]
    last_note = rows[-1].group(3) if rows else ""
    said: list[tuple[Reason, str]] = []
    if _MAX_ITERATIONS in text:
        words = "the maximum number of iterations was reached; it may not have converged"
        said.append((Reason.ITERATION_LIMIT, words))
    if _NOT_GOOD in text:
        words = "the ELBO was higher before; it may not have converged to a good optimum"
        said.append((Reason.LOWER_ELBO, words))
    diverging = sum(_DIVERGING in m.group(3) for m in rows)
    if diverging:
        words = f"MAY BE DIVERGING at {diverging} of {len(rows)} evaluations of the ELBO"
        said.append((Reason.DIVERGING, words))
    if not rows and not said:
        said.append((Reason.NO_ELBO, "no ELBO was printed, so convergence is unknown"))
    status: Status = "not_converged" if said else "ok"
    reason = said[0][0] if said else None
    if _DIVERGING in last_note:
        status, reason = "diverged", Reason.DIVERGING
    eta = _ETA.search(text)
    steps = [int(s) for s in _ADAPT.findall(text)]
    return AdviConsole(
        status,
        reason,
        "; ".join(words for _, words in said),
        float(eta.group(1)) if eta else None,
        # The counter continues over all step sizes tried, and every 50th is printed.
        max(steps, default=0) if whole(text) else None,
    )


def left_out(n_bytes: int) -> str:
    """Return the line that stands for the middle of what a program printed."""
    return f"\n{_CUT}… {fixed(n_bytes / 1e6, 1)} MB of output left out …\n"


def whole(text: str) -> bool:
    """Tell whether nothing was left out of what a program printed."""
    return _CUT not in text


def elbo_of(line: str) -> tuple[int, float] | None:
    """Return iteration and ELBO of a row of ADVI's table, three decimals; None for other lines."""
    row = _ROW.match(line)
    return None if row is None else (int(row[1]), float(row[2]))


class Climb(NamedTuple):
    """How L-BFGS climbed log p, by its table."""

    iterations: int
    gradients: int
    log_densities: int = 0
    """Of the draws by which Pathfinder estimated ELBOs."""
    elbo: float | None = None
    """Pathfinder's, of the iterate that it chose; None where it chose none."""


def read_climb(text: str) -> Climb | None:
    """Read the optimiser's table; None without a whole one. Its evaluations are a running total."""
    if not whole(text):
        return None
    found = [_STEP.match(line) for line in text.splitlines()]
    rows = [m for m in found if m is not None]
    return Climb(int(rows[-1][1]), int(rows[-1][2])) if rows else None


def read_pathfinder(text: str, elbo_draws: int) -> dict[int, Climb]:
    """Read the tables of Pathfinder's paths, printed with ``refresh=1``, by the path's number.

    Each row follows a header that names its path. Its column of evaluations adds the running total
    of L-BFGS's gradients again at every iteration, and the draws of that iteration's ELBO, where
    it was estimated. What the last row adds beside those draws is the number of gradients. Nothing
    is read where part of the output was left out.
    """
    if not whole(text):
        return {}
    rows: dict[int, list[tuple[int, int]]] = {}
    path = 0
    for line in text.splitlines():
        named, step = _PATH.match(line), _STEP.match(line)
        if named is not None:
            path = int(named[1])
        elif step is not None:
            rows.setdefault(path, []).append((int(step[1]), int(step[2])))
    chosen = {int(m[1]): float(m[2]) for m in _CHOSEN.finditer(text)}
    found = {}
    for path, steps in rows.items():
        gradients = log_densities = before = 0
        for _, evaluations in steps:
            added = evaluations - before
            before = evaluations
            if added - elbo_draws >= gradients:
                log_densities += elbo_draws
                added -= elbo_draws
            gradients = added
        found[path] = Climb(steps[-1][0], gradients, log_densities, chosen.get(path))
    return found


def error_text(text: str) -> str:
    """Return CmdStan's last lines before it failed, without progress and settings."""
    lines = [line.strip() for line in _without_settings(text)]
    kept = [line for line in lines if not _NOISE.search(line) and not _ROW.match(line)]
    unique = list(dict.fromkeys(kept))
    return " ".join(unique[-6:])[:600]


def sampler_warning(text: str, stan_file: Path) -> str:
    """Return how many proposals and generated quantities threw, with the first message of each."""
    thrown = re.findall(r"^Exception: (.*)$", text, re.MULTILINE)
    generated = [words for words in thrown if _is_generated(words, stan_file)]
    rejected = [words for words in thrown if words not in generated]
    said = []
    if rejected:
        first = rejected[0].strip()[:200]
        said.append(f"{count(len(rejected), 'proposal')} rejected, the first: {first}")
    if generated:
        first = generated[0].strip()[:200]
        said.append(
            f"{count(len(generated), 'draw')} without generated quantities, the first: {first}"
        )
    return "; ".join(said)


def generated_error(text: str, stan_file: Path) -> str:
    """Return CmdStan's words for generated quantities that ended a run; empty if none did."""
    thrown = re.findall(r"Exception: (.*)", text)
    if not thrown or not _is_generated(thrown[-1], stan_file):
        return ""
    return f"the fit ended, its generated quantities failed: {thrown[-1].strip()[:400]}"


def _is_generated(words: str, stan_file: Path) -> bool:
    begins = generated_line(stan_file)
    place = rf"in '(?:[^']*/)?{re.escape(stan_file.name)}', line (\d+)"
    return begins is not None and any(int(n) >= begins for n in re.findall(place, words))


def excerpt(text: str) -> str:
    """Shorten console text: without settings, and with the ELBO table cut in the middle."""
    kept: list[str] = []
    rows: list[str] = []
    for line in [*_without_settings(text), ""]:
        if _ROW.match(line):
            rows.append(line)
            continue
        if rows:
            cut = len(rows) - 2 * _ROWS_KEPT
            if cut > 0:
                rows = [*rows[:_ROWS_KEPT], f"   … {cut} more …", *rows[-_ROWS_KEPT:]]
            kept += rows
            rows = []
        if not _NOISE.search(line) and (not kept or kept[-1] != line):
            kept.append(line.rstrip())
    if len(kept) > _EXCERPT_LINES:
        half = _EXCERPT_LINES // 2
        kept = [*kept[:half], f"… {len(kept) - 2 * half} more lines …", *kept[-half:]]
    return "\n".join(kept)


def _without_settings(text: str) -> list[str]:
    """Drop CmdStan's echo of its arguments, from ``method = …`` to the profile file's name."""
    return [
        line
        for line in text.splitlines()
        if not re.match(r"^\s*[a-z_0-9]+ = .*$|^\s{2,}[a-z_0-9]+$", line)
        and line.strip() not in {"data", "random", "output", "variational", "sample"}
    ]
