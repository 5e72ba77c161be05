"""The CAUSES and REMEDIES tables: complete rows, words that nothing reads, and one more row."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from rich.console import Console
from trial_records import MODEL, Compared, compare, run, spec

from harness import judgement
from harness.check.baseline.change import conclude
from harness.check.baseline.compare import compare_method
from harness.check.baseline.observe import observe, settled
from harness.methods import METHODS
from harness.records import (
    NO_ESTIMATE,
    Cause,
    Comparison,
    Estimate,
    Explanation,
    Gap,
    ModelComparison,
    RunResult,
    Trace,
    Trial,
    Verdict,
)
from harness.records.text import number
from harness.report import files, html, terminal
from harness.why import words
from harness.why.causes import CAUSES, cause_sentence, causes_of
from harness.why.causes.row import (
    CauseRow,
    Evidence,
    FamilyScene,
    Found,
    Looks,
    OptimiserScene,
    OtherScene,
)
from harness.why.causes.steps import ImproperScene
from harness.why.causes.unknown import VerdictScene
from harness.why.remedies import REMEDIES
from harness.why.remedies.judge import judge_runs
from harness.why.remedies.row import Change, Judging, Options, Remedy
from harness.why.remedies.runs import plan_runs
from harness.why.remedies.sentence import trial_sentence
from harness.why.trials import propose, tried, wanted
from harness.why.verdicts import explained

SCENES = (FamilyScene, OptimiserScene, OtherScene, ImproperScene, VerdictScene)
NOT_A_NUMBER = Estimate(math.nan, math.nan)
FIGURE = [0.5, 0.01]
LOOKS = {"earlier": 3.0, "later": 1.0, "shrinking": True}

EVIDENCE: Mapping[str, tuple[Evidence, ...]] = {
    "correlation": (
        {"closer": FIGURE, "gap": FIGURE},
        {"closer": FIGURE, "gap": [0.6, 0.01], "fullrank": [0.0, 0.0], "pair": ["a", "b"],
         "r": 0.9, "sd_of": "a", "sd": 0.4, "predicted": 0.41},
        {"widened": "x[7]", "times": 2.3},
    ),
    "label switching": ({"basins": 2, "mass": 0.5, "switched": ["mu", "theta"]},),
    "curved": ({"of": "y", "on": "x", "share": 0.4, "arms": False},),
    "hard edge": (
        {"edges": [{"of": "s", "side": "lower", "at": 0.0}], "lost": 0.3},
        {"edges": [{"of": s, "side": "lower", "at": 0.0} for s in "st"]},
    ),
    "flat direction": (
        {"along": [{"terms": [["a", 1.0], ["b", -1.0]], "unconstrained": False}]},
        {"along": [{"terms": [["a", 1.0], ["b", 0.3]], "unconstrained": True}] * 2},
    ),
    "ridge": ({"basins": 5, "falls": 0.0007},),
    "several modes": ({"basins": 2, "mass": 0.2}, {"of": "x", "missed": [0.2, 0.01]}),
    "funnel": ({"of": "b", "on": "a", "ratio": [3.0, 0.1], "wide": "upper"},),
    "skew": ({"of": "x", "skewness": [1.1, math.inf], "l_skewness": [0.1, 0.01]},),
    "light tails": ({"of": "x", "l_kurtosis": [0.2, 0.01]},),
    "heavy tails": ({"of": "x", "l_kurtosis": [0.1, 0.01], "excess_kurtosis": [-0.8, 0.1]},),
    "other shape": (
        {"why": "no draws"}, {"why": "no marginal"},
        {"why": "unexplained", "skew": 0.01, "tails": math.nan},
    ),
    "other basin": ({"below": FIGURE},),
    "runaway": ({"eta": 100.0, "away": True, "lost": 0.2}, {"eta": 10, "away": False, "lost": 0},
                {"eta": 100.0, "away": True, "lost": 0, "collapsed": True}),
    "collapsed": ({}, {"eta": 0.1}),
    "dropped evaluations": ({"lost": 0.025, "cmdstan": True},),
    "linear response": ({"method": "dadvi_lr"},),
    "curvature at the mode": ({"method": "laplace"},),
    "other objective": ({"method": "quadrature_mse"},),
    "few base draws": ({"method": "dadvi"},),
    "not known": ({},),
    "stopped early": (
        {"iteration": 700.0, **LOOKS},
        {"iteration": 700.0, "tolerance": 0.01, "blind": 1.0, "gap": 0.5},
    ),
    "iteration limit": (
        {"iterations": 1e4, "why": "too few looks"}, {"iterations": 1e4, "why": "gain"},
        {"iterations": 1e4, "why": "looks", **LOOKS},
    ),
    "noisy steps": ({}, {"eta": 0.1, "draws": 1, **LOOKS, "shrinking": False}),
    "chains do not mix": ({"finding": "`x`: R-hat 1.73"},),
    "chains stay in one mode": ({"finding": "`x`: the chains differ"},),
    "divergences": ({"finding": "The chains: 3 divergences"},),
    "slow mixing": ({"finding": "`x`: bulk ESS 9"},),
    "short trajectories": ({"finding": "The chains: tree depth"},),
    "truncated normal": ({"nats": 0.05},),
    "kept to one mode": ({"method": "svgd", "modes": {"basins": 2, "mass": 0.2}},),
    "weights": ({"share": 0.02, "message": ""}, {"share": 0.02, "message": "it wanders"}),
    "its own doubt": ({"message": "the particles still move"},),
    "family gap not known": ({},),
    "gap not known": ({"why": [["no figure", [1, 3]], ["", [2]]]},),
    "gaps not known": ({"why": ""}, {"family": FIGURE, "optimiser": [0.01, 0.02]}),
    "no gap counts": ({"family": [0.002, 0.001], "optimiser": [0.001, 0.001]},),
    "not found": ({"notes": []}, {"notes": ["no compiler"]}),
    "generated quantities throw": (
        {"failed": 2, "of": 5, "status": "failed", "message": "the fit ended, y is 3"},
    ),
    "failed runs": ({"failed": 2, "of": 5, "status": "timed_out", "message": ""},),
}  # fmt: skip
"""Evidence as each row's detector gives it, plain data."""


def reads_well(text: str) -> None:
    """No blank is left open, no space is doubled, and no number is Python's."""
    assert text
    assert text == text.strip()
    assert not re.search(r"[{}]|  |\bnan\b|\binf\b|\de[-+]\d|None", text), text


@pytest.mark.parametrize("row", CAUSES.values(), ids=CAUSES)
def test_every_cause_has_its_parts(row: CauseRow) -> None:
    """Its id is its key; its name and its sentences read well, whatever the evidence."""
    assert CAUSES[row.id] is row
    reads_well(row.name)
    assert issubclass(row.scene, SCENES)
    assert row.gap in {"family", "optimiser", "method", "none"}
    for evidence in EVIDENCE[row.id]:
        sentence = cause_sentence(Cause(row.gap, row.id, 0.5, evidence))
        reads_well(sentence)
        assert not sentence.endswith(".")
        kept = json.loads(json.dumps(evidence))
        assert cause_sentence(Cause(row.gap, row.id, math.nan, kept)) == sentence


def test_every_other_optimum_is_a_cause() -> None:
    """What a method's row says of its optimum is found under that name."""
    assert {m.other_optimum[0] for m in METHODS.values() if m.other_optimum} <= set(CAUSES)


def test_the_names_of_tails_speak_of_q() -> None:
    """The ids stay the words that baselines have."""
    assert CAUSES["light tails"].name == "tails too light (q)"
    assert CAUSES["heavy tails"].name == "tails too heavy (q)"


@pytest.mark.parametrize("row", REMEDIES.values(), ids=REMEDIES)
def test_every_remedy_has_its_parts(row: Remedy) -> None:
    """Its causes are rows of the other table; what it does reads well for every method."""
    assert REMEDIES[row.id] is row
    reads_well(row.name)
    assert set(row.causes) <= set(CAUSES)
    assert row.always or row.causes
    for method in (m for m, r in METHODS.items() if r.repairable):
        options = METHODS[method].defaults
        change = (
            Change(method, {"warmup": 150}) if row.change is None else row.change(method, options)
        )
        if change is not None:
            reads_well(row.what(change.method, change.options))


# --- words are words only -----------------------------------------------------------------------


def backwards(say: Callable[..., str]) -> Callable[..., str]:
    """Return a function that spells every word of what another one says backwards."""

    def said(*arguments: Any) -> str:
        return " ".join(word[::-1] for word in say(*arguments).split(" "))

    return said


@pytest.fixture
def reworded(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function that turns every name and sentence of both tables backwards."""

    def turn() -> None:
        for row in list(CAUSES.values()):
            new = dataclasses.replace(
                row, name=backwards(str)(row.name), sentence=backwards(row.sentence)
            )
            monkeypatch.setitem(cast("dict[str, CauseRow]", CAUSES), row.id, new)
        for remedy in list(REMEDIES.values()):
            changed = dataclasses.replace(
                remedy,
                name=backwards(str)(remedy.name),
                what=backwards(remedy.what),
                sentence=backwards(remedy.sentence),
            )
            monkeypatch.setitem(cast("dict[str, Remedy]", REMEDIES), remedy.id, changed)

    return turn


def optimiser_scenes() -> Iterator[OptimiserScene]:
    """Return runs with every cause of an optimiser gap."""
    looks = Looks(3.0, 1.0, shrinking=True)
    for method in ("meanfield", "advi", "dadvi", "dadvi_lr"):
        for eta in (0.1, 100.0):
            for gap in (0.5, 20.0, math.inf):
                base = run(spec(method))
                made = dataclasses.replace(base, diagnostics={"iterations": 500.0, "eta": eta})
                for result in (made, dataclasses.replace(base, diagnostics={})):
                    for seen in (None, looks, looks._replace(shrinking=False)):
                        yield OptimiserScene(
                            gap=Estimate(gap, 0.01), rest=gap, run=result, best=-100.0, looks=seen,
                            basin=Estimate(0.3, 0.0), lost=0.1 if gap > 10 else 0.0,
                        )  # fmt: skip


def facts() -> dict[str, Any]:
    """Return everything that is decided, without a word: causes, groups, remedies, levels."""
    whole, proposals, runs = story()
    (entry,) = whole.models
    return {
        "causes": [[(c.name, c.nats) for c in causes_of(s)] for s in optimiser_scenes()],
        "reasons": repr([v.causes for v in entry.verdicts]),
        "levels": [v.level for v in entry.verdicts],
        "helps": [[r.remedy for r in v.remedies if isinstance(r, Trial)] for v in entry.verdicts],
        "groups": [[v.method for v in g] for g in terminal._same_reason(entry.verdicts)],
        "proposals": [(p.remedy, p.ran, dict(p.options), p.reason) for p in proposals],
        "trials": [(t.remedy, t.outcome, t.level_after, t.luck) for t in entry.trials],
        "wanted": [[wanted(r, [Cause(c.gap, c.id, 1.0)]) for r in REMEDIES.values()]
                   for c in CAUSES.values()],
        "baseline": repr(observe(entry, runs).methods["meanfield"].seed_causes),
        "family": repr(observe(entry, runs).methods["meanfield"].causes),
    }  # fmt: skip


def test_nothing_depends_on_a_word(reworded: Callable[[], None]) -> None:
    """Every template backwards: the same verdicts, causes, levels, groups and remedies."""
    before = facts()
    said = words.cause_sentences(story()[0].models[0].verdicts[0])
    reworded()
    assert facts() == before
    assert words.cause_sentences(story()[0].models[0].verdicts[0]) != said


# --- one more row -------------------------------------------------------------------------------

THROWN = "thrown away"
NEXT = "try again"


def cause_row(nats: float) -> CauseRow:
    """Return a cause that is known nowhere else and is always found."""
    return CauseRow(
        THROWN, "thrown-away cause", "optimiser", OptimiserScene,
        lambda _: Found(nats, {"figure": Estimate(nats, nats)}),
        lambda e: f"it was thrown {number(e['figure'][0])} m",
    )  # fmt: skip


def again(method: str, options: Options) -> Change:
    """Change nothing that matters."""
    del options
    return Change(method, {"eta": 0.5})


def remedy_row() -> Remedy:
    """Return a remedy for it."""
    return Remedy(
        id=NEXT,
        name="a second try",
        causes=(THROWN,),
        change=again,
        plan=plan_runs,
        judge=judge_runs,
        what=lambda _, options: f"a second try with {options['eta']}",
        sentence=trial_sentence,
    )


def story(salt: int = 0) -> tuple[Comparison, Any, tuple[RunResult, ...]]:
    """Compare a wide mean-field fit; return the comparison with trials, proposals and runs."""
    runs = tuple(
        dataclasses.replace(
            run(spec("meanfield", s), sd=6.5, salt=salt),
            diagnostics={"iterations": 500.0},
            trace=Trace(np.arange(1.0, 9.0), np.arange(1.0, 9.0), np.full(8, -9.0)),
        )
        for s in (1, 2)
    )
    found: Compared = compare([*runs, run(spec("dadvi"), salt=5)])
    gaps = []
    for r in runs:
        gap = Estimate(0.5, 0.001)
        scene = OptimiserScene(gap=gap, rest=gap.value, run=r, best=-100.0)
        family = (Cause("family", "skew", 0.3, EVIDENCE["skew"][0]),)
        gaps.append(
            Gap("meanfield", r.spec.seed, "meanfield", Estimate(0.3, 0.001), gap,
                (*family, *causes_of(scene)))
        )  # fmt: skip
    verdict = found.verdicts["meanfield"]
    proposals = propose(MODEL, verdict, found.comparison.runs, gaps)
    trials = []
    for proposal in proposals:
        its = list(runs)
        if proposal.spec is not None:
            its = [run(s, salt=1) for s in proposal.spec]
        trials.append(
            tried(Judging(found.comparison, verdict, proposal, its, found.yardstick, found.context))
        )
    rules, z = judgement.rules_for(), judgement.critical_z(1)
    measures = tuple(found.comparison.measures)
    entry = ModelComparison(
        MODEL,
        None,
        found.comparison.reference,
        tuple(found.comparison.runs),
        measures,
        tuple(
            judgement.closeness(m, rules[m.metric], z) if m.metric in rules else None
            for m in measures
        ),
        tuple(found.verdicts.values()),
        explanation=Explanation(NO_ESTIMATE, "none", tuple(gaps)),
        trials=tuple(trials),
    )
    whole = Comparison((explained(entry),), (), {"date": "2026-01-01"})
    return whole, proposals, tuple(found.comparison.runs)


@pytest.mark.parametrize("nats", [0.5, 3.0, math.nan, math.inf])
def test_one_more_cause_and_one_more_remedy_reach_every_output(
    nats: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Found, offered, tried, printed, reported, written, read back and kept in a baseline."""
    monkeypatch.setitem(cast("dict[str, CauseRow]", CAUSES), THROWN, cause_row(nats))
    monkeypatch.setitem(cast("dict[str, Remedy]", REMEDIES), NEXT, remedy_row())
    whole, _, runs = story()
    (entry,) = whole.models
    verdict: Verdict = entry.verdicts[0]
    assert THROWN in [c.cause.name for c in verdict.causes]
    (trial,) = [t for t in entry.trials if t.remedy == NEXT]
    assert trial.helps
    assert trial.options == {"eta": 0.5}

    console = Console(file=io.StringIO(), width=200)
    monkeypatch.setattr(terminal, "make_console", lambda: console)
    terminal.print_verdicts(whole)
    printed = re.sub(r"\s+", " ", console.file.getvalue())  # type: ignore[attr-defined]
    assert "thrown-away cause" in printed
    page = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html.to_html(whole)))
    assert f"it was thrown {number(nats)} m" in page
    assert "a second try with 0.5" in page.lower()

    files.write(whole, tmp_path)
    for name, said in (
        ("gaps", THROWN), ("trials", NEXT), ("trials", "a second try with 0.5"),
        ("verdicts", "thrown-away cause"),
    ):  # fmt: skip
        assert said in (tmp_path / f"{name}.csv").read_text("utf-8")
    (back,) = files.read(tmp_path).models
    assert repr(back.explanation) == repr(entry.explanation)
    assert words.cause_sentences(back.verdicts[0]) == words.cause_sentences(verdict)
    assert words.remedy_sentences(back.verdicts[0]) == words.remedy_sentences(verdict)

    before = settled(observe(entry, runs))["meanfield"]
    assert before.seed_causes[THROWN] == 2
    monkeypatch.delitem(cast("dict[str, CauseRow]", CAUSES), THROWN)
    healed, _, others = story(salt=2)
    now = observe(healed.models[0], others).methods["meanfield"]
    changes = conclude(compare_method("m", "meanfield", before, now))
    assert THROWN in {c.name for c in changes}


def test_what_the_tables_no_longer_know_is_still_read() -> None:
    """Results of another harness name causes and remedies that are not here: nothing raises."""
    cause = Cause("family", "lost row", math.nan, {"x": 1})
    gap = Gap("meanfield", 1, "meanfield", Estimate(0.5, 0.0), Estimate(0.0, 0.0), (cause,))
    trial = Trial(
        "meanfield", "lost remedy", "meanfield", {}, "fail", "pass", "bias", "x", NOT_A_NUMBER,
        NOT_A_NUMBER, 1.0, 1.0, "helps",
    )  # fmt: skip
    found = compare([run(spec("meanfield"), sd=6.5)])
    entry = explained(
        ModelComparison(
            MODEL, None, found.comparison.reference, (run(spec("meanfield")),),
            verdicts=tuple(found.verdicts.values()),
            explanation=Explanation(NO_ESTIMATE, "none", (gap,)), trials=(trial,),
        )
    )  # fmt: skip
    (verdict,) = entry.verdicts
    for said in (*words.cause_sentences(verdict), *words.remedy_sentences(verdict)):
        reads_well(said)
    assert "lost row" in str(words.cause_in_short(verdict))
    assert "lost remedy" in words.remedy_in_short(verdict)
