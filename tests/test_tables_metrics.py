"""The METRICS table: complete rows, words that nothing reads, and one more row."""

from __future__ import annotations

import ast
import dataclasses
import io
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from trial_records import MODEL, compare, run, spec

from harness import judgement, metrics
from harness.check.baseline.change import conclude
from harness.check.baseline.compare import compare_method
from harness.check.baseline.observe import observe, settled
from harness.judgement import trust, verdict
from harness.metrics import METRICS, JudgeContext, Metric, Sample, Scene
from harness.metrics.metric import Column
from harness.records import (
    Closeness,
    Comparison,
    Estimate,
    Level,
    Measure,
    ModelComparison,
    Rule,
    RunResult,
    Trial,
    Verdict,
)
from harness.report import files, html, terminal
from harness.why.remedies.judge import figure, telling
from harness.why.remedies.sentence import changed

JUDGED = [m.id for m in METRICS.values() if m.rule is not None]
VALUES = (-math.inf, -0.7, 0.0, 0.3, 1.0, 12345.6, math.inf)
SENTENCE = re.compile(r"(`x`|The chains|All quantities together)( \(seed 1\))?: .+\.")


def scene(metric: Metric, value: float, mcse: float = 0.01, **more: Any) -> Scene:
    """Return a measure with everything around it that words may mention."""
    quantity = None if metric.scope in {"joint", "run", "sampler"} else "x"
    summaries = {k: Estimate(1.0, 0.1) for k in ("mean", "sd", "q5", "q95", "bias")}
    context = JudgeContext(
        1,
        correlations={"x": ("y", -0.9)},
        pairs={1: metrics.WorstPair("x", "y", 0.1, -0.9)},
        modes={"x": 2},
        mode_shares={"x": (0.2, 0.8)},
        title="mean-field",
        factorised=True,
    )
    found = Measure("m", "meanfield", 1, quantity, metric.id, value, mcse, "exact")
    return Scene(found, summaries, summaries, context, **more)


def reads_well(text: str) -> None:
    """No blank was left open, no space is doubled, and no number is Python's."""
    assert text == text.strip()
    assert not re.search(r"[{}]|  |\bnan\b|\binf\b|\de[-+]\d|None", text), text


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_every_row_has_its_parts(metric: Metric) -> None:
    """Id, noun, scope and measure; a reason and a place in headlines where there are limits."""
    assert METRICS[metric.id] is metric
    assert re.fullmatch(r"[a-z][a-z0-9_]*", metric.id)
    reads_well(metric.title)
    assert metric.subject("x").endswith(" of x")
    if metric.rule is not None:
        reads_well(metric.rule.why)
        assert not metric.rule.why.endswith(".")
        assert metric.telling < 100
        for model in (metric.rule, dataclasses.replace(metric.rule, close=0.0)):
            reads_well(metric.limits(model))


def test_places_in_headlines_differ() -> None:
    """Otherwise the order of the table would decide in silence."""
    places = [METRICS[m].telling for m in JUDGED]
    assert len(set(places)) == len(places)


NAMED = {
    ("report/files/tables.py", "khat"),
    ("report/league.py", "w1"),
    ("report/html/glossary.py", "divergences"),
}
"""Columns of runs.csv and of league.csv, which are contracts, and a word that is explained."""


def test_nothing_that_reads_the_table_names_a_row() -> None:
    """Judge, study, report, check and the commands know metrics by their rows only."""
    root = Path(metrics.__file__).parents[1]
    found = set()
    for room in ("judgement", "study", "report", "check", "cli"):
        for path in (root / room).rglob("*.py"):
            tree = ast.parse(path.read_text("utf-8"))
            texts = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
            found |= {(path.relative_to(root).as_posix(), name) for name in texts & set(JUDGED)}
    assert found == NAMED


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("name", JUDGED)
def test_words_of_a_finding_read_as_a_sentence(name: str, value: float) -> None:
    """Every value gives a sentence with subject and figure; limits only where they are special."""
    metric = METRICS[name]
    assert metric.rule is not None
    full = scene(metric, value)
    for shown in (full, Scene(full.measure)):
        text = metric.sentence(shown, metric.rule, "wrong", z=3.0, where="seed 1", more=2)
        assert SENTENCE.fullmatch(text), text
        assert metric.rule.why not in text  # the table of limits explains it once
        own = dataclasses.replace(metric.rule, close=metric.rule.close / 2)
        special = metric.sentence(shown, own, "wrong", z=3.0)
        assert metric.rule.why in special
        assert metric.limits(own) in special
        for words in (text, metric.headline(shown, "wrong"), metric.changed(None, shown)):
            reads_well(words)
        reads_well(metric.changed(full, shown))


@pytest.mark.parametrize("value", [0.05, math.nan])
@pytest.mark.parametrize("mcse", [0.4, math.nan, math.inf])
@pytest.mark.parametrize("name", JUDGED)
def test_words_of_an_undecided_figure_read_as_a_sentence(
    name: str, value: float, mcse: float
) -> None:
    """The figure and its error, or that there is none; and what would decide."""
    metric = METRICS[name]
    assert metric.rule is not None
    shown = scene(metric, value, mcse)
    text = metric.sentence(shown, metric.rule, "unsure", z=3.0, needed=9000)
    assert SENTENCE.fullmatch(text), text
    assert "undecided" in text or "about 9000 draws would decide" in text
    for words in (text, metric.headline(shown, "unsure")):
        reads_well(words)


# --- words are words only -----------------------------------------------------------------------


def reworded(say: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that spells every word of what another one says backwards."""

    def backwards(text: str) -> str:
        return " ".join(word[::-1] for word in text.split(" "))

    def said(*arguments: Any, **named: Any) -> Any:
        words = say(*arguments, **named)
        return backwards(words) if isinstance(words, str) else [backwards(w) for w in words]

    return said


def without_words(found: Verdict) -> Verdict:
    """Return a verdict with its facts only."""
    silent = [
        dataclasses.replace(
            s, findings=tuple(dataclasses.replace(f, sentence="") for f in s.findings)
        )
        for s in found.by_seed
    ]
    findings = tuple(dataclasses.replace(f, sentence="") for f in found.findings)
    return dataclasses.replace(
        found, headline="", notes=(), findings=findings, by_seed=tuple(silent)
    )


def verdicts() -> dict[str, Verdict]:
    """Judge fits that are right, wrong, lost, and run away."""
    runs = [run(spec("meanfield", s), sd=0.3 if s < 3 else 6.5) for s in (1, 2, 3)]
    runs[2] = dataclasses.replace(runs[2], diagnostics={"eta": 100.0})
    runs += [run(spec("fullrank", s), status="failed" if s == 2 else "ok") for s in (1, 2)]
    runs.append(run(spec("dadvi", draws=50)))
    return dict(compare(runs).verdicts)


def test_no_verdict_depends_on_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sentence with its words backwards: the same levels, findings, groups and facts."""
    before = verdicts()
    chains = judgement.judge_chains([Measure("m", "nuts", 1, "x", "rhat", 3.0, 0.0, "nuts")])
    for name in ("sentence", "headline", "subject", "changed"):
        monkeypatch.setattr(Metric, name, reworded(getattr(Metric, name)))
    for name in ("run_notes", "far_words", "errors_by_seed", "stopped_early", "no_figure"):
        monkeypatch.setattr(verdict, name, reworded(getattr(verdict, name)))
    monkeypatch.setattr(trust, "subjects", reworded(trust.subjects))
    after = verdicts()
    assert [v.headline for v in after.values()] != [v.headline for v in before.values()]
    for method, found in before.items():
        assert without_words(after[method]) == without_words(found)
        assert judgement.level_text(after[method]) == judgement.level_text(found)
    assert [s.far for s in before["meanfield"].by_seed] == [None, None, "ran away"]
    again = judgement.judge_chains([Measure("m", "nuts", 1, "x", "rhat", 3.0, 0.0, "nuts")])
    assert (again.trusted, again.missing, again.worst) == (
        chains.trusted, chains.missing, chains.worst,
    )  # fmt: skip


# --- one more row -------------------------------------------------------------------------------

SPIKES = "spikes"


def spikes(value: float, mcse: float) -> Metric:
    """Return a metric that is known nowhere else and measures what it is told to."""

    def measure(own: Sample, reference: Sample) -> Estimate:
        assert own.n
        assert reference.n
        return Estimate(value, mcse)

    return Metric(
        id=SPIKES,
        noun="height of the spikes",
        unit="sd",
        scope="quantity",
        measure=measure,
        rule=Rule(0.1, 0.5, "above", "a spike hides what lies below it"),
        column=Column("spikes", "height of the highest spike, in reference sds"),
    )


def whole(salt: int = 0) -> tuple[Comparison, tuple[RunResult, ...]]:
    """Compare two seeds of a perfect mean-field fit; return the comparison with its runs."""
    runs = tuple(run(spec("meanfield", s), salt=salt) for s in (1, 2))
    found = compare(runs)
    rules = judgement.rules_for()
    z = judgement.critical_z(1)
    measures = tuple(found.comparison.measures)
    levels: tuple[Closeness | None, ...] = tuple(
        judgement.closeness(m, rules[m.metric], z) if m.metric in rules else None for m in measures
    )
    entry = ModelComparison(
        MODEL,
        None,
        found.comparison.reference,
        runs,
        measures,
        levels,
        tuple(found.verdicts.values()),
    )
    return Comparison((entry,), (), {"date": "2026-01-01"}), runs


@pytest.mark.parametrize(
    ("value", "mcse", "closeness", "level"),
    [
        (0.9, 0.01, "wrong", "fail"),
        (math.inf, 0.0, "wrong", "fail"),
        (0.3, 0.01, "off", "warn"),
        (0.02, 0.01, "close", "pass"),
        (0.05, 0.2, "unsure", "unknown"),
        (math.nan, 0.1, "unsure", "unknown"),
        (0.05, math.nan, "unsure", "unknown"),
    ],
)
def test_one_more_row_reaches_every_output(
    value: float,
    mcse: float,
    closeness: Closeness,
    level: Level,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """It is measured, judged, printed, reported, written, read back and kept in a baseline."""
    monkeypatch.setitem(METRICS, SPIKES, spikes(value, mcse))
    comparison, runs = whole()
    (entry,) = comparison.models
    own = [(m, k) for m, k in zip(entry.measures, entry.levels, strict=True) if m.metric == SPIKES]
    assert [k for _, k in own] == [closeness, closeness]
    (found,) = entry.verdicts
    assert found.level == level

    console = Console(file=io.StringIO(), width=160)
    monkeypatch.setattr(terminal, "make_console", lambda: console)
    terminal.print_verdicts(comparison)
    printed = re.sub(r"\s+", " ", console.file.getvalue())  # type: ignore[attr-defined]
    page = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html.to_html(comparison)))
    assert "height of the spikes, in sd" in page, "the table of limits"
    assert "a spike hides what lies below it" in page
    assert "spikes" in page
    if closeness != "close":
        assert "height of the spikes of x" in printed
        assert "height of the spikes of x" in page
        assert any(f.measure.metric == SPIKES for f in found.findings)

    files.write(comparison, tmp_path)
    rows = [r.split(",") for r in (tmp_path / "measures.csv").read_text("utf-8").splitlines()]
    assert sum(r[rows[0].index("metric")] == SPIKES for r in rows) == 2
    assert level in (tmp_path / "verdicts.csv").read_text("utf-8")
    (again,) = files.read(tmp_path).models
    assert again.verdicts[0].level == level
    assert [f.sentence for f in again.verdicts[0].findings] == [f.sentence for f in found.findings]

    before = settled(observe(entry, runs))["meanfield"]
    assert before.faults == ({SPIKES: 2} if level in {"fail", "warn"} else {})
    monkeypatch.setitem(METRICS, SPIKES, spikes(0.0, 0.01))
    healed, others = whole(salt=1)
    now = observe(healed.models[0], others).methods["meanfield"]
    changes = conclude(compare_method("m", "meanfield", before, now))
    assert (SPIKES in {c.name for c in changes}) == (level in {"fail", "warn"})


def test_limits_of_one_more_row_can_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model folder sets them as any other's."""
    monkeypatch.setitem(METRICS, SPIKES, spikes(0.3, 0.01))
    model = dataclasses.replace(whole()[0].models[0].model, limits={SPIKES: {"close": 0.4}})
    assert judgement.rules_for(model)[SPIKES].close == 0.4
    with pytest.raises(ValueError, match=SPIKES):
        judgement.rules_for(dataclasses.replace(model, limits={"nothing": {"close": 1.0}}))


def test_a_remedy_tells_one_more_row_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figure that says most of a method's fault may be the new one."""
    monkeypatch.setitem(METRICS, SPIKES, spikes(0.9, 0.01))
    (entry,) = whole()[0].models
    what = telling(entry.verdicts[0], (1, 2))
    assert (what.metric, what.quantity) == (SPIKES, "x")
    shown = figure(what, entry.measures, None)
    assert np.isfinite(shown.estimate.value)
    trial = Trial(
        method="meanfield",
        remedy="full_rank",
        ran="fullrank",
        options={},
        level_before="fail",
        level_after="fail",
        metric=what.metric,
        quantity=what.quantity,
        before=shown.estimate,
        after=shown.estimate,
        seconds=1.0,
        seconds_before=1.0,
        outcome="no help",
        facts={"before": shown.facts, "after": shown.facts},
    )
    assert changed(trial) == "height of the spikes of x 0.90 instead of 0.90 sd"
