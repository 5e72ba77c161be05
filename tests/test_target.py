"""``harness.target``: which engine evaluates a program, and what is said where none can."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import harness

PLAIN = "data { int N; vector[N] y; } parameters { real m; } model { y ~ normal(m, 1); }"

TRUNCATED = "parameters { real<lower=0> s; } model { s ~ normal(0, 1) T[0, ]; }"


@pytest.fixture
def no_cmdstan(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Leave no CmdStan to be found, and none to be installed."""
    for name in ("CMDSTAN", "HARNESS_CACHE", "HOME", "PIP_INDEX_URL"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.delenv("CMDSTAN")


def written(tmp_path: Path, code: str) -> Path:
    """Write a program to a file."""
    file = tmp_path / "p.stan"
    file.write_text(code, encoding="utf-8")
    return file


@pytest.mark.usefixtures("no_cmdstan")
def test_a_program_needs_no_cmdstan(tmp_path: Path) -> None:
    """Its density has all constants: −½ Σ(y − m)² − ln 2π of two values at m = 1."""
    target = harness.target(written(tmp_path, PLAIN), {"N": 2, "y": [1.0, 2.0]})
    assert (target.model.engine, target.model.constants) == ("embedded", True)
    expected = -0.5 - np.log(2 * np.pi)
    np.testing.assert_allclose(target.log_density(np.array([[1.0]])), [expected], rtol=1e-13)


@pytest.mark.usefixtures("no_cmdstan")
def test_a_missing_constant_is_said(tmp_path: Path) -> None:
    """Without CmdStan, a truncated statement leaves the constant unknown."""
    target = harness.target(written(tmp_path, TRUNCATED))
    assert (target.model.engine, target.model.constants) == ("embedded", False)


@pytest.mark.usefixtures("no_cmdstan")
def test_data_that_do_not_fit_are_said_before_anything_is_installed(tmp_path: Path) -> None:
    """The variable is named."""
    with pytest.raises(harness.ModelError, match="'y' is not in the data"):
        harness.target(written(tmp_path, PLAIN), {"N": 2})


@pytest.mark.stan
@pytest.mark.usefixtures("cmdstan")
def test_with_cmdstan_the_density_has_all_constants(tmp_path: Path) -> None:
    """A truncated statement is compiled: the half normal's density at s = 1, with the Jacobian."""
    target = harness.target(written(tmp_path, TRUNCATED))
    assert (target.model.engine, target.model.constants) == ("bridge", True)
    expected = -0.5 + 0.5 * np.log(2 / np.pi)
    np.testing.assert_allclose(target.log_density(np.array([[0.0]])), [expected], rtol=1e-12)


def test_data_of_other_sizes_are_refused(tmp_path: Path) -> None:
    """The engine takes 3 × 2 numbers for a matrix[2, 3], and reads them in another order."""
    file = tmp_path / "matrix.stan"
    file.write_text("data { matrix[2, 3] X; } parameters { real a; } model { a ~ std_normal(); }")
    with pytest.raises(harness.ModelError, match=r"'X' in .* has size 3 × 2, but is declared"):
        harness.target(file, {"X": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]})
