"""The pool: failures are results, killed workers are noticed, interrupts leave nothing behind."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness.records import Program, RunContext, RunSpec
from harness.study.pool import Pool, Turn
from harness.study.run_task import RunTask, run_task
from harness.study.running import longest_first
from harness.study.store import Store


def task(method: str = "meanfield", **options: object) -> RunTask:
    """Return a task whose program does not exist."""
    program = Program(Path("m.stan"), {"cmdstan": "2.27.0"}, Path("/nowhere/m"), Path("/nowhere"))
    spec = RunSpec("m", method, options, 1, 10)
    return RunTask("ab" * 32, spec, RunContext(program, None, 1.0, 1))


def test_a_run_that_raises_is_a_failed_result(tmp_path: Path) -> None:
    """An exception in a method becomes a stored result that names it."""
    result = run_task(task(), tmp_path)
    assert result.status == "failed"
    assert result.message
    assert Store(tmp_path).get("ab" * 32) is not None


def test_a_program_without_generated_quantities_makes_no_run_with_them(tmp_path: Path) -> None:
    """Nothing is stored under the key of such a run; one that leaves them out is made."""
    whole = task()
    program = dataclasses.replace(whole.context.program, generated=False)
    bare = whole._replace(context=whole.context._replace(program=program))
    with pytest.raises(ValueError, match="without generated quantities"):
        run_task(bare, tmp_path)
    assert Store(tmp_path).get(bare.key) is None
    left_out = dataclasses.replace(bare.spec, left_out={"y": ()})
    assert run_task(bare._replace(spec=left_out), tmp_path).message
    assert Store(tmp_path).get(bare.key) is not None


def _drain(pool: Pool, limit_s: float = 60.0) -> dict[object, tuple[object, BaseException | None]]:
    out = {}
    end = time.monotonic() + limit_s
    while pool.busy and time.monotonic() < end:
        for label, value, error in pool.finished():
            out[label] = (value, error)
    assert not pool.busy, "the pool did not finish"
    return out


def _divide(a: int, b: int) -> float:
    return a / b


def _kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_an_error_in_one_call_leaves_the_others_alone() -> None:
    """One call raises, the others return."""
    pool = Pool(2)
    for b in (0, 1, 2):
        pool.submit(b, _divide, 4, b)
    out = _drain(pool)
    pool.close()
    assert isinstance(out[0][1], ZeroDivisionError)
    assert out[1] == (4.0, None)
    assert out[2] == (2.0, None)


def test_a_killed_worker_is_noticed_and_the_rest_goes_on() -> None:
    """A call that kills its process twice is given up; its neighbours still return."""
    pool = Pool(2)
    pool.submit("dead", _kill_self)
    for b in (1, 2, 4):
        pool.submit(b, _divide, 4, b)
    out = _drain(pool)
    pool.close()
    assert isinstance(out["dead"][1], ChildProcessError)
    assert [out[b][0] for b in (1, 2, 4)] == [4.0, 2.0, 1.0]


def test_what_is_cheap_overtakes_what_waits() -> None:
    """With one worker, calls end in the order of their turns, and of submission within a turn."""
    pool = Pool(1)
    pool.submit("first", _divide, 1, 1, turn=Turn.RUN)
    for label, turn in (("run", Turn.RUN), ("build", Turn.BUILD), ("run 2", Turn.RUN)):
        pool.submit(label, _divide, 1, 1, turn=turn)
    pool.submit("start", _divide, 1, 1, turn=Turn.START)
    out = _drain(pool)
    pool.close()
    assert list(out) == ["first", "start", "build", "run", "run 2"]


def _start_sleeper(note: str) -> None:
    child = subprocess.Popen(["sleep", "300"])
    Path(note).write_text(str(child.pid))
    child.wait()


def test_killing_the_pool_kills_what_its_workers_started(tmp_path: Path) -> None:
    """After an interrupt no CmdStan process is left running."""
    note = tmp_path / "pid"
    pool = Pool(1)
    pool.submit("sleep", _start_sleeper, str(note))
    end = time.monotonic() + 30
    while not (note.is_file() and note.read_text()) and time.monotonic() < end:
        time.sleep(0.05)
    pid = int(note.read_text())
    pool.close(kill=True)
    end = time.monotonic() + 10
    while _alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie, which nobody reaped, does not."""
    status = Path(f"/proc/{pid}/stat")
    if status.exists():
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("work", [[3.0, 1.0, 2.0]])
def test_long_tasks_start_first(work: list[float]) -> None:
    """Tasks are ordered by their expected length, longest first."""
    tasks = [task(length=w) for w in work]
    ordered = longest_first(tasks, lambda s: float(s.options["length"]))
    assert [t.spec.options["length"] for t in ordered] == [3.0, 2.0, 1.0]
