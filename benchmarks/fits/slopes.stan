data { int<lower=1> N; vector[N] y; vector[N] x; int<lower=1> J; array[N] int<lower=1> group; }
parameters {
  real b; real intercept; real<lower=0> sigma; vector<lower=0>[2] tau; matrix[2, J] z;
  cholesky_factor_corr[2] L;
}
transformed parameters { matrix[J, 2] r = (diag_pre_multiply(tau, L) * z)'; }
model {
  vector[N] mu = intercept + b * x;
  for (n in 1:N) mu[n] += r[group[n], 1] + r[group[n], 2] * x[n];
  target += normal_lpdf(y | mu, sigma);
  target += student_t_lpdf(intercept | 3, 0, 2.5) + normal_lpdf(b | 0, 5);
  target += student_t_lpdf(sigma | 3, 0, 2.5) + student_t_lpdf(tau | 3, 0, 2.5);
  target += std_normal_lpdf(to_vector(z)) + lkj_corr_cholesky_lpdf(L | 1);
}
