"""Discrete, heavy-tailed and constant quantities: each kind is judged by what it has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from trial_records import MODEL, judged, spec

from harness import metrics
from harness.metrics.measure import select
from harness.records import Cost, Draws, FloatArray, Reference, RunResult, Verdict

Sampler = Callable[[np.random.Generator, int], FloatArray]
"""Draws, shape ``(n, quantity)``."""


def compare(
    reference: FloatArray, fits: Sequence[FloatArray], generated: Sequence[str] = ()
) -> Verdict:
    """Judge independent draws of a method, a seed each, against independent draws."""
    names = tuple(f"x[{i + 1}]" for i in range(reference.shape[1]))
    draws = Draws(names, reference[None])
    runs = [
        RunResult(
            spec("meanfield", s), str(s), "ok", "", Draws(names, q[None]), None, {}, Cost(0.0), {}
        )
        for s, q in enumerate(fits, 1)
    ]
    exact = Reference("exact", trusted=True, why="exact", draws=draws)
    selection = replace(select(MODEL, draws), generated=frozenset(generated))
    return judged(MODEL, runs, exact, selection).verdicts["meanfield"]


def levels(truth: Sampler, q: Sampler, *, n: int, repetitions: int, seed: int) -> Counter[str]:
    """Count the levels of repeated comparisons of 10 000 draws with n of a reference."""
    found: Counter[str] = Counter()
    for i in range(repetitions):
        rng = np.random.default_rng([seed, i])
        found[compare(truth(rng, n), [q(rng, 10_000)]).level] += 1
    return found


def normal_and(p: float, k: int = 1) -> Sampler:
    """Return a standard normal with k independent indicators of probability p."""

    def draw(rng: np.random.Generator, n: int) -> FloatArray:
        return np.concatenate([rng.normal(size=(n, 1)), rng.random((n, k)) < p], axis=1)

    return draw


def path(rng: np.random.Generator, n: int) -> FloatArray:
    """Return a path of 30 nearly certain states of 3 that flips in a few places."""
    states = np.tile(np.repeat([1.0, 2.0, 3.0], 10), (n, 1))
    for at, p in ((9, 0.3), (10, 0.02), (19, 0.001), (20, 1e-4)):
        states[:, at] += rng.random(n) < p
    return states


def student(df: float, shift: float = 0.0) -> Sampler:
    """Return Student's t, shifted."""
    return lambda rng, n: rng.standard_t(df, (n, 1)) + shift


CAUCHY = student(1)


def counts(rate: float) -> Sampler:
    """Return Poisson counts."""
    return lambda rng, n: rng.poisson(rate, (n, 1)).astype(float)


@pytest.mark.parametrize("n", [4000, 40_000])
@pytest.mark.parametrize(
    ("truth", "repetitions"),
    [
        (normal_and(0.05), 20),
        (normal_and(0.01, 200), 3),
        (normal_and(1e-4), 20),
        (path, 5),
        (counts(3), 20),
        (counts(1000), 20),
        (CAUCHY, 20),
        (student(1.5), 20),
        (student(2), 20),
    ],
    ids=["indicator", "200 rare", "very rare", "path", "counts", "large counts", "Cauchy", "t1.5",
         "t2"],
)  # fmt: skip
def test_identical_distributions_pass(truth: Sampler, repetitions: int, n: int) -> None:
    """At a rate of 1% a second miss in 20 repetitions has a chance of 2%.

    The tails of a Cauchy distribution are unknown from 4000 draws: nothing is called off.
    """
    found = levels(truth, truth, n=n, repetitions=repetitions, seed=1)
    good = found["pass"] + (found["unknown"] if truth is CAUCHY and n == 4000 else 0)
    assert repetitions - good <= (repetitions >= 20), found


@pytest.mark.parametrize(
    ("truth", "q", "level"),
    [
        (normal_and(0.05), normal_and(0.35), {"fail"}),
        (counts(3), counts(4), {"warn", "fail"}),
        (student(1), student(1, 3.0), {"fail"}),
        (student(1.5), student(1.5, 1.0), {"warn", "fail"}),
        (student(2), student(2, 0.5), {"warn", "fail"}),
    ],
    ids=["indicator", "counts", "Cauchy", "t1.5", "t2"],
)
def test_different_distributions_do_not_pass(truth: Sampler, q: Sampler, level: set[str]) -> None:
    """By margins of many standard errors, in every repetition."""
    for n in (4000, 40_000):
        assert set(levels(truth, q, n=n, repetitions=3, seed=2)) <= level


def test_kinds() -> None:
    """Few values are discrete, a mean that ample draws do not show is heavy."""
    rng = np.random.default_rng(3)
    kinds = {
        "continuous": [rng.normal(size=4000), rng.standard_t(3, 4000), rng.standard_cauchy(100)],
        "heavy": [rng.standard_cauchy(4000), rng.standard_t(1.2, 4000)],
        "discrete": [rng.poisson(3, 4000).astype(float), rng.random(4000) < 0.001],
        "constant": [np.full(4000, 0.1), 1 + 1e-15 * rng.normal(size=4000)],
    }
    for kind, samples in kinds.items():
        for values in samples:
            sample = metrics.prepare(np.asarray(values, dtype=float)[None], iid=True)
            assert sample.kind == kind


def test_each_kind_has_its_own_metrics() -> None:
    """No width of a rare event, and a median in the place of an unknown mean."""
    own = {kind: {m.id for m in metrics.quantity_metrics(kind) if m.rule is not None}
           for kind in ("continuous", "heavy", "discrete", "constant")}  # fmt: skip
    assert own["discrete"] == own["constant"] == {"probability"}
    assert {"bias", "w1", "log_width_ratio", "tail", "missed_mass"} <= own["continuous"]
    assert own["heavy"] == own["continuous"] - {"bias", "w1"} | {"median_bias"}


def test_a_probability_is_estimated_within_its_error() -> None:
    """The estimates' z-scores have sd 1, for a rare event and a common one (400 repetitions)."""
    rng = np.random.default_rng(4)
    for p, q in ((0.3, 0.4), (0.02, 0.1)):
        z = []
        for _ in range(400):
            own, ref = (
                metrics.prepare((rng.random((1, n)) < x).astype(np.float64), iid=True)
                for n, x in ((2000, q), (4000, p))
            )
            found = metrics.compare_quantity(own, ref)["probability"]
            z.append((found.value - (q - p)) / found.mcse)
        # Four standard errors of an sd of 400 values are 0.14, those of their mean 0.2.
        assert np.std(z) == pytest.approx(1.0, abs=0.14)
        assert np.mean(z) == pytest.approx(0.0, abs=0.2)


def test_an_event_that_a_sample_never_saw_has_an_error() -> None:
    """None in 4000 draws is not a probability of zero for certain."""
    own, ref = (metrics.prepare(np.eye(1, n), iid=True) for n in (10_000, 4000))
    found = metrics.compare_quantity(own, ref)["probability"]
    assert found.value == pytest.approx(1 / 4000 - 1 / 10_000)
    assert 2e-4 < found.mcse < 6e-4


def test_the_error_of_a_chain_is_that_of_its_effective_draws() -> None:
    """A state that persists for 20 draws on average leaves a fraction of the draws."""
    rng = np.random.default_rng(5)
    flips = np.cumsum(rng.random((4, 1000)) < 0.05, axis=1)
    chains = (flips % 2).astype(np.float64)
    own = metrics.prepare(chains, iid=False)
    ref = metrics.prepare(np.tile([[0.0, 1.0]], 20_000), iid=True)
    loose = metrics.compare_quantity(own, ref)["probability"].mcse
    tight = metrics.compare_quantity(metrics.prepare(chains, iid=True), ref)["probability"].mcse
    assert 2 * tight < loose < 10 * tight


def test_what_is_certain_in_the_reference_must_stay_so() -> None:
    """A state of probability 1 that has .6 in q is wrong, and one draw in 10 000 is not."""
    rng = np.random.default_rng(6)
    reference = np.stack([rng.normal(size=4000), np.full(4000, 2.0)], axis=1)
    q = np.stack([rng.normal(size=10_000), np.full(10_000, 2.0)], axis=1)
    assert compare(reference, [q]).level == "pass"
    q[0, 1] = 3.0
    assert compare(reference, [q]).level == "pass"
    q[:4000, 1] = 3.0
    found = compare(reference, [q])
    assert found.level == "fail"
    assert found.headline == "a probability of x[2] off by 0.40"


def test_generated_quantities_do_not_drown_the_parameters() -> None:
    """Findings on parameters come first, and many generated quantities change no parameter's."""
    rng = np.random.default_rng(8)
    reference, q = rng.normal(size=(4000, 40)), rng.normal(size=(10_000, 40))
    generated = ("x[1]", *(f"x[{i}]" for i in range(3, 41)))
    alone = compare(reference, [q], generated)
    assert alone.headline == "all quantities close (1, and 39 generated)"
    q += np.array([1.0, 0.4, *[1.0] * 38])
    found = compare(reference, [q], generated)
    assert found.level == "fail"
    q[:, 1] += 0.6
    found = compare(reference, [q], generated)
    assert found.headline.startswith("mean of x[2] ")


def test_the_words_of_a_heavy_tail_are_about_the_median() -> None:
    """The mean of a Cauchy posterior does not exist."""
    rng = np.random.default_rng(7)
    found = compare(student(1)(rng, 4000), [student(1, 3.0)(rng, 10_000)])
    assert found.headline.startswith("median of x[1] 0.7")
    assert not any("mean is" in f.sentence for f in found.findings)
