"""Figures of what was tracked beside the ELBO, and of the variance of gradients."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import report_records as records

from harness.records import Draws, ModelComparison, RunResult, Trace
from harness.report.figures import elbo, tracks, variance
from harness.report.html import runs

ESTIMATORS = {"score": 2000.0, "score_control": 3.0, "score_both": 4.0, "reparameterised": 1.0}


def comparison(folder: Path, *runs: RunResult) -> ModelComparison:
    """Return a comparison of some runs with an exact reference."""
    rng = np.random.default_rng(1)
    exact = Draws(("x",), rng.normal(size=(1, 500, 1)))
    model = records.stan_model(folder, "fixture", "A lesson.")
    return records.compare(model, records.exact_reference(exact), runs)


def tracked(seed: int, end: float, length: int = 50, **diagnostics: float) -> RunResult:
    """Return a run of the lecture's ADVI whose mean climbs to ``end``."""
    rng = np.random.default_rng(seed)
    at = np.linspace(100, 100 * length, length)
    path = end * (1 - np.exp(-at / 1000))
    trace = Trace(
        at, at * 1e-5, -2 + 0.1 * rng.normal(size=length),
        {"mean.x": path, "sd.x": np.full(length, 0.4)},
    )  # fmt: skip
    draws = Draws(("x",), rng.normal(end, 0.4, size=(1, 500, 1)))
    run = records.run("fixture", "advi", seed, draws)
    return dataclasses.replace(run, trace=trace, diagnostics=diagnostics)


def test_tracked_parameters_stand_beside_the_elbo(tmp_path: Path) -> None:
    """Three panels, whose words give where the seeds ended and where the fit was refined."""
    found = tracks.figures(
        comparison(tmp_path, tracked(1, 0.15, refined_from=3000), tracked(2, 0.19))
    )
    assert [(f.kind, f.title) for f in found] == [("tracks", "lecture's ADVI, tracked")]
    assert [p.title for p in found[0].panels] == ["ELBO", "mean of x", "sd of x"]
    assert "after 3000 iterations" in found[0].caption
    assert "0.149 to 0.189" in found[0].panels[1].note
    assert "2 seeds" in found[0].panels[1].alt
    assert all(p.svg.startswith("<svg") for p in found[0].panels)


def test_paths_that_are_not_finite_do_not_stop_the_figure(tmp_path: Path) -> None:
    """The finite part of a diverged run is drawn; a run without one is named."""
    good = tracked(1, 0.15)
    assert good.trace is not None
    broken = dict(good.trace.extras)
    broken["mean.x"] = np.full(len(good.trace.iteration), math.nan)
    bad = dataclasses.replace(good, trace=dataclasses.replace(good.trace, extras=broken))
    found = tracks.figures(comparison(tmp_path, bad))
    assert "nothing finite" in found[0].panels[1].alt
    assert found[0].panels[1].svg.startswith("<svg")
    assert tracks.figures(comparison(tmp_path, records.run("fixture", "advi", 1, None))) == []


def test_a_path_of_a_step_or_two_is_no_path(tmp_path: Path) -> None:
    """A deterministic fit that starts at its optimum has no curve to show."""
    short, long = tracked(1, 0.15, length=2), tracked(2, 0.15)
    assert elbo.figure(comparison(tmp_path, short)) is None
    found = elbo.figure(comparison(tmp_path, short, long))
    assert found is not None
    assert found.panels[0].note.startswith("1 of 2 without a trace.")


def measured(seed: int, factor: float) -> RunResult:
    """Return a run that measured the variances of gradients."""
    draws = Draws(("x",), np.random.default_rng(seed).normal(size=(1, 500, 1)))
    run = records.run("fixture", "bbvi", seed, draws)
    return dataclasses.replace(
        run, diagnostics={f"variance.{k}": v * factor for k, v in ESTIMATORS.items()}
    )


def test_variances_are_a_row_an_estimator(tmp_path: Path) -> None:
    """Means over seeds with their error, and the ratio to the reparameterised gradient's."""
    entry = comparison(tmp_path, measured(1, 0.9), measured(2, 1.1))
    method, seeds, rows = variance.rows(entry)
    assert (method, seeds) == ("bbvi", 2)
    assert [r.title for r in rows] == [
        "score function, plain",
        "score function, control variates",
        "score function, both",
        "reparameterised",
    ]
    assert rows[0].variance == pytest.approx(2000)
    assert rows[0].ratio == pytest.approx(2000)
    assert rows[0].error == pytest.approx(200)
    found = variance.figure(entry)
    assert found is not None
    assert "score function, plain: 2000, 2000 times" in found.panels[0].alt
    assert variance.figure(comparison(tmp_path, tracked(1, 0.1))) is None


def test_an_estimator_without_a_variance_is_named_and_not_dropped(tmp_path: Path) -> None:
    """NaN stays in the table as what it is; the figure's logarithmic axis goes without it."""
    run = measured(1, 1.0)
    broken = {**run.diagnostics, "variance.score_control": math.nan, "variance.score_both": 0.0}
    entry = comparison(tmp_path, dataclasses.replace(run, diagnostics=broken))
    shown = {r.title: r.variance for r in runs.variances(entry)}
    assert shown["score function, control variates"] == "unknown"
    assert shown["score function, both"] == "0"
    found = variance.figure(entry)
    assert found is not None
    assert "control variates" not in found.panels[0].alt
