"""What is replayed: distributions of draws, numbers of quantities, faults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from replays import Approximation, Fault, Law, Sampler, moved, shrunk, thickened

DEMANDED: dict[str, Fault] = {
    "mean + 0.2 sd": moved(0.2),
    "sd × 0.85": shrunk(0.85),
    "upper half stretched by 1.3": thickened(1.3),
}
CURVES: dict[str, Fault] = {
    **{f"mean + {m} sd": moved(m) for m in (0.05, 0.1, 0.15, 0.3)},
    **{f"sd × {f}": shrunk(f) for f in (0.95, 0.9, 0.8)},
    **{f"upper half stretched by {f}": thickened(f) for f in (1.1, 1.2)},
}

Kind = Literal["test", "control", "check", "fault", "curve"]


@dataclass(frozen=True)
class Case:
    """A distribution of draws, numbers of quantities, and what is replayed."""

    kind: Kind
    words: str
    law: Law
    sizes: tuple[int, ...]
    share: float = 1.0
    """Share of the requested replays: slow cases get fewer."""

    @property
    def name(self) -> str:
        """The text that ``--only`` searches."""
        return f"{self.kind}: {self.words}, {self.sizes[-1]} quantities"


def _test(words: str, law: Law, *sizes: int, share: float = 1.0) -> list[Case]:
    return [Case("test", words, law, (d,), share) for d in sizes]


def _check(words: str, law: Law, *sizes: int, share: float = 1.0) -> list[Case]:
    # Up to three looks each, and no figure here is as rare as the demands on the test alone.
    return [Case("check", words, law, (d,), share / 2) for d in sizes]


def independent(marginal: str, n: int, growth: int = 1) -> Sampler:
    """Return one run of n independent draws."""
    return Sampler(marginal, runs=1, chains=1, draws=n, growth=growth)


def short(rho: float, marginal: str = "normal", growth: int = 1) -> Sampler:
    """Return one run of a sampler, where a baseline has four: few effective draws."""
    return Sampler(marginal, rho, runs=1, growth=growth)


CASES: tuple[Case, ...] = (
    # --- the test alone
    *_test("normal, 4000 draws", independent("normal", 4000), 1, 10),
    *_test("normal, 4000 draws", independent("normal", 4000), 100, share=0.25),
    *_test("normal, 1000 draws", independent("normal", 1000), 500, share=0.15),
    *_test("normal, 1000 draws, correlation 0.9",
           Sampler(shared=0.9, runs=1, chains=1, draws=1000), 100, share=0.25),
    *_test("Student t, 5 df, 4000 draws", independent("t5", 4000), 10),
    *_test("Student t, 3 df, 4000 draws", independent("t3", 4000), 10),
    *_test("Student t, 3 df, 1000 draws, then 4000", independent("t3", 1000, 4), 10),
    *_test("exponential, 400 draws", independent("exponential", 400), 4),
    *_test("exponential, 400 draws, then 1600", independent("exponential", 400, 4), 10),
    *_test("exponential, 4000 draws", independent("exponential", 4000), 10),
    *_test("lognormal, 400 draws", independent("lognormal", 400), 4),
    *_test("lognormal, 400 draws, then 1600", independent("lognormal", 400, 4), 10),
    *_test("lognormal, 4000 draws", independent("lognormal", 4000), 10),
    *_test("lognormal, 1000 draws", independent("lognormal", 1000), 100, share=0.25),
    *_test("normal, 16 chains × 1000, ρ 0.23", Sampler(rho=0.23), 1),
    *_test("normal, 16 chains × 1000, ρ 0.88", Sampler(rho=0.882), 1),
    *_test("normal, 16 chains × 1000, ρ 0.88", Sampler(rho=0.882), 10, share=0.1),
    *_test("normal, 16 chains × 1000, ρ 0.95", Sampler(rho=0.951), 1),
    *_test("normal, 4 chains × 1000, ρ 0.6", short(0.6), 100, share=0.1),
    *_test("normal, 4 chains × 1000, ρ 0.9", short(0.905), 1),
    *_test("normal, 4 chains × 1000, ρ 0.9", short(0.905), 10, share=0.25),
    *_test("normal, 4 chains × 1000, ρ 0.9, then 16", short(0.905, growth=4), 4, share=0.25),
    *_test("normal, 4 chains × 1000, ρ 0.95", short(0.951), 1, share=0.5),
    *_test("exponential, 4 chains × 1000, ρ 0.9", short(0.95, "exponential"), 4, share=0.35),
    *_test("lognormal, 4 chains × 1000, ρ 0.9", short(0.9, "lognormal"), 4, share=0.35),
    *_test("Student t, 3 df, 4 chains × 1000, ρ 0.9", short(0.9, "t3"), 4, share=0.35),
    *(
        case
        for heavy in (False, True)
        for spread in (0.0, 0.02, 0.05, 0.1, 0.3)
        for case in _test(
            f"10 seeds × 1000, spread {spread}{', t₄' if heavy else ''}",
            Approximation(spread, heavy, draws=1000), 10, share=0.5 if heavy else 1.0,
        )
    ),
    *_test("10 seeds × 10 000, spread 0.02", Approximation(0.02), 10, share=0.25),
    *_test("10 seeds × 400, spread 0.05", Approximation(0.05, draws=400), 100, share=0.2),
    *_test("10 seeds × 400, spread 0.05", Approximation(0.05, draws=400), 500, share=0.05),
    *_test("10 seeds × 400, then 40, spread 0.05", Approximation(0.05, draws=400, growth=4), 10,
           share=0.25),
    *_test("10 seeds × 400, then 40, spread 0.05, t₄",
           Approximation(0.05, heavy=True, draws=400, growth=4), 10, share=0.25),
    *_test("10 seeds × 1000, spread 0.02, 5% run away",
           Approximation(0.02, runaway=0.05, draws=1000), 10, share=0.5),
    *_test("10 seeds × 1000, spread 0.1, 5% run away",
           Approximation(0.1, runaway=0.05, draws=1000), 10, share=0.5),
    Case("control", "10 seeds × 10 000, spread 0.02, taken for independent draws",
         Approximation(0.02, ignored=True), (10,), 0.05),
    # --- the check as it is used
    *_check("normal, 4000 draws", independent("normal", 4000), 10),
    *_check("normal, 400 draws", independent("normal", 400), 10),
    *_check("exponential, 4000 draws", independent("exponential", 4000), 10),
    *_check("lognormal, 16 000 draws", independent("lognormal", 16_000), 10, share=0.5),
    *_check("lognormal, 4000 draws", independent("lognormal", 4000), 10),
    *_check("Student t, 5 df, 4000 draws", independent("t5", 4000), 10, share=0.5),
    *_check("Student t, 3 df, 16 000 draws", independent("t3", 16_000), 10, share=0.15),
    *_check("Student t, 3 df, 4000 draws", independent("t3", 4000), 10),
    *_check("normal, 1000 draws", independent("normal", 1000), 500, share=0.05),
    *_check("normal, 16 chains × 1000, ρ 0.23", Sampler(rho=0.23), 10, share=0.1),
    *_check("normal, 16 chains × 1000, ρ 0.88", Sampler(rho=0.882), 10, share=0.1),
    *_check("normal, 4 chains × 1000, ρ 0.9", short(0.905), 10, share=0.1),
    *_check("normal, 4 chains × 1000, ρ 0.95", short(0.951), 4, share=0.1),
    *_check("10 seeds × 10 000, spread 0.02", Approximation(0.02), 10, share=0.25),
    *_check("10 seeds × 1000, spread 0.02", Approximation(0.02, draws=1000), 100, share=0.1),
    *(
        case
        for spread, heavy in ((0.0, False), (0.05, False), (0.05, True), (0.1, False), (0.3, False))
        for case in _check(
            f"10 seeds × 1000, spread {spread}{', t₄' if heavy else ''}",
            Approximation(spread, heavy, draws=1000), 10, share=0.5,
        )
    ),
    *_check("10 seeds × 1000, spread 0.02, 5% run away",
            Approximation(0.02, runaway=0.05, draws=1000), 10),
    # --- what changed
    Case("fault", "16 chains × 1000, ρ 0.23", Sampler(rho=0.23), (10,), 0.1),
    Case("fault", "10 000 independent draws", independent("normal", 10_000), (10, 100), 0.1),
    Case("fault", "10 seeds × 10 000, spread 0.02", Approximation(0.02), (10, 100), 0.05),
    Case("curve", "10 000 independent draws", independent("normal", 10_000), (10,), 0.1),
    Case("curve", "10 seeds × 10 000, spread 0.02", Approximation(0.02), (10,), 0.05),
)  # fmt: skip
