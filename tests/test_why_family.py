"""Causes of a family gap: each is named where the posterior was built to have it, and only there.

Gaps are exact: KL(q* ‖ p) of the best mean-field Gaussian, by hand (but for the crossed normals,
whose gap is about 0.7).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import pytest
from targets import standard

from harness.records import Cause, Estimate, FamilyName
from harness.vi import deterministic
from harness.vi.family_optimum import Best
from harness.vi.gaussian import Gaussian
from harness.vi.target import Clock
from harness.why.causes import cause_sentence, causes_of
from harness.why.causes.modes import switched
from harness.why.causes.row import COUNTS, SHARE, FamilyScene, figure
from harness.why.causes.shape import ENOUGH
from harness.why.posterior import Posterior

Array = np.ndarray

N = 4000
RHO = 0.9
SMALLER = 0.2
"""Mass of the smaller mode."""


@cache
def optimum() -> deterministic.Optimum:
    """Return a search's outcome with one basin."""
    settings = deterministic.Settings(seconds=1e-6)
    rng = np.random.default_rng(1)
    return deterministic.fit(standard(1), rng, Clock(), settings, "meanfield")


def best(mean: Array, sd: Array, **changes: object) -> Best:
    """Return a Gaussian as the best one of a search."""
    found = dataclasses.replace(optimum(), **changes)  # type: ignore[arg-type]
    return Best(Gaussian(np.asarray(mean, float), np.asarray(sd, float)), found, 0.0)


@dataclasses.dataclass(frozen=True)
class Case:
    """A posterior with the best mean-field Gaussian and what it lacks."""

    draw: Callable[[np.random.Generator], Array]
    gap: float
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    closer: float = 0.0
    """How much closer the best full-rank Gaussian is."""

    def causes(
        self,
        seed: int = 1,
        family: FamilyName = "meanfield",
        gap: Estimate | None = None,
        *,
        trusted: bool = True,
    ) -> tuple[Cause, ...]:
        """Return what is named for it."""
        rng = np.random.default_rng(seed)
        z = self.draw(rng)
        names = tuple("ab"[: z.shape[1]])
        gap = gap or Estimate(self.gap, 0.0005)
        several = z.shape[1] > 1
        return causes_of(
            FamilyScene(
                gap=gap,
                rest=gap.value,
                family=family,
                best=best(np.array(self.mean), np.array(self.sd)),
                correlation=Estimate(self.closer, 0.0005) if several else None,
                fullrank_gap=Estimate(self.gap - self.closer, 0.0005) if several else None,
                posterior=Posterior(z, float(len(z)), names) if trusted else None,
                rng=rng,
            )
        )


def correlated(rng: np.random.Generator) -> Array:
    """Draw from a bivariate normal."""
    return np.asarray(rng.multivariate_normal([0, 0], [[1, RHO], [RHO, 1]], N))


def two_modes(rng: np.random.Generator) -> Array:
    """Draw from 0.8 N(0, 1) + 0.2 N(12, 1)."""
    return np.asarray(rng.normal(size=(N, 1)) + 12 * (rng.random((N, 1)) < SMALLER))


def modes_and_correlation(rng: np.random.Generator) -> Array:
    """Draw from two correlated normals far apart."""
    return np.asarray(correlated(rng) + 12 * (rng.random((N, 1)) < SMALLER))


def bent(rng: np.random.Generator) -> Array:
    """Draw from a banana: y ~ N(x² / 2, 1)."""
    x = rng.normal(size=N)
    return np.column_stack([x, 0.5 * x**2 + rng.normal(size=N)])


def log_exponential(rng: np.random.Generator) -> Array:
    """Draw the logarithm of exponential variables."""
    return np.asarray(np.log(rng.exponential(size=(N, 1))))


def student(rng: np.random.Generator) -> Array:
    """Draw from Student's t with 4 degrees of freedom."""
    return np.asarray(rng.standard_t(4, size=(N, 1)))


def quartic(rng: np.random.Generator) -> Array:
    """Draw from the density ∝ exp(−z⁴)."""
    return np.asarray(rng.gamma(0.25, size=(N, 1)) ** 0.25 * rng.choice([-1, 1], (N, 1)))


def neal(rng: np.random.Generator) -> Array:
    """Draw from Neal's funnel: a ~ N(0, 3²), b ~ N(0, e^a)."""
    a = rng.normal(0, 3, N)
    return np.stack([a, np.exp(a / 2) * rng.normal(size=N)], axis=1)


def crossed(rng: np.random.Generator) -> Array:
    """Draw from normals that are equal up to sign: their marginals are Gaussian, they are not."""
    a = rng.normal(size=N)
    return np.stack([a, a * rng.choice([-1, 1], N) + 0.3 * rng.normal(size=N)], axis=1)


LN2PIE = math.log(2 * math.pi * math.e)

CORRELATION = -0.5 * math.log(1 - RHO**2)
"""½ (Σ ln Λᵢᵢ − ln det Λ) of a bivariate normal."""

MODES = -math.log(1 - SMALLER)

SKEW = 1.5 - 0.5 * LN2PIE
"""ELBO(q*) = m − e^(m + s²/2) + ½ ln(2πe s²), largest at s = 1, m = −½; log Z = 0."""

LIGHT = math.log(2 * math.gamma(1.25)) - (0.5 * (LN2PIE + math.log(12**-0.5)) - 0.25)
"""ELBO(q*) = −3 s⁴ + ½ ln(2πe s²), largest at s⁴ = 1/12."""

STUDENT = 0.0260070
"""By Gauss-Hermite quadrature, largest at s = 1.2034."""

FUNNEL = 0.5 * math.log(9 * 11 / 18)
"""The best a has variance 18/11, the best b variance exp(−9/11)."""

CASES: Mapping[str, Case] = {
    "correlation": Case(
        correlated, CORRELATION, (0, 0), ((1 - RHO**2) ** 0.5,) * 2, CORRELATION
    ),
    "several modes": Case(two_modes, MODES, (0,), (1,)),
    "skew": Case(log_exponential, SKEW, (-0.5,), (1,)),
    "light tails": Case(student, STUDENT, (0,), (1.2,)),
    "heavy tails": Case(quartic, LIGHT, (0,), (12**-0.25,)),
    "funnel": Case(neal, FUNNEL, (0, 0), ((18 / 11) ** 0.5, math.exp(-9 / 22))),
    "other shape": Case(crossed, 0.7, (0, 0), (1, 0.6)),
}  # fmt: skip

SEEDS = (1, 2, 3)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", CASES)
def test_each_cause_is_named_where_it_is_and_no_other(name: str, seed: int) -> None:
    """One built-in cause is one named cause, it has all of the gap, and its words have figures."""
    case = CASES[name]
    (cause,) = case.causes(seed)
    assert (cause.gap, cause.name) == ("family", name)
    assert cause.nats == pytest.approx(case.gap, rel=0.1)
    sentence = cause_sentence(cause)
    assert any(c.isdigit() for c in sentence)
    assert "nan" not in sentence.lower()
    assert "unknown" not in sentence
    assert not sentence.endswith(".")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("correlation", ("0.830", "a and b have correlation 0.90", "(1/√Λᵢᵢ) predicts 0.4")),
        (
            "several modes",
            (
                "a has modes that the best Gaussian leaves out",
                "−ln(1 − 0.",
            ),
        ),
        ("skew", ("a has skewness −1.", "L-skewness −0.1")),
        ("light tails", ("tails of a are heavier", "where a Gaussian has 0.123")),
        ("heavy tails", ("tails of a are lighter", "excess kurtosis −0.")),
        ("funnel", ("b is ", "as widely spread where a is large", "the same everywhere")),
        ("other shape", ("do not explain it",)),
    ],
)
def test_the_sentence_has_the_figures_that_show_it(name: str, words: tuple[str, ...]) -> None:
    """It names the quantities, what was measured, and what a Gaussian would have."""
    (cause,) = CASES[name].causes()
    for word in words:
        assert word in cause_sentence(cause)


@pytest.mark.parametrize("seed", SEEDS)
def test_two_causes_share_a_gap_the_larger_first(seed: int) -> None:
    """Correlation and modes of one posterior are both named, each with its own nats."""
    case = Case(
        modes_and_correlation, CORRELATION + MODES, (0, 0), ((1 - RHO**2) ** 0.5,) * 2, CORRELATION
    )
    first, second = case.causes(seed)
    assert (first.name, second.name) == ("correlation", "several modes")
    assert first.nats == pytest.approx(CORRELATION, abs=1e-9)
    # The share of the smaller mode among N draws has sd √(0.16/N), its −ln 1/0.8 of that.
    assert second.nats == pytest.approx(MODES, abs=4.5 * math.sqrt(0.16 / N) / 0.8)
    assert first.nats + second.nats <= CORRELATION + MODES + 1e-12


def test_a_fullrank_gaussian_never_lacks_correlation() -> None:
    """On a correlated posterior with two modes, only the modes cause its gap."""
    case = Case(modes_and_correlation, MODES, (0, 0), (1, 1))
    assert [c.name for c in case.causes(family="fullrank")] == ["several modes"]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0.0, 0.0),
        (COUNTS, 0.0),
        (COUNTS + 0.0199, 0.01),
        (-0.3, 0.001),
        (0.5, math.nan),
    ],
)
def test_a_gap_that_does_not_count_has_no_causes(name: str, value: float, error: float) -> None:
    """Under 0.005 nats beyond two errors, or with an unknown error, nothing is named."""
    assert CASES[name].causes(gap=Estimate(value, error)) == ()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("error", [0.001, math.nan])
def test_of_an_unknown_gap_only_modes_are_named(name: str, error: float) -> None:
    """Modes are seen without log Z; a shape is no cause of a gap that is unknown."""
    found = CASES[name].causes(gap=Estimate(math.nan, error))
    assert [c.name for c in found] == (["several modes"] if name == "several modes" else [])


@pytest.mark.parametrize("name", CASES)
def test_a_gap_that_counts_always_has_a_cause(name: str) -> None:
    """Just beyond two errors there is one, whatever the shape, and never more nats than the gap."""
    for error in (0.0, 0.001, 0.01):
        gap = Estimate(COUNTS + 2 * error + 1e-4, error)
        found = CASES[name].causes(gap=gap)
        assert found
        assert sum(c.nats for c in found) <= gap.value * (1 + 1e-12)


def test_what_a_gaussian_posterior_leaves_is_no_named_shape() -> None:
    """With normal draws a gap has no cause but that the looks at shape do not explain it."""
    case = Case(lambda rng: rng.normal(size=(N, 1)), 0.1, (0,), (1,))
    for seed in range(1, 6):
        assert [c.name for c in case.causes(seed)] == ["other shape"]


def test_without_a_trusted_reference_only_what_needs_none_is_named() -> None:
    """Correlation is found from the two families; other causes are reported as not examined."""
    (found,) = CASES["correlation"].causes(trusted=False)
    assert found.name == "correlation"
    assert "have correlation" not in cause_sentence(found)
    for name in ("skew", "light tails", "heavy tails", "funnel", "several modes"):
        (cause,) = CASES[name].causes(trusted=False)
        assert cause.name == "other shape"
        assert "no trusted draws" in cause_sentence(cause)


def test_without_a_trusted_reference_the_basins_of_the_search_tell_of_modes() -> None:
    """Two separate basins whose masses are 0.8 and 0.2 cost −ln 0.8; valleyless ones nothing."""
    (one,) = optimum().basins
    big = dataclasses.replace(one, separate=True, mass=0.8)
    small = dataclasses.replace(one, theta=np.array([12.0, 0.0]), separate=True, mass=0.2)
    for separate, expected in ((True, "several modes"), (False, "other shape")):
        basins = (big, dataclasses.replace(small, separate=separate))
        scene = FamilyScene(
            gap=Estimate(MODES, 0.0005),
            rest=MODES,
            family="meanfield",
            best=best(np.zeros(1), np.ones(1), basins=basins),
            correlation=None,
            fullrank_gap=None,
            posterior=None,
            rng=np.random.default_rng(1),
        )
        (found,) = causes_of(scene)
        assert found.name == expected
    assert found.nats == pytest.approx(MODES)


def test_too_few_draws_are_said_to_be_too_few() -> None:
    """A shape is not read from fifty draws: the cause is open, and that is why."""
    case = Case(lambda rng: rng.normal(size=(50, 1)), SKEW, (0,), (1,))
    (found,) = case.causes()
    assert found.name == "other shape"
    assert "too few" in cause_sentence(found)


@pytest.mark.parametrize(
    ("estimate", "words"),
    [
        (Estimate(0.0, 0.0), "0"),
        (Estimate(0.0002, 0.0001), "0"),
        (Estimate(0.696, 0.004), "0.696 ± 0.004"),
        (Estimate(0.69612, 1e-9), "0.696"),
        (Estimate(math.nan, math.nan), "unknown"),
        (Estimate(math.inf, math.nan), "∞"),
        (Estimate(-0.2, 0.1), "−0.20 ± 0.10"),
    ],
)
def test_figures_are_written_with_their_errors(estimate: Estimate, words: str) -> None:
    """Unknown figures say so, and negligible errors are left out."""
    assert figure(estimate) == words


def test_the_limits_are_those_that_are_documented() -> None:
    """0.005 nats is a mean 0.1 sd off."""
    assert pytest.approx(0.5 * 0.1**2) == COUNTS
    assert 0 < ENOUGH < SHARE < 1


def named(draw: Callable[[np.random.Generator], Array], seed: int) -> list[str]:
    """Return the causes of a gap of half a nat that correlation does not explain."""
    z = draw(np.random.default_rng(seed))
    scene = FamilyScene(
        gap=Estimate(0.5, 0.001),
        rest=0.5,
        family="meanfield",
        best=best(np.zeros(2), np.ones(2)),
        correlation=None,
        fullrank_gap=None,
        posterior=Posterior(z, float(len(z)), ("x", "y")),
        rng=np.random.default_rng(seed),
    )
    return [c.name for c in causes_of(scene)]


@pytest.mark.parametrize("seed", range(5))
def test_a_banana_is_named_and_what_only_looks_like_one_is_not(seed: int) -> None:
    """A parameter that follows another's square; not correlated, skewed or heavy-tailed ones."""
    assert named(bent, seed) == ["curved"]

    def skewed(rng: np.random.Generator) -> Array:
        one = np.log(rng.exponential(size=N))
        return np.column_stack([one, one + np.log(rng.exponential(size=N))])

    def heavy(rng: np.random.Generator) -> Array:
        return np.asarray(rng.standard_t(3, size=(N, 1)) * [1, 2] + rng.standard_t(3, size=(N, 2)))

    for draw in (correlated, skewed, heavy):
        assert "curved" not in named(draw, seed)


def modes_at(*means: tuple[float, ...]) -> list[Mapping[str, Array]]:
    """Return modes of a mixture: two means, their shares, and a common sd."""
    return [{"mu": np.array(m[:2]), "theta": np.array(m[2:4]), "": np.array(m[4:])} for m in means]


def test_labels_that_change_places_are_named() -> None:
    """The means and shares of a mixture, but not its sd; other modes are no label switching."""
    one, two = (-1.0, 2.0, 0.3, 0.7, 0.5), (2.01, -1.02, 0.7, 0.3, 0.501)
    assert switched(modes_at(one, two)) == ("mu", "theta")
    assert switched(modes_at(one, one)) == ()
    assert switched(modes_at(one)) == ()
    assert switched(modes_at(one, (2.0, -1.0, 0.7, 0.3, 2.0))) == ()
    assert switched(modes_at(one, (-1.0, 3.0, 0.3, 0.7, 0.5))) == ()
    assert switched([{"": np.array([0.0])}, {"": np.array([3.5])}]) == ()


def test_label_switching_takes_the_place_of_several_modes() -> None:
    """The same nats, ln 2 of two modes of equal mass, under the name that says what they are."""
    top = optimum().basins[0]
    basins = tuple(dataclasses.replace(top, separate=True, mass=0.5) for _ in range(2))
    two = best(np.zeros(2), np.ones(2), basins=basins)
    gap = Estimate(math.log(2), 0.001)
    for labels, name in ((("mu",), "label switching"), ((), "several modes")):
        scene = FamilyScene(
            gap=gap, rest=gap.value, family="meanfield", best=two, correlation=None,
            fullrank_gap=None, posterior=None, rng=np.random.default_rng(1), switched=labels,
        )  # fmt: skip
        (cause,) = causes_of(scene)
        assert cause.name == name
        assert cause.nats == pytest.approx(math.log(2))


def test_basins_on_one_ridge_are_no_modes() -> None:
    """What several modes would cost is the ridge's, and so is the rest of the gap."""
    top = optimum().basins[0]
    basins = tuple(dataclasses.replace(top, separate=True, mass=0.5) for _ in range(2))
    two = best(np.zeros(2), np.ones(2), basins=basins)
    gap = Estimate(1.5, 0.001)
    for falls, names in ((0.01, ["ridge"]), (None, ["other shape", "several modes"])):
        scene = FamilyScene(
            gap=gap, rest=gap.value, family="meanfield", best=two, correlation=None,
            fullrank_gap=None, posterior=None, rng=np.random.default_rng(1), ridge=falls,
        )  # fmt: skip
        causes = causes_of(scene)
        assert sorted(c.name for c in causes) == names
        assert sum(c.nats for c in causes) == pytest.approx(gap.value)
