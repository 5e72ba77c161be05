"""Linear response of deterministic ADVI with many parameters, against exact covariances.

    python benchmarks/large.py [NAME…]

Each program is fitted in a process of its own on the embedded engine. Seconds are the processor's,
from the program in memory to 10 000 draws with their densities; memory is the process's peak before
the exact covariance is computed. The worst directions are the linear combinations of unconstrained
parameters in which q's sd is the smallest and the largest part of the exact one: eigenvalues, no
draws. Exact are formulas of normal posteriors, and for the logistic regression quadrature over both
hyperparameters and each kind of group. The exit code is 1 where an sd is more than ``CLOSE`` off
and the fit does not say so, or says so without reason.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before NumPy is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.ndimage import gaussian_filter1d
from scipy.special import expit

from harness.methods.bridged import BridgeTarget, Problem, arrays, expected_s
from harness.methods.dadvi import DADVI_LR, ResponseOptions
from harness.methods.dadvi_gaussian import Judged, optimum_of, response_of
from harness.models.data import to_json
from harness.records import FloatArray, Program, Reason
from harness.stan.embedded import EmbeddedModel
from harness.stan.engine import embed
from harness.vi.gaussian import draws, log_normal
from harness.vi.lanczos import lanczos
from harness.vi.roots import LowRankRoot, SparseRoot
from harness.vi.target import Clock, Counted

DRAWS, SEED, CLOSE = 10_000, 1, 1.15
SIGMA, TAU, TRIALS, NOISE = 1.0, 0.3, 20, 0.3

STAN = {
    "independent": "data { int N; } parameters { vector[N] x; } model { x ~ normal(0, 1); }",
    "local_level": """data { int N; vector[N] y; real sigma; real tau; }
parameters { vector[N] level; }
model {
  level[1] ~ normal(0, 5);
  level[2:N] ~ normal(level[1:(N - 1)], tau);
  y ~ normal(level, sigma);
}""",
    "logistic": """data { int G; int n; array[G] int k; }
parameters { real mu; real<lower=0> tau; vector[G] alpha; }
model {
  mu ~ normal(0, 2);
  tau ~ normal(0, 1);
  alpha ~ normal(mu, tau);
  k ~ binomial_logit(n, alpha);
}""",
    "gaussian_process": """data { int N; matrix[N, N] L; vector[N] y; real sigma; }
parameters { vector[N] z; }
model { z ~ normal(0, 1); y ~ normal(L * z, sigma); }""",
    "spectra": """data { int N; int K; matrix[N, K] X; vector[N] y; real sigma; }
parameters { vector[K] beta; }
model { beta ~ normal(0, 1); y ~ normal(X * beta, sigma); }""",
}
STAN["columns"] = STAN["spectra"]  # other data

TITLES = {
    "independent": "i.i.d. normal, 10 000",
    "local_level": "local level, 3000",
    "logistic": "hierarchical logistic regression, 1000",
    "gaussian_process": "Gaussian process, 500",
    "spectra": "regression on 500 smooth spectra, 4000",
    "columns": "regression on 500 rows of unrelated columns, 4000",
}


def data_of(name: str) -> dict[str, Any]:
    """Return a program's data."""
    rng = np.random.default_rng(SEED)
    if name == "independent":
        return {"N": 10_000}
    if name == "local_level":
        level = np.cumsum(TAU * rng.normal(size=3000))
        return {"N": 3000, "y": level + SIGMA * rng.normal(size=3000), "sigma": SIGMA, "tau": TAU}
    if name == "logistic":
        k = rng.binomial(TRIALS, expit(0.5 + 0.8 * rng.normal(size=998)))
        return {"G": 998, "n": TRIALS, "k": k}
    if name in {"spectra", "columns"}:
        N, K = 500, 4000
        X = rng.normal(size=(N, K))
        if name == "spectra":
            X = gaussian_filter1d(X, 20.0, axis=1, mode="wrap")
            X /= X.std()
        X /= np.sqrt(K)
        y = X @ rng.normal(size=K) + NOISE * rng.normal(size=N)
        return {"N": N, "K": K, "X": X, "y": y, "sigma": NOISE}
    x = np.linspace(0, 10, 500)
    kernel = np.exp(-0.5 * ((x[:, None] - x) / 0.5) ** 2) + 1e-8 * np.eye(500)
    L = np.linalg.cholesky(kernel)
    y = L @ rng.normal(size=500) + NOISE * rng.normal(size=500)
    return {"N": 500, "L": L, "y": y, "sigma": NOISE}


def logistic_covariance(data: dict[str, Any]) -> FloatArray:
    """Return the covariance of (mu, ln tau, alpha) by quadrature over a grid."""
    kinds, which, counts = np.unique(data["k"], return_inverse=True, return_counts=True)
    grid = np.meshgrid(np.linspace(0.2, 0.8, 81), np.linspace(-0.6, 0.1, 81))
    mu, log_tau = (g.ravel() for g in grid)
    tau = np.exp(log_tau)
    e = np.linspace(-7, 7, 281)
    alpha = mu[:, None] + tau[:, None] * e
    weight = -(mu**2) / 8 - tau**2 / 2 + log_tau
    mean, square = np.empty((2, len(kinds), len(mu)))
    for i, (k, count) in enumerate(zip(kinds, counts, strict=True)):
        log = k * alpha - TRIALS * np.logaddexp(0, alpha) - 0.5 * e**2
        top = log.max(axis=1, keepdims=True)
        p = np.exp(log - top)
        mass = p.sum(axis=1)
        weight = weight + count * (np.log(mass) + top[:, 0])
        mean[i] = (p * alpha).sum(axis=1) / mass
        square[i] = (p * alpha**2).sum(axis=1) / mass
    weight = np.exp(weight - weight.max())
    weight /= weight.sum()
    # Given the hyperparameters groups are independent: mean variance plus covariance of means.
    means = np.concatenate([np.stack([mu, log_tau]), mean[which]])
    centred = means - (means @ weight)[:, None]
    covariance = (centred * weight) @ centred.T
    own = (square - mean**2) @ weight
    covariance[np.arange(2, len(means)), np.arange(2, len(means))] += own[which]
    return np.asarray(covariance)


def exact_root(name: str, data: dict[str, Any]) -> FloatArray | None:
    """Return a factor of the exact covariance; None for the identity."""
    if name == "independent":
        return None
    if name == "logistic":
        return np.asarray(np.linalg.cholesky(logistic_covariance(data)))
    if name in {"gaussian_process", "spectra", "columns"}:
        design = data["L" if name == "gaussian_process" else "X"]
        precision = np.eye(design.shape[1]) + design.T @ design / NOISE**2
    else:
        n = data["N"]
        inner = np.full(n, 2 / TAU**2 + 1 / SIGMA**2)
        inner[0], inner[-1] = 1 / 25 + 1 / TAU**2 + 1 / SIGMA**2, 1 / TAU**2 + 1 / SIGMA**2
        step = np.full(n - 1, -1 / TAU**2)
        precision = np.diag(inner) + np.diag(step, 1) + np.diag(step, -1)
    # P = U U' with U upper triangular: U'^-1 is a factor of the covariance.
    upper = cholesky(precision, lower=False)
    return np.asarray(solve_triangular(upper, np.eye(len(upper))))


def precision_of(root: SparseRoot | LowRankRoot) -> Callable[[FloatArray], FloatArray]:
    """Return the product of q's precision with columns ``(d, n)``."""
    if isinstance(root, LowRankRoot):
        U, less = root.vectors, root.stretch**-2 - 1

        def few(x: FloatArray) -> FloatArray:
            u = (x.T / root.scale).T
            return np.asarray(((u + (U * less) @ (U.T @ u)).T / root.scale).T)

        return few

    def product(x: FloatArray) -> FloatArray:
        u = (x.T / root.scale).T
        turned = root.corner.solve(np.atleast_2d((root.across.T @ u).T)).T
        lost = root.across @ (turned if x.ndim > 1 else turned[:, 0])
        return np.asarray(((root.own @ u - lost).T / root.scale).T)

    return product


def worst(q: Judged, exact: FloatArray | None) -> tuple[float, float]:
    """Return the smallest and the largest ratio of q's sd to the exact one, of all directions."""
    if isinstance(q.factor, np.ndarray):
        assert exact is not None  # noqa: S101 - only the sparse one is compared with the identity
        ratios = np.linalg.svd(solve_triangular(q.factor, exact, lower=True), compute_uv=False)
        return float(1 / ratios.max()), float(1 / ratios.min())
    assert isinstance(q.factor, SparseRoot | LowRankRoot)  # noqa: S101 - for the type checker
    product = precision_of(q.factor)
    if exact is None:
        found: FloatArray = lanczos(product, len(q.mean), 60, np.random.default_rng(0))[0]
    else:
        found = np.asarray(np.linalg.eigvalsh(exact.T @ product(exact)), dtype=np.float64)
    return float(found.max() ** -0.5), float(found.min() ** -0.5)


def fitted(name: str) -> None:
    """Fit one program in this process and print its row."""
    data = data_of(name)
    with tempfile.TemporaryDirectory() as folder:
        stan_file, data_file = Path(folder) / "it.stan", Path(folder) / "it.json"
        stan_file.write_text(STAN[name], encoding="utf-8")
        data_file.write_text(to_json(data), encoding="utf-8")
        program = embed(Program(stan_file, {}), data_file)
        model = EmbeddedModel(program.embedded_file, data_file)
        bound = arrays(data)
        expected = expected_s(stan_file, model, bound)
    target = Counted(BridgeTarget(model))
    options = DADVI_LR.options
    assert isinstance(options, ResponseOptions)  # noqa: S101 - for the type checker
    rng = np.random.default_rng(SEED)
    clock = Clock(3600.0)
    problem = Problem(target, model, bound, options, DRAWS, rng, clock, SEED, expected)
    begin = time.process_time()
    with np.errstate(all="ignore"):
        q = response_of(problem, optimum_of(problem, "response"))
        z = draws(DRAWS, q.mean, q.factor, rng)
        log_normal(z, q.mean, q.factor)
    seconds = time.process_time() - begin
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    low, high = worst(q, exact_root(name, data))
    how = {np.ndarray: "dense", SparseRoot: "sparse", LowRankRoot: "Lanczos"}[type(q.factor)]
    print(
        f"| {TITLES[name]} | {how} | {seconds:.1f} | {memory:.2f} | {target.gradients} "
        f"| {low:.3f} | {high:.3f} | {'; '.join(f.reason for f in q.faults) or 'nothing'} |"
    )
    close = 1 / CLOSE < low <= high < CLOSE
    sys.exit({f.reason for f in q.faults} != (set() if close else {Reason.APPROXIMATE_SDS}))


def main() -> None:
    """Print a row a program."""
    if sys.argv[1:2] == ["--one"]:
        fitted(sys.argv[2])
    print(
        "| posterior | Hessian | seconds | GiB | gradients | smallest sd ratio | largest "
        "| the fit says |"
    )
    print("|---|---|---|---|---|---|---|---|", flush=True)
    ended = [
        subprocess.run([sys.executable, __file__, "--one", name], check=False).returncode
        for name in sys.argv[1:] or STAN
    ]
    sys.exit(max(ended))


if __name__ == "__main__":
    main()
