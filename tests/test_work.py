"""What a density takes follows from its program and data, and from nothing else."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.methods import METHODS
from harness.methods.bridged import expected_s
from harness.models.data import to_json
from harness.records import Program, RunContext, RunSpec
from harness.stan import embedded
from harness.stan.embedded import EmbeddedModel
from harness.stan.work import Work, work_of

DATA = "data { int N; int K; vector[N] y; matrix[N, K] X; array[K] int sizes; } "
PARAMETERS = "parameters { real a; vector[K] b; } "

VOLATILE = """
data { int T; vector[T] y; }
parameters { real mu; real<lower=0> a0; real<lower=0, upper=1> a1; real<lower=0, upper=1> b1; }
model {
  real s = 1;
  for (t in 2:T) {
    s = sqrt(a0 + a1 * square(y[t - 1] - mu) + 0.9 * b1 * square(s));
    y[t] ~ normal(mu, s);
  }
}
"""
"""Its loop takes some fifty times what its data suggest."""


def work(tmp_path: Path, model: str, *, n: int = 100, k: int = 4, functions: str = "") -> Work:
    """Return the work of a program."""
    file = tmp_path / "p.stan"
    file.write_text(f"{functions} {DATA} {PARAMETERS} model {{ {model} }}", encoding="utf-8")
    sizes = np.arange(1, k + 1)
    data: dict[str, Any] = {"N": n, "K": k, "y": np.ones(n), "X": np.ones((n, k)), "sizes": sizes}
    return work_of(file, {name: np.asarray(value) for name, value in data.items()})


@pytest.mark.parametrize(
    ("loops", "times"),
    [
        ("for (n in 1:N)", 100),
        ("for (n in 2:(N - 1))", 98),
        ("for (n in 1:N) for (k in 1:K)", 400),
        ("for (i in 1:N) { for (j in (i + 1):N)", 4950),
        ("for (v in y)", 100),
        ("for (i in 1:rows(X)) for (j in 1:cols(X))", 400),
        ("for (k in 1:K) for (i in 1:sizes[k])", 10),
        ("for (k in 1:num_elements(X))", 400),
        ("{ int M = N * K %/% 2; for (m in 1:M)", 200),
        ("for (n in 1:0)", 0),
    ],
)
def test_statements_count_as_often_as_they_run(tmp_path: Path, loops: str, times: int) -> None:
    """Bounds by sizes, by other loops' variables, by whole numbers in data and local ones."""
    once = work(tmp_path, "target += exp(a);").seconds
    ends = " }" * (loops.count("{") - loops.count("}"))
    found = work(tmp_path, f"{loops} target += exp(a);{ends}").seconds
    # Declarations and bounds count as statements too, once for each time that they are reached.
    assert times * once <= found + 1e-12
    assert found <= (times + 101) * once


def test_a_function_counts_with_its_arguments(tmp_path: Path) -> None:
    """Sizes pass through names of its own; reduce_sum calls its function on all of the data."""
    functions = (
        "functions { real f(vector v, real a) { real s = 0; int M = num_elements(v); "
        "for (i in 1:M) s += exp(a * v[i]); return s; } "
        "real g(array[] real part, int first, int last, real a) { real s = 0; "
        "for (i in first:last) s += exp(a); return s; } }"
    )
    loop = work(tmp_path, "for (i in 1:N) target += exp(a * y[i]);").seconds
    for call in ("f(y, a)", "reduce_sum(g, to_array_1d(y), 1, a)", "reduce_sum(g, y, 1, a)"):
        found = work(tmp_path, f"target += {call};", functions=functions).seconds
        assert found > 0.2 * loop, call
    assert work(tmp_path, "target += f(y, a);", functions=functions).seconds < 2 * loop


@pytest.mark.parametrize(
    ("statement", "least"),
    [
        ("array[5] vector[1] z = ode_rk45(f, [a]', 0, t, a);", 1e-4),
        ("array[5] vector[1] z = ode_bdf_tol(f, [a]', 0, t, 1e-6, 1e-6, 1000, a);", 1e-3),
        ("real z[5, 1] = integrate_ode_rk45(f, {a}, 0, t, {a}, x_r, x_i);", 1e-4),
        ("target += integrate_1d(f, 0, 1, {a}, x_r, x_i, 1e-8);", 1e-5),
        ("matrix[N, N] S; matrix[N, N] L = cholesky_decompose(S);", 1e-4),
        ("matrix[N, N] S = gp_exp_quad_cov(y, a, 1.0);", 5e-5),
    ],
)
def test_solvers_and_matrices_are_dear(tmp_path: Path, statement: str, least: float) -> None:
    """In Stan's forms of today and of 2.27."""
    assert least <= work(tmp_path, statement).seconds < 20 * least


def test_what_needs_no_parameter_is_not_read(tmp_path: Path) -> None:
    """The engine computes it once."""
    assert work(tmp_path, "y ~ normal(a, 1);").read == 100
    assert work(tmp_path, "target += a * sum(y);").read == 0
    assert work(tmp_path, "y ~ normal(X * b, 1);").read == 500


@pytest.mark.parametrize(
    "model",
    [
        "target += " + "(" * 3000 + "a" + ")" * 3000 + ";",
        "{" * 3000 + "}" * 3000,
        "for (i in 1:x[) {",
        "for (i in) ) ] while ( if ( ~ | ; int real matrix[ array[] vector<lower=",
        "for (i in 1:10^10^10^10) target += a;",
        "for (i in 1:(1 / 0)) target += a;",
        "",
    ],
)
def test_nonsense_has_some_number(tmp_path: Path, model: str) -> None:
    """Finding faults is the compiler's task."""
    assert 0 <= work(tmp_path, model).seconds < np.inf


def test_functions_that_call_each_other_end(tmp_path: Path) -> None:
    """Twenty functions; each calls the next one twice, and the last one the first."""
    calls = "".join(
        f"real f{i}(real a) {{ return f{(i + 1) % 20}(a) + f{(i + 1) % 20}(a); }} "
        for i in range(20)
    )
    begin = time.process_time()
    found = work(tmp_path, "target += f0(a);", functions=f"functions {{ {calls} }}")
    assert found.seconds > 0
    assert time.process_time() - begin < 5


@pytest.mark.skipif(bool(embedded.available()), reason=embedded.available() or "-")
@pytest.mark.parametrize("method", ["dadvi", "dadvi_psis", "dadvi_basins", "pathfinder"])
def test_draws_are_the_same_bytes_on_a_machine_fifty_times_slower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """No clock decides sizes, even where a program is far slower than its data suggest."""
    file, data_file = tmp_path / "volatile.stan", tmp_path / "data.json"
    file.write_text(VOLATILE, encoding="utf-8")
    y = np.random.default_rng(1).normal(size=500)
    data_file.write_text(to_json({"T": len(y), "y": y}), encoding="utf-8")
    data = {"T": np.array(len(y)), "y": y}
    expected = expected_s(file, EmbeddedModel(file, data_file), data)
    assert expected.gradient > 20 * expected.density, "else this test shows nothing"
    row = METHODS[method]
    spec = RunSpec("volatile", method, row.defaults, 1, 500)
    program = Program(file, {}, embedded=True)
    found = []
    for slower in (1, 50):
        with monkeypatch.context() as patched:
            for name in ("thread_time", "process_time", "perf_counter", "monotonic"):
                real = getattr(time, name)
                patched.setattr(time, name, lambda real=real, slower=slower: slower * real())
            context = RunContext(program, data_file, 1e6, 7)
            run = row.run(spec, context, tmp_path)
        assert run.draws is not None, run.message
        found.append((run.draws.values.tobytes(), run.draws.log_p.tobytes()))  # type: ignore[union-attr]
    assert found[0] == found[1]
