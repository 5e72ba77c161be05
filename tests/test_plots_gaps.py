"""Where the divergence comes from: what the bars show, what is cut, and what is said in words."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from harness.records import Estimate, Explanation, Gap, Model, ModelComparison, Reference
from harness.report.figures import figures_for, gaps
from harness.report.figures.canvas import Panel
from harness.report.figures.looks import INK

CUT = "stroke:#ffffff"
FAMILY, OPTIMISER, BOTH = gaps._FAMILY, gaps._OPTIMISER, INK


def gap(method: str, seed: int, family: float, optimiser: float, *, error: float = 0.001) -> Gap:
    """Return a run's gap with the same error on both parts."""
    return Gap(method, seed, "meanfield", Estimate(family, error), Estimate(optimiser, error))


def compared(*found: Gap) -> ModelComparison:
    """Return a model that is nothing but its gaps."""
    reference = Reference("exact", trusted=True, why="exact")
    why = Explanation(Estimate(0.0, 0.0), "a closed form", found)
    return ModelComparison(
        Model("m", "m", Path("none.stan"), None), None, reference, explanation=why
    )


def panel(*found: Gap) -> Panel:
    """Return the figure's only panel."""
    figure = gaps.figure(compared(*found))
    assert figure is not None
    return figure.panels[0]


def labels(found: Panel) -> list[str]:
    """Return every text of a panel."""
    return ["".join(t.itertext()) for t in ET.fromstring(found.svg).iter("text")]  # noqa: S314 - ours


def path(found: Panel, colour: str, *, round_ends: bool = False) -> str:
    """Return the path of one colour: bars have flat ends, dots round ones."""
    for one in ET.fromstring(found.svg).iter("path"):  # noqa: S314 - ours
        style = one.get("style", "")
        thick = re.search(r"stroke-width:([\d.]+)", style)
        bar = thick is not None and float(thick[1]) == 3.6
        if f"stroke:{colour}" in style and (
            "linecap:round" in style if round_ends else bar or colour not in {FAMILY, OPTIMISER}
        ):
            return one.get("d", "")
    return ""


def lengths(d: str) -> list[float]:
    """Return the lengths of a path's horizontal strokes, points."""
    return [float(x) for x in re.findall(r"m-?[\d.]+[ -][\d.]+ (-?[\d.]+) 0", d)]


MIXTURE = [gap("meanfield", s, 0.223, 0.001) for s in range(1, 5)]
MIXTURE += [gap("meanfield", s, 0.223, 1.386) for s in range(5, 8)]
MIXTURE += [gap("meanfield", s, 0.223, 10.0**s) for s in (8, 9)]


def test_the_axis_holds_the_other_basin_and_cuts_runaways() -> None:
    """On the mixture both .223 and 1.39 nats are seen; 1e8 nats are beyond."""
    assert 1.609 < gaps.axis_end(MIXTURE) < 2.0


def test_nothing_is_cut_where_all_is_large() -> None:
    """Where every run has a gap of thousands of nats, the axis shows them all."""
    found = [gap("meanfield", s, 0.0, 2500.0 + s) for s in (1, 2, 3)] + [gap("dadvi", 1, 0, 0.001)]
    assert gaps.axis_end(found) > 2503
    assert "cut" not in panel(*found).note


def test_an_axis_of_nothing_still_shows_what_close_means() -> None:
    """Where all gaps but a runaway's are negligible, the axis ends near 0.02 nats."""
    found = [gap("meanfield", s, 0.0, 0.001) for s in range(9)]
    assert gaps.axis_end(found) == pytest.approx(0.02, rel=0.05)
    assert gaps.axis_end([*found, gap("meanfield", 9, 0.0, 0.04), gap("m", 1, 0, 2e4)]) < 2e5


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_the_axis_is_finite_whatever_is_found(odd: float) -> None:
    """NaN and infinite gaps do not decide it, alone or beside others."""
    assert gaps.axis_end([gap("m", 1, odd, odd)]) == pytest.approx(0.02, rel=0.05)
    assert 0.2 < gaps.axis_end([*MIXTURE[:4], gap("m", 1, odd, 0.1)]) < 1


def test_a_cut_bar_has_a_break_and_its_figure() -> None:
    """One or two are written out, more as a range."""
    assert labels(panel(*MIXTURE[:7], gap("meanfield", 8, 0.2, 23_411.0)))[-1] == "23\u202f411"
    several = [gap("meanfield", s, 0.2, 1000.0 * s) for s in (2, 3, 9)]
    found = panel(*MIXTURE[:7], *several)
    assert labels(found)[-1] == "3 seeds 2000 to 9000"
    assert "3 bars are cut at 1.7 nats." in found.note
    assert CUT in found.svg
    assert CUT not in panel(*MIXTURE[:7]).svg


def test_an_infinite_gap_is_a_cut_bar_with_its_sign() -> None:
    """It reaches the axis' end, and is counted among those that do."""
    found = panel(*MIXTURE[:7], gap("meanfield", 8, 0.223, math.inf, error=math.nan))
    assert labels(found)[-1] == "∞"
    assert "1 bar is cut" in found.note
    assert "to ∞" in found.alt


@pytest.mark.parametrize(
    ("family", "optimiser", "said"),
    [
        (math.nan, 0.4, "? family gap"),
        (0.223, math.nan, "? optimiser gap"),
        (math.nan, math.nan, "? both gaps"),
        (math.nan, math.inf, "∞, ? family gap"),
    ],
)
def test_what_is_not_known_is_said_in_words(family: float, optimiser: float, said: str) -> None:
    """A gap that is NaN is never a bar of no length without a word."""
    found = panel(*MIXTURE[:7], gap("dadvi", 1, family, optimiser, error=math.nan))
    assert labels(found)[-1] == said
    assert "1 run has an unknown gap" in found.note
    assert "1 unknown" in found.alt


def test_a_part_close_to_nothing_is_a_dot() -> None:
    """Either part alone has a dot of its colour; both together one of the ink's."""
    found = panel(gap("dadvi", 1, 0.223, 0.001))
    assert path(found, FAMILY)
    assert not path(found, OPTIMISER)
    assert path(found, OPTIMISER, round_ends=True)
    found = panel(gap("dadvi", 1, 0.001, 0.3))
    assert path(found, FAMILY, round_ends=True)
    found = panel(gap("dadvi", 1, 0.001, -0.002))
    assert path(found, BOTH, round_ends=True)
    assert not path(found, FAMILY)


def test_bars_have_the_lengths_of_their_figures() -> None:
    """Family and optimiser of one run are drawn in proportion, end to end."""
    found = panel(gap("dadvi", 1, 0.3, 0.1))
    (family,), (optimiser,) = lengths(path(found, FAMILY)), lengths(path(found, OPTIMISER))
    # Coordinates are kept to a tenth of a point.
    assert family / optimiser == pytest.approx(3, abs=3 * 0.2 / optimiser)


def test_parts_are_told_apart_without_colour() -> None:
    """In greys one is less than half as light as the other."""

    def light(colour: str) -> float:
        r, g, b = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        return 0.299 * r + 0.587 * g + 0.114 * b

    assert light(FAMILY) < 0.5 * light(OPTIMISER)


def test_an_error_is_drawn_where_it_is_seen() -> None:
    """Two standard errors to either side; an error smaller than a pixel has no line."""
    sharp, dull = (panel(gap("dadvi", 1, 0.3, 0.1, error=e)) for e in (1e-4, 0.02))
    assert "stroke-width:0.7" in dull.svg
    assert "stroke-width:0.7" not in sharp.svg
    unknown = panel(gap("dadvi", 1, 0.3, 0.1, error=math.nan))
    assert "1 run has an unknown error." in unknown.note


def test_a_gap_below_zero_is_said() -> None:
    """A best member that is worse than the fit is a fault, and not hidden by an empty bar."""
    assert "below zero" in panel(gap("dadvi", 1, 0.3, -0.1)).note
    assert "below zero" not in panel(gap("dadvi", 1, 0.3, -0.001)).note


def test_methods_are_named_once_and_seeds_are_sorted() -> None:
    """The smallest sum comes first, unknown ones last."""
    found = [gap("meanfield", 1, 0.2, 5.0), gap("meanfield", 2, math.nan, 0), *MIXTURE[:2]]
    ordered = gaps.by_method(compared(*found, gap("fullrank", 1, 0.2, 0)))
    assert [g.seed for g in ordered["meanfield"]] == [1, 2, 1, 2]
    assert math.isnan(ordered["meanfield"][-1].kl.value)
    assert labels(panel(*found)).count("mean-field") == 1


def test_the_alternative_text_has_the_figures_of_every_method() -> None:
    """Ranges of both gaps, by method, with the number of seeds."""
    alt = panel(*MIXTURE[:7], gap("fullrank", 1, 0.001, 0.02)).alt
    assert "mean-field, 7 seeds: family 0.22; optimiser 0 to 1.4." in alt
    assert "full-rank, 1 seed: family 0; optimiser 0.020." in alt


def test_fifty_runs_stay_small() -> None:
    """A lecture model's panel has at most 8 kB."""
    found = [
        gap(m, s, 0.1 + 0.01 * s, 0.02 * s + (s > 8) * 1e3, error=0.01)
        for m in ("meanfield", "fullrank", "meanfield_tuned", "fullrank_tuned", "advi")
        for s in range(10)
    ]
    assert len(panel(*found).svg) < 8_000


def test_no_figure_where_nobody_asked() -> None:
    """Without an explanation, or with an empty one, there is no figure."""
    unasked = compared()
    assert gaps.figure(unasked) is None
    assert next(f.kind for f in figures_for(compared(MIXTURE[0]))) == "gap"
