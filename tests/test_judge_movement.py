"""What a verdict says where only the movement of a run's own draws is known."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from harness.judgement.movement import Shown, by_movement, least
from harness.metrics.errors import critical_z
from harness.records import Level, Measure, Model, SeedVerdict, Verdict

MODEL = Model("m", "m", Path("m.stan"), None)
Z = critical_z(2)


def unknown(seeds: int = 1) -> Verdict:
    """Return a verdict of runs that nothing could be compared with."""
    by_seed = tuple(SeedVerdict(s, "unknown", "ok", ()) for s in range(1, seeds + 1))
    return Verdict("m", "dadvi", "unknown", "unknown", seeds, 0, "nothing", (), by_seed=by_seed)


def measure(metric: str, value: float, mcse: float, seed: int = 1, name: str = "tau") -> Measure:
    """Return how far a quantity moved."""
    return Measure("m", "dadvi", seed, name, metric, value, mcse, "movement")


def shown(*measures: Measure) -> Shown:
    """Return measures of two quantities."""
    return Shown(measures, quantities=2)


@pytest.mark.parametrize(
    ("value", "level"), [(0.7, "fail"), (-0.7, "fail"), (0.3, "warn"), (0.12, "unknown")]
)
def test_a_level_is_what_the_lower_bound_exceeds(value: float, level: Level) -> None:
    """With an error of .02 sd: .7 is surely beyond .5, .3 beyond .1, and .12 beyond nothing."""
    found = by_movement(MODEL, unknown(), {1: shown(measure("bias", value, 0.02))})
    assert (found.level, found.typical) == (level, level)
    assert found.evidence == ("none" if level == "unknown" else "movement")


def test_a_figure_without_an_error_shows_nothing() -> None:
    """However large, a value whose error is NaN, or that is NaN, makes no verdict."""
    for value, mcse in ((9.0, math.nan), (math.nan, 0.1), (9.0, math.inf)):
        found = by_movement(MODEL, unknown(), {1: shown(measure("bias", value, mcse))})
        assert found.level == "unknown"


def test_the_headline_states_the_bound_and_the_figure_with_its_error() -> None:
    """The surest figure in its limits: a bound z errors below what moved."""
    width = measure("log_width_ratio", -1.2, 0.03)
    found = by_movement(MODEL, unknown(), {1: shown(measure("bias", 0.7, 0.02), width)})
    factor = math.exp(1.2 - Z * 0.03)
    assert found.headline.startswith(f"wrong by at least a factor of {factor:.3g}: ")
    assert "of tau 0.301 ± 0.009 as short chains" in found.headline
    assert [f.measure.metric for f in found.findings] == ["log_width_ratio", "bias"]
    assert found.findings[1].sentence.endswith(
        f"by at least {least(measure('bias', 0.7, 0.02), Z)}."
    )
    assert least(measure("bias", -0.7, 0.02), Z) == f"{0.7 - Z * 0.02:.2f} sd"


def test_the_worst_seed_counts() -> None:
    """One of three runs is shown wrong; what the others show leaves them unknown."""
    found = by_movement(
        MODEL,
        unknown(3),
        {
            1: shown(measure("bias", 0.0, 0.02)),
            2: shown(measure("bias", 0.9, 0.02, seed=2)),
            3: Shown(why="its draws do not vary"),
        },
    )
    assert [s.level for s in found.by_seed] == ["unknown", "fail", "unknown"]
    assert (found.level, found.typical, found.seeds_failed) == ("fail", "unknown", 1)


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (Shown(why="acceptance 0.2"), "cannot tell: acceptance 0.2."),
        (Shown(quantities=4, slow=3), "3 of 4 quantities depend on directions"),
        (Shown(quantities=4, widening=2), "2 of 4 quantities depend on directions in which they"),
        (shown(measure("bias", 0.01, 0.02)), "which does not show that the fit is right"),
    ],
)
def test_what_cannot_be_told_stays_unknown_with_the_reason(own: Shown, words: str) -> None:
    """A note is added, and never a pass."""
    found = by_movement(MODEL, unknown(), {1: own})
    assert (found.level, found.evidence, found.headline) == ("unknown", "none", "nothing")
    assert words in found.notes[-1]


def test_limits_of_the_model_apply() -> None:
    """A folder that allows a bias of 2 sds is not told that .7 is wrong."""
    lenient = Model("m", "m", Path("m.stan"), None, limits={"bias": {"close": 1.0, "wrong": 2.0}})
    found = by_movement(lenient, unknown(), {1: shown(measure("bias", 0.7, 0.02))})
    assert found.level == "unknown"
