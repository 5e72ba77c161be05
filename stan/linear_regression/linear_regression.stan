// A straight line through N points with unknown noise.
data {
  int<lower=2> N;
  vector[N] x;
  vector[N] y;
}
parameters {
  real intercept;
  real slope;
  real<lower=0> sigma;
}
model {
  intercept ~ normal(0, 20);
  slope ~ normal(0, 20);
  sigma ~ cauchy(0, 10);  // half-Cauchy, because sigma is positive
  y ~ normal(intercept + slope * x, sigma);
}
