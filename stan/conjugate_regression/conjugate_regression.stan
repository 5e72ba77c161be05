// A straight line through N points with known noise: the posterior is exactly Gaussian.
data {
  int<lower=2> N;
  vector[N] x;
  vector[N] y;
  real<lower=0> noise_sd;
  real<lower=0> prior_sd;
}
parameters {
  real intercept;
  real slope;
}
model {
  intercept ~ normal(0, prior_sd);
  slope ~ normal(0, prior_sd);
  y ~ normal(intercept + slope * x, noise_sd);
}
