"""A method added to the table and nowhere else goes all the way, NaN included."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from click.testing import CliRunner
from engine_builders import engines

from harness.check.baseline.change import exit_code
from harness.check.baseline.compare import compare_method
from harness.check.baseline.file import read, write
from harness.check.baseline.observe import as_baseline, observe
from harness.cli import main
from harness.methods import METHODS
from harness.methods.method import SOLID, Look, Method, Outcome
from harness.methods.options import from_words
from harness.methods.settings import OptionError, Options, real, switch
from harness.models.folders import user_model
from harness.records import (
    Comparison,
    Cost,
    Draws,
    Model,
    Program,
    RunContext,
    RunSpec,
    Trace,
)
from harness.report import files, html
from harness.report.terminal import print_verdicts
from harness.study.analysis import analyse
from harness.study.plan import Plan
from harness.study.planner import Planner
from harness.study.run_task import RunTask, run_task
from harness.study.store import Store, cmdstan_seed
from harness.study.task import AnalysisTask
from harness.why.trials import propose

X = [0.5, 1.5, 2.0]
"""The posterior's mean is Σx / 4 = 1, its sd 1/2."""


@dataclass(frozen=True)
class ShiftOptions(Options):
    """The posterior's mean is missed by ``shift``; with ``broken`` a draw is NaN."""

    shift: float = real(0.0)
    broken: bool = switch(default=False)


def draw(spec: RunSpec, context: RunContext, scratch: Path, options: ShiftOptions) -> Outcome:
    """Draw from N(1 + shift, 1/2) without looking at the program."""
    del scratch
    rng = np.random.default_rng(context.cmdstan_seed)
    values = rng.normal(1 + options.shift, 0.5, size=(1, spec.draws, 1))
    log_q = -2 * (values[..., 0] - 1 - options.shift) ** 2
    log_p = -2 * (values[..., 0] - 1) ** 2
    if options.broken:
        values[0, 0, 0] = np.nan
    steps = np.arange(1.0, 6.0)
    trace = Trace(steps, steps, -1 / steps)
    diagnostics = {"iterations": math.nan if options.broken else 5.0}
    draws = Draws(("m",), values, log_p, log_q)
    return Outcome("ok", Cost(0.1), draws=draws, trace=trace, diagnostics=diagnostics)


ROW = Method(
    name="thrown_away",
    title="thrown-away fit",
    what="a normal that misses the mean",
    kind="deterministic",
    fit=draw,
    version=1,
    options=ShiftOptions(),
    draws=4000,
    seeds=3,
    look=Look("#123456", SOLID, "$t$"),
    family="meanfield",
)


@pytest.fixture(autouse=True)
def _added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cast("dict[str, Method]", METHODS), ROW.name, ROW)


@pytest.fixture
def model(tmp_path: Path, isolated_cache: Path) -> Model:
    """Return the normal mean with three numbers."""
    assert isolated_cache
    program, file = tmp_path / "m.stan", tmp_path / "m.json"
    program.write_text("parameters { real m; } model { m ~ normal(0, 1); }", encoding="utf-8")
    file.write_text(json.dumps({"N": len(X), "x": X}), encoding="utf-8")
    return dataclasses.replace(user_model(program, file), reference="normal_mean")


def test_it_is_listed_and_its_options_are_checked() -> None:
    """By name, with what it is; a wrong value is an error."""
    assert ROW.what in CliRunner().invoke(main, ["models"]).output
    assert from_words([f"{ROW.name}.shift=2"]) == {ROW.name: {"shift": 2.0}}
    with pytest.raises(OptionError, match="shift is 'nan'; allowed: a number from 0"):
        from_words([f"{ROW.name}.shift=nan"])


@pytest.mark.parametrize(
    ("options", "level"), [({}, "pass"), ({"shift": 2.0}, "fail"), ({"broken": True}, "fail")]
)
def test_it_goes_from_the_plan_to_every_output(
    model: Model,
    tmp_path: Path,
    options: dict[str, float],
    level: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Planned, run, judged, offered remedies, printed, drawn, written, and held to a baseline."""
    store = tmp_path / "store"
    plan = Plan(models=(model,), methods=(ROW.name,), options={ROW.name: options})
    work = Planner(plan, engines(), Store(store)).work(model)
    assert work.error is None
    assert [spec.seed for spec in work.specs] == [1, 2, 3]
    assert work.specs[0].options == {**ROW.defaults, **options}
    program = Program(model.stan_file, {})
    for key, spec in work.waiting.items():
        context = RunContext(program, model.data_file, 60.0, cmdstan_seed(spec, "p", "d"))
        work.done[key] = run_task(RunTask(key, spec, context), store)
    results = tuple(work.done.values())
    task = AnalysisTask(
        model=model,
        program_hash=work.program_hash,
        data_hash=work.data_hash,
        results=results,
        reference="auto",
        judged=work.judged,
        notes=(),
        store_root=store,
        draws_folder=tmp_path / "out" / "draws",
    )
    analysis = analyse(task)
    found = analysis.comparison
    assert found is not None
    (verdict,) = found.verdicts
    assert verdict.level == level

    remedies = propose(model, verdict, results)
    assert bool(remedies) is (level == "fail")

    comparison = Comparison((found,), (), {"command": "", "versions": {}, "seconds": 1.0})
    print_verdicts(comparison)
    assert ROW.title in capsys.readouterr().out
    out = tmp_path / "out"
    files.write(comparison, out)
    for name in ("verdicts.csv", "runs.csv", "measures.csv"):
        assert ROW.name in (out / name).read_text(encoding="utf-8")
    html.render(comparison, out / "index.html", figures={model.name: analysis.figures})
    page = (out / "index.html").read_text(encoding="utf-8")
    assert ROW.title in page
    assert ROW.look.colour in page
    again = files.read(out)
    assert [v.method for v in again.models[0].verdicts] == [ROW.name]

    runs = Store(store).with_arrays(results)
    observation = observe(found, runs)
    write(as_baseline(model, observation, {}, {}), tmp_path / "m.json.baseline")
    kept = read(tmp_path / "m.json.baseline").methods[ROW.name]
    changes = compare_method("m", ROW.name, kept, kept, observation.samples[ROW.name])
    assert exit_code(changes) == 0
