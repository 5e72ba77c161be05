"""The table of verdicts on terminals of several widths, with few methods and with many."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from harness.methods import title
from harness.records import (
    Better,
    Cause,
    Comparison,
    Estimate,
    Level,
    Model,
    ModelComparison,
    Reference,
    Verdict,
    VerdictCause,
)
from harness.report import terminal

USUAL = ["meanfield", "fullrank", "meanfield_tuned", "fullrank_tuned", "dadvi", "dadvi_lr", "nuts"]
RARE = ["advi", "svgd", "minibatch"]


def model(name: str, methods: list[str]) -> ModelComparison:
    """Return a model on which all methods are off, with a reason."""
    found = tuple(Verdict(name, m, "warn", "warn", 1, 0, "a tail 0.3 sd off", ()) for m in methods)
    reference = Reference("exact", trusted=True, why="exact")
    return ModelComparison(
        Model(name, name, Path("none.stan"), None), None, reference, verdicts=found
    )


@pytest.fixture
def printed() -> io.StringIO:
    """Catch what is printed; the test sets the width."""
    return io.StringIO()


def show(
    comparison: Comparison, width: int, out: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Print the verdicts on a console of a width."""
    monkeypatch.setattr(terminal, "make_console", lambda: Console(file=out, width=width))
    terminal.print_verdicts(comparison)
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 110, 160, 220])
@pytest.mark.parametrize("methods", [["dadvi", "nuts"], USUAL])
def test_odd_names_are_printed_as_they_are(
    width: int, methods: list[str], printed: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither styles nor pictures are read out of them."""
    name = "α[b]c[/b]:x: $d$"
    causes = (VerdictCause(Cause("family", "correlation", 0.4, {"said": "[b]draw[/b]"})),)
    entry = model(name, methods)
    verdicts = tuple(replace(v, headline="[i]lp_[/i]", causes=causes) for v in entry.verdicts)
    said = show(
        Comparison((replace(entry, verdicts=verdicts),), (), {}), width, printed, monkeypatch
    )
    assert name in said
    assert width == 110 or "[i]lp_[/i]" in said


@pytest.mark.parametrize("width", [60, 100, 120, 160, 220])
def test_no_verdict_is_lost_or_cut(
    width: int, printed: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every method of every model has its level, in the widest terminal and in the narrowest."""
    whole = Comparison((model("first_model", [*USUAL, *RARE]), model("second", USUAL)), (), {})
    text = show(whole, width, printed, monkeypatch)
    assert text.count("! warn") == len(USUAL) * 2 + len(RARE)
    assert all(len(line) <= width for line in text.splitlines())
    assert "first_model" in text
    for method in RARE:
        assert title(method).split()[0] in text
    assert "…" not in text


@pytest.mark.parametrize("width", [60, 120, 200])
def test_one_model_gives_its_reasons(
    width: int, printed: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many methods there are: below each other where they do not fit side by side."""
    whole = Comparison((model("only", [*USUAL, *RARE]),), (), {})
    text = " ".join(show(whole, width, printed, monkeypatch).split())
    assert text.count("! warn") == len(USUAL) + len(RARE)
    assert "a tail" in text


Reasoned = tuple[tuple[VerdictCause, ...], tuple[Better, ...], Level]


def reasoned(name: str, causes: dict[str, Reasoned]) -> ModelComparison:
    """Return a model with a cause, a remedy and a level for every method."""
    found = tuple(
        Verdict(name, m, level, level, 1, 0, "off", (), causes=cause, remedies=remedy)
        for m, (cause, remedy, level) in causes.items()
    )
    return replace(model(name, []), verdicts=found)


def of_family(name: str, nats: float) -> tuple[VerdictCause, ...]:
    """Return a family's cause with two digits."""
    cause = Cause("family", name, nats, {"said": "so"})
    return (VerdictCause(cause, whole=Estimate(nats, nats), family="meanfield"),)


RUNAWAY = VerdictCause(Cause("optimiser", "runaway", 842.0), (1,), (842.0,), 1, 1)
CORRELATED: Reasoned = (
    of_family("correlation", 0.89), (Better("fullrank", "pass", 1, 0.5),), "fail",
)  # fmt: skip
UNKNOWN: Reasoned = ((), (), "fail")
SILENT: Reasoned = ((), (), "pass")
RAN_AWAY: Reasoned = ((RUNAWAY,), (Better("meanfield_tuned", "pass", 1, 0.5),), "warn")


@pytest.mark.parametrize("width", [60, 120, 200])
def test_one_model_says_why_and_what_to_try(
    width: int, printed: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In columns, or below the headline: of what fails or warns, and nowhere else."""
    fine: Reasoned = (of_family("skew", 0.001), (), "pass")
    one = reasoned("m", {"meanfield": CORRELATED, "fullrank": RAN_AWAY, "dadvi": fine})
    text = show(Comparison((one,), (), {}), width, printed, monkeypatch)
    words = re.sub(r"\s+", " ", text)
    assert "skew" not in words
    if width < 100:
        assert text.count("why: ") == 2
        assert text.count("try: ") == 2
        for said in ("correlation, 0.89", "runaway, 842", "full-rank passes", "tuned mean-field"):
            assert said in words
    else:  # cells are wrapped
        assert re.search(r"\bwhy +what helps\b", text)
        for said in ("correlation", "0.89", "runaway", "842", "full-rank", "tuned"):
            assert words.count(said) >= 1
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("width", [160, 200])
def test_a_matrix_has_its_reasons_below(
    width: int, printed: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Methods with the same cause share a row; a missing cause is called unknown."""
    usual = dict.fromkeys(USUAL[:-1], CORRELATED) | {"nuts": UNKNOWN}
    other = dict.fromkeys(USUAL, SILENT) | {"meanfield": RAN_AWAY}
    whole = Comparison((reasoned("first", usual), reasoned("second", other)), (), {})
    text = show(whole, width, printed, monkeypatch)
    assert text.count("family: correlation, 0.89 nats") == 1
    assert re.search(r"NUTS +unknown", text)
    assert re.search(r"second +mean-field +optimiser: runaway, 842 nats +tuned mean-field", text)
    assert "why: " not in text
    assert max(map(len, text.splitlines())) <= width


def test_no_table_of_reasons_where_nobody_asked(
    printed: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Levels alone, as before."""
    whole = Comparison((model("first", USUAL), model("second", USUAL)), (), {})
    assert not re.search(r"\b(why|try)\b", show(whole, 160, printed, monkeypatch))


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ([1.2, 1.2], "family: skew, 1.2 nats"),
        ([1.2, 3e-5], "family: skew, 1.2 / 3.0 × 10⁻⁵ nats"),
        ([1.2, math.nan], "family: skew, 1.2 / unknown nats"),
        ([1.2, 1.2, 3], "family: skew"),
        ([1, 2, 3, 4], "family: skew"),
    ],
)
def test_a_shared_cause_has_figures_that_can_be_told_apart(figures: list[float], said: str) -> None:
    """One for all, or one each for few methods; otherwise they are left to verdicts.csv."""
    causes = {f"m{i}": (of_family("skew", f), *UNKNOWN[1:]) for i, f in enumerate(figures)}
    (group,) = terminal._same_reason(reasoned("m", causes).verdicts)
    assert terminal._why(group) == said


def test_many_reasons_keep_the_failures_and_count_the_rest(
    printed: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty-five rows at most, in the order of the models, and where the others are."""
    models = [
        reasoned(f"model{i}", dict.fromkeys(USUAL, CORRELATED if i % 2 else RAN_AWAY))
        for i in range(40)
    ]
    text = show(Comparison(tuple(models), (), {}), 160, printed, monkeypatch)
    assert text.count("correlation") == 20
    assert text.count("runaway") == 5
    assert "15 milder reasons: see verdicts.csv" in text
    below = text.rpartition(" why ")[2]
    shown = [int(n) for n in re.findall(r"^ ?model(\d+)", below, re.MULTILINE)]
    assert shown == sorted(shown)
    assert len(shown) == 25


@pytest.mark.parametrize("width", [60, 160])
def test_what_was_left_out_stands_below_the_table_of_one_model(
    width: int, printed: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line each, as a pass says nothing of a quantity that is not finite; not for many models."""
    notes = ("left out, not finite (3 of 40 draws) in the reference: r", "Laplace left out: " * 20)
    one = replace(model("m", USUAL), notes=notes)
    lines = show(Comparison((one,), (), {}), width, printed, monkeypatch).splitlines()
    found = [line for line in lines if line.startswith("note: ")]
    assert len(found) == 2
    assert found[0].startswith("note: left out, not finite (3 of 40 draws)")
    assert len(found[1].rstrip()) == width
    assert found[1].rstrip().endswith("…")
    assert "note: " not in show(Comparison((one, one), (), {}), width, io.StringIO(), monkeypatch)
