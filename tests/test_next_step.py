"""The next command to type where verdicts are unknown."""

from __future__ import annotations

import io
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from harness.metrics.chains import DIVERGENCES, ESS_BULK, RHAT
from harness.records import (
    Attempt,
    Comparison,
    Finding,
    Level,
    Measure,
    Model,
    ModelComparison,
    Reference,
    Refuted,
    Rule,
    Verdict,
)
from harness.report import html, terminal
from harness.report.next_step import next_command

RULE = Rule(0.1, 0.5, "both", "a reason")
TYPED = "harness compare a.stan a.json --set nuts.adapt_delta=0.9 --seeds 2"


def finding(metric: str, *, wrong: bool = False, seed: int | None = 1) -> Finding:
    """Return a figure that is off, or wrong."""
    measure = Measure("a", "nuts", seed, "x", metric, 1.0, 0.0, "nuts")
    return Finding(RULE, measure, "wrong" if wrong else "unsure", "a sentence")


def comparison(
    reference: Reference, *found: Finding, level: Level = "unknown", typed: str = TYPED
) -> Comparison:
    """Return a comparison with one verdict."""
    verdict = Verdict("a", "dadvi", level, level, 2, 0, "a reason", found)
    model = Model("a", "a", Path("a.stan"), Path("a.json"))
    entry = ModelComparison(model, None, reference, verdicts=(verdict,))
    return Comparison((entry,), (), {"command": typed})


def refused(*found: Finding, refuted: Refuted | None = None) -> Reference:
    """Return NUTS refused after a run at adapt_delta .99; what is shown has no draws any more."""
    attempt = Attempt(0.99, 10, 1000, 3, trusted=False, short="")
    return Reference(
        "nuts", False, "why", None, found, "short", attempts=(attempt,), refuted=refuted
    )  # fmt: skip


CASES = {
    "divergences": (refused(finding(DIVERGENCES.id)), "--set nuts.adapt_delta=0.999"),
    "a small ESS": (refused(finding(ESS_BULK.id)), "--set nuts.samples=4000"),
    "chains apart": (refused(finding(RHAT.id, wrong=True)), "--reference DRAWS.nc"),
    "a missing mode": (refused(refuted=Refuted("mode", 0.0)), "--reference DRAWS.nc"),
    "chains of others": (Reference("supplied", False, "why"), "--reference auto"),
    "no draws": (Reference("none", False, "why"), "--reference DRAWS.nc"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_command_answers_why_the_reference_was_refused(case: str) -> None:
    """It keeps what was typed, and gives an option once."""
    reference, option = CASES[case]
    found = comparison(reference)
    command = next_command(found, found.models[0])
    assert command.endswith(option)
    assert command.startswith("harness compare a.stan a.json")
    assert command.count("nuts.adapt_delta") == 1


def test_undecided_seeds_ask_for_more_seeds_and_undecided_draws_for_longer_chains() -> None:
    """With a trusted reference the sample that is too small grows."""
    trusted = replace(refused(), trusted=True)
    found = comparison(trusted, finding("bias"), finding("seed_spread", seed=None))
    command = next_command(found, found.models[0])
    assert command.endswith("--set nuts.samples=4000 --seeds 8")
    assert "--seeds 2" not in command


@pytest.mark.parametrize("level", ["pass", "warn", "fail", "reference"])
def test_decided_verdicts_need_no_command(level: Level) -> None:
    """There is nothing to type."""
    found = comparison(refused(), level=level)
    assert next_command(found, found.models[0]) == ""


def test_nobody_waits_for_nuts_where_all_approximations_are_decided() -> None:
    """An improper posterior has no reference; its fits have failed without one."""
    found = comparison(refused(), level="fail")
    nuts = Verdict("a", "nuts", "unknown", "unknown", 1, 0, "a reason", ())
    (entry,) = found.models
    entry = replace(entry, verdicts=(*entry.verdicts, nuts))
    assert next_command(found, entry) == ""
    assert next_command(found, replace(entry, verdicts=(nuts,)))


def test_from_python_the_command_names_program_and_data() -> None:
    """A call of Python is no command."""
    found = comparison(refused(), typed="harness.compare('a.stan', …)")
    words = shlex.split(next_command(found, found.models[0]))
    assert words[:4] == ["harness", "compare", "a.stan", "a.json"]


@pytest.mark.parametrize("width", [70, 160])
def test_terminal_and_page_give_the_command_whole(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be copied from one line."""
    out = io.StringIO()
    monkeypatch.setattr(terminal, "make_console", lambda: Console(file=out, width=width))
    found = comparison(refused(finding(DIVERGENCES.id)))
    terminal.print_verdicts(found)
    command = next_command(found, found.models[0])
    assert f"next: {command}\n" in out.getvalue()
    assert html.summary.summarise(found).rows[0].command == command
