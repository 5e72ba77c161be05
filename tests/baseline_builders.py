"""Draws, methods and baselines for the tests of baselines, and strategies that make any."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, get_args

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from harness.check.baseline.change import Change, Conclusion, conclude
from harness.check.baseline.compare import compare_method
from harness.check.baseline.form import SUMMARIES, Baseline, Figure, Kind, MethodBaseline, Share
from harness.check.baseline.summarise import Summary, fingerprint, of_draws, of_seeds, settle
from harness.check.show.words import address
from harness.records import Draws, Level

SEEDS = range(1, 21)
"""Twenty seeds: what holds for all of them does not hang on one."""

few = settings(max_examples=40, deadline=None)
"""For properties of whole methods, which take a while to make up."""

Z95 = 1.6448536269514722


def as_draws(values: Any, names: Sequence[str] = ("x",), *, iid: bool = True) -> Draws:
    """Return draws of one quantity from ``(chain, draw)``, of several from a third axis."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 2:
        array = array[:, :, None]
    return Draws(tuple(names), array, iid=iid)


@lru_cache
def normals(
    seed: int, n: int = 16_000, mean: float = 0.0, sd: float = 1.0, *, iid: bool = True
) -> Draws:
    """Return independent normal draws in four chains."""
    rng = np.random.default_rng([seed, n])
    return as_draws(rng.normal(mean, sd, (4, n // 4)), iid=iid)


@lru_cache
def walks(
    seed: int, n: int = 16_000, mean: float = 0.0, sd: float = 1.0, rho: float = 0.3
) -> Draws:
    """Return four stationary AR(1) chains, whose ess of the mean is n (1 − rho) / (1 + rho)."""
    steps = np.random.default_rng([seed, n, 7]).normal(0, math.sqrt(1 - rho**2), (4, n // 4))
    steps[:, 0] /= math.sqrt(1 - rho**2)
    return as_draws(mean + sd * lfilter([1.0], [1.0, -rho], steps), iid=False)


def fits(
    seed: int, count: int = 10, mean: float = 0.0, sd: float = 1.0, spread: float = 0.02
) -> list[Draws | None]:
    """Return 4000 draws of normal approximations whose means and ln sds move with the seed."""
    rng = np.random.default_rng([seed, count, 11])
    return [
        as_draws(
            rng.normal(
                mean + sd * spread * rng.normal(), sd * math.exp(spread * rng.normal()), (1, 4000)
            )
        )
        for _ in range(count)
    ]


def shifted(draws: Draws, by: float = 0.0, times: float = 1.0) -> Draws:
    """Return draws moved and stretched."""
    return replace(draws, values=draws.values * times + by)


def method(summary: Summary, runs: Sequence[Draws | None] = (), **more: Any) -> MethodBaseline:
    """Return a summary as a baseline keeps it; ``runs`` give the fingerprints."""
    count = max(len(runs), 1)
    given: dict[str, Any] = {
        "kind": summary.kind,
        "seeds": tuple(range(1, count + 1)),
        "draws": 4000,
        "kept": summary.kept,
        "options": {},
        "no_moments": summary.no_moments,
        "quantities": summary.quantities,
        "fingerprints": tuple(fingerprint(r) for r in runs),
    }
    return MethodBaseline(**(given | more))


@lru_cache
def _summary(draws: Draws) -> Summary:
    return of_draws(draws)


def against(old: Draws, new: Draws, **more: Any) -> list[Change]:
    """Compare draws with the baseline of other draws, and conclude."""
    kept, now = settle(_summary(old)), _summary(new)
    changes = compare_method(
        "m", "nuts", method(kept, [old]), method(now, [new]), now.samples, **more
    )
    return conclude(changes)


def against_seeds(
    old: Sequence[Draws | None], new: Sequence[Draws | None], **more: Any
) -> list[Change]:
    """Compare runs of several seeds with the baseline of others, and conclude."""
    kept = method(settle(of_seeds(old)), old)
    now = method(of_seeds(new, old=kept), new)
    return conclude(compare_method("m", "meanfield", kept, now, **more))


def conclusions(changes: Sequence[Change]) -> dict[str, Conclusion]:
    """Return conclusions by the last parts of the figures' addresses; they must be unique."""
    found = {place(c) or c.kind: c.conclusion for c in changes}
    assert len(found) == len(changes)
    return found


def place(change: Change, *, method: bool = False) -> str:
    """Return where in a model, or in a method, a figure stands: ``x / mean``, ``seeds failed``."""
    return address(replace(change, model="", method=change.method if method else ""))


def figures(mean: float = 0.0, sd: float = 1.0, error: float = 0.01) -> dict[str, Figure]:
    """Return the figures of a normal distribution, all with the same error in sds."""
    values = {"mean": mean, "sd": sd, "q5": mean - Z95 * sd, "q50": mean, "q95": mean + Z95 * sd}
    return {what: Figure(v, error * sd, 1 / error**2) for what, v in values.items()}


def sampler(**more: Any) -> MethodBaseline:
    """Return a sampler's baseline of one quantity, built by hand."""
    given: dict[str, Any] = {
        "kind": "chains", "seeds": (1, 2), "draws": 4000, "kept": 2,
        "options": {"chains": 4, "samples": 1000}, "level": "pass", "typical": "pass",
        "levels": {"pass": 2}, "shares": {"failed": Share(0, 2)}, "quantities": {"x": figures()},
        "fingerprints": ("0a1b2c3d4e5f6071", "8192a3b4c5d6e7f8"),
    }  # fmt: skip
    return MethodBaseline(**(given | more))


def scattered(fail: int, of: int = 10, **more: Any) -> MethodBaseline:
    """Return a method without moments; ``fail`` of its seeds fail and the others warn."""
    given: dict[str, Any] = {
        "kind": "seeds", "seeds": tuple(range(1, of + 1)), "draws": 1000, "kept": 0,
        "options": {}, "level": "fail" if fail else "warn", "typical": "warn",
        "levels": {k: n for k, n in (("fail", fail), ("warn", of - fail)) if n},
        "shares": {"ran_away": Share(fail, of)}, "no_moments": "only 3 of 10 seeds",
    }  # fmt: skip
    return MethodBaseline(**(given | more))


def whole(methods: Mapping[str, MethodBaseline] | None = None, **more: Any) -> Baseline:
    """Return a baseline with something in every part."""
    given: dict[str, Any] = {
        "model": "drug",
        "methods": {"nuts": sampler(), "meanfield": scattered(3)} if methods is None else methods,
        "reference": {"kind": "exact", "trusted": True},
        "request": {
            "source": {"program": "../drug.stan", "data": "../drug.json"},
            "methods": ["nuts", "meanfield"], "seeds": 10, "reference": "auto",
            "quantities": None,
        },
        "program": {"hash": "00ff", "text": ["data { int N; }", "", "model { }"]},
        "data": {"hash": "11ee", "variables": {"N": {"size": 1, "hash": "ab"}}},
        "written": {"date": "2026-11-21", "command": "harness baseline", "cmdstan": "2.38.0"},
    }  # fmt: skip
    return Baseline(**(given | more))


# --- strategies -----------------------------------------------------------------------------

names = st.text(min_size=1, max_size=8) | st.builds("beta[{}]".format, st.integers(1, 30))
sizes = st.floats(-200, 200).map(lambda e: 10.0**e)
values = st.builds(lambda s, x: s * x, st.sampled_from([-1.0, 1.0]), sizes) | st.just(0.0)
gaps = st.sampled_from([math.nan, math.inf])


@st.composite
def any_figures(draw: st.DrawFn, *, spread: bool, gap: bool = True) -> dict[str, Figure]:
    """Make the five figures of a quantity, errors from a millionth to three times the sd."""
    sd = draw(sizes | st.just(0.0))
    near = st.floats(-5, 5).map(lambda x: x * sd)
    centre = draw(values)
    errors = st.floats(1e-6, 3).map(lambda x: x * sd) | st.just(0.0)
    holes = gaps if gap else st.nothing()
    return {
        what: Figure(
            value=draw((st.just(sd) if what == "sd" else near.map(lambda x: centre + x)) | holes),
            mcse=draw(errors | holes),
            ess=draw(st.floats(1, 1e6) | holes),
            spread=draw(errors) if spread else None,
            margin=draw(st.none() | st.floats(0.1, 1)),
            why=draw(st.sampled_from(["", "", "", "tails too heavy"])),
        )
        for what in SUMMARIES
    }


@st.composite
def any_method(draw: st.DrawFn, *, gap: bool = True) -> MethodBaseline:
    """Make a method's baseline of any kind, that can be but need not be sensible."""
    kind: Kind = draw(st.sampled_from(get_args(Kind)))
    count = draw(st.integers(1, 12))
    level = st.sampled_from(get_args(Level))
    levels = draw(st.lists(level, min_size=count, max_size=count))
    shares = st.integers(0, count).map(lambda n: Share(n, count))
    quantities = draw(
        st.dictionaries(names, any_figures(spread=kind == "seeds", gap=gap), max_size=2)
    )
    return MethodBaseline(
        kind=kind,
        seeds=tuple(range(1, count + 1)),
        draws=draw(st.integers(1, 10_000)),
        kept=draw(st.integers(0, count)),
        options=draw(st.dictionaries(names, st.integers() | st.text(max_size=5), max_size=2)),
        level=draw(st.none() | level),
        typical=draw(st.none() | level),
        levels={name: levels.count(name) for name in levels},
        causes=tuple(draw(st.lists(st.text(max_size=10), max_size=2))),
        faults=draw(st.dictionaries(st.sampled_from(["bias", "tail"]), st.integers(0, count))),
        shares=draw(st.dictionaries(st.sampled_from(["failed", "ran_away"]), shares)),
        no_moments="" if quantities else "one seed",
        quantities=quantities,
        fingerprints=tuple(
            draw(st.just([]) | st.lists(st.text("0af", max_size=4), min_size=count, max_size=count))
        ),
    )
