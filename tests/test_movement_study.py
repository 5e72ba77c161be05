"""Movement in a comparison: which runs are moved, in which coordinates, at what cost."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness.models import folders
from harness.records import (
    Draws,
    ModelComparison,
    Program,
    Reference,
    RunResult,
    RunSpec,
    SeedVerdict,
    Verdict,
)
from harness.records.runs import Cost
from harness.stan import embedded
from harness.study import movement
from harness.study.movement import with_movement
from harness.study.task import AnalysisTask

if TYPE_CHECKING:
    from harness.records import FloatArray, Model

pytestmark = pytest.mark.skipif(bool(embedded.available()), reason=embedded.available() or "-")

PROGRAM = """
parameters { real<lower=0> tau; real x; }
transformed parameters { real y = x * tau; }
model { tau ~ gamma(20, 10); x ~ normal(0, 2); }
"""
NONE = Reference("none", trusted=False, why="NUTS was not run")


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """Return a program whose two parameters are independent."""
    (tmp_path / "two.stan").write_text(PROGRAM, encoding="utf-8")
    return folders.user_model(tmp_path / "two.stan", None)


def run(model: Model, values: FloatArray, seed: int = 1, method: str = "dadvi") -> RunResult:
    """Return a run with draws of tau and x, ``(chain, draw, 2)``."""
    product = values[:, :, :1] * values[:, :, 1:]
    draws = Draws(("tau", "x", "y"), np.concatenate([values, product], axis=2))
    draws = dataclasses.replace(draws, iid=len(values) == 1)
    spec = RunSpec(model.name, method, {}, seed, values.shape[1])
    return RunResult(spec, f"{method}{seed}", "ok", "", draws, None, {}, Cost(1.0), {})


def exact(n: int, seed: int = 1) -> FloatArray:
    """Return exact draws of tau and x, shape ``(1, n, 2)``."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.gamma(20, 0.1, n), rng.normal(0, 2, n)], axis=1)[None]


def told(
    model: Model, runs: tuple[RunResult, ...], reference: Reference = NONE
) -> dict[str, Verdict]:
    """Return verdicts, unknown before, after movement has had its say."""
    task = AnalysisTask(
        model=model,
        program_hash="p",
        data_hash="",
        results=runs,
        reference="auto",
        judged=(),
        notes=(),
        store_root=model.stan_file.parent,
        draws_folder=None,
        program=Program(model.stan_file, {}, embedded=True),
    )
    verdicts = []
    for method in dict.fromkeys(r.spec.method for r in runs):
        seeds = [r.spec.seed for r in runs if r.spec.method == method]
        by_seed = tuple(SeedVerdict(s, "unknown", "ok", ()) for s in seeds)
        verdicts.append(
            Verdict(model.name, method, "unknown", "unknown", len(seeds), 0, "?", (), (), by_seed)
        )
    before = ModelComparison(model, None, reference, runs, verdicts=tuple(verdicts))
    return {v.method: v for v in with_movement(task, before, runs).verdicts}


def test_a_wrong_fit_is_named_and_a_right_one_stays_unknown(model: Model) -> None:
    """The sd of x is 1 instead of 2: a factor of 2 at most, 1.5 at least; tau is right."""
    narrow = exact(4000)
    narrow[:, :, 1] /= 2
    by = told(model, (run(model, narrow), run(model, exact(4000), method="dadvi_lr")))
    assert (by["dadvi"].level, by["dadvi"].evidence) == ("fail", "movement")
    assert {f.measure.quantity for f in by["dadvi"].findings} == {"x", "y"}
    (width,) = (f.measure for f in by["dadvi"].findings if f.measure.metric == "log_width_ratio"
                and f.measure.quantity == "x")  # fmt: skip
    assert abs(width.value - math.log(0.5)) < 4 * width.mcse
    assert (by["dadvi_lr"].level, by["dadvi_lr"].evidence) == ("unknown", "none")
    assert "does not show that the fit is right" in by["dadvi_lr"].notes[-1]


@pytest.mark.parametrize(
    "counts",
    [
        {"basins": 2.0},
        {"basins": math.nan},
        {"basins": 1.0, "chains_other_regions": 1.0},
        {"basins": 1.0, "chains_other_regions": math.nan},
    ],
)
def test_of_several_regions_the_size_of_a_movement_is_no_bound(
    model: Model, counts: dict[str, float]
) -> None:
    """Draws move to the nearest mode, by more of its sds than they are off the whole posterior."""
    narrow = exact(4000)
    narrow[:, :, 1] /= 2
    two = dataclasses.replace(run(model, exact(2000), method="dadvi_basins"), diagnostics=counts)
    found = told(model, (run(model, narrow), two))["dadvi"]
    assert (found.level, found.evidence) == ("fail", "movement")
    assert found.headline.startswith("wrong in its own region: ")
    assert "at least" not in found.headline
    assert all("the size is no lower bound" in f.sentence for f in found.findings)


def test_where_a_reference_is_trusted_nothing_is_moved(model: Model) -> None:
    """Its verdicts stand."""
    narrow = exact(4000)
    narrow[:, :, 1] /= 2
    trusted = Reference("nuts", trusted=True, why="R-hat 1.00")
    found = told(model, (run(model, narrow),), trusted)["dadvi"]
    assert (found.level, found.notes) == ("unknown", ())


def test_markov_chains_are_not_moved_and_short_ones_start_at_their_ends(model: Model) -> None:
    """Four chains of 1000 draws say nothing; 1000 chains of four are 1000 starts."""
    narrow = exact(4000)
    narrow[:, :, 1] /= 2
    long, short = narrow.reshape(4, 1000, 2), narrow.reshape(1000, 4, 2)
    found = told(model, (run(model, long, method="nuts"), run(model, short)))
    assert (found["nuts"].level, found["nuts"].notes) == ("unknown", ())
    assert found["dadvi"].level == "fail"


def test_draws_that_do_not_vary_or_lack_a_parameter_say_why(model: Model) -> None:
    """A note, no verdict."""
    point = np.ones((1, 2000, 2))
    found = told(model, (run(model, point),))["dadvi"]
    assert "cannot tell: its draws do not vary" in found.notes[-1]
    lacking = run(model, exact(2000))
    assert lacking.draws is not None
    only = dataclasses.replace(
        lacking.draws, names=("tau",), values=np.ascontiguousarray(lacking.draws.values[:, :, :1])
    )
    found = told(model, (dataclasses.replace(lacking, draws=only),))["dadvi"]
    assert "the draws lack x" in found.notes[-1]


def test_what_would_take_too_long_is_not_begun(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a thousandth of a second for all runs, a note says how long it would take."""
    monkeypatch.setattr(movement, "MOST_S", 1e-3)
    found = told(model, (run(model, exact(2000)),))["dadvi"]
    assert "they would take about" in found.notes[-1]
