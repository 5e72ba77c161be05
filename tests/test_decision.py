"""What a comparison decides: the answer, the order of the rows, times, and what is not said."""

from __future__ import annotations

import dataclasses
import io
import math
import re
from html import unescape
from pathlib import Path

import pytest
from rich.console import Console

from harness.records import (
    Comparison,
    Cost,
    Finding,
    Level,
    Measure,
    Model,
    ModelComparison,
    Reason,
    Reference,
    Rule,
    RunResult,
    RunSpec,
    Status,
    Verdict,
)
from harness.report import terminal
from harness.report.answers import DEFAULTS
from harness.report.decision import decide, timing_base
from harness.report.html import to_html
from harness.report.markdown import markdown
from harness.report.rows import ORDER, evidence
from harness.report.terminal import verdicts_text
from harness.study.result import ComparisonResult

NUTS = Reference("nuts", trusted=True, why="all figures", short="R-hat 1.00")
DOUBTED = Reference("nuts", trusted=False, why="R-hat 1.8.", short="R-hat 1.8")
ENSEMBLE = Reference("ensemble", True, "")
EXACT = Reference("exact", trusted=True, why="exact")


def run(method: str, seconds: float, status: Status = "ok") -> RunResult:
    """Return a run that took some seconds."""
    return RunResult(
        RunSpec("m", method, {}, 1, 1000), method, status, "", None, None, {}, Cost(seconds), {}
    )


def entry(
    reference: Reference, levels: dict[str, Level], seconds: dict[str, float] | None = None
) -> ModelComparison:
    """Return a model whose methods have these levels and times."""
    return ModelComparison(
        model=Model("m", "m", Path("none.stan"), None),
        error=None,
        reference=reference,
        runs=tuple(run(m, s) for m, s in (seconds or {}).items()),
        verdicts=tuple(Verdict("m", m, v, v, 1, 0, f"{m} {v}", ()) for m, v in levels.items()),
    )


def answer(found: ModelComparison) -> str:
    """Return the answer on a single model."""
    return decide(Comparison((found,), (), {})).answer


@pytest.mark.parametrize(
    ("reference", "levels", "seconds", "said"),
    [
        (
            NUTS,
            {"meanfield": "fail", "fullrank": "fail", "dadvi_lr": "pass", "nuts": "reference"},
            {"dadvi_lr": 1.0, "nuts": 6.0},
            "Use DADVI + LR instead of NUTS here; not mean-field or full-rank ADVI.",
        ),
        (
            NUTS,
            {"dadvi_lr": "pass", "nuts": "reference"},
            {"dadvi_lr": 9.0, "nuts": 6.0},
            "Stay with NUTS: DADVI + LR is close, but no faster.",
        ),
        (
            EXACT,
            {"dadvi_lr": "pass", "nuts": "fail"},
            {"dadvi_lr": 9.0, "nuts": 6.0},
            "Use DADVI + LR here.",
        ),
        (
            NUTS,
            {"meanfield": "warn", "fullrank": "fail", "nuts": "reference"},
            {},
            "Stay with NUTS: mean-field is nearest, but off.",
        ),
        (
            NUTS,
            {"meanfield": "fail", "nuts": "reference"},
            {},
            "Stay with NUTS: every approximation is wrong.",
        ),
        (EXACT, {"meanfield": "fail"}, {}, "No method can be used: every approximation is wrong."),
        (DOUBTED, {"meanfield": "unknown", "nuts": "unknown"}, {},
         "Undecided: no method could be judged."),
        (NUTS, {"nuts": "reference"}, {}, "No approximation was run."),
        (EXACT, {"nuts": "pass"}, {}, "NUTS agrees with exact draws."),
        (EXACT, {"nuts": "fail"}, {}, "NUTS is wrong: nuts fail."),
        (DOUBTED, {"nuts": "unknown"}, {}, "Undecided: NUTS could not be judged."),
        (ENSEMBLE, {"meanfield": "fail", "short_chains": "reference"}, {},
         "Use the draws of short chains: every approximation is wrong."),
        (ENSEMBLE, {"meanfield": "fail", "dadvi": "unknown", "short_chains": "reference"}, {},
         "Use the draws of short chains: mean-field is not close, the rest is not known."),
    ],
)  # fmt: skip
def test_the_answer_is_what_to_use(
    reference: Reference, levels: dict[str, Level], seconds: dict[str, float], said: str
) -> None:
    """A close method that is faster; otherwise NUTS, if it can be trusted."""
    assert answer(entry(reference, levels, seconds)) == said


def test_unknown_is_not_bad() -> None:
    """A method without a verdict is named as undecided, never among those that are wrong."""
    found = entry(NUTS, {"meanfield": "unknown", "fullrank": "fail", "nuts": "reference"})
    decided = decide(Comparison((found,), (), {}))
    assert decided.answer == "Undecided: full-rank is not close, the rest is not known."
    assert decided.detail == "Wrong: full-rank. Undecided: mean-field."
    other = dataclasses.replace(found, model=dataclasses.replace(found.model, name="n"))
    both = decide(Comparison((found, other), (), {}))
    assert both.answer == (
        "ADVI can stand in for NUTS on none of the models. With CmdStan's defaults, on none."
    )
    open_ = entry(NUTS, dict.fromkeys(DEFAULTS, "unknown"))
    both = decide(Comparison((open_, other), (), {}))
    assert both.answer.endswith("With CmdStan's defaults, on none; undecided on 1. "
                                "1 is undecided (m).")  # fmt: skip


def test_methods_made_for_one_program_decide_nothing() -> None:
    """CAVI and quadrature pass by themselves without making the answer a yes."""
    levels: dict[str, Level] = {"meanfield": "fail", "cavi": "pass", "quadrature_kl": "pass"}
    found = entry(EXACT, levels)
    assert answer(found) == "No method can be used: every approximation is wrong."
    both = decide(Comparison((found, found), (), {}))
    assert both.answer.startswith("ADVI can stand in for NUTS on none")
    assert "CAVI" not in both.detail
    assert {row.method for row in both.models[0].rows} == set(levels)  # they are still shown


def test_what_is_not_advi_does_not_count_as_it() -> None:
    """Laplace and Pathfinder may be used, and are counted apart."""
    found = entry(EXACT, {"meanfield": "fail", "laplace": "pass", "pathfinder": "pass"})
    both = decide(Comparison((found, found), (), {}))
    assert both.answer.startswith("ADVI can stand in for NUTS on none")
    assert "Laplace 2" in both.detail
    assert answer(found).startswith("Use ")


def test_rows_stand_close_first_and_the_reference_last() -> None:
    """Of those that pass the fastest is first: it is what the answer names."""
    levels: dict[str, Level] = {
        "nuts": "reference",
        "meanfield": "fail",
        "dadvi": "unknown",
        "dadvi_lr": "pass",
        "laplace": "warn",
        "pathfinder": "pass",
    }
    found = entry(NUTS, levels, {"dadvi_lr": 2.0, "pathfinder": 1.0, "nuts": 9.0})
    (model,) = decide(Comparison((found,), (), {})).models
    assert [row.level for row in model.rows] == sorted(levels.values(), key=ORDER.index)
    assert [row.method for row in model.rows][:2] == ["pathfinder", "dadvi_lr"]
    assert model.answer.startswith("Use Pathfinder")


def test_a_narrow_terminal_says_speeds_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows have no heading that says what a factor is of; the base has none."""
    times = {"dadvi_lr": 2.0, "nuts": 8.0}
    found = entry(NUTS, {"dadvi_lr": "pass", "nuts": "reference"}, times)
    out = io.StringIO()
    monkeypatch.setattr(terminal, "make_console", lambda: Console(file=out, width=50))
    terminal.print_verdicts(Comparison((found,), (), {}))
    text = " ".join(out.getvalue().split())
    assert "2.0 s, × 4.0 as fast as NUTS" in text
    assert text.count("as fast as") == 1


def test_speed_is_relative_to_nuts_or_to_the_cheapest_that_passes() -> None:
    """Seconds of the base over the method's own; a run that failed is no faster than anything."""
    times = {"dadvi_lr": 2.0, "laplace": 0.5, "nuts": 8.0}
    levels: dict[str, Level] = {"dadvi_lr": "pass", "laplace": "fail", "nuts": "reference"}
    (model,) = decide(Comparison((entry(NUTS, levels, times),), (), {})).models
    assert {r.method: r.times for r in model.rows} == {"dadvi_lr": 4, "laplace": 16, "nuts": 1}
    assert [r.times_text for r in model.rows] == ["× 4.0", "× 16", "1"]
    assert model.speed_heading == "× NUTS"
    del times["nuts"]
    without = entry(EXACT, {"dadvi_lr": "pass", "laplace": "fail"}, times)
    assert timing_base(without) == "dadvi_lr"
    failed = dataclasses.replace(without, runs=(run("laplace", 3.0, "failed"), without.runs[0]))
    rows = {r.method: r for r in decide(Comparison((failed,), (), {})).models[0].rows}
    assert math.isnan(rows["laplace"].times)
    assert (rows["laplace"].time_text, rows["laplace"].times_text) == ("3.0 s", "–")
    assert timing_base(entry(EXACT, {"laplace": "fail"}, {"laplace": 1.0})) == ""


def test_what_passes_names_its_worst_quantity_with_an_error() -> None:
    """The largest distance, never below zero."""
    passing = entry(EXACT, {"dadvi_lr": "pass"})
    measures = tuple(
        Measure("m", "dadvi_lr", 1, name, "w1", value, 0.01, "exact")
        for name, value in (("a", -0.02), ("b", 0.04))
    )
    found = dataclasses.replace(passing, measures=measures)
    (row,) = decide(Comparison((found,), (), {})).models[0].rows
    assert row.says == "dadvi_lr pass; worst: b, 0.040 ± 0.010 sd"


def test_verdicts_without_a_trusted_reference_rest_on_nothing() -> None:
    """Whatever kind it is."""
    assert evidence(DOUBTED) == "nothing"
    assert (evidence(NUTS), evidence(EXACT)) == ("NUTS", "exact draws")
    decided = decide(Comparison((entry(DOUBTED, {"meanfield": "unknown"}),), (), {}))
    assert decided.detail.endswith("There is no reference that can be trusted: R-hat 1.8.")


@pytest.mark.parametrize(
    ("passing", "said"),
    [
        (
            ("dadvi_lr", "short_chains"),
            "DADVI + LR agrees with NUTS and short chains; DADVI + LR is 1.5 times slower",
        ),
        (("short_chains",), "Short chains agrees with NUTS;"),
        (("dadvi_lr", "laplace"), "DADVI + LR and Laplace agree with NUTS and short chains"),
    ],
)
def test_short_chains_are_no_witness_of_themselves(passing: tuple[str, ...], said: str) -> None:
    """Neither in the sentence nor beside their own verdict."""
    both = dataclasses.replace(NUTS, seconded=True)
    levels: dict[str, Level] = dict.fromkeys(passing, "pass")
    seconds = {"dadvi_lr": 9.0, "laplace": 12.0, "short_chains": 3.0, "nuts": 6.0}
    found = entry(both, {**levels, "nuts": "reference"}, seconds)
    decided = decide(Comparison((found,), (), {}))
    assert decided.detail.startswith(said)
    against = {r.method: r.evidence for r in decided.models[0].rows}
    assert against.get("short_chains", "NUTS") == "NUTS"
    assert against.get("dadvi_lr", "NUTS and short chains") == "NUTS and short chains"


def test_a_fit_that_its_own_draws_show_wrong_says_so_beside_the_verdict() -> None:
    """Without a reference; other verdicts of the comparison rest on nothing."""
    found = entry(DOUBTED, {"meanfield": "fail", "laplace": "unknown"})
    moved = tuple(
        dataclasses.replace(v, evidence="movement") if v.level == "fail" else v
        for v in found.verdicts
    )
    decided = decide(Comparison((dataclasses.replace(found, verdicts=moved),), (), {}))
    rows = {r.method: r.evidence for r in decided.models[0].rows}
    assert rows == {"meanfield": "its draws, moved", "laplace": "nothing"}


def whole() -> Comparison:
    """Return a comparison whose names would be markup anywhere."""
    levels: dict[str, Level] = {"meanfield": "fail", "dadvi_lr": "pass", "nuts": "reference"}
    found = entry(NUTS, levels, {"dadvi_lr": 1.0, "meanfield": 2.0, "nuts": 6.0})
    model = dataclasses.replace(found.model, name="a|b<c>[d]")
    verdicts = (dataclasses.replace(found.verdicts[0], headline="sd of x|y <0.5> [b]"),)
    return Comparison(
        (dataclasses.replace(found, model=model, verdicts=(*verdicts, *found.verdicts[1:])),),
        (),
        {},
    )


def test_all_outlets_say_the_same() -> None:
    """Terminal, notebook, Markdown, page and table have the answer and each row's words."""
    comparison = whole()
    result = ComparisonResult(comparison, {})
    outlets = {
        "terminal": verdicts_text(comparison, 200),
        "narrow": str(result),
        "notebook": unescape(result._repr_html_()),
        "markdown": markdown(comparison).replace("\\", ""),
        "page": unescape(to_html(comparison, {"a|b<c>[d]": ()})),
    }
    decided = decide(comparison)
    assert decided.answer == "Use DADVI + LR instead of NUTS here; not mean-field ADVI."
    for name, text in outlets.items():
        words = re.sub(r"\s+", " ", text)
        assert decided.answer in words, name
        for row in decided.models[0].rows:
            for said in (row.title, row.level, row.time_text, row.times_text):
                assert said in words, (name, said)
    table = result.summary()
    assert list(table["method"]) == [row.method for row in decided.models[0].rows]
    assert list(table["times"]) == [6.0, 3.0, 1.0]
    assert set(table["timed_against"]) == {"nuts"}


def test_markdown_cannot_be_broken_by_a_name() -> None:
    """A bar, a tag or a bracket in a name stays text: every line of the table has nine borders."""
    lines = [line for line in markdown(whole()).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {9}
    assert "<0.5>" not in "".join(lines)


def test_markdown_stays_within_what_a_comment_may_have() -> None:
    """Models that do not fit are counted."""
    found = whole().models[0]
    text = markdown(Comparison((found,) * 400, (), {}))
    assert len(text) < 65_536
    assert re.search(r"Left out: \d+ models\.", text)


def test_a_result_fits_a_line_and_eighty_columns() -> None:
    """What a notebook, a prompt and print show of it; a verdict is ten lines at most."""
    result = ComparisonResult(whole(), {})
    assert repr(result).startswith("<ComparisonResult a|b<c>[d]: Use DADVI + LR")
    assert max(map(len, str(result).splitlines())) <= 80
    verdict = result.verdicts["meanfield"]
    findings = (Finding(Rule(0.1, 0.5, "both", "w" * 500), measure(), "wrong", "s" * 500),) * 50
    assert len(repr(dataclasses.replace(verdict, findings=findings))) < 10 * 80
    assert "findings=<50>" in repr(dataclasses.replace(verdict, findings=findings))


def measure() -> Measure:
    """Return a measure."""
    return Measure("m", "meanfield", 1, "x", "w1", 1.0, 0.1, "nuts")


LEVEL = "log p does not fall along a − b: the posterior is improper"


@pytest.mark.parametrize(
    ("reference", "levels", "said"),
    [
        (DOUBTED, {"dadvi": "fail", "pathfinder": "unknown"}, True),
        (DOUBTED, {"dadvi": "fail", "pathfinder": "warn"}, False),
        (NUTS, {"dadvi": "fail", "pathfinder": "fail"}, False),
    ],
)
def test_an_improper_posterior_is_the_answer_unless_something_is_right_or_near(
    reference: Reference, levels: dict[str, Level], said: bool
) -> None:
    """It names the direction and what to do; a longer run of NUTS is not asked for."""
    found = entry(reference, levels, dict.fromkeys(levels, 1.0))
    runs = (dataclasses.replace(found.runs[0], reason=Reason.IMPROPER, message=LEVEL),)
    (model,) = decide(Comparison((dataclasses.replace(found, runs=runs),), (), {})).models
    assert (model.answer == "No method can be used: the posterior is improper.") is said
    assert model.detail.startswith("Log p does not fall along a − b") is said
    assert not (said and model.command)
