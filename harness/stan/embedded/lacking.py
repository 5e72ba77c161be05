"""Functions of Stan that the embedded engine lacks, written in Stan.

A program that calls one is refused with "unsupported function". Where the function is here, the
program is tried again with this definition under a name of its own; its gradient is then the
engine's, as of any function in the program. A definition that cannot serve rejects, and the
program is refused as before.
"""

from __future__ import annotations

import re

from harness.stan.source import blanked

PREFIX = "harness_"
"""The start of the name of a function that is defined here."""

_REFUSED = re.compile(r"\bunsupported function (\w+)")

DEFINITIONS = {
    "qr_thin_Q": """
matrix harness_qr_thin_Q(matrix A) {
  int K = min({rows(A), cols(A)});
  matrix[rows(A), K] Q = A[, 1:K];
  for (j in 1:K) {
    vector[rows(A)] v = Q[, j];
    // Once more takes away what rounding left.
    for (pass in 1:2) for (k in 1:(j - 1)) v -= dot_product(Q[, k], v) * Q[, k];
    if (!(dot_self(v) > 1e-20 * dot_self(A[, j]))) reject("the matrix has not full rank");
    Q[, j] = v / sqrt(dot_self(v));
  }
  return Q;
}
""",
    "qr_thin_R": """
matrix harness_qr_thin_R(matrix A) {
  int K = min({rows(A), cols(A)});
  matrix[K, cols(A)] R = harness_qr_thin_Q(A)' * A;
  for (j in 1:K) for (i in (j + 1):K) R[i, j] = 0;
  return R;
}
""",
    "csr_matrix_times_vector": """
vector harness_csr_matrix_times_vector(int m, int n, vector w, array[] int v, array[] int u,
                                       vector b) {
  vector[m] r = rep_vector(0, m);
  for (i in 1:m) for (k in u[i]:(u[i + 1] - 1)) r[i] += w[k] * b[v[k]];
  return r;
}
""",
    "distance": """
real harness_distance(vector x, vector y) { return sqrt(dot_self(x - y)); }
real harness_distance(row_vector x, row_vector y) { return sqrt(dot_self(x - y)); }
""",
    "norm1": """
real harness_norm1(vector x) { return sum(abs(x)); }
real harness_norm1(row_vector x) { return sum(abs(x)); }
""",
    "norm2": """
real harness_norm2(vector x) { return sqrt(dot_self(x)); }
real harness_norm2(row_vector x) { return sqrt(dot_self(x)); }
""",
    "determinant": """
real harness_determinant(matrix A) {
  matrix[rows(A), rows(A)] U = A;
  real d = 1;
  for (j in 1:rows(A)) {
    int p = j;
    for (i in (j + 1):rows(A)) if (abs(U[i, j]) > abs(U[p, j])) p = i;
    if (U[p, j] == 0) return 0;
    if (p != j) {
      row_vector[rows(A)] moved = U[j];
      U[j] = U[p];
      U[p] = moved;
      d = -d;
    }
    for (i in (j + 1):rows(A)) U[i] -= U[i, j] / U[j, j] * U[j];
    d *= U[j, j];
  }
  return d;
}
""",
    "chol2inv": """
matrix harness_chol2inv(matrix L) { return inverse_spd(multiply_lower_tri_self_transpose(L)); }
""",
    "trace": """
real harness_trace(matrix A) { return sum(diagonal(A)); }
""",
    "trace_quad_form": """
real harness_trace_quad_form(matrix A, matrix B) {
  return sum(columns_dot_product(B, A * B));
}
real harness_trace_quad_form(matrix A, vector b) { return dot_product(b, A * b); }
""",
    "gp_exp_quad_cov": """
matrix harness_gp_exp_quad_cov(array[] real x, array[] real y, real sigma, real length) {
  matrix[size(x), size(y)] K;
  for (i in 1:size(x)) for (j in 1:size(y))
    K[i, j] = square(sigma) * exp(-0.5 * square((x[i] - y[j]) / length));
  return K;
}
matrix harness_gp_exp_quad_cov(array[] vector x, array[] vector y, real sigma, real length) {
  matrix[size(x), size(y)] K;
  for (i in 1:size(x)) for (j in 1:size(y))
    K[i, j] = square(sigma) * exp(-0.5 * squared_distance(x[i], y[j]) / square(length));
  return K;
}
matrix harness_gp_exp_quad_cov(array[] real x, real sigma, real length) {
  return harness_gp_exp_quad_cov(x, x, sigma, length);
}
matrix harness_gp_exp_quad_cov(array[] vector x, real sigma, real length) {
  return harness_gp_exp_quad_cov(x, x, sigma, length);
}
""",
    "gp_periodic_cov": """
matrix harness_gp_periodic_cov(array[] real x, real sigma, real length, real period) {
  matrix[size(x), size(x)] K;
  for (i in 1:size(x)) for (j in 1:size(x))
    K[i, j] = square(sigma) * exp(-2 * square(sin(pi() * abs(x[i] - x[j]) / period) / length));
  return K;
}
""",
    "gp_dot_prod_cov": """
matrix harness_gp_dot_prod_cov(array[] real x, real sigma) {
  matrix[size(x), size(x)] K;
  for (i in 1:size(x)) for (j in 1:size(x)) K[i, j] = square(sigma) + x[i] * x[j];
  return K;
}
""",
    "log_mix": """
real harness_log_mix(real p, real a, real b) { return log_sum_exp(log(p) + a, log1m(p) + b); }
real harness_log_mix(vector p, vector a) { return log_sum_exp(log(p) + a); }
real harness_log_mix(vector p, row_vector a) { return log_sum_exp(log(p) + a'); }
real harness_log_mix(vector p, array[] real a) { return log_sum_exp(log(p) + to_vector(a)); }
real harness_log_mix(vector p, array[] vector a) {
  real s = 0;
  for (n in 1:size(a)) s += log_sum_exp(log(p) + a[n]);
  return s;
}
""",
    "hmm_marginal": """
real harness_hmm_marginal(matrix w, matrix G, vector rho) {
  int K = rows(w);
  vector[K] a = log(rho);
  if (!(abs(sum(rho) - 1) <= 1e-8 && min(rho) >= 0)) reject("hmm_marginal: rho is no simplex");
  for (i in 1:K) if (!(abs(sum(G[i]) - 1) <= 1e-8 && min(G[i]) >= 0))
    reject("hmm_marginal: row ", i, " of Gamma is no simplex");
  for (n in 1:cols(w)) {
    if (n > 1) {
      vector[K] b = a;
      for (k in 1:K) a[k] = log_sum_exp(b + log(G[, k]));
    }
    a += w[, n];
  }
  return log_sum_exp(a);
}
""",
    "log_determinant_spd": """
real harness_log_determinant_spd(matrix A) { return 2 * sum(log(diagonal(cholesky_decompose(A)))); }
""",
    "inc_beta": """
real harness_inc_beta(real a, real b, real x) { return beta_cdf(x | a, b); }
""",
    "matrix_power": """
matrix harness_matrix_power(matrix A, int n) {
  matrix[rows(A), rows(A)] r = identity_matrix(rows(A));
  for (i in 1:n) r *= A;
  return r;
}
""",
    "symmetrize_from_lower_tri": """
matrix harness_symmetrize_from_lower_tri(matrix A) {
  matrix[rows(A), rows(A)] r = A;
  for (j in 1:rows(A)) for (i in 1:(j - 1)) r[i, j] = A[j, i];
  return r;
}
""",
    "quantile": """
real harness_quantile(vector x, real p) {
  int n = num_elements(x);
  vector[n] s = sort_asc(x);
  real at = (n - 1) * p;
  int i = 1;
  while (i < n && i <= at) i += 1;
  return i == n ? s[n] : s[i] + (at - (i - 1)) * (s[i + 1] - s[i]);
}
real harness_quantile(array[] real x, real p) { return harness_quantile(to_vector(x), p); }
""",
    "int_step": """
int harness_int_step(real x) { return x > 0; }
""",
    "ordered_logistic_rng": """
int harness_ordered_logistic_rng(real eta, vector c) {
  real u = uniform_rng(0, 1);
  for (k in 1:num_elements(c)) if (u > inv_logit(eta - c[k])) return k;
  return num_elements(c) + 1;
}
""",
    "ordered_probit_rng": """
int harness_ordered_probit_rng(real eta, vector c) {
  real u = uniform_rng(0, 1);
  for (k in 1:num_elements(c)) if (u > Phi(eta - c[k])) return k;
  return num_elements(c) + 1;
}
""",
    "neg_binomial_rng": """
int harness_neg_binomial_rng(real a, real b) { return poisson_rng(gamma_rng(a, b)); }
""",
    "multinomial_rng": """
array[] int harness_multinomial_rng(vector p, int n) {
  array[num_elements(p)] int y = rep_array(0, num_elements(p));
  for (i in 1:n) {
    int k = categorical_rng(p);  // += would draw it twice
    y[k] += 1;
  }
  return y;
}
""",
    "bernoulli_logit_glm_rng": """
array[] int harness_bernoulli_logit_glm_rng(matrix x, vector a, vector b) {
  return bernoulli_logit_rng(a + x * b);
}
""",
    "multi_student_t_rng": """
vector harness_multi_student_t_rng(real nu, vector mu, matrix S) {
  real w = sqrt(nu / chi_square_rng(nu));
  return mu + w * multi_normal_rng(rep_vector(0, num_elements(mu)), S);
}
""",
    "skew_normal_rng": """
real harness_skew_normal_rng(real xi, real omega, real alpha) {
  real d = alpha / sqrt(1 + square(alpha));
  return xi + omega * (d * abs(normal_rng(0, 1)) + sqrt(1 - square(d)) * normal_rng(0, 1));
}
""",
    "exp_mod_normal_rng": """
real harness_exp_mod_normal_rng(real mu, real sigma, real lambda) {
  return normal_rng(mu, sigma) + exponential_rng(lambda);
}
""",
    "beta_proportion_rng": """
real harness_beta_proportion_rng(real mu, real kappa) {
  return beta_rng(mu * kappa, (1 - mu) * kappa);
}
""",
    "pareto_rng": """
real harness_pareto_rng(real y_min, real alpha) { return y_min * exp(exponential_rng(alpha)); }
""",
    "rayleigh_rng": """
real harness_rayleigh_rng(real sigma) { return sigma * sqrt(2 * exponential_rng(1)); }
""",
    "frechet_rng": """
real harness_frechet_rng(real alpha, real sigma) {
  return sigma * pow(exponential_rng(1), -1 / alpha);
}
""",
    "loglogistic_rng": """
real harness_loglogistic_rng(real alpha, real beta) {
  return alpha * exp(logistic_rng(0, 1) / beta);
}
""",
    "inv_chi_square_rng": """
real harness_inv_chi_square_rng(real nu) { return 1 / chi_square_rng(nu); }
""",
    "scaled_inv_chi_square_rng": """
real harness_scaled_inv_chi_square_rng(real nu, real s) {
  return nu * square(s) / chi_square_rng(nu);
}
""",
}

_CALLS = {"qr_thin_R": "qr_thin_Q"}
"""Functions that call another one of these."""

# Programs from before there were thin factors take the first columns of the whole ones.
_WHOLE_QR = re.compile(r"\bqr_([QR])(\s*\(\s*\w+\s*\)\s*\[)")
_FUNCTIONS = re.compile(r"\bfunctions\s*\{")


def lacked(refusal: str) -> str:
    """Return the function that a refusal names, empty if there is none."""
    found = _REFUSED.search(refusal)
    return found[1] if found else ""


def with_function(text: str, name: str) -> str | None:
    """Return an expanded program with a definition of one function; None if there is none here."""
    if name in {"qr_Q", "qr_R"}:
        changed = _WHOLE_QR.sub(r"qr_thin_\1\2", text)
        return None if changed == text else changed
    if name not in DEFINITIONS:
        return None
    text = re.sub(rf"\b{name}\b(?=\s*\()", PREFIX + name, text)
    for part in filter(None, (name, _CALLS.get(name))):
        text = text.replace(DEFINITIONS[part], "")  # it may be needed before where it stands
        begins = _FUNCTIONS.search(blanked(text))
        if begins is None:
            text = f"functions {{{DEFINITIONS[part]}}}\n{text}"
        else:
            text = f"{text[: begins.end()]}{DEFINITIONS[part]}{text[begins.end() :]}"
    return text
