data {
  int<lower=1> N; array[N] int y; int<lower=1> K; matrix[N, K] X;
  int<lower=1> J; array[N] int<lower=1> group;
}
parameters { vector[K] b; real intercept; vector<lower=0>[1] sd_1; vector[J] z; }
transformed parameters { vector[J] r = sd_1[1] * z; }
model {
  vector[N] mu = rep_vector(0, N);
  mu += intercept;
  for (n in 1:N) mu[n] += r[group[n]];
  target += poisson_log_glm_lpmf(y | X, mu, b);
  target += student_t_lpdf(intercept | 3, 1.4, 2.5);
  target += cauchy_lpdf(sd_1 | 0, 2);
  target += std_normal_lpdf(z);
}
