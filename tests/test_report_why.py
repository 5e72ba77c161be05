"""What the report says of why and of what would help: sentences, small print, the remedies."""

from __future__ import annotations

import dataclasses
import html
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest

from harness.records import (
    NO_ESTIMATE,
    Better,
    Cause,
    Comparison,
    Estimate,
    Explanation,
    Gap,
    Level,
    Model,
    ModelComparison,
    Reference,
    Trial,
    Verdict,
    VerdictCause,
)
from harness.report.figures.canvas import Panel
from harness.report.html import _drawings, remedies, summary, to_html
from harness.why.causes import cause_sentence
from harness.why.words import cause_sentences

if TYPE_CHECKING:
    from collections.abc import Sequence

CAUSES = (
    Cause("family", "correlation", 0.893, {"said": "full-rank's gap is 0.002 nats"}),
    Cause("optimiser", "runaway", 23_400.0, {"eta": 100.0, "away": True, "lost": 0.0}),
    Cause("method", "particles collapse", math.nan, {"said": "20 particles cover 0.3 of it"}),
)


def gap(method: str, seed: int, *causes: Cause, exact: bool = True, words: str = "") -> Gap:
    """Return a run's gap."""
    family, optimiser = Estimate(0.893, 0.002), Estimate(0.04, 0.01)
    return Gap(method, seed, "meanfield", family, optimiser, causes, exact, words)


def trial(
    method: str = "meanfield", *, helps: bool = True, after: Level | None = "pass", what: str = "w"
) -> Trial:
    """Return a remedy of a verdict that fails."""
    return Trial(
        method=method,
        remedy="full-rank",
        ran="fullrank",
        options={},
        level_before="fail",
        level_after=after,
        metric="log_sd_ratio",
        quantity="beta",
        before=Estimate(math.log(0.5), 0.02),
        after=NO_ESTIMATE if after is None else Estimate(0.0, 0.01),
        seconds=math.nan if after is None else 3.0,
        seconds_before=0.25,
        outcome="helps" if helps else "no help",
        facts={"what": what, "words": "Said of it."},
    )


def entry(
    *,
    why: Explanation | None = None,
    trials: Sequence[Trial] = (),
    verdicts: Sequence[Verdict] = (),
    name: str = "m",
) -> ModelComparison:
    """Return a model with its reasons."""
    return ModelComparison(
        Model(name, name, Path("none.stan"), None),
        None,
        Reference("exact", trusted=True, why="exact"),
        verdicts=tuple(verdicts),
        explanation=why,
        trials=tuple(trials),
    )


def failing(method: str, cause: Cause, name: str = "m") -> Verdict:
    """Return a verdict with its cause."""
    seeds = (1,) if cause.gap == "optimiser" else ()
    return Verdict(
        name,
        method,
        "fail",
        "fail",
        1,
        1,
        "sd of beta 0.5 of the reference's",
        (),
        causes=(VerdictCause(cause, seeds, (cause.nats,) if seeds else (), 1, of=len(seeds)),),
        remedies=(Better("fullrank", "pass", 1, 3.0),),
    )


def words(*models: ModelComparison) -> str:
    """Return the page's text, tags removed."""
    page = to_html(Comparison(models, (), {}))
    body = page.partition("</style>")[2].partition("<script>")[0]
    body = re.sub(r'<a class="term".*?>(.*?)</a>', r"\1", body)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)))


@pytest.mark.parametrize(
    ("method", "best"), [("bam", "its family's best"), ("lowrank", "the best full-rank Gaussian")]
)
def test_the_best_of_a_narrower_family_is_not_claimed(method: str, best: str) -> None:
    """Ten factors are held against any covariance, and the sentence says so."""
    cause = Cause("optimiser", "other objective", 0.5, {"method": method})
    (sentence,) = cause_sentences(failing(method, cause))
    assert f"0.50 nats below {best}: it matches scores" in sentence


EXPLAINED = Explanation(
    Estimate(-47.1234, 0.002),
    "bridge sampling",
    (gap("meanfield", 1, CAUSES[0]), gap("meanfield", 2, CAUSES[1])),
    ("q* of full-rank was averaged over iterates.",),
)


@pytest.mark.parametrize("cause", CAUSES, ids=lambda c: c.name)
def test_every_cause_is_shown_with_its_evidence(cause: Cause) -> None:
    """Whichever gap it is of; in the method's findings and, in a few words, in the first table."""
    text = words(entry(verdicts=[failing("meanfield", cause)]))
    assert cause_sentence(cause) in text
    assert "Remedy. Full-rank passes here, 3.0 s a run." in text
    gap = "" if cause.gap == "method" else f"{cause.gap}: "
    assert f"{gap}{cause.name}" in text


def test_the_first_table_says_why_in_a_column_of_its_own() -> None:
    """Without causes there is no column; nothing is said in a tooltip alone."""
    verdict = failing("meanfield", CAUSES[0])
    text = words(entry(verdicts=[verdict]))
    assert re.search(r"what is wrong why what helps", text)
    assert "sd of beta 0.5 of the reference's family: correlation, 0.89 nats" in text
    silent = dataclasses.replace(verdict, causes=(), remedies=())
    assert not re.search(r"what is wrong why", words(entry(verdicts=[silent])))
    assert " title=" not in to_html(Comparison((entry(verdicts=[verdict]),), (), {}))


def test_the_figure_and_its_small_print_stand_before_the_densities() -> None:
    """Log Z with its error and source, then the notes."""
    text = words(entry(why=EXPLAINED))
    assert "Where the divergence comes from" in text
    assert "log Z = −47.123 ± 0.002 nats, from bridge sampling." in text
    assert "q* of full-rank was averaged over iterates." in text


@pytest.mark.parametrize(
    ("evidence", "said"),
    [
        (Estimate(-5_600_123.5, 0.3), "log Z = −5\u202f600\u202f123.5 ± 0.3 nats, from it."),
        (Estimate(-1.25, 0.0), "log Z = −1.25 nats, from it."),
        (Estimate(-1.25, math.nan), "log Z = −1.2 ± unknown nats, from it."),
        (NO_ESTIMATE, "log Z is unknown, from it: without it no family gap is known."),
    ],
)
def test_log_z_is_said_as_well_as_it_is_known(evidence: Estimate, said: str) -> None:
    """An exact log Z has no error, and a missing one is reported."""
    assert remedies.small_print(entry(why=Explanation(evidence, "it", ())))[0] == said


def test_what_keeps_a_gap_from_being_exact_is_said_once_with_its_seeds() -> None:
    """Runs with the same note share a line, and an unknown gap without a note gets one."""
    lost = dataclasses.replace(gap("fullrank", 3), family_gap=NO_ESTIMATE)
    several = tuple(gap("meanfield", s, words="Too few draws for P") for s in (2, 1))
    many = tuple(gap("fullrank", s, exact=False) for s in range(10, 20))
    lines = remedies.small_print(
        entry(why=Explanation(Estimate(0, 0), "it", (*several, lost, *many)))
    )
    assert lines[1:] == (
        "mean-field, seeds 1 and 2: Too few draws for P.",
        "full-rank, seed 3: the gap is unknown, for no known reason.",
        "full-rank, 10 seeds: q is taken to be the Gaussian with its draws' moments.",
    )


def test_no_table_where_nothing_was_tried_and_no_print_where_nobody_asked() -> None:
    """A comparison without reasons looks as before."""
    assert remedies.table(entry()) is None
    assert remedies.small_print(entry()) == ()
    text = words(entry())
    assert "Remedies" not in text
    assert "Where the divergence comes from" not in text


def test_a_remedy_says_verdict_figure_and_seconds_before_and_after() -> None:
    """Logs of ratios are shown as ratios, with the metric in words."""
    found = remedies.table(entry(trials=[trial(what="full-rank, `eta` 0.1")]))
    assert found is not None
    (row,) = found.groups[0].rows
    assert (row.before, row.after) == ("0.500 ± 0.010", "1.000 ± 0.010")
    text = words(entry(trials=[trial()]))
    assert "0.25 s → 3.0 s" in re.sub(r"\s+", " ", text)
    assert "✗ fail → ✓ pass" in re.sub(r"\s+", " ", text)
    assert "ratio of the sds: beta" in text
    assert "✓ yes" in text
    assert "Said of it." not in text


def test_a_hint_that_cannot_be_tried_has_its_words_and_no_figures_after() -> None:
    """It has neither a verdict nor seconds."""
    found = remedies.table(entry(trials=[trial(after=None, helps=False)]))
    assert found is not None
    assert [row.after for row in found.groups[0].rows] == [""]
    text = words(entry(trials=[trial(after=None, helps=False)]))
    assert "→" not in text
    assert "not tried" in text
    assert "Said of it." in text
    assert "→ unknown" not in text


def test_a_remedy_that_gave_no_figure_says_so() -> None:
    """A run that was tried and has nothing to measure is not a figure of nothing."""
    lost = dataclasses.replace(trial(after="fail", helps=False), after=NO_ESTIMATE)
    text = words(entry(trials=[lost]))
    assert "→ unknown" in text
    assert "Said of it." in text


@pytest.mark.parametrize("level", get_args(Level))
def test_every_level_can_be_the_outcome(level: Level) -> None:
    """Unknown is a possible outcome too, as a symbol and a word."""
    text = words(entry(trials=[trial(after=level, helps=False)]))
    assert re.search(rf"→ {re.escape(summary.SYMBOLS[level])} {level}", text)


def test_remedies_are_grouped_by_method_and_those_that_help_come_first() -> None:
    """In the order of the tables of verdicts; hints come last."""
    mixed = [
        trial("fullrank", what="a"),
        trial(helps=False, after=None, what="hint"),
        trial(helps=False, after="fail", what="no"),
        trial(what="yes"),
    ]
    found = remedies.table(entry(trials=mixed))
    assert found is not None
    assert [g.method for g in found.groups] == ["meanfield", "fullrank"]
    assert [r.what for r in found.groups[0].rows] == ["yes", "no", "hint"]
    assert found.folded == ()


def test_where_much_was_tried_what_does_not_help_is_folded() -> None:
    """Counted, and the methods that nothing helps are named."""
    many = [trial(helps=False, after="fail", what=f"no {i}") for i in range(remedies.ROWS)]
    more = [trial("fullrank"), *many]
    found = remedies.table(entry(trials=more))
    assert found is not None
    assert [g.method for g in found.groups] == ["fullrank"]
    assert found.folded_rows == remedies.ROWS
    text = words(entry(trials=more))
    assert "No remedy that was tried helps mean-field." in text
    assert f"{remedies.ROWS} remedies that do not help" in text
    assert "no 17" in text
    assert "No remedy that was tried" in words(entry(trials=[*many, many[0]]))


def test_every_drawing_has_identifiers_of_its_own() -> None:
    """Two panels never share a clip path's name, and both have alternative texts."""
    svg = '<svg viewBox="0 0 9 9"><g clip-path="url(#p1)"/><defs><path id="p1"/></defs></svg>'
    put = _drawings()
    first, second = (put(Panel("t", "", svg, 'W1 is "1"', 90, 60)) for _ in range(2))
    assert first == (
        '<svg role="img" aria-label="W1 is &#34;1&#34;" width="90" height="60" viewBox="0 0 9 9">'
        '<g clip-path="url(#i0)"/><defs><path id="i0"/></defs></svg>'
    )
    assert second == first.replace("i0", "i1")
