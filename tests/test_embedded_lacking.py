"""Functions that the embedded engine lacks, written in Stan: their values and where they serve."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from scipy.special import expit

from harness.records import Program
from harness.stan.embedded.lacking import DEFINITIONS, with_function
from harness.stan.engine import embed, open_density

A = np.array([[1.0, 2.0], [3.0, 4.5], [5.0, 7.0]])
S = np.array([[0.0, 3.0], [2.0, 1.0]])
V = np.array([0.5, 1.0, 0.2])
ROOT = np.linalg.cholesky(A.T @ A)


def kernel(function: object) -> np.ndarray:
    """Return a covariance of V by a function of the distances."""
    return function(V[:, None] - V)  # type: ignore[operator,no-any-return]


Q, R = np.linalg.qr(A)
SIGNS = np.sign(np.diag(R))
P, STEP = V / V.sum(), np.array([[0.9, 0.1], [0.3, 0.7]])

CALLS = {
    "qr_thin_Q": ("matrix[3, 2] r = qr_thin_Q(A);", Q * SIGNS),
    "qr_thin_R": ("matrix[2, 2] r = qr_thin_R(A);", R * SIGNS[:, None]),
    "csr_matrix_times_vector": (
        "vector[2] r = csr_matrix_times_vector(2, 3, [1, 2, 3]', {1, 3, 2}, {1, 3, 4}, v);",
        np.array([0.5 + 2 * 0.2, 3.0]),
    ),
    "distance": ("real r = distance(v, 2 * v);", np.linalg.norm(V)),
    "norm1": ("real r = norm1(-v);", V.sum()),
    "norm2": ("real r = norm2(v);", np.linalg.norm(V)),
    "determinant": ("real r = determinant(S);", np.linalg.det(S)),
    "chol2inv": ("matrix[2, 2] r = chol2inv(L);", np.linalg.inv(A.T @ A)),
    "trace": ("real r = trace(S);", 1.0),
    "trace_quad_form": ("real r = trace_quad_form(tcrossprod(S), S);", np.trace(S.T @ S @ S.T @ S)),
    "gp_exp_quad_cov": (
        "matrix[3, 3] r = gp_exp_quad_cov(x, x, 2.0, 0.7);",
        kernel(lambda d: 4 * np.exp(-0.5 * (d / 0.7) ** 2)),
    ),
    "gp_periodic_cov": (
        "matrix[3, 3] r = gp_periodic_cov(x, 2.0, 0.7, 3.0);",
        kernel(lambda d: 4 * np.exp(-2 * (np.sin(np.pi * np.abs(d) / 3) / 0.7) ** 2)),
    ),
    "gp_dot_prod_cov": ("matrix[3, 3] r = gp_dot_prod_cov(x, 2.0);", 4 + np.outer(V, V)),
    "quantile": ("real r = quantile(v, 0.3) + quantile(x, 1);", np.quantile(V, 0.3) + V.max()),
    "int_step": ("real r = int_step(v[1]) + int_step(-v[1]);", 1.0),
    "log_mix": (
        "vector[3] p = v / 1.7; real r = log_mix(p, 2*v) + log_mix(.3, 1, 2) + log_mix(p, {v, v});",
        sum(np.log(P @ np.exp(k * V)) for k in (2, 1, 1))
        + np.log(0.3 * np.exp(1) + 0.7 * np.exp(2)),
    ),
    "hmm_marginal": (
        "real r = hmm_marginal(A', [[0.9, 0.1], [0.3, 0.7]], [0.4, 0.6]');",
        np.log((np.array([0.4, 0.6]) * np.exp(A[0])) @ STEP * np.exp(A[1]) @ STEP @ np.exp(A[2])),
    ),
    "log_determinant_spd": (
        "real r = log_determinant_spd(tcrossprod(L));",
        np.log(np.linalg.det(A.T @ A)),
    ),
    "inc_beta": ("real r = inc_beta(2.0, 3.0, 0.4);", scipy.stats.beta(2, 3).cdf(0.4)),
    "matrix_power": ("matrix[2, 2] r = matrix_power(S, 3);", np.linalg.matrix_power(S, 3)),
    "symmetrize_from_lower_tri": (
        "matrix[2, 2] r = symmetrize_from_lower_tri(S);",
        np.array([[0.0, 2.0], [2.0, 1.0]]),
    ),
}

EXPIT = float(expit(0.3))

RANDOM: dict[str, tuple[str, str, Callable[[], Any]]] = {
    "ordered_logistic_rng": ("int", "0.4, [-1, 0.5]'", lambda: cut(scipy.stats.logistic)),
    "ordered_probit_rng": ("int", "0.4, [-1, 0.5]'", lambda: cut(scipy.stats.norm)),
    "neg_binomial_rng": ("int", "3, 1.5", lambda: scipy.stats.nbinom(3, 1.5 / 2.5)),
    "skew_normal_rng": ("real", "1, 2, 3", lambda: scipy.stats.skewnorm(3, 1, 2)),
    "exp_mod_normal_rng": ("real", "1, 2, 0.5", lambda: scipy.stats.exponnorm(1, 1, 2)),
    "beta_proportion_rng": ("real", "0.3, 4", lambda: scipy.stats.beta(1.2, 2.8)),
    "pareto_rng": ("real", "2, 5", lambda: scipy.stats.pareto(5, scale=2)),
    "rayleigh_rng": ("real", "2", lambda: scipy.stats.rayleigh(scale=2)),
    "frechet_rng": ("real", "6, 2", lambda: scipy.stats.invweibull(6, scale=2)),
    "loglogistic_rng": ("real", "2, 6", lambda: scipy.stats.fisk(6, scale=2)),
    "inv_chi_square_rng": ("real", "9", lambda: scipy.stats.invgamma(4.5, scale=0.5)),
    "scaled_inv_chi_square_rng": ("real", "9, 2", lambda: scipy.stats.invgamma(4.5, scale=18)),
    "multinomial_rng": ("array[3] int", "[0.2, 0.3, 0.5]', 7", lambda: scipy.stats.binom(7, 0.2)),
    "bernoulli_logit_glm_rng": (
        "array[1] int", "[[1.0, 2.0]], [0.3]', [0.2, -0.1]'", lambda: scipy.stats.bernoulli(EXPIT)
    ),
    "multi_student_t_rng": (
        "vector[2]", "9, [1, 2]', [[4, 1], [1, 3]]", lambda: scipy.stats.t(9, 1, 2)
    ),
}  # fmt: skip


def cut(latent: Any) -> Any:
    """Return the ordered categories of a latent variable with centre 0.4, cut at -1 and 0.5."""
    below = latent.cdf(np.array([-1, 0.5]) - 0.4)
    return scipy.stats.rv_discrete(values=([1, 2, 3], np.diff([0, *below, 1])))


PROGRAM = """
data {{ matrix[3, 2] A; matrix[2, 2] S; matrix[2, 2] L; array[3] real x; }}
transformed data {{ vector[3] v = to_vector(x); {call} }}
parameters {{ real m; }}
transformed parameters {{ {copy} }}
model {{ m ~ normal(0, 1); }}
"""


def embedded(folder: Path, text: str) -> Program:
    """Return a program as the embedded engine takes it."""
    (folder / "m.stan").write_text(text)
    arrays = {"A": A, "S": S, "L": ROOT, "x": V}
    numbers = ", ".join(f'"{k}": {a.tolist()}' for k, a in arrays.items())
    (folder / "m.json").write_text(f"{{{numbers}}}")
    return embed(Program(folder / "m.stan", {}), folder / "m.json")


def test_every_function_is_tried() -> None:
    """A function that is defined has a value to compare with."""
    assert CALLS.keys() | RANDOM.keys() == DEFINITIONS.keys()


@pytest.mark.parametrize("name", RANDOM)
def test_random_numbers_have_the_mean_and_the_variance_of_their_distribution(
    name: str, tmp_path: Path
) -> None:
    """Within five standard errors, in 4000 draws."""
    kind, arguments, distribution = RANDOM[name]
    text = "parameters {{ real m; }} model {{ m ~ normal(0, 1); }} generated quantities {{ {} }}"
    program = embedded(tmp_path, text.format(f"{kind} r = {name}({arguments});"))
    assert program.embedded_error == ""
    density = open_density(program, tmp_path / "m.json", {})
    values, status = density.constrain(np.zeros((4000, 1)), generated=True, seed=1)
    density.close()
    assert not status.any()
    first, law = values[:, 1], distribution()
    assert abs(first.mean() - law.mean()) < 5 * law.std() / np.sqrt(len(first))
    squares = (first - law.mean()) ** 2
    assert abs(squares.mean() - law.var()) < 5 * squares.std() / np.sqrt(len(first))


@pytest.mark.parametrize("name", CALLS)
def test_a_function_has_the_values_of_stans(name: str, tmp_path: Path) -> None:
    """The program is served, and the values are NumPy's."""
    call, right = CALLS[name]
    kind = call.partition(" r = ")[0].rpartition("; ")[2]
    program = embedded(tmp_path, PROGRAM.format(call=call, copy=f"{kind} copy = r + 0 * m;"))
    assert program.embedded_error == ""
    density = open_density(program, tmp_path / "m.json", {})
    names = density.constrained_names(transformed=True)
    values, status = density.constrain([[0.3]])
    density.close()
    assert not status.any()
    assert names[0] == "m"
    columns_first = np.transpose(np.asarray(right, dtype=float)).ravel()
    np.testing.assert_allclose(values[0, 1:], columns_first, atol=1e-12)


def test_an_older_way_to_a_thin_factor_serves(tmp_path: Path) -> None:
    """The first columns of the whole factor are the thin one."""
    call = "matrix[3, 2] r = qr_Q(A)[, 1:2] * sqrt(2); matrix[2, 2] t = qr_R(A)[1:2, ];"
    program = embedded(tmp_path, PROGRAM.format(call=call, copy="real c = r[1, 1] * m;"))
    assert program.embedded_error == ""


def test_what_has_no_definition_is_refused_as_before(tmp_path: Path) -> None:
    """In the words of the engine; and so is a definition that cannot serve."""
    call = "vector[2] r = singular_values(A);"
    assert (
        "unsupported function singular_values"
        in embedded(tmp_path, PROGRAM.format(call=call, copy="")).embedded_error
    )
    call = "matrix[3, 2] r = qr_thin_Q(rep_matrix(1.0, 3, 2));"
    assert (
        "unsupported function qr_thin_Q"
        in embedded(tmp_path, PROGRAM.format(call=call, copy="")).embedded_error
    )
    assert with_function("model { real x = svd_U(A)[1, 1]; }", "svd_U") is None


def test_generated_quantities_that_are_not_wanted_are_no_reason_to_refuse(tmp_path: Path) -> None:
    """The engine has no complex numbers; it says so in a line, and which option leaves them out."""
    (tmp_path / "m.stan").write_text(
        "parameters { real m; } model { m ~ normal(0, 1); }"
        "generated quantities { complex w = to_complex(m, 1); real twice = 2 * m; }"
    )
    program = Program(tmp_path / "m.stan", {})
    said = embed(program, None).embedded_error
    assert said.startswith("the engine cannot compute generated quantities (")
    assert said.endswith("; --no-gq leaves them out")
    bare = embed(program, None, generated=False)
    assert bare.embedded_error == ""
    density = open_density(bare, None, {})
    assert density.constrained_names(transformed=True, generated=True) == ("m",)
    density.close()
