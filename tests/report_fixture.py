"""Comparisons for the tests of figures and report, from real draws of known distributions.

Approximations are normal draws as ADVI gives them; no text or number here is claimed to
come from CmdStan.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from report_records import compare, draws, exact_reference, run, stan_model, trace

from harness.records import ClaimResult, Comparison, Measure, ModelComparison, Reference

if TYPE_CHECKING:
    from harness.records import FloatArray, Status


def mixture(folder: Path, seeds: int, n: int, rng: np.random.Generator) -> ModelComparison:
    """Two modes; each seed of an approximation holds one, some run away, chains are stuck."""

    def lift(x: FloatArray) -> FloatArray:
        return np.stack([x, x**2, np.sin(x)], axis=-1)

    def exact(size: int) -> FloatArray:
        left = rng.random(size) < 0.2
        return np.where(left, rng.normal(-0.3, 0.1, size), rng.normal(0.5, 0.1, size))

    names = ("x", "x2", "sin_x")
    stuck = np.stack([rng.normal(c, 0.1, n // 4) for c in (-0.3, 0.5, 0.5, 0.5)])
    runs = [run("mixture", "nuts", 1, draws(names, lift(stuck), iid=False), seconds=0.3)]
    for method in ("meanfield", "fullrank", "meanfield_tuned", "fullrank_tuned"):
        for seed in range(1, seeds + 1):
            tuned = method.endswith("tuned")
            eta = 0.1 if tuned else [1.0, 10.0, 100.0][seed % 3]
            centre, sd = (0.5, 0.1) if seed % 3 else (-0.3, 0.1)
            if eta == 100.0:
                centre, sd = (43.0, 321.0, 1.97)[seed // 3 % 3], 1.69
            found = draws(names, lift(rng.normal(centre, sd, n)))
            elbo = trace(
                rng,
                level=-60.0 if eta == 100.0 else -0.22 if centre > 0 else -1.6,
                start=3.0,
                end=30_000 if tuned else 10_000,
                eta=eta,
            )
            status: Status = "ok" if eta == 100.0 else "not_converged"
            message = "" if status == "ok" else "Stopped at the iteration limit."
            runs.append(
                run(
                    "mixture",
                    method,
                    seed,
                    found,
                    status=status,
                    message=message,
                    eta=eta,
                    elbo=elbo,
                    seconds=0.4 if tuned else 0.05 + 0.01 * seed,
                )
            )
    rhat = Measure("mixture", "nuts", 1, "x", "rhat", 3.9, 0.0, "exact")
    model = stan_model(
        folder, "mixture", "A density with two modes, 20% at −0.3 and 80% at 0.5. A normal has one."
    )
    reference = exact_reference(draws(names, lift(exact(2 * n))))
    return compare(
        model,
        reference,
        runs,
        extra=[rhat],
        headlines={"meanfield": "one mode of two: 20% of the mass missed", "nuts": "R-hat 3.9"},
    )


def regression(folder: Path, seeds: int, n: int, rng: np.random.Generator) -> ModelComparison:
    """Intercept and slope correlate at −0.87; NUTS is the reference; one run has failed."""
    names = ("alpha", "beta", "sigma")
    sds = np.array([0.17, 0.29, 0.05])
    corr = np.array([[1.0, -0.87, 0.0], [-0.87, 1.0, 0.0], [0.0, 0.0, 1.0]])
    covariance = corr * np.outer(sds, sds)
    mean = np.array([1.05, 1.9, 0.52])
    chains = rng.multivariate_normal(mean, covariance, (4, n // 4))
    runs = [run("linear_regression", "nuts", 1, draws(names, chains, iid=False), seconds=0.6)]
    narrow = np.diag(1 / np.diag(np.linalg.inv(covariance)))
    for method in ("meanfield", "fullrank", "meanfield_tuned", "fullrank_tuned"):
        for seed in range(1, seeds + 1):
            tuned = method.endswith("tuned")
            wander = rng.normal(size=3) * sds * (0.02 if tuned else 0.25)
            spread = narrow if method.startswith("mean") else covariance
            found = draws(names, rng.multivariate_normal(mean + wander, spread, n))
            elbo = trace(rng, level=-47.0, start=8.0, end=3000, eta=0.1)
            failed = method == "meanfield" and seed == 2
            runs.append(
                run(
                    "linear_regression",
                    method,
                    seed,
                    None if failed else found,
                    status="failed" if failed else "ok",
                    message="The gradient could not be computed." if failed else "",
                    eta=0.1,
                    elbo=None if failed else elbo,
                    seconds=0.5 if tuned else 0.1,
                )
            )
    reference = Reference(
        "nuts",
        trusted=True,
        why="R-hat 1.00, ESS 2900, no divergences.",
        draws=draws(names, chains, iid=False),
    )
    model = stan_model(
        folder, "linear_regression", "Intercept and slope correlate; mean-field cannot say so."
    )
    return compare(
        model, reference, runs, headlines={"meanfield": "width of beta 0.49 of the reference's"}
    )


def normal(
    folder: Path, seeds: int, n: int, rng: np.random.Generator, name: str = "normal_mean"
) -> ModelComparison:
    """Return a model whose posterior is in the family; only default step sizes go wrong."""
    exact = rng.normal(0.4, 0.18, (2 * n, 1))
    chains = rng.normal(0.4, 0.18, (4, n // 4, 1))
    runs = [run(name, "nuts", 1, draws(["m"], chains, iid=False), seconds=0.2)]
    for method in ("meanfield", "meanfield_tuned"):
        for seed in range(1, seeds + 1):
            tuned = method == "meanfield_tuned"
            off = 0.0 if tuned else 0.09 * rng.normal()
            sd = 0.18
            eta = 0.1 if tuned else 1.0
            if seed == 1 and not tuned:
                off, sd, eta = 228.0, 0.0, 100.0
            found = draws(["m"], rng.normal(0.4 + off, sd, (n, 1)))
            elbo = trace(rng, level=-42.0, start=4.0, end=30_000 if tuned else 2000, eta=eta)
            runs.append(run(name, method, seed, found, eta=eta, elbo=elbo, seconds=0.3))
    khat = Measure(name, "meanfield", 1, None, "khat", math.inf, math.nan, "exact")
    reference = exact_reference(draws(["m"], exact))
    model = stan_model(folder, name, "A normal posterior: the family contains it exactly.")
    return compare(model, reference, runs, extra=[khat])


def wide(folder: Path, k: int, n: int, rng: np.random.Generator) -> ModelComparison:
    """Many quantities; the default run stops early, far from the posterior."""
    names = [f"mu[{i + 1}]" for i in range(k)]
    mean, sd = rng.normal(size=k), np.full(k, 0.005)
    exact = draws(names, mean + sd * rng.normal(size=(n, k)))
    runs = [
        run(
            "wide_normal",
            "nuts",
            1,
            draws(names, mean + sd * rng.normal(size=(4, n // 4, k)), iid=False),
            seconds=140.0,
        )
    ]
    for seed in (1, 2):
        off = rng.normal(size=k) * sd * 25
        elbo = trace(rng, level=-5.6e6, start=400.0, end=300, eta=1.0)
        found = draws(names, mean + off + sd * rng.normal(size=(n, k)))
        runs.append(run("wide_normal", "meanfield", seed, found, eta=1.0, elbo=elbo, seconds=9.0))
    reference = exact_reference(exact)
    model = stan_model(folder, "wide_normal", "A relative tolerance stops far too early.")
    notes = ["meanfield_tuned was left out: 600 000 gradients would take an hour."]
    return compare(model, reference, runs, notes=notes)


def broken_model(folder: Path) -> ModelComparison:
    """Return a model that could not be compared."""
    model = stan_model(folder, "broken", "")
    nothing = Reference("none", trusted=False, why="Nothing was run.")
    return ModelComparison(model, "broken.stan, line 3: a semicolon is missing.", nothing)


def claims() -> tuple[ClaimResult, ...]:
    """Return one claim of each outcome."""
    return (
        ClaimResult(
            model="mixture",
            claim="NUTS is easily able to sample from the distribution",
            source="lecture 2",
            expected="R-hat at most 1.01",
            measured=3.9,
            error=0.0,
            holds=False,
            sentence="R-hat of x is 3.9.",
        ),
        ClaimResult(
            model="mixture",
            claim="ADVI finds a single mode",
            source="lecture 2",
            expected="missed mass at least 0.15",
            measured=0.2,
            error=0.004,
            holds=True,
            sentence="It misses 20% of the mass.",
        ),
        ClaimResult(
            model="broken",
            claim="The sum is right",
            source="lecture 3",
            expected="0 within 0.1",
            measured=math.nan,
            error=math.nan,
            holds=None,
            sentence="",
        ),
    )


OTHER_FORMS = {
    "thousands with a comma": r"\d,\d{3}(?!\d)",
    "thousands without a space": r"(?<![\d.])\d{5,}(?![\d.]*\d{4})",
    "an exponent with an e": r"\d[eE][+−-]?\d",
    "a hyphen for a minus": r"(?<![\w\]),.–-])-\d",
    "NaN": r"\b(?i:nan|not a number)\b",
}
"""How :mod:`harness.records.text` never writes a number."""


def other_forms(html: str) -> list[tuple[str, str]]:
    """Return numbers that a page or its figures write in another form, with what is around them.

    Programs, commands, messages of other programs and provenance are left out.
    """
    html = re.sub(r"<(style|script|pre|code|dl)\b.*?</\1>", " ", html, flags=re.DOTALL)
    labels = re.findall(r'aria-label="([^"]*)"', html)
    text = re.sub(r"<[^>]+>", "|", html) + "|" + "|".join(labels)
    return [
        (what, text[max(found.start() - 30, 0) : found.end() + 20])
        for what, form in OTHER_FORMS.items()
        for found in re.finditer(form, text)
    ]


def without_arrays(comparison: Comparison) -> Comparison:
    """Return the same records without draws and traces, as they stand in results.json."""
    models = tuple(
        dataclasses.replace(
            m,
            reference=dataclasses.replace(m.reference, draws=None),
            runs=tuple(dataclasses.replace(r, draws=None, trace=None) for r in m.runs),
        )
        for m in comparison.models
    )
    return dataclasses.replace(comparison, models=models)


def build(
    folder: Path,
    *,
    seeds: int = 3,
    n: int = 1000,
    k: int = 30,
    parts: Sequence[Callable[[], ModelComparison]] | None = None,
) -> Comparison:
    """Return a comparison of five models, one of them broken."""
    rng = np.random.default_rng(20261121)
    models = (
        [part() for part in parts]
        if parts is not None
        else [
            mixture(folder, seeds, n, rng),
            regression(folder, seeds, n, rng),
            normal(folder, seeds, n, rng),
            wide(folder, k, n, rng),
            broken_model(folder),
        ]
    )
    provenance = {
        "command": "harness compare mixture linear_regression normal_mean",
        "date": "2026-11-21T14:00:00+00:00",
        "versions": {"harness": "0.1.0", "cmdstan": "none, fixture"},
        "seeds": seeds,
        "seconds": 12.0,
        "hashes": {"mixture": "0123456789abcdef"},
    }
    return Comparison(tuple(models), claims(), provenance)
