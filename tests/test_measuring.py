"""Measuring: names aligned, nothing dropped in silence."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from harness.metrics import measure
from harness.records import Cost, Draws, Measure, Model, Reference, RunResult, RunSpec

NOWHERE = Path("nowhere.stan")
MODEL = Model("m", "t", NOWHERE, None)


def normal(names: tuple[str, ...], n: int = 2000, seed: int = 1, iid: bool = True) -> Draws:
    """Return independent standard normal draws."""
    rng = np.random.default_rng(seed)
    return Draws(names, rng.normal(size=(1, n, len(names))), iid=iid)


def run(draws: Draws | None, seed: int = 1) -> RunResult:
    """Return a mean-field run with these draws."""
    spec = RunSpec("m", "meanfield", {}, seed, 2000)
    status = "ok" if draws is not None else "failed"
    return RunResult(spec, "", status, "", draws, None, {}, Cost(1.0), {})  # type: ignore[arg-type]


def measured(stick: measure.Yardstick, result: RunResult) -> list[Measure]:
    """Measure a run."""
    return stick.run(result).measures


def yardstick(reference: Draws, model: Model = MODEL) -> measure.Yardstick:
    """Prepare a reference."""
    selection = measure.select(model, reference)
    return measure.Yardstick(
        "m", Reference("exact", trusted=True, why="", draws=reference), selection
    )


def test_all_that_varies_is_compared_and_the_rest_is_named() -> None:
    """Constant and non-finite quantities of the reference are left out by name."""
    reference = normal(("a", "c", "n"))
    reference.values[:, :, 1] = 3.0
    reference.values[0, 7, 2] = np.nan
    selection = measure.select(MODEL, reference)
    assert selection.names == ("a",)
    told = " ".join(selection.notes)
    assert "c" in told
    assert "n" in told
    assert "constant" in told


def test_quantities_are_chosen_by_variable_or_by_element() -> None:
    """``b`` stands for all its elements, and an unknown name is reported."""
    model = Model("m", "t", NOWHERE, None, quantities=("b", "z[1]", "typo"))
    selection = measure.select(model, normal(("a", "b[1]", "b[2]", "z[1]", "z[2]")))
    assert selection.names == ("b[1]", "b[2]", "z[1]")
    assert any("typo" in note for note in selection.notes)


def test_generated_quantities_are_a_group() -> None:
    """All are compared, however many, and named by the variable that the program generates."""
    names = ("a", *(f"y[{i}]" for i in range(1, 600)))
    selection = measure.select(MODEL, normal(names, n=10), ["y"])
    assert selection.names == names
    assert selection.generated == set(names[1:])


def test_of_very_many_generated_quantities_some_are_compared() -> None:
    """A thousand, evenly spaced, and that is said; a choice is compared in full."""
    names = ("a", *(f"y[{i}]" for i in range(1, 3001)))
    draws = normal(names, n=10)
    selection = measure.select(MODEL, draws, ["y"])
    assert selection.names == ("a", *(f"y[{i}]" for i in range(1, 3001, 3)))
    assert "1000 of 3000 generated quantities" in selection.notes[0]
    chosen = dataclasses.replace(MODEL, quantities=("y",))
    assert measure.select(chosen, draws, ["y"]).names == names[1:]


def test_a_quantity_missing_from_a_run_is_measured_as_nan() -> None:
    """A missing quantity is NaN, which no rule calls close."""
    measures = measured(yardstick(normal(("a", "b"))), run(normal(("a",), seed=2)))
    missing = [m for m in measures if m.quantity == "b"]
    assert missing
    assert all(math.isnan(m.value) for m in missing)


def test_a_run_without_draws_has_no_measures() -> None:
    """A failed run is judged by its status."""
    assert measured(yardstick(normal(("a",))), run(None)) == []


def test_order_of_columns_does_not_matter() -> None:
    """Names decide, never positions."""
    reference, own = normal(("a", "b")), normal(("a", "b"), seed=2)
    own.values[:, :, 1] += 5
    swapped = Draws(("b", "a"), own.values[:, :, ::-1].copy())
    stick = yardstick(reference)
    first = {(m.quantity, m.metric): m.value for m in measured(stick, run(own)) if m.quantity}
    second = {(m.quantity, m.metric): m.value for m in measured(stick, run(swapped)) if m.quantity}
    assert first == pytest.approx(second)
    assert first["b", "bias"] > 4
    assert abs(first["a", "bias"]) < 1


def test_spread_needs_two_seeds() -> None:
    """The spread over seeds is the sd of their means in units of the reference's sd."""
    stick = yardstick(normal(("a",), n=40_000))
    shifted = []
    for seed in (1, 2):
        draws = normal(("a",), n=40_000, seed=seed)
        draws.values[:] += seed
        shifted += measured(stick, run(draws, seed))
    assert stick.spread([m for m in shifted if m.seed == 1]) == []
    (spread,) = stick.spread(shifted)
    # Means one sd apart have a sd of 1/√2; each mean's own error is 0.005.
    assert spread.value == pytest.approx(math.sqrt(0.5), abs=4 * 0.007)


def test_correlations_name_the_strongest_partner() -> None:
    """Each quantity's strongest partner, with the sign of their correlation."""
    reference = normal(("a", "b", "c"), n=40_000)
    reference.values[:, :, 1] = -0.8 * reference.values[:, :, 0] + 0.6 * reference.values[:, :, 1]
    partner, r = yardstick(reference).correlations()["a"]
    assert partner == "b"
    # The standard error of a correlation is (1 - r²)/√n.
    assert r == pytest.approx(-0.8, abs=4 * 0.36 / 200)


def test_a_reference_without_draws_cannot_be_prepared() -> None:
    """The error says why there is no reference."""
    reference = Reference("none", trusted=False, why="NUTS failed")
    with pytest.raises(ValueError, match="NUTS failed"):
        measure.Yardstick("m", reference, measure.Selection((), ()))


def test_khat_of_used_up_weights_is_the_runs_own() -> None:
    """Resampled draws have no log q; the k-hat of the weights they came from is what counts."""
    reference = normal(("x",), seed=1)
    own = dataclasses.replace(run(normal(("x",), seed=2)), diagnostics={"khat": 0.83})
    found = [m for m in measured(yardstick(reference), own) if m.metric == "khat"]
    assert [m.value for m in found] == [0.83]
    assert not [
        m for m in measured(yardstick(reference), run(normal(("x",)))) if m.metric == "khat"
    ]


def test_the_leftmost_modes_share_is_measured_where_there_are_modes() -> None:
    """A fifth of the reference lies left; the method has its own share there."""
    rng = np.random.default_rng(4)

    def mixture(share: float) -> Draws:
        left = rng.random(4000) < share
        x = np.where(left, rng.normal(-3, 1, 4000), rng.normal(5, 1, 4000))
        return Draws(("x",), x[None, :, None])

    found = measured(yardstick(mixture(0.2)), run(mixture(0.5)))
    shares = [m for m in found if m.metric == "first_mode"]
    assert [abs(m.value - 0.5) < 5 * m.mcse for m in shares] == [True]
    flat = measured(yardstick(normal(("x",))), run(normal(("x",), seed=3)))
    assert not [m for m in flat if m.metric == "first_mode"]


def test_the_worst_pair_is_returned_with_the_measures() -> None:
    """The pair with both correlations; none where there is one quantity."""
    reference, own = normal(("a", "b"), seed=1), normal(("a", "b"), seed=2)
    own.values[:, :, 1] = 0.8 * own.values[:, :, 0] + 0.6 * own.values[:, :, 1]
    pair = yardstick(reference).run(run(own)).pair
    assert pair is not None
    assert (pair.first, pair.second) == ("a", "b")
    # Five standard errors of each correlation, (1 - r²)/√n.
    assert abs(pair.own - 0.8) < 5 * 0.36 / math.sqrt(2000)
    assert abs(pair.reference) < 5 / math.sqrt(2000)
    assert yardstick(normal(("a",))).run(run(normal(("a",), seed=2))).pair is None
