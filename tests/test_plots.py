"""Figures: what they show, what they say in words, and what they must survive."""

from __future__ import annotations

import dataclasses
import math
import pickle
import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import numpy as np
import pytest
import report_fixture as fixture
import report_records
from matplotlib.path import Path as Outline

from harness.records import Comparison, Reference
from harness.report.figures import (
    canvas,
    chains,
    choose,
    cost,
    cost_figure,
    density,
    elbo,
    figures_for,
    pairs,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.records import ModelComparison
    from harness.report.figures import Figure


@pytest.fixture(scope="module")
def models(comparison: Comparison) -> dict[str, ModelComparison]:
    """Return the fixture's models by name."""
    return {m.model.name: m for m in comparison.models}


@pytest.fixture(scope="module")
def figures(comparison: Comparison) -> dict[str, dict[str, Figure]]:
    """Return every figure by model and name."""
    return {m.model.name: named(figures_for(m)) for m in comparison.models}


def named(found: Sequence[Figure]) -> dict[str, Figure]:
    """Return figures by kind; densities with their quantity."""
    return {f"density-{f.title}" if f.kind == "density" else f.kind: f for f in found}


def panel(figure: Figure, method: str) -> canvas.Panel:
    """Return the panel of one method."""
    return next(p for p in figure.panels if p.method == method)


def test_every_panel_is_small_xml_with_figures_in_its_alternative_text(
    figures: dict[str, dict[str, Figure]],
) -> None:
    """Each panel parses as SVG, stays under 25 kB and its text says numbers."""
    every = [p for made in figures.values() for f in made.values() for p in f.panels]
    assert len(every) > 40
    for one in every:
        assert ET.fromstring(one.svg).tag == "svg"  # noqa: S314 - ours
        assert len(one.svg) < 25_000
        assert re.search(r"\d", one.alt)
        assert one.title


def test_figures_are_plain_data(figures: dict[str, dict[str, Figure]]) -> None:
    """Figures cross process borders unchanged."""
    assert pickle.loads(pickle.dumps(figures)) == figures  # noqa: S301 - made two words before


def test_a_model_with_an_error_has_no_figures(figures: dict[str, dict[str, Figure]]) -> None:
    """Nothing is drawn of a model that could not be compared."""
    assert figures["broken"] == {}


def test_the_view_is_the_references_and_runaways_are_said_in_words(
    models: dict[str, ModelComparison], figures: dict[str, dict[str, Figure]]
) -> None:
    """Seeds at 43 or 321 leave the window at the reference and are named in the note."""
    window = choose.view(models["mixture"], "x")
    assert window is not None
    assert -1.2 < window.low < -0.5
    assert 0.7 < window.high < 1.6
    mean_field = panel(figures["mixture"]["density-x"], "meanfield")
    assert re.search(r"outside the view: x near (43|321)", mean_field.note)
    assert mean_field.note in mean_field.alt
    assert panel(figures["mixture"]["density-x"], "meanfield_tuned").note == ""


def test_a_seed_without_width_is_drawn_as_a_needle_or_said_to_be_outside(
    models: dict[str, ModelComparison],
) -> None:
    """Draws with sd zero inside the window get a line and a sentence, not a crash."""
    model = models["normal_mean"]
    runs = []
    for run in model.runs:
        pinned = run.spec.method == "meanfield" and run.spec.seed == 2
        values = np.full((1, 50, 1), 0.4)
        draws = report_records.draws(["m"], values)
        runs.append(dataclasses.replace(run, draws=draws) if pinned else run)
    made = figures_for(dataclasses.replace(model, runs=tuple(runs)))
    note = panel(named(made)["density-m"], "meanfield").note
    assert "1 seed outside the view" in note
    assert "1 seed with no width, at 0.40" in note


def test_runs_without_draws_and_draws_that_are_not_finite_are_survived_and_counted(
    models: dict[str, ModelComparison],
) -> None:
    """A failed run is counted in the panel; NaN draws are left out of the curve."""
    model = models["linear_regression"]
    runs = []
    for run in model.runs:
        if run.spec.method == "fullrank" and run.draws is not None:
            values = run.draws.values.copy()
            values[:, : 5 if run.spec.seed > 1 else None] = np.nan
            runs.append(
                dataclasses.replace(run, draws=dataclasses.replace(run.draws, values=values))
            )
        else:
            runs.append(run)
    made = named(figures_for(dataclasses.replace(model, runs=tuple(runs))))
    assert panel(made["density-alpha"], "meanfield").note == "1 run of 3 without draws."
    assert panel(made["density-alpha"], "fullrank").note == "1 run of 3 without draws."


def test_without_a_reference_densities_are_drawn_and_say_so(
    models: dict[str, ModelComparison],
) -> None:
    """No reference: no shading, no errors, but still the methods' densities."""
    model = models["mixture"]
    nothing = Reference("none", trusted=False, why="switched off")
    made = named(figures_for(dataclasses.replace(model, reference=nothing)))
    assert "density-x" in made
    assert "pair" not in made


def test_an_untrusted_reference_is_called_untrusted(models: dict[str, ModelComparison]) -> None:
    """The caption does not hide that the shaded curve proves nothing."""
    model = models["linear_regression"]
    doubted = dataclasses.replace(model.reference, trusted=False)
    made = figures_for(dataclasses.replace(model, reference=doubted))
    assert "not trusted" in made[0].caption


def test_many_quantities_are_cut_to_the_worst_and_the_caption_says_so(
    figures: dict[str, dict[str, Figure]],
) -> None:
    """With 30 quantities, three densities and twelve quantile rows are drawn."""
    wide = figures["wide_normal"]
    assert sum(name.startswith("density") for name in wide) == choose.MOST_TELLING
    assert "12 worst of 30" in wide["quantile"].caption


def test_the_worst_quantity_is_not_chosen_by_one_runaway(
    models: dict[str, ModelComparison],
) -> None:
    """One seed of many that is far off in a quantity does not make it the worst."""
    model = models["wide_normal"]
    first = choose.worst_first(model)
    runaway = [
        dataclasses.replace(m, value=1e6) if (m.quantity, m.seed) == (first[-1], 2) else m
        for m in model.measures
        if m.metric == "w1"
    ]
    assert choose.worst_first(dataclasses.replace(model, measures=tuple(runaway)))[0] == first[0]


def test_a_distance_that_is_not_a_number_sorts_as_worst(models: dict[str, ModelComparison]) -> None:
    """NaN is never taken for close."""
    model = models["wide_normal"]
    last = choose.worst_first(model)[-1]
    spoilt = tuple(
        dataclasses.replace(m, value=math.nan) if m.quantity == last and m.metric == "w1" else m
        for m in model.measures
    )
    assert choose.worst_first(dataclasses.replace(model, measures=spoilt))[0] == last


def test_the_worst_pair_is_the_one_that_mean_field_cannot_represent(
    models: dict[str, ModelComparison], figures: dict[str, dict[str, Figure]]
) -> None:
    """Intercept and slope, with both correlations in the alternative text."""
    pair = choose.worst_pair(models["linear_regression"])
    assert pair is not None
    assert {pair.first, pair.second} == {"alpha", "beta"}
    # 1000 draws: the standard error of a correlation of −0.87 is 0.008; four of them.
    assert pair.reference == pytest.approx(-0.87, abs=0.032)
    alt = panel(figures["linear_regression"]["pair"], "meanfield").alt
    assert "reference −0.8" in alt


def test_nuts_as_the_reference_is_not_compared_with_itself(
    figures: dict[str, dict[str, Figure]],
) -> None:
    """Its zero errors would say nothing; its chains are still drawn."""
    made = figures["linear_regression"]
    assert all("NUTS" not in p.alt for p in made["quantile"].panels)
    assert "nuts" in {p.method for p in made["density-alpha"].panels}
    assert len(made["chains"].panels) == 2


def test_short_chains_are_one_line(models: dict[str, ModelComparison]) -> None:
    """512 chains of 20 draws are one sample: a line each would be noise, and seconds of it."""
    entry = models["linear_regression"]
    nuts = next(run for run in entry.runs if run.spec.method == "nuts")
    assert nuts.draws is not None
    values = np.random.default_rng(4).normal(0.5, 0.1, (512, 20, len(nuts.draws.names)))
    draws = dataclasses.replace(nuts.draws, values=values, log_p=None, stats={})
    short = dataclasses.replace(nuts, draws=draws)
    entry = dataclasses.replace(entry, runs=(short,))
    one = density.figures(entry)[0]
    assert panel(one, "nuts").svg.count("<path") < 20
    assert "chain" not in panel(one, "nuts").alt


def test_a_region_holds_ninety_percent_of_a_normal_sample() -> None:
    """The outline of a correlated normal contains 90% of fresh draws, within four errors."""
    rng = np.random.default_rng(1)
    covariance = [[1.0, -0.8], [-0.8, 1.0]]
    x, y = rng.multivariate_normal([0, 0], covariance, 20_000).T
    frame = choose.Window(-5, 5)
    (line,) = pairs.region(x, y, frame, frame)
    fresh = rng.multivariate_normal([0, 0], covariance, 20_000)
    share = Outline(np.column_stack(line)).contains_points(fresh).mean()
    # 0.002 is the error of the share; smoothing and grid add at most two percent.
    assert share == pytest.approx(0.9, abs=4 * 0.0021 + 0.02)


def test_a_region_that_lies_outside_the_view_is_not_drawn() -> None:
    """With more than a tenth of the draws outside there is no honest outline."""
    x = np.random.default_rng(2).normal(3, 1, 1000)
    assert pairs.region(x, x, choose.Window(-3, 3), choose.Window(-3, 3)) == []


def test_a_kde_keeps_the_share_of_mass_that_is_in_view() -> None:
    """A quarter of the mass far away leaves three quarters under the curve."""
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.normal(0, 1, 7500), np.full(2500, 1e9)])
    curve = density.kde(values, choose.Window(-6, 6), "silverman")
    assert curve is not None
    assert np.trapezoid(curve[1], curve[0]) == pytest.approx(0.75, abs=0.01)


def test_the_elbo_axis_ignores_runaways_and_says_that_it_is_cut(
    figures: dict[str, dict[str, Figure]],
) -> None:
    """Seeds at −60 nats leave the axis near zero and are counted in the note."""
    made = figures["mixture"]["elbo"]
    note = panel(made, "meanfield").note
    assert re.search(r"Axis cut: 1 seed below, down to −6\d", note)
    labels = re.findall(r"η [\d.]+", panel(made, "meanfield").svg)
    assert {"η 1", "η 10", "η 100"} <= set(labels)


def test_elbo_labels_never_overlap(models: dict[str, ModelComparison]) -> None:
    """Labels of one panel are at least a line apart."""
    made = elbo.figure(models["mixture"])
    assert made is not None
    for one in made.panels:
        heights = [
            float(text.get("y", "nan"))
            for text in ET.fromstring(one.svg).iter("text")  # noqa: S314
            if (text.text or "").startswith("η")
        ]
        gaps = np.diff(sorted(heights))
        assert (gaps > canvas.FONT_PT).all()


def test_stuck_chains_fill_the_rank_histogram_unevenly(
    models: dict[str, ModelComparison],
) -> None:
    """Chains that hold one mode each leave the band; chains that mix stay inside it."""
    stuck, mixed = chains.figure(models["mixture"]), chains.figure(models["linear_regression"])
    assert stuck is not None
    assert mixed is not None
    assert "R-hat 3.9" in stuck.title
    outside = int(stuck.panels[1].note.split(" of ")[0])
    assert outside >= 30
    # 80 bins at 1% each: more than 5 has a probability under one in a thousand.
    assert int(mixed.panels[1].note.split(" of ")[0]) <= 5


def test_the_cost_figure_needs_no_arrays(comparison: Comparison) -> None:
    """Seconds and distances are in the records; draws may be gone."""
    light = fixture.without_arrays(comparison)
    assert cost_figure(light) == cost_figure(comparison)
    made = cost_figure(light)
    assert made is not None
    assert [p.method for p in made.panels][:2] == ["nuts", "meanfield"]


def test_nuts_stays_in_the_cost_figure_as_the_reference(comparison: Comparison) -> None:
    """At no distance from itself, with its time."""
    found = {(p.model, p.method): p for p in cost.points(comparison)}
    point = found["linear_regression", "nuts"]
    assert (point.seconds, point.typical, point.worst) == (0.6, 0.0, 0.0)
    assert found["mixture", "nuts"].typical > 0  # where it is compared, it keeps its distance


def test_the_cost_of_one_model_is_one_panel_or_none(models: dict[str, ModelComparison]) -> None:
    """All methods share it, each named; fewer than three points are no figure."""
    entry = models["linear_regression"]
    made = cost_figure(Comparison((entry,), (), {}))
    assert made is not None
    (panel,) = made.panels
    for title in ("NUTS", "mean-field", "full-rank", "tuned mean-field"):
        assert title in panel.alt
        assert f">{title}</text>" in panel.svg
    few = [r for r in entry.runs if r.spec.method in {"nuts", "meanfield"}]
    lighter = dataclasses.replace(entry, runs=tuple(few))
    assert len(cost.points(Comparison((lighter,), (), {}))) == 2
    assert cost_figure(Comparison((lighter,), (), {})) is None


def test_figures_of_an_empty_comparison_are_none(tmp_path: Path) -> None:
    """Nothing measured: no cost figure, no model figures, no exception."""
    empty = fixture.build(tmp_path, parts=[lambda: fixture.broken_model(tmp_path)])
    assert cost_figure(empty) is None
    assert figures_for(dataclasses.replace(empty.models[0], error=None)) == []
