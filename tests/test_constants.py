"""The constants that ``~`` drops: how a program is rewritten, and when it has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from harness.records import Program
from harness.stan.density import EngineError
from harness.stan.embedded import EmbeddedModel
from harness.stan.embedded.constants import with_constants
from harness.stan.engine import embed


@pytest.mark.parametrize(
    ("statement", "rewritten"),
    [
        ("y ~ normal(mu, 1);", "target += normal_lpdf(y | mu, 1);"),
        ("k ~ poisson_log(a + f[1]);", "target += poisson_log_lpmf(k | a + f[1]);"),
        ("x ~ std_normal();", "target += std_normal_lpdf(x | );"),
        (
            "for (n in 1:N) if (n > f(2)) y[n] ~ cauchy(g(n, 1), s);",
            "for (n in 1:N) if (n > f(2)) target += cauchy_lpdf(y[n] | g(n, 1), s);",
        ),
        ("if (b) y ~ gamma(1, 1); else y ~ own(2);", "else target += own_lpdf(y | 2);"),
        ("{ real a = 1; to_vector(z) ~ own(a); }", "target += own_lpdf(to_vector(z) | a)"),
        ("target += normal_lupdf(y | 0, 1);", "target += normal_lpdf(y | 0, 1);"),
        ('print("y ~ normal(0, 1);");', 'print("y ~ normal(0, 1);");'),
    ],
)
def test_statements_are_rewritten(statement: str, rewritten: str) -> None:
    """Also behind heads of loops and conditions; what stands in a string is left as it is."""
    found = with_constants(f"model {{ {statement} }}")
    assert " ".join(rewritten.split()) in " ".join(found.split())
    assert statement.count("~") == 0 or "~" not in found or '"' in statement


def test_own_distributions_of_whole_numbers_are_masses() -> None:
    """A function named ``_lpmf`` in the program makes its distribution one."""
    found = with_constants("functions { real own_lpmf(int k) { return 0; } } model { k ~ own(); }")
    assert "own_lpmf(k | )" in found


def test_a_truncated_statement_is_refused() -> None:
    """Its own terms are not rewritten, so the constants are not known."""
    with pytest.raises(EngineError, match="truncated"):
        with_constants("model { y ~ normal(0, 1) T[0, ]; }")


CHANGING = """
parameters { real x; real a; }
model { x ~ normal(a, 1); a ~ normal(0, 1); if (x > 0) x ~ normal(0, 1); }
"""
"""A program whose constant is another one where x is positive."""


def embedded(tmp_path: Path, code: str) -> Program:
    """Return a program as the embedded engine takes it, without data."""
    file = tmp_path / "p.stan"
    file.write_text(code, encoding="utf-8")
    return embed(Program(file, {}), None)


def test_the_density_with_constants_is_the_distributions(tmp_path: Path) -> None:
    """A Student t's density, which ``~`` has only without its constant."""
    program = embedded(tmp_path, "parameters { real x; } model { x ~ student_t(3, 0, 1); }")
    assert program.embedded
    assert program.constants
    z = np.linspace(-3, 3, 7)[:, None]
    whole = EmbeddedModel(program.stan_file, constants=True).log_density(z).value
    np.testing.assert_allclose(whole, stats.t(3).logpdf(z[:, 0]), rtol=1e-13)
    short = EmbeddedModel(program.stan_file).log_density(z).value
    assert np.ptp(whole - short) < 1e-13
    assert abs(whole[0] - short[0]) > 1


@pytest.mark.parametrize(
    "code",
    [
        "parameters { real<lower=0> x; } model { x ~ normal(0, 1) T[0, ]; }",
        CHANGING,
    ],
)
def test_what_does_not_check_out_has_no_constants(tmp_path: Path, code: str) -> None:
    """The program is embedded all the same, and says that a constant is missing."""
    program = embedded(tmp_path, code)
    assert program.embedded
    assert not program.constants
    assert not EmbeddedModel(program.stan_file).constants
