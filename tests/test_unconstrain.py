"""Draws on the unconstrained scale: in closed form they are what the engine itself says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.records import Draws
from harness.records.names import stan_name
from harness.stan.embedded import EmbeddedModel
from harness.stan.unconstrain import MissingParametersError, unconstrained, undetermined

SINGLE = """
data { real far; }
parameters {
  real free; real<lower=-1> low; real<upper=2> high; real<lower=0, upper=1> share;
  real<lower=-3, upper=far> between; vector<offset=3, multiplier=2>[2] shifted;
  array[2, 3] vector<lower=0>[2] cells; matrix<upper=0>[2, 3] m;
}
model { free ~ normal(0, 1); }
"""

OTHER = """
parameters { real<lower=0> a; real<lower=a> b; ordered[2] o; simplex[3] s; real<upper=1e-9> tiny; }
model { a ~ normal(0, 1); }
"""


def model(tmp_path: Path, code: str) -> EmbeddedModel:
    """Return a program in the embedded engine."""
    file = tmp_path / "p.stan"
    file.write_text(code, encoding="utf-8")
    return EmbeddedModel(file, b'{"far": 1e3}')


def drawn(program: EmbeddedModel, z: np.ndarray[Any, Any]) -> Draws:
    """Return the draws of points."""
    names = tuple(stan_name(n) for n in program.constrained_names(transformed=True))
    return Draws(names, program.constrain(z)[0][None])


@pytest.mark.parametrize("code", [SINGLE, OTHER])
def test_draws_come_back(tmp_path: Path, code: str) -> None:
    """Every kind of bound and arrays of them; bounds of bounds, orders and a simplex as well."""
    program = model(tmp_path, code)
    z = np.random.default_rng(1).normal(size=(200, program.dimension))
    np.testing.assert_allclose(unconstrained(program, drawn(program, z), range(200)), z, atol=1e-9)


def test_numbers_with_bounds_are_transformed_without_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's own way costs thousands of times as much on large data."""
    program = model(tmp_path, SINGLE)
    z = np.random.default_rng(2).normal(size=(50, program.dimension))
    draws = drawn(program, z)

    def asked(_: object) -> None:
        pytest.fail("the engine was asked")

    monkeypatch.setattr(program, "unconstrain", asked)
    np.testing.assert_allclose(unconstrained(program, draws, range(50)), z, atol=1e-11)


def test_draws_on_a_bound_are_no_points(tmp_path: Path) -> None:
    """They are rows of NaN, the others are not affected."""
    program = model(tmp_path, SINGLE)
    draws = drawn(program, np.zeros((3, program.dimension)))
    draws.values[0, 1, draws.names.index("share")] = 1.0
    draws.values[0, 2, draws.names.index("low")] = -1.5
    found = unconstrained(program, draws, range(3))
    assert np.isfinite(found).all(axis=1).tolist() == [True, False, False]


def test_a_missing_parameter_is_named(tmp_path: Path) -> None:
    """Draws without it have no point."""
    program = model(tmp_path, SINGLE)
    draws = drawn(program, np.zeros((3, program.dimension)))
    short = Draws(draws.names[1:], draws.values[..., 1:])
    with pytest.raises(MissingParametersError, match="lack free"):
        unconstrained(program, short, range(3))


REJECTS = 'parameters {{ {} }} model {{ if ({}) reject("not here"); a ~ normal(0, 1); }}'


@pytest.mark.parametrize(
    ("declared", "rejected", "expected"),
    [
        ("real a;", "a < 0", [False]),
        ("real a; unit_vector[2] u;", "a < 0", [False, True, True]),
        ("real a;", "a < 9", [True]),
    ],
)
def test_points_that_the_program_rejects_tell_nothing_of_its_transforms(
    tmp_path: Path, declared: str, rejected: str, expected: list[bool]
) -> None:
    """Draws determine a number wherever it is rejected; not knowing counts as undetermined."""
    program = model(tmp_path, REJECTS.format(declared, rejected))
    assert undetermined(program).tolist() == expected
