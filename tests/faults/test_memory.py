"""The memory of a worker has a limit, and a run that reaches it fails with the figure."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import pytest
from endless import HUNGRY

from harness.methods import METHODS
from harness.models import folders
from harness.records import ModelComparison, Reason, RunContext, RunSpec
from harness.stan import CmdStan, compile_program
from harness.study import comparing, pool, worker
from harness.study.plan import Plan
from harness.study.pool import Pool
from harness.study.run_task import RunTask, run_task

LIMIT_GB = 0.5


def compared(folder: Path, **plan: object) -> ModelComparison:
    """Compare a program that takes 20 GB below -2.5 with half a gigabyte."""
    file = folder / "hungry.stan"
    file.write_text(HUNGRY, encoding="utf-8")
    asked = Plan((folders.user_model(file, None),), memory_gb=LIMIT_GB, explain=False, **plan)  # type: ignore[arg-type]
    return comparing.run(asked)[0].models[0]


def test_a_run_that_takes_too_much_memory_fails(tmp_path: Path, isolated_cache: Path) -> None:
    """The message has the limit and its option; with more memory it may be run again."""
    assert isolated_cache
    found = compared(tmp_path, engine="embedded", methods=("dadvi",), nuts=False, seeds=1, jobs=1)
    assert {(r.status, r.reason) for r in found.runs} == {("failed", Reason.MEMORY)}, found
    assert all("limit of 0.5 GB" in r.message and "--memory" in r.message for r in found.runs)
    assert not list((isolated_cache / "results").glob("*/*/result.json"))


def test_a_program_that_cannot_be_loaded_for_memory_names_the_limit(
    tmp_path: Path, isolated_cache: Path
) -> None:
    """Nor is it kept as refused by the engine: with more memory it may be loaded."""
    file = tmp_path / "wide.stan"
    file.write_text(
        "parameters { real x; } model { matrix[20000, 20000] a = rep_matrix(x, 20000, 20000); "
        "x ~ normal(sum(a), 1); }",
        encoding="utf-8",
    )
    plan = Plan(
        (folders.user_model(file, None),),
        methods=("dadvi",),
        engine="embedded",
        nuts=False,
        seeds=1,
        memory_gb=LIMIT_GB,
        explain=False,
    )
    (model,) = comparing.run(plan)[0].models
    assert model.error is not None
    assert "limit of 0.5 GB; a larger one: --memory" in model.error
    kept = [p.read_bytes() for p in isolated_cache.rglob("*") if p.is_file()]
    assert not [text for text in kept if b"more memory" in text or b"bad_alloc" in text]


@pytest.mark.stan
@pytest.mark.slow
def test_cmdstan_that_takes_too_much_memory_fails(tmp_path: Path, cmdstan: CmdStan) -> None:
    """The limit is passed on to CmdStan's process."""
    file = tmp_path / "hungry.stan"
    file.write_text(HUNGRY, encoding="utf-8")
    context = RunContext(compile_program(file, cmdstan), None, 60.0, 1)
    spec = RunSpec("hungry", "nuts", METHODS["nuts"].defaults, 1, 4000)
    workers = Pool(1, LIMIT_GB)
    workers.submit("run", run_task, RunTask("ab" * 32, spec, context), tmp_path)
    out = []
    while workers.busy:
        out += [value for _, value, _ in workers.finished()]
    workers.close()
    assert (out[0].status, out[0].reason) == ("failed", Reason.MEMORY)
    assert "limit of 0.5 GB" in out[0].message


def _soft_limit() -> tuple[float | None, int]:
    return worker.memory_limit(), resource.getrlimit(resource.RLIMIT_AS)[0]


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS does nothing on macOS")
def test_the_usual_limit_is_the_machines_share() -> None:
    """Two workers may take half of the memory each, and never less than a gigabyte."""
    workers = Pool(2)
    workers.submit("limit", _soft_limit)
    out = []
    while workers.busy:
        out += [(value, error) for _, value, error in workers.finished()]
    workers.close()
    ((limit, soft), error) = out[0]
    assert error is None
    assert limit == max(pool.share(1) / 2, 1e9)
    assert soft == int(limit + worker.MAPPED)
    assert pool.share(1_000_000) == 1e9
