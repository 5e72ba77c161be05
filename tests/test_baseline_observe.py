"""From judged comparisons to what a baseline holds of them."""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from baseline_builders import as_draws, fits, shifted, walks

from harness.check.baseline.change import conclude, exit_code
from harness.check.baseline.compare import compare_method
from harness.check.baseline.file import dumps, read
from harness.check.baseline.form import Share
from harness.check.baseline.observe import (
    Observation,
    Trouble,
    as_baseline,
    observe,
    settled,
    without_samples,
)
from harness.check.baseline.summarise import fingerprint
from harness.judgement import rules_for
from harness.models import folders
from harness.records import (
    Cost,
    Draws,
    Finding,
    Level,
    Measure,
    Model,
    ModelComparison,
    Reference,
    Rule,
    RunResult,
    RunSpec,
    SeedVerdict,
    Status,
    Verdict,
)

MODEL = Model("m", "m", Path("m.stan"), None)


def run(method: str, seed: int, draws: Draws | None, status: Status = "ok") -> RunResult:
    """Return a run as a method would."""
    options = {"chains": 4} if method == "nuts" else {"iter": 10}
    message = "" if status == "ok" else "the words of the program"
    cost = Cost(1.0)
    spec = RunSpec("m", method, options, seed, 4000)
    return RunResult(spec, "key", status, message, draws, None, {}, cost, {})


def finding(metric: str, level: Any, rule: Rule | None = None) -> Finding:
    """Return a finding of a seed."""
    known = rule or rules_for()[metric]
    measure = Measure("m", "meanfield", 1, "x", metric, 0.3, 0.0, "exact")
    return Finding(known, measure, level, "")


def verdict(method: str, levels: Sequence[Level], **findings: tuple[Finding, ...]) -> Verdict:
    """Return a verdict over seeds at these levels; ``s3`` are the third seed's findings."""
    seeds = tuple(
        SeedVerdict(i, level, "ok", findings.get(f"s{i}", ())) for i, level in enumerate(levels, 1)
    )
    worst: Level = max(levels, key=["pass", "unknown", "warn", "fail"].index)
    return Verdict("m", method, worst, levels[0], len(levels), 0, "", (), by_seed=seeds)


def seen(
    runs: Sequence[RunResult],
    verdicts: Sequence[Verdict],
    names: Sequence[str] = ("x",),
    known: Any = None,
) -> Observation:
    """Observe a comparison made of these runs; the reference's sd of everything is 1."""
    sds = tuple(Measure("m", "reference", None, n, "sd", 1.0, 0.01, "exact") for n in names)
    found = ModelComparison(
        MODEL, None, Reference("exact", trusted=True, why=""), tuple(runs), sds,
        verdicts=tuple(verdicts),
    )  # fmt: skip
    return observe(found, runs, known)


def approximations(draws: Sequence[Draws | None], **more: Any) -> Observation:
    """Observe mean-field runs that all pass."""
    runs = [run("meanfield", i, d, "ok" if d else "failed") for i, d in enumerate(draws, 1)]
    return seen(runs, [verdict("meanfield", ["pass"] * len(runs))], **more)


def test_what_is_known_of_an_approximation() -> None:
    """Seeds, shares, levels, faults and fingerprints, in the seeds' order."""
    draws = fits(1)
    draws[1], draws[6] = None, shifted(draws[6] or walks(1), by=5)
    runs = [run("meanfield", i, d, "ok" if d else "failed") for i, d in enumerate(draws, 1)]
    runs[2] = run("meanfield", 3, draws[2], "not_converged")
    khat = rules_for()["khat"]
    levels: list[Level] = [*["pass"] * 8, "warn", "fail"]  # type: ignore[list-item]
    given = verdict(
        "meanfield", levels,
        s9=(finding("bias", "off"), finding("bias", "wrong"), finding("tail", "close")),
        s10=(finding("bias", "wrong"), finding("w1", "unsure"), finding("khat", "wrong", khat)),
    )  # fmt: skip
    made = seen(runs[::-1], [given]).methods["meanfield"]
    assert (made.kind, made.seeds, made.kept, made.draws) == ("seeds", tuple(range(1, 11)), 8, 4000)
    assert made.shares == {
        "failed": Share(1, 10), "ran_away": Share(1, 10), "doubted": Share(1, 10),
    }  # fmt: skip
    assert made.levels == {"pass": 8, "warn": 1, "fail": 1}
    assert (made.level, made.typical) == ("fail", "pass")
    assert made.faults == {"bias": 2}
    assert made.options == {"iter": 10}
    assert made.fingerprints == tuple(fingerprint(d) for d in draws)
    assert made.fingerprints[1] == "none"


def test_a_samplers_runs_are_put_side_by_side() -> None:
    """Three runs of four chains are twelve; a shorter run shortens the others."""
    runs = [run("nuts", i, walks(i, n)) for i, n in ((1, 4000), (2, 8000), (3, 4000))]
    found = seen(runs, [verdict("nuts", ["pass"] * 3)])
    made = found.methods["nuts"]
    assert (made.kind, made.kept) == ("chains", 3)
    assert made.shares == {"failed": Share(0, 3)}
    assert found.samples["nuts"]["x"].values.shape == (12, 1000)


def test_a_sampler_that_lost_a_run_says_so() -> None:
    """The other runs give the figures, and the lost one is reported with its seed."""
    runs = [run("nuts", 1, walks(1)), run("nuts", 2, None, "timed_out")]
    found = seen(runs, [verdict("nuts", ["pass", "unknown"])])
    assert found.methods["nuts"].kept == 1
    assert found.methods["nuts"].shares["failed"] == Share(1, 2)
    assert found.troubles["nuts"] == (
        Trouble(2, "timed_out", "the words of the program"),
    )  # fmt: skip


@pytest.mark.parametrize("method", ["nuts", "meanfield"])
def test_a_method_without_any_draws_has_no_moments(method: str) -> None:
    """All runs failed: that is what the baseline keeps, and it can be read again."""
    runs = [run(method, i, None, "failed") for i in (1, 2)]
    found = seen(runs, [verdict(method, ["fail", "fail"])])
    made = found.methods[method]
    assert made.no_moments == "no run gave draws"
    assert made.shares["failed"] == Share(2, 2)
    assert made.fingerprints == ("none", "none")
    assert settled(found)[method].no_moments


def test_the_posteriors_width_tells_who_ran_away() -> None:
    """A narrow approximation half a posterior's sd away is near."""
    draws = [d and shifted(d, times=0.01) for d in fits(1)]
    draws[4] = shifted(draws[4] or walks(1), by=0.5)
    assert approximations(draws).methods["meanfield"].shares["ran_away"] == Share(0, 10)


def test_the_baselines_quantities_are_looked_at_besides_the_chosen() -> None:
    """The quantities are those that the comparison measured and some run has."""
    rng = np.random.default_rng(1)
    draws: list[Draws | None] = [
        as_draws(rng.normal(size=(1, 500, 3)), ("x", "y", "z")) for _ in range(10)
    ]
    assert list(approximations(draws).methods["meanfield"].quantities) == ["x"]
    first = approximations(draws, names=("y", "gone")).methods
    assert list(first["meanfield"].quantities) == ["y"]
    both = approximations(draws, known=first).methods["meanfield"]
    assert list(both.quantities) == ["x", "y"]
    lost: list[Draws | None] = [d and as_draws(d.values[:, :, :1], ("x",)) for d in draws]
    now = approximations(lost, known=first).methods["meanfield"]
    assert list(now.quantities) == ["x"]
    changes = compare_method("m", "meanfield", first["meanfield"], now)
    assert ("y", "missing") in {(c.quantity, c.kind) for c in changes}
    assert exit_code(changes) == 1


def test_a_quantity_that_is_nan_in_every_seed_is_not_the_same() -> None:
    """It takes the method's moments, and says its name."""
    draws = [as_draws(np.repeat(d.values, 2, axis=2), ("x", "y")) for d in fits(1) if d is not None]
    broken = [as_draws(d.values * [1.0, math.nan], ("x", "y")) for d in draws]
    old = settled(approximations(draws, names=("x", "y")))
    now = approximations(broken, names=("x", "y"), known=old).methods["meanfield"]
    assert now.no_moments.endswith(": y")
    changes = conclude(compare_method("m", "meanfield", old["meanfield"], now))
    assert exit_code(changes) != 0


def test_other_draws_of_the_same_are_the_same() -> None:
    """Two comparisons of one posterior, with an approximation and a sampler."""

    def one(seed: int, known: Any = None) -> Observation:
        runs = [run("meanfield", i, d) for i, d in enumerate(fits(seed, spread=0.01), 1)]
        runs += [run("nuts", i, walks(10 * seed + i)) for i in (1, 2)]
        verdicts = [verdict("meanfield", ["pass"] * 10), verdict("nuts", ["pass"] * 2)]
        return seen(runs, verdicts, known=known)

    for seed in range(1, 4):
        old = settled(one(seed))
        now = one(seed + 50, old)
        for name, kept in old.items():
            changes = compare_method("m", name, kept, now.methods[name], now.samples[name])
            assert exit_code(conclude(changes)) == 0


def test_an_observation_without_samples_is_light_and_the_rest_is_the_same() -> None:
    """It crosses processes; the summaries and the methods are kept."""
    found = seen([run("nuts", 1, walks(1))], [verdict("nuts", ["pass"])])
    light = without_samples(found)
    assert not light.samples
    assert light.methods == found.methods
    assert settled(light) == settled(found)
    assert len(pickle.dumps(light)) < 10_000 < len(pickle.dumps(found))


def test_a_baseline_put_together_is_read_back(tmp_path: Path) -> None:
    """Program, data, request and figures, through a file."""
    stan = tmp_path / "m.stan"
    stan.write_text("parameters { real x; }\nmodel { x ~ normal(0, 1); }\n", encoding="utf-8")
    (tmp_path / "m.json").write_text('{"N": 3, "y": [[1, 2], [3, 4]]}', encoding="utf-8")
    model = folders.user_model(stan, tmp_path / "m.json")
    found = seen([run("nuts", 1, walks(1))], [verdict("nuts", ["pass"])])
    made = as_baseline(model, found, {"methods": ["nuts"]}, {"date": "2026-11-21"})
    path = tmp_path / "b.json"
    path.write_text(dumps(made), encoding="utf-8")
    back = read(path)
    assert back.program["text"] == stan.read_text(encoding="utf-8").splitlines()
    assert back.data["variables"]["y"]["size"] == 4
    assert back.reference == {"kind": "exact", "trusted": True}
    assert list(back.methods["nuts"].quantities) == ["x"]
