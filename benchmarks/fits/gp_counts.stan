data { int<lower=1> N; array[N] real x; array[N] int<lower=0> k; }
parameters { real<lower=0> rho; real<lower=0> alpha; real a; vector[N] eta; }
model {
  matrix[N, N] C = gp_exp_quad_cov(x, alpha, rho);
  for (n in 1:N) C[n, n] += 1e-6;
  rho ~ inv_gamma(5, 5); alpha ~ normal(0, 1); a ~ normal(0, 2); eta ~ std_normal();
  k ~ poisson_log(a + cholesky_decompose(C) * eta);
}
