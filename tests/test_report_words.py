"""What the report says: answers, cells, findings, console text, before any HTML."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import report_records

from harness import judgement
from harness.records import Comparison, Measure, Model, ModelComparison, Reference, Verdict
from harness.report import decision
from harness.report.html import findings, prose, quantities, runs, summary
from harness.report.rows import ModelDecision

if TYPE_CHECKING:
    from harness.records import Closeness


def by_name(comparison: Comparison, name: str) -> ModelComparison:
    """Return one model's comparison."""
    return next(m for m in comparison.models if m.model.name == name)


def decided(entry: ModelComparison) -> ModelDecision:
    """Return what is decided on one model."""
    return decision.decide(Comparison((entry,), (), {})).models[0]


def test_a_single_model_gets_its_own_question(comparison: Comparison) -> None:
    """The question names the model, and the answer says what to use."""
    one = dataclasses.replace(comparison, models=(by_name(comparison, "mixture"),), claims=())
    found = summary.summarise(one)
    assert found.question == "Can ADVI stand in for NUTS on mixture?"
    assert found.answer == "No method can be used: every approximation is wrong."
    good = dataclasses.replace(comparison, models=(by_name(comparison, "normal_mean"),))
    answer = summary.summarise(good).answer
    assert answer == "Stay with NUTS: tuned mean-field is close, but no faster."


def test_nothing_passes_and_nothing_was_run_are_not_the_same(comparison: Comparison) -> None:
    """Without any approximation the report does not say that none passes."""
    broken = by_name(comparison, "broken")
    answer = summary.summarise(dataclasses.replace(comparison, models=(broken,))).answer
    assert answer == "Undecided: it could not be compared."
    alone = dataclasses.replace(broken, error=None)
    answer = summary.summarise(dataclasses.replace(comparison, models=(alone,))).answer
    assert answer == "No approximation was run."


def test_seed_shares_are_said_beside_the_level(comparison: Comparison) -> None:
    """The level is the worst seed's; how many share it and the typical seed stand beside."""
    verdicts = {v.method: v for v in by_name(comparison, "normal_mean").verdicts}
    assert re.search(r"[123] of 3 seeds|all 3 seeds", judgement.seeds_text(verdicts["meanfield"]))
    assert judgement.seeds_text(verdicts["meanfield_tuned"]) == "all 3 seeds"
    one = dataclasses.replace(verdicts["meanfield"], typical="warn", level="fail", by_seed=())
    one = dataclasses.replace(one, seeds=10, seeds_failed=3)
    assert judgement.seeds_text(one) == "3 of 10 seeds; typical seed: warn"


def test_methods_that_were_not_run_are_left_out(comparison: Comparison) -> None:
    """Their cells have neither a time nor a speed; the model's notes say why."""
    entry = by_name(comparison, "wide_normal")
    names = ["fullrank", "meanfield_tuned"]
    row = summary._row(entry, names, names, decided(entry))
    assert [(c.level, c.timed) for c in row.cells] == [("missing", "")] * 2


@pytest.mark.parametrize(
    ("sentence", "html"),
    [
        ("`beta[2]`: sd < 1", "<code>beta[2]</code>: sd &lt; 1"),
        ("a lone ` & no more", "a lone ` &amp; no more"),
        ("`<b>` and `c`", "<code>&lt;b&gt;</code> and <code>c</code>"),
    ],
)
def test_backticks_become_code_and_the_rest_is_escaped(sentence: str, html: str) -> None:
    """Names stand out in findings, and no sentence can bring a tag."""
    assert prose(sentence) == html


def test_many_quantities_are_folded_after_the_worst_dozen(comparison: Comparison) -> None:
    """All thirty are in the page, twelve in sight, the worst first."""
    table = quantities.table(by_name(comparison, "wide_normal"))
    assert table is not None
    assert len({r.quantity for r in table.rows}) == 12
    assert len({r.quantity for r in [*table.rows, *table.rest]}) == table.total == 30


def test_a_cell_shows_the_typical_seed_and_the_worst(comparison: Comparison) -> None:
    """The runaway is the small figure, not the large one; its level colours the cell."""
    table = quantities.table(by_name(comparison, "normal_mean"))
    assert table is not None
    row = next(r for r in table.rows if r.method == "meanfield")
    bias = row.cells[[title for title, _ in table.columns].index("bias")]
    assert not bias.text.startswith("1")
    assert re.fullmatch(r"1\d{3}", bias.worst)
    assert bias.level == "fail"
    assert (row.level, row.word) == ("fail", "wrong")


def test_nan_is_named_and_is_the_worst_seed(comparison: Comparison) -> None:
    """A figure that is not a number is never dropped or taken for small."""
    entry = by_name(comparison, "normal_mean")
    spoilt = tuple(
        dataclasses.replace(m, value=math.nan) if (m.metric, m.seed) == ("w1", 2) else m
        for m in entry.measures
    )
    table = quantities.table(dataclasses.replace(entry, measures=spoilt))
    assert table is not None
    row = next(r for r in table.rows if r.method == "meanfield")
    cell = row.cells[[title for title, _ in table.columns].index("W1")]
    assert cell.worst == "unknown"


def test_runs_are_counted_and_shown_with_khat_and_message(comparison: Comparison) -> None:
    """An infinite k-hat is ∞, a failed run keeps its message."""
    table = runs.table(by_name(comparison, "normal_mean"))
    assert table is not None
    assert table.line == "7 runs: 7 ok"
    assert next(r for r in table.rows if r.khat).khat == "∞"
    failed = runs.table(by_name(comparison, "linear_regression"))
    assert failed is not None
    assert "1 failed" in failed.line
    assert any(r.run.message == "The gradient could not be computed." for r in failed.rows)


def test_findings_are_worst_first_and_the_rest_is_counted(comparison: Comparison) -> None:
    """Wrong before off before unsure; close findings are left out."""
    entry = by_name(comparison, "linear_regression")
    verdict = next(v for v in entry.verdicts if v.method == "fullrank")
    some = verdict.findings[0]
    levels: tuple[Closeness, ...] = ("close", "unsure", "off", "wrong", "off", "unsure", "wrong")
    mixed = tuple(dataclasses.replace(some, level=level) for level in levels)
    entry = dataclasses.replace(entry, verdicts=(dataclasses.replace(verdict, findings=mixed),))
    (group,) = findings.groups(entry)[0].values()
    said = [line.word for line in group.lines]
    assert said == ["wrong", "wrong", "off", "off", "unsure", "unsure"]
    many = dataclasses.replace(verdict, findings=mixed * findings.MOST)
    (group,) = findings.groups(dataclasses.replace(entry, verdicts=(many,)))[0].values()
    assert len(group.lines) == findings.MOST
    assert len(group.lines) + group.left_out == 6 * findings.MOST


def test_what_several_methods_share_is_said_once(comparison: Comparison) -> None:
    """With the methods that it holds for; each of them counts it among its findings."""
    entry = by_name(comparison, "linear_regression")
    notes = {"meanfield": ("Of both.", "Mine."), "fullrank": ("Of both.",)}
    verdicts = tuple(
        dataclasses.replace(v, findings=(), notes=notes[v.method])
        for v in entry.verdicts
        if v.method in notes
    )
    found, shared = findings.groups(dataclasses.replace(entry, verdicts=verdicts))
    assert shared == (("Of both.", ("mean-field", "full-rank")),)
    assert {m: g.notes for m, g in found.items()} == {"meanfield": ("Mine.",), "fullrank": ()}
    assert {m: g.size for m, g in found.items()} == {"meanfield": 2, "fullrank": 1}


def test_an_alarm_is_called_an_alarm_and_comes_last(comparison: Comparison) -> None:
    """k-hat stands beside a verdict and never looks like the reason for one."""
    entry = by_name(comparison, "linear_regression")
    verdict = next(v for v in entry.verdicts if v.method == "fullrank")
    some = verdict.findings[0]
    loud = dataclasses.replace(some, rule=report_records.KHAT, level="wrong")
    mixed = (loud, dataclasses.replace(some, level="off"))
    entry = dataclasses.replace(entry, verdicts=(dataclasses.replace(verdict, findings=mixed),))
    (group,) = findings.groups(entry)[0].values()
    assert [(line.word, line.alarm) for line in group.lines] == [("off", False), ("alarm", True)]


def test_a_column_of_noughts_becomes_a_sentence(comparison: Comparison) -> None:
    """Where no method misses a mode, one sentence replaces the column."""
    entry = by_name(comparison, "mixture")
    for value, column in ((0.0, False), (0.2, True), (math.nan, True)):
        extra = Measure("mixture", "meanfield", 1, "x", "missed_mass", value, 0.1, "exact")
        table = quantities.table(
            dataclasses.replace(
                entry, measures=(*entry.measures, extra), levels=(*entry.levels, None)
            )
        )
        assert table is not None
        assert ("missed" in {title for title, _ in table.columns}) is column
        assert table.nothing_missed is not column


def test_limits_that_a_model_changes_are_printed_with_its_name(comparison: Comparison) -> None:
    """The default stays in the table and the changed rule follows."""
    entry = by_name(comparison, "mixture")
    model = dataclasses.replace(entry.model, limits={"bias": {"close": 0.05}})
    changed = dataclasses.replace(comparison, models=(dataclasses.replace(entry, model=model),))
    last = findings.limits(changed)[-1]
    assert (last.metric, last.close, last.wrong, last.model) == ("bias", "0.05", "0.5", "mixture")


def test_names_with_odd_characters_make_valid_anchors() -> None:
    """A file name with spaces and dots is an identifier without them, and no other name has it."""
    assert summary.anchor("my model.v2/β") == "model-my-20-model-2e-v2-2f--3b2-"
    assert len({summary.anchor(name) for name in ("α", "β", " ", "-")}) == 4


def test_measures_without_levels_are_tolerated(comparison: Comparison) -> None:
    """A comparison that was not judged still shows its figures."""
    entry = dataclasses.replace(by_name(comparison, "mixture"), levels=(), verdicts=())
    table = quantities.table(entry)
    assert table is not None
    assert all(not row.word for row in table.rows)


def test_a_metric_the_table_does_not_know_is_left_to_the_csv(comparison: Comparison) -> None:
    """An unknown metric makes no column and no error."""
    entry = by_name(comparison, "mixture")
    extra = Measure("mixture", "meanfield", 1, "x", "novelty", 1.0, 0.1, "exact")
    grown = dataclasses.replace(
        entry, measures=(*entry.measures, extra), levels=(*entry.levels, None)
    )
    table = quantities.table(grown)
    assert table is not None
    assert "novelty" not in {title for title, _ in table.columns}


def test_rare_methods_share_a_column_where_there_are_many() -> None:
    """Usual methods keep a column each; the others are listed with their levels, none is lost."""
    usual = ["meanfield", "fullrank", "meanfield_tuned", "fullrank_tuned", "dadvi", "nuts"]
    rare = ["advi", "svgd", "bbvi", "minibatch"]
    whole = verdicts_of("one", [*usual, *rare]), verdicts_of("two", usual)
    found = summary.summarise(Comparison(whole, (), {}))
    assert [name for name, _ in found.methods] == usual
    assert found.others
    assert [(c.method, c.level) for c in found.rows[0].others] == [
        (m, "pass") for m in ("advi", "minibatch", "bbvi", "svgd")
    ]
    assert found.rows[1].others == ()
    one = summary.summarise(Comparison(whole[:1], (), {}))
    assert len(one.methods) + len(one.rows[0].others) == len(usual) + len(rare)


def test_few_methods_have_a_column_each() -> None:
    """Rare methods have one too."""
    found = summary.summarise(Comparison((verdicts_of("one", ["advi", "nuts"]),), (), {}))
    assert [name for name, _ in found.methods] == ["advi", "nuts"]
    assert not found.others


def verdicts_of(name: str, methods: list[str]) -> ModelComparison:
    """Return a model on which all methods pass."""
    model = Model(name, name, Path("none.stan"), None)
    passed = tuple(Verdict(name, m, "pass", "pass", 1, 0, "", ()) for m in methods)
    reference = Reference("exact", trusted=True, why="exact")
    return ModelComparison(model, None, reference, verdicts=passed)
