"""The same versions, engine and seeds give the same bytes, however a study is run or ended."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.models import folders
from harness.report import files as report
from harness.stan import embedded
from harness.study import comparing, writing
from harness.study.plan import Plan

pytestmark = pytest.mark.skipif(bool(embedded.available()), reason=embedded.available() or "-")

PROGRAMS = {
    "aa": "parameters { real k; vector[2] b; } model { k ~ normal(1, 2); b ~ normal(k, 1); }",
    "bb": "parameters { real<lower=0, upper=1> t; } model { t ~ beta(2, 3); } "
    "generated quantities { int y = bernoulli_rng(t); }",
}


def programs(folder: Path) -> list[Path]:
    """Write the programs."""
    for name, text in PROGRAMS.items():
        (folder / f"{name}.stan").write_text(text, encoding="utf-8")
    return [folder / f"{name}.stan" for name in PROGRAMS]


def test_jobs_and_the_order_of_models_change_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 1 and 4 workers, models turned round, or stored runs: all files are the same bytes."""
    models = [folders.user_model(file, None) for file in programs(tmp_path)]
    for cache, jobs, order in (("a", 1, models), ("b", 4, models[::-1]), ("b", 2, models)):
        monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / f"cache {cache}"))
        out = tmp_path / str(jobs)
        plan = Plan(
            tuple(order),
            methods=("nuts", "meanfield", "dadvi"),
            engine="embedded",
            seeds=2,
            jobs=jobs,
            out=out,
            draws=True,
            seconds=False,
            explain=False,
            figures=False,
        )
        writing.write(*comparing.compare(plan), out, draws=True, seconds=False)
    one = tmp_path / "1"
    files = sorted(p.relative_to(one) for p in one.rglob("*") if p.is_file())
    assert len([f for f in files if f.suffix == ".nc"]) >= 2 * (1 + 2 + 2)
    files = [f for f in files if f.name != "index.html"]
    names = {f.name for f in files}
    assert {"measures.csv", "claims.csv", "gaps.csv", "verdicts.csv", "results.json"} <= names
    for name in ("2", "4"):
        other = tmp_path / name
        assert [f for f in files if (one / f).read_bytes() != (other / f).read_bytes()] == []
    read = report.read(one)
    assert all(run.draws is not None for model in read.models for run in model.runs)
    tables = [one / f for f in files if f.suffix == ".csv"]
    headings = [t.read_text(encoding="utf-8").splitlines()[0] for t in tables]
    assert [h for h in headings if "seconds" in h] == []


def start(folder: Path, cache: str, out: str) -> subprocess.Popen[str]:
    """Start a study of some 60 runs."""
    command = [sys.executable, "-m", "harness", "compare", *map(str, programs(folder))]
    command += ["--engine", "embedded", "--methods", "dadvi,pathfinder,laplace", "--seeds", "9"]
    command += ["--jobs", "2", "--no-why", "--no-seconds", "--out", str(folder / out)]
    return subprocess.Popen(
        command,
        env={**os.environ, "HARNESS_CACHE": str(folder / cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stored(folder: Path, cache: str) -> dict[str, int]:
    """Return the files of the stored runs; one that is written again has another number."""
    files = (folder / cache / "results").glob("??/*/result.json")
    return {str(file): file.stat().st_ino for file in files}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL")
def test_a_study_that_is_killed_again_and_again_ends_as_if_nothing_had_been(
    tmp_path: Path,
) -> None:
    """Killed at ten random moments: what is stored stays, and the results are the same bytes."""
    rng = random.Random(20261129)  # noqa: S311 - moments, not secrets
    kept: dict[str, int] = {}
    kills = 0
    for _ in range(10):
        process = start(tmp_path, "killed", "killed out")
        goal, end = len(kept) + rng.randint(0, 4), time.monotonic() + 120
        while process.poll() is None and time.monotonic() < end:
            if len(stored(tmp_path, "killed")) >= goal:
                break
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.5))
        kills += process.poll() is None
        process.kill()
        process.communicate(timeout=60)
        now = stored(tmp_path, "killed")
        assert now.items() >= kept.items()
        kept = now
    assert kills >= 5
    last = start(tmp_path, "killed", "killed out")
    said, errors = last.communicate(timeout=600)
    assert last.returncode == 0, errors
    assert "damaged" not in said + errors
    assert stored(tmp_path, "killed").items() >= kept.items()
    undisturbed = start(tmp_path, "undisturbed", "undisturbed out")
    _, errors = undisturbed.communicate(timeout=600)
    assert undisturbed.returncode == 0, errors
    out, other = tmp_path / "killed out", tmp_path / "undisturbed out"
    tables = ("measures.csv", "verdicts.csv", "runs.csv", "gaps.csv", "claims.csv")
    for name in (*tables, "results.json"):
        assert (out / name).read_bytes() == (other / name).read_bytes(), name
