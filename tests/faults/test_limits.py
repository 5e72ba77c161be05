"""Time limits hold whatever a run does, with programs that come to no end."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import numpy as np
import pytest
from endless import BELOW, NEVER

import harness
from harness.methods import METHODS
from harness.methods.started import MOST_BYTES, head_and_tail
from harness.models import folders
from harness.records import ModelComparison, RunContext, RunSpec
from harness.stan import CmdStan, compile_program
from harness.study import comparing
from harness.study.plan import Plan
from harness.study.pool import Pool
from harness.study.prepare import trying_s
from harness.study.worker import GRACE_S, GRACE_SHARE, OverdueError, limited

LIMIT_S = 2.0


def compared(text: str, folder: Path, **plan: object) -> ModelComparison:
    """Compare a program without data, with a limit of two seconds a run."""
    file = folder / "endless.stan"
    file.write_text(text, encoding="utf-8")
    asked = Plan((folders.user_model(file, None),), timeout_s=LIMIT_S, **plan)  # type: ignore[arg-type]
    return comparing.run(asked)[0].models[0]


def test_code_stuck_in_one_call_is_ended(tmp_path: Path, isolated_cache: Path) -> None:
    """Each embedded run that comes to a point without an end is timed out, and stored as that."""
    assert isolated_cache
    asked: dict[str, object] = {
        "engine": "embedded",
        "methods": ("dadvi",),
        "nuts": False,
        "seeds": 1,
        "jobs": 2,
    }
    found = compared(BELOW, tmp_path, **asked)
    assert found.error is None
    assert found.runs
    assert {r.status for r in found.runs} == {"timed_out"}
    assert all("--timeout" in r.message for r in found.runs)
    begin = time.monotonic()
    again = compared(BELOW, tmp_path, **asked)
    assert {r.key for r in again.runs} == {r.key for r in found.runs}
    assert time.monotonic() - begin < LIMIT_S


def test_a_program_that_never_ends_is_refused(tmp_path: Path, isolated_cache: Path) -> None:
    """Where even the first evaluation has no end, the model's error says which limit was passed."""
    assert isolated_cache
    found = compared(NEVER, tmp_path, engine="embedded", methods=("dadvi",), nuts=False, jobs=1)
    assert "trying it at random points took longer than the limit of 2.0 s" in str(found.error)


@pytest.mark.parametrize(("run_s", "trying"), [(10, 10), (600, 60), (3600, 360)])
def test_trying_a_program_has_a_limit_of_its_own(run_s: float, trying: float) -> None:
    """A minute, a tenth of a long run's limit, or a short one's."""
    assert trying_s(run_s) == trying


def _outlast(limit_s: float) -> str:
    with limited(60), limited(limit_s, "waiting"):
        time.sleep(60)
    return "went on"


def _unlimited() -> int:
    time.sleep(4)
    return os.getpid()


def test_only_the_worker_that_is_overdue_is_ended() -> None:
    """Its neighbour goes on with what it does, in the same process."""
    pool = Pool(2)
    pool.submit("long", _outlast, 0.5)
    pool.submit("other", _unlimited)
    out = {}
    begin = time.monotonic()
    while pool.busy and time.monotonic() - begin < 60:
        for label, value, error in pool.finished():
            out[label] = (value, error, time.monotonic() - begin)
    pool.close()
    assert isinstance(out["long"][1], OverdueError)
    assert out["long"][1].doing == "waiting"
    assert out["other"][1] is None
    assert out["long"][2] > 0.5 + GRACE_S + GRACE_SHARE * 0.5


@pytest.mark.stan
def test_the_limit_is_for_all_chains_together(tmp_path: Path, cmdstan: CmdStan) -> None:
    """NUTS of four chains that would each take longer ends after one limit."""
    model = folders.load("normal_mean")
    program = compile_program(model.stan_file, cmdstan)
    context = RunContext(program, model.data_file, LIMIT_S, 1)
    options = {**METHODS["nuts"].defaults, "samples": 1_000_000}
    run = METHODS["nuts"].run(RunSpec(model.name, "nuts", options, 1, 4), context, tmp_path)
    assert run.status == "timed_out"
    assert LIMIT_S < run.cost.seconds < LIMIT_S + GRACE_S


@pytest.mark.stan
def test_a_compiler_that_takes_too_long_is_ended(tmp_path: Path, isolated_cache: Path) -> None:
    """The model's error names the option that sets the limit."""
    assert isolated_cache
    found = compared(
        "parameters { real x; } model { x ~ normal(0, 1); }",
        tmp_path,
        engine="cmdstan",
        methods=("meanfield",),
        nuts=False,
        compile_timeout_s=2.0,
    )
    assert "--compile-timeout" in str(found.error)


LOUD = """
parameters { real x; }
model {
  x ~ normal(0, 1);
  for (i in 1:2000) print("a line of fifty characters that says nothing at all");
}
"""
"""A hundred kilobytes an evaluation: some hundred megabytes a run."""


@pytest.mark.stan
@pytest.mark.slow
def test_what_a_program_prints_is_kept_head_and_tail(tmp_path: Path, cmdstan: CmdStan) -> None:
    """It costs no more disk than a few megabytes, and counts made of its lines are unknown."""
    file = tmp_path / "loud.stan"
    file.write_text(LOUD, encoding="utf-8")
    model = folders.user_model(file, None)
    context = RunContext(compile_program(file, cmdstan), None, 60.0, 1)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    spec = RunSpec(model.name, "meanfield", {**METHODS["meanfield"].defaults, "iter": 50}, 1, 10)
    run = METHODS["meanfield"].run(spec, context, scratch)
    written = sum(p.stat().st_size for p in scratch.rglob("*.txt"))
    assert MOST_BYTES < written < 3 * MOST_BYTES
    assert "MB of output left out" in next(scratch.rglob("*.txt")).read_text()
    assert run.draws is not None
    assert run.cost.gradient_evaluations is None


def test_the_end_of_a_stream_is_kept() -> None:
    """The first and last bytes are there, and how many are not."""
    text = b"".join(b"%09d\n" % i for i in range(600_000))
    kept = head_and_tail(io.BytesIO(text))
    assert kept.startswith(text[:MOST_BYTES])
    assert kept.endswith(text[-MOST_BYTES:])
    assert b"2.0 MB of output left out" in kept
    assert head_and_tail(io.BytesIO(text[:MOST_BYTES])) == text[:MOST_BYTES]


def test_judge_ends_where_its_program_does_not(tmp_path: Path, isolated_cache: Path) -> None:
    """The draws are judged without causes, and a note names the limit."""
    assert isolated_cache
    file = tmp_path / "endless.stan"
    file.write_text(NEVER, encoding="utf-8")
    rng = np.random.default_rng(1)
    one, two = ({"x": rng.normal(size=(4, 1000))} for _ in range(2))
    begin = time.monotonic()
    found = harness.judge(one, two, program=file, timeout_s=LIMIT_S).comparison.models[0]
    assert time.monotonic() - begin < 60
    (verdict,) = found.verdicts
    assert verdict.level != "unknown"
    assert any("2.0 s" in note for note in found.notes), found.notes
