"""The words of a check: figures, differences, order, answers, and next steps."""

from __future__ import annotations

import dataclasses
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import check_outcomes as outcomes
import pytest
from check_outcomes import INF, NAN, NASTY, mean, scale
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.check import show
from harness.check.baseline.change import Change, CheckOutcome, Conclusion, ModelCheck, NoMoments
from harness.check.show import junit, markdown, words
from harness.check.show.answer import answer, model_line, next_steps, remarks
from harness.check.show.rows import pick, plain, rows
from harness.records import Estimate
from harness.records.text import clean, clip, head, one_line
from harness.why.causes import CAUSES

NUMBERS = st.one_of(st.floats(), st.sampled_from([0.0, -0.0, 5e-324, 1.7e308, INF, -INF, NAN]))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (mean(), "+0.31 sd (0.28 to 0.34; margin 0.1)"),
        (mean(difference=-0.31, interval=(-0.34, -0.28)), "−0.31 sd (−0.34 to −0.28; margin 0.1)"),
        (mean(difference=31.2, interval=(28.0, 34.0)), "+31 sd (28 to 34; margin 0.1)"),
        (mean(difference=2e12, interval=(1e12, 3e12)),
         "+2.00 × 10¹² sd (1.00 × 10¹² to 3.00 × 10¹²; margin 0.1)"),
        (mean(interval=(-INF, 0.34)), "+0.31 sd (below 0.34; margin 0.1)"),
        (mean(interval=(0.28, INF)), "+0.31 sd (above 0.28; margin 0.1)"),
        (mean(interval=(-INF, INF)), "+0.31 sd (no bounds; margin 0.1)"),
        (mean(interval=(NAN, NAN), margin=NAN), "+0.31 sd (interval unknown)"),
        (mean(margin=INF), "+0.31 sd (0.28 to 0.34; margin ∞)"),
        (mean(difference=NAN), ""),
        (mean(difference=INF), "∞"),
        (scale(), "× 0.85 (0.84 to 0.86; margin ÷/× 1.1)"),
        (dataclasses.replace(scale(), interval=(-INF, math.log(0.86))),
         "× 0.85 (below 0.86; margin ÷/× 1.1)"),
        (dataclasses.replace(scale(), difference=800.0, interval=(799.0, 801.0)),
         "× ∞ (no bounds; margin ÷/× 1.1)"),
        (outcomes.share(), "+70% of seeds"),
        (outcomes.level(), ""),
    ],
)  # fmt: skip
def test_a_difference_is_told_in_its_unit(change: Change, text: str) -> None:
    """Locations in sds, scales as ratios, shares in seeds, with interval and margin."""
    assert " ".join(words.difference(change)).strip() == text


def test_causes_have_the_names_that_people_read() -> None:
    """Files keep ids; a word that is not in the table of causes stays as it is."""
    row = CAUSES["light tails"]
    seeds = Change("m", "advi", "", "cause", "moved", "changed", row.id)
    assert words.figure(seeds) == f"seeds cause: {row.name}"
    whole = Change("m", "advi", "", "causes", "moved", "changed", was="none", now=f"{row.id}; a b")
    assert words.sides(whole) == ("none", f"{row.name}; a b")


@pytest.mark.parametrize(
    ("sds", "p", "text"),
    [
        (14.2, 1e-9, "14 se"),
        (-9.06, 1e-9, "9.1 se"),
        (INF, 0.0, "∞ se"),
        (NAN, 3e-6, "p = 3 × 10⁻⁶"),
        (NAN, 0.0, ""),
        (NAN, 1.0, ""),
        (NAN, None, ""),
        (4e12, 0.0, "4.0 × 10¹² se"),
    ],
)
def test_evidence_is_in_standard_errors_or_a_p_value(
    sds: float, p: float | None, text: str
) -> None:
    """The sign stands with the difference; a level, which has no error, gives its p-value."""
    assert words.evidence(mean(sds=sds, p=p)) == text


@settings(deadline=None)  # machines are shared
@given(value=NUMBERS, error=NUMBERS, low=NUMBERS, high=NUMBERS, margin=NUMBERS, sds=NUMBERS)
def test_no_number_breaks_a_row(
    value: float, error: float, low: float, high: float, margin: float, sds: float
) -> None:
    """Every combination of figures makes a row, without nan or inf."""
    for change in (mean(), scale()):
        odd = dataclasses.replace(
            change, old=Estimate(value, error), new=Estimate(low, high),
            difference=value, interval=(low, high), margin=margin, sds=sds,
        )  # fmt: skip
        row = rows(ModelCheck("m", (odd,)))[0]
        told = f"{row.old} {row.new} {row.told} {row.evidence}"
        assert "nan" not in told
        assert "inf" not in told


def test_sides_without_figures_are_words() -> None:
    """Missing, new and unknown figures are named as such; parts without figures stay empty."""
    sides = {(r.quantity, r.figure): (r.old, r.new) for r in rows(outcomes.everything().models[0])}
    assert sides["gone", ""] == ("there", "missing")
    assert sides["fresh", ""] == ("not there", "new")
    assert sides["x", "mean"][1] == "1.134 ± 0.003"
    assert sides["", "runs"] == ("", "")
    assert sides["", "seeds ran away"] == ("3 of 10", "10 of 10")
    gone = Change("m", "", "", "model", "missing", "changed")
    assert rows(ModelCheck("m", (gone,)))[0].figure == "model"


def test_figures_that_differ_in_the_last_digit_only_are_written_out() -> None:
    """An exact check never shows two equal texts for a figure that changed."""
    a = 0.1 + 0.2
    change = mean(old=Estimate(a, 0.01), new=Estimate(0.3, 0.01), difference=NAN)
    assert words.sides(change) == ("0.30000000000000004", "0.3")


def test_what_the_rest_follows_from_comes_first() -> None:
    """Changed before open; missing, new and unusable first, then by the errors, levels last."""
    found = rows(outcomes.everything().models[0])
    assert [r.conclusion for r in found] == ["changed"] * 8 + ["inconclusive"] * 4
    assert {r.old for r in found[:3]} == {"there", "not there"}
    assert found[3].new == "unknown"
    assert [r.evidence for r in found[5:7]] == ["14 se", "9.1 se"]
    assert found[7].figure == "level"
    assert found[8].figure == "runs"
    assert [r.evidence for r in found[9:]] == ["3.1 se", "2.2 se", "5.0 se"]


def test_the_reference_comes_before_what_is_judged_by_it() -> None:
    """A posterior that moved is named first, however many errors a method moved by."""
    moved = tuple(mean(method=name, sds=sds) for name, sds in (("dadvi", 240.0), ("nuts", 15.0)))
    causes = Change("m", "dadvi", "", "causes", "moved", "changed", was="skew", now="correlation")
    changes = (causes, *moved)
    assert [r.method for r in rows(ModelCheck("m", changes))] == ["dadvi", "nuts", "dadvi"]
    found = rows(ModelCheck("m", changes, reference="nuts"))
    assert [(r.method, r.figure) for r in found] == [
        ("nuts", "mean"), ("dadvi", "mean"), ("dadvi", "causes"),
    ]  # fmt: skip


def test_no_model_hides_the_others() -> None:
    """A table's places go round the models, each model's gravest first."""
    tables = [rows(m) for m in outcomes.many(500, 1).models] + [
        rows(m) for m in outcomes.open_question().models
    ]
    shown = pick(tables, 10)
    assert [len(t) for t in shown] == [8, 2]
    assert shown[0][0].quantity == "beta[500]"
    assert [len(t) for t in pick(tables, 10_000)] == [500, 2]


def test_the_plain_table_is_aligned_and_counts_what_it_leaves_out() -> None:
    """Columns start at the same place, empty ones are left out, and the rest is counted."""
    text = plain(rows(outcomes.many(30).models[0]), 20).split("\n")
    assert {line.index("1.024") for line in text[1:-1]} == {text[0].index("old ± error")}
    assert text[-1] == "… and 10 more"
    assert "note" not in text[0]


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (outcomes.same(), "✓ same: 212 figures of 1 model, identical draws"),
        (
            dataclasses.replace(outcomes.same(), exact=True),
            "✓ same: 212 figures of 1 model, to the last digit",
        ),
        (outcomes.open_question(), "? undecided: 2 of 2 figures, in 1 of 1 model"),
        (
            outcomes.everything(),
            (
                "✗ changed: 8 of 225 figures, in 1 of 4 models; 4 undecided; "
                "no baseline for 1 of 4 models; could not check 1 of 4 models"
            ),
        ),
        (
            CheckOutcome((outcomes.everything().models[2],)),
            "✗ changed: no baseline for 1 of 1 model",
        ),
        (
            CheckOutcome((outcomes.everything().models[3],)),
            "? undecided: could not check 1 of 1 model",
        ),
        (
            CheckOutcome((ModelCheck("hollow", ()),)),
            "? undecided: nothing to compare in 1 of 1 model",
        ),
        (CheckOutcome(()), "? undecided: nothing was checked"),
    ],
)
def test_the_answer_counts_figures_and_models(outcome: CheckOutcome, text: str) -> None:
    """One line counts changes, figures and models, and what was not compared."""
    assert answer(outcome) == text


def test_every_model_has_its_line() -> None:
    """Each model's line shows whether it is the same, changed, new, unreadable or empty."""
    assert [model_line(m) for m in outcomes.everything().models] == [
        "✗ mixture: changed (8 of 13 figures; 4 undecided)",
        "✓ normal_mean: same (212 figures, identical draws)",
        "✗ fresh: no baseline (a candidate was written: baselines/fresh.candidate.json)",
        "? broken: could not be checked",
    ]
    assert model_line(ModelCheck("m", ())) == "? m: undecided (nothing was compared)"
    half = ModelCheck("m", (mean(),), error="lost")
    assert model_line(half) == "✗ m: changed (1 of 1 figure; the check did not finish)"


def test_what_has_no_effect_is_no_reason() -> None:
    """A model that is the same under other versions says so, and blames nothing."""
    model = dataclasses.replace(outcomes.same().models[0], reasons=("cmdstan 2.37 then",))
    assert remarks(model) == ["different, with no effect: cmdstan 2.37 then"]
    assert "with no effect" in markdown(CheckOutcome((model,)))
    assert "reasons" not in markdown(CheckOutcome((model,)))
    assert remarks(outcomes.everything().models[0]) == [
        "meanfield: 20 seeds where the baseline has 10"
    ]


def test_what_to_do_next_is_a_command_each() -> None:
    """Changes, candidates and undecided figures each have a command; sameness has none."""
    changed, new = next_steps(outcomes.everything())
    assert str(changed) == "if this is intended: harness baseline mixture, and commit the file"
    assert new.why == "review baselines/fresh.candidate.json, then"
    assert new.command == "mv baselines/fresh.candidate.json baselines/fresh.json"
    assert next_steps(outcomes.same()) == []


def test_more_draws_are_more_than_those_that_did_not_suffice() -> None:
    """The advised budget is larger than the given one, up to the largest allowed."""
    open_ = outcomes.open_question()
    advised = {}
    for budget in (1, 4, 8, 16, 64):
        steps = next_steps(dataclasses.replace(open_, budget=budget))
        advised[budget] = [s.command.rpartition(" ")[2] for s in steps]
    assert list(advised.values()) == [["8"], ["8"], ["16"], ["32"], []]


def test_few_seeds_are_compared_by_shares_and_more_are_asked_of_the_baseline() -> None:
    """A share of 0 of 2 decides nothing, whatever the budget; 0 of 10 does."""
    open_ = outcomes.open_question()
    for seeds, command in ((2, "harness baseline mixture --seeds 10"), (10, "--budget 8")):
        notes = (NoMoments("dadvi", "two seeds differ", seeds),)
        model = dataclasses.replace(open_.models[0], notes=notes)
        outcome = dataclasses.replace(open_, models=(model,))
        (step,) = next_steps(outcome)
        assert step.command.endswith(command)
        assert answer(outcome).endswith("; 1 method by level and shares of seeds only")
    same = dataclasses.replace(outcomes.same().models[0], notes=notes)
    assert answer(CheckOutcome((same,))).endswith("; 1 method by level and shares of seeds only")


def test_commands_name_the_folder_and_quote_the_model() -> None:
    """Baselines elsewhere are named, as is a model whose name the shell would split."""
    odd = ModelCheck("my model", (mean(),), path=Path("tests/my base/m.json"))
    assert next_steps(CheckOutcome((odd,)))[0].command == (
        "harness baseline 'my model' --baselines 'tests/my base'"
    )
    gone = Change("m", "", "", "model", "missing", "changed")
    assert next_steps(CheckOutcome((ModelCheck("m", (gone,)),))) == []


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("conclusion", ["changed", "inconclusive"])
def test_text_from_elsewhere_stays_on_its_line(name: str, conclusion: Conclusion) -> None:
    """Rows hold no line breaks and no control characters."""
    row = rows(outcomes.named(name).models[0], conclusion)[0]
    for text in dataclasses.astuple(row):
        assert isinstance(text, bool) or text == one_line(text)


@settings(deadline=None)  # machines are shared
@given(st.text())
def test_clean_text_can_be_written_anywhere(text: str) -> None:
    """No control characters, lone surrogates or carriage returns are left; the rest is."""
    got = clean(text)
    assert clean(got) == got
    got.encode()
    assert all(c in "\t\n" or ord(c) >= 32 for c in got)
    if text.isprintable():
        assert got == text


def test_long_text_says_that_it_was_cut() -> None:
    """An ellipsis and the number of lines show that text was cut."""
    assert clip("abcdef", 4) == "abc…"
    assert clip("abc", 3) == "abc"
    assert clip("one two three", 9, words=True) == "one two …"
    assert clip("onetwothree", 5, words=True) == "onet…"
    assert head("a\nb\nc\nd\n", 2) == "a\nb\n… 2 more lines"
    assert head("a\nb", 2) == "a\nb"


def facts(outcome: CheckOutcome) -> list[object]:
    """Return what renderers decide: marks, cases, order, commands."""
    cases = ET.fromstring(junit(outcome).encode())  # noqa: S314 - written by ourselves
    return [
        outcome.exit_code,
        [line.split(" ", 1)[0] for line in show.annotations(outcome)],
        [(e.tag, e.get("type")) for e in cases.iter()],
        [(r.conclusion, r.method, r.quantity, r.evidence) for r in rows(outcome.models[0])],
        [step.command for step in next_steps(outcome)],
        markdown(outcome).count("\n|"),
    ]


def test_other_words_change_no_conclusion(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every template reversed, marks, cases, order and commands are the same."""
    before = facts(outcomes.everything())
    for name in ("_REASONS", "_NO_DETAIL", "_ABSENT", "_NAMED_PARTS", "CONCLUSIONS"):
        table = getattr(words, name)
        turned = {k: " ".join(reversed(text.split(" "))) for k, text in table.items()}
        monkeypatch.setattr(words, name, turned)
    monkeypatch.setattr(words, "note", lambda said: f"{said.method} note")
    assert words.reason(outcomes.everything().models[0].changes[7]).startswith("quantity")
    assert facts(outcomes.everything()) == before
