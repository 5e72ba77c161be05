"""Sentences over seeds: who missed which mode, who stopped early, how far each seed is off."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness import judgement
from harness.records import Cost, Draws, Measure, Model, Reference, RunResult, RunSpec, Verdict

MODEL = Model("m", "m", Path("m.stan"), None)
EXACT = Reference("exact", trusted=True, why="", draws=Draws(("x",), np.zeros((1, 40_000, 1))))


def run(seed: int, *, iterations: float = 10_000, eta: float = 1.0) -> RunResult:
    """Return a run that had 10 000 iterations to spend."""
    spec = RunSpec("m", "meanfield", {"iter": 10_000}, seed, 10_000)
    draws = Draws(("x",), np.zeros((1, 10_000, 1)))
    figures = {"iterations": iterations, "eta": eta}
    return RunResult(spec, "", "ok", "", draws, None, figures, Cost(1.0), {})


def measures(seed: int, **figures: float) -> list[Measure]:
    """Return the required figures of one quantity, close but for those given."""
    close = {"bias": 0.0, "log_width_ratio": 0.0, "w1": 0.0, "tail": 0.0, "missed_mass": 0.0}
    return [
        Measure("m", "meanfield", seed, "x", k, v, 0.001, "exact")
        for k, v in {**close, **figures}.items()
    ]


def verdict(runs: list[RunResult], found: list[Measure]) -> Verdict:
    """Judge mean-field."""
    return judgement.judge_method(MODEL, "meanfield", runs, found, EXACT, judgement.JudgeContext(1))


def test_seeds_on_different_modes_are_told_apart() -> None:
    """The headline has both ends, the finding says which seeds miss how much."""
    shares = {1: 0.2, 2: 0.8, 3: 0.2}
    found = [m for s, share in shares.items() for m in measures(s, missed_mass=share)]
    result = verdict([run(s) for s in shares], found)
    assert "misses 0.20 to 0.80 of x's mass" in result.headline
    assert result.findings[0].sentence.endswith("By seed: 0.20 in 1 and 3; 0.80 in 2.")


def test_early_convergence_is_told_with_iteration_and_distance() -> None:
    """Only runs that stopped before their limit and are wrong are named."""
    runs = [run(1, iterations=300), run(2), run(3, iterations=400)]
    found = [*measures(1, bias=3.0), *measures(2, bias=3.0), *measures(3)]
    (said,) = [n for n in verdict(runs, found).notes if "declared convergence" in n]
    assert "seed 1 at iteration 300 (x 3.0 sd off)" in said
    assert "seed 2" not in said
    assert "seed 3" not in said


def test_nan_is_never_named_as_the_distance() -> None:
    """A mean that could not be measured makes no sentence, and no pass either."""
    result = verdict([run(1, iterations=300)], measures(1, bias=math.nan))
    assert result.level == "unknown"
    assert not [n for n in result.notes if "declared convergence" in n]


def test_errors_are_listed_for_every_seed() -> None:
    """A note gives every seed's error, and names seeds without draws."""
    lost = replace(run(3), draws=None, status="failed", message="CmdStan's words")
    runs = [run(1), run(2, eta=100.0), lost]
    result = verdict(runs, [*measures(1, bias=-0.3), *measures(2, bias=5.0)])
    assert result.level == "fail"
    (said,) = [n for n in result.notes if "by seed" in n]
    assert said == (
        "Error of the mean of x by seed, in sd: 1: −0.30, 2: +5.0 (step size 100), 3: no draws."
    )
    assert any("CmdStan's words" in n for n in result.notes)


def test_a_correlation_is_no_reason_where_a_mode_is_missed() -> None:
    """Nor is it one where two names stand for one quantity."""
    for r, missed in ((-0.9, 0.2), (1.0, 0.0)):
        context = judgement.JudgeContext(1, correlations={"x": ("y", r)})
        found = measures(1, log_width_ratio=-1.0, missed_mass=missed)
        result = judgement.judge_method(MODEL, "meanfield", [run(1)], found, EXACT, context)
        assert not [f for f in result.findings if "because" in f.sentence]
    context = judgement.JudgeContext(1, correlations={"x": ("y", -0.9)})
    found = measures(1, log_width_ratio=-1.0)
    result = judgement.judge_method(MODEL, "meanfield", [run(1)], found, EXACT, context)
    assert "because x and y correlate at −0.90" in result.findings[0].sentence
