"""Generated quantities by the thousand: only those that are looked at are loaded."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from harness.intake import DrawsError
from harness.metrics import measure
from harness.records import Cost, Draws, Model, RunResult, RunSpec
from harness.records.names import kept_places
from harness.study import analysis, comparing, looks
from harness.study.plan import Plan
from harness.study.store import Store
from harness.study.task import AnalysisTask

MODEL = Model("m", "m", Path("m.stan"), None)
NAMES = ("a", *(f"y[{i}]" for i in range(1, 4)), "z")
PROGRAM = """
parameters { real m; }
model { m ~ normal(0, 1); }
generated quantities { vector[1500] y; for (i in 1:1500) y[i] = normal_rng(m, 1); }
"""


def test_chosen_generated_quantities_are_looked_at() -> None:
    """A choice leaves out other generated quantities, and never a parameter."""
    chosen = dataclasses.replace(MODEL, quantities=("z",))
    assert measure.looked_at(chosen, NAMES, {"y", "z"}) == (["a", "z"], "")
    one = dataclasses.replace(MODEL, quantities=("y[2]",))
    assert measure.looked_at(one, NAMES, {"y", "z"}) == (["a", "y[2]"], "")
    assert measure.looked_at(MODEL, NAMES, {"y", "z"}) == (list(NAMES), "")
    assert measure.looked_at(MODEL, NAMES, ()) == (list(NAMES), "")


def test_of_very_many_some_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a choice some are taken, evenly spaced, and a note says so."""
    monkeypatch.setattr(measure, "MOST_GENERATED", 2)
    names, note = measure.looked_at(MODEL, NAMES, {"y"})
    assert names == ["a", "y[1]", "y[2]", "z"]
    assert note.startswith("2 of 3 generated quantities")


def test_the_store_lets_go_of_what_is_not_looked_at(tmp_path: Path) -> None:
    """The draws that are wanted come back alone, and the others are not kept in memory."""
    values = np.random.default_rng(1).normal(size=(2, 10, len(NAMES)))
    log_p = np.zeros((2, 10))
    draws = Draws(NAMES, values, log_p, stats={"energy": np.ones((2, 10))})
    spec = RunSpec("m", "nuts", {}, 1, 10)
    run = RunResult(spec, "ab" * 32, "ok", "", draws, None, {}, Cost(1.0), {})
    store = Store(tmp_path)
    store.put(run)
    (found,) = store.with_arrays([run], lambda _: ["a", "y[2]"])
    assert found.draws is not None
    assert found.draws.names == ("a", "y[2]")
    np.testing.assert_array_equal(found.draws.values, values[:, :, [0, 2]])
    assert found.draws.values.flags.owndata
    assert found.draws.log_p is not None
    assert found.draws.log_p.flags.owndata
    np.testing.assert_array_equal(found.draws.stats["energy"], 1.0)
    (whole,) = store.with_arrays([run])
    assert whole.draws is not None
    assert whole.draws.names == NAMES


def test_more_draws_leave_out_what_nothing_looks_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of very many generated quantities only those that are compared are drawn again."""
    task = AnalysisTask(MODEL, "", "", (), "auto", ("dadvi",), (), tmp_path, None)
    monkeypatch.setattr(looks, "generated_of", lambda _: ("y",))
    assert looks.Looks(task).left_out(NAMES) == {}
    monkeypatch.setattr(measure, "MOST_GENERATED", 2)
    only = looks.Looks(task)
    wanted = only(NAMES)
    left_out = only.left_out(wanted)
    assert left_out == {"y": ("y[1]", "y[2]")}
    assert kept_places(NAMES, left_out) == [0, 1, 2, 4]
    # The run without the others is looked at as a whole.
    assert looks.Looks(task)(wanted) == wanted


def test_a_choice_of_nothing_is_refused() -> None:
    """An element beyond the end of its variable is known only once there are draws."""
    draws = Draws(NAMES, np.zeros((1, 2, len(NAMES))))
    run = RunResult(RunSpec("m", "a", {}, 1, 2), "k", "ok", "", draws, None, {}, Cost(1.0), {})
    for chosen in (("y[3]",), ("y",), ("a", "y[9]"), ()):
        analysis._check_choice(dataclasses.replace(MODEL, quantities=chosen), [run])
    bad = dataclasses.replace(MODEL, quantities=("y[9]", "b"))
    analysis._check_choice(bad, [])
    with pytest.raises(DrawsError, match=r"no quantity y\[9\] and b"):
        analysis._check_choice(bad, [run])


@pytest.mark.slow
def test_the_report_says_how_many_were_compared(tmp_path: Path) -> None:
    """Of 1500 generated quantities 1000 are compared with the parameter, and one note says so.

    A choice by name compares that one alone.
    """
    stan_file = tmp_path / "many.stan"
    stan_file.write_text(PROGRAM)
    model = Model("many", "many", stan_file, None)
    plan = Plan((model,), methods=("dadvi_lr",), seeds=1, explain=False, engine="embedded")
    (found,) = comparing.compare(plan)[0].models
    assert len({m.quantity for m in found.measures if m.metric == "bias"}) == 1001
    assert sum("1000 of 1500 generated" in n for n in found.notes) == 1
    chosen = dataclasses.replace(model, quantities=("y[7]",))
    (found,) = comparing.compare(dataclasses.replace(plan, models=(chosen,)))[0].models
    assert {m.quantity for m in found.measures if m.metric == "bias"} == {"y[7]"}
    assert not any("generated quantities are" in n for n in found.notes)
