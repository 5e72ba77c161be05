"""Outcomes of checks, built by hand, with everything that a renderer must show."""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path
from typing import Any

from harness.check.baseline.change import (
    AddedSeeds,
    Change,
    CheckOutcome,
    Conclusion,
    ModelCheck,
    NoMoments,
)
from harness.records import Estimate

NAN, INF = math.nan, math.inf

NASTY = (
    "a|b",
    "back`tick",
    "``two``",
    "```\n# out\n````\n",
    "new\nline",
    "<script>alert(1)</script>",
    "](http://x) [y",
    "*bold* _it_ ~~gone~~",
    "&amp; & &#124;",
    "\\|",
    "trailing\\",
    "@someone #1 $x$ :smile:",
    "nul\x00bell\x07esc\x1b[31m",
    "\ud800",
    "]]>",
    "100%, a:b",
    "%0Anot a line %25 %2C",
    "- item",
    "1. item",
    "[bold]rich[/bold]",
)
"""Names and messages that break what does not escape them."""


def mean(
    conclusion: Conclusion = "changed",
    *,
    model: str = "mixture",
    method: str = "meanfield",
    quantity: str = "x",
    name: str = "mean",
    sds: float = 14.2,
    **more: Any,
) -> Change:
    """Return a location that moved by 0.31 sd, or what else is asked for."""
    given: dict[str, Any] = {
        "old": Estimate(1.024, 0.0031),
        "new": Estimate(1.134, 0.0030),
        "difference": 0.31,
        "interval": (0.28, 0.34),
        "margin": 0.1,
        "p": 1e-12,
    }
    return Change(
        model, method, quantity, "summary", "moved", conclusion, name, sds=sds, **(given | more)
    )  # fmt: skip


def scale(conclusion: Conclusion = "changed", **more: Any) -> Change:
    """Return an sd that shrank to 0.85 of what it was."""
    return mean(
        conclusion,
        name="sd",
        sds=more.pop("sds", -9.1),
        old=Estimate(0.352, 0.0021),
        new=Estimate(0.2992, 0.0019),
        difference=math.log(0.85),
        interval=(math.log(0.84), math.log(0.86)),
        margin=math.log(1.1),
        **more,
    )


def level() -> Change:
    """Return a verdict level that is another one."""
    return Change(
        "mixture", "meanfield", "", "level", "moved", "changed", p=3e-6,
        was="fail (3 of 10 seeds)", now="fail (10 of 10 seeds)",
    )  # fmt: skip


def share() -> Change:
    """Return a share of seeds."""
    return Change(
        "mixture", "fullrank", "", "share", "moved", "inconclusive", "ran_away",
        old=Estimate(0.3, 0.13), new=Estimate(1.0, 0.05), difference=0.7, sds=5.0, p=0.003,
        was="3 of 10", now="10 of 10",
    )  # fmt: skip


def everything() -> CheckOutcome:
    """Return a check in which all that can happen happened."""
    mixture = ModelCheck(
        "mixture",
        (
            mean("same", quantity="same_one"),
            mean(),
            scale(),
            mean("inconclusive", quantity="x2", name="q95", sds=3.1, interval=(-INF, 0.34)),
            mean("inconclusive", quantity="x2", name="q5", sds=2.2, interval=(-INF, INF)),
            level(),
            share(),
            Change("mixture", "nuts", "gone", "quantity", "missing", "changed"),
            Change("mixture", "nuts", "fresh", "quantity", "new", "changed"),
            Change("mixture", "laplace", "", "method", "missing", "changed"),
            Change("mixture", "nuts", "x", "summary", "unusable", "changed", "mean",
                   old=Estimate(1.0, 0.01), reason="no figure now",
                   detail="not finite in 3 of 4000 draws"),
            Change("mixture", "nuts", "", "runs", "unusable", "inconclusive",
                   reason="runs lost", detail="seed 3: timed out after 600 s"),
            Change("mixture", "fullrank", "k", "summary", "moved", "changed", "mean",
                   old=Estimate(2.0, 0.0), new=Estimate(3.0, 0.0), difference=INF, p=0.0,
                   margin=0.1, reason="constants differ"),
        ),
        reasons=(
            "the program changed (0a1b2c → 3d4e5f)",
            "the data changed (aa → bb): values of y",
        ),
        diff="--- program of the baseline\n+++ program now\n@@ -3,3 +3,3 @@\n"
        " parameters {\n-  real<lower=0> s;\n+  real s; // ```\n }",
        notes=(AddedSeeds("meanfield", 20, 10),),
        path=Path("baselines/mixture.json"),
    )  # fmt: skip
    same = ModelCheck(
        "normal_mean",
        tuple(mean("same", model="normal_mean", quantity=f"m[{i}]") for i in range(212)),
        path=Path("baselines/normal_mean.json"),
        identical=True,
    )
    candidate = ModelCheck(
        "fresh",
        (Change("fresh", "", "", "baseline", "new", "changed", detail="2 methods, 20 figures"),),
        path=Path("baselines/fresh.candidate.json"),
        candidate=True,
    )  # fmt: skip
    damaged = ModelCheck(
        "broken",
        (),
        error="baselines/broken.json is damaged (line 3: no comma); restore it\nor write it again",
        path=Path("baselines/broken.json"),
    )
    return CheckOutcome(
        (mixture, same, candidate, damaged),
        command="harness check --junit posteriors.xml",
        date=dt.date(2026, 11, 21),
        seconds=93.4,
        versions={"cmdstan": "2.38.0", "compiler": "g++ 14.2"},
    )


def same() -> CheckOutcome:
    """Return a check that found nothing."""
    return CheckOutcome((everything().models[1],), seconds=2.0)


def open_question() -> CheckOutcome:
    """Return an undecided check."""
    path = Path("baselines/mixture.json")
    return CheckOutcome((ModelCheck("mixture", (mean("inconclusive"), share()), path=path),))


def many(n: int = 500, models: int = 1, conclusion: Conclusion = "changed") -> CheckOutcome:
    """Return a check in which everything moved, the last figure of each model most of all."""
    return CheckOutcome(
        tuple(
            ModelCheck(
                f"model_{j}",
                tuple(
                    mean(conclusion, model=f"model_{j}", quantity=f"beta[{i + 1}]", sds=10.0 + i)
                    for i in range(n)
                ),
                path=Path(f"baselines/model_{j}.json"),
            )
            for j in range(models)
        )
    )


def named(name: str) -> CheckOutcome:
    """Return a check in which a text stands wherever a text can stand."""
    changes = (
        mean(model=name, method=name, quantity=name, reason="runs lost", detail=name),
        mean("inconclusive", model=name, method=name, quantity=name, name=name, was=name, now=name),
        Change(
            name,
            name,
            "",
            "level",
            "moved",
            "changed",
            was=name,
            now=name,
            reason="runs lost",
            detail=name,
        ),
    )
    moved = ModelCheck(
        name, changes, reasons=(name,), diff=name,
        notes=(NoMoments(name, name, 10), AddedSeeds(name, 20, 10)), error=name,
        path=Path("baselines") / (name.replace("\0", "") or "x"),
    )  # fmt: skip
    return CheckOutcome(
        (moved,),
        command=name,
        versions={"version": name},
        seconds=1.0,
    )
